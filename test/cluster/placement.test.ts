import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({
    nodes: 3,
    leaseTtlSeconds: 3,
    settings: [{ labels: { zone: 'eu' } }, { labels: { zone: 'us' } }, { limits: { memory: '1G' } }],
  });
});
test.after.always(() => cluster.stop());

const perNode = async (app: string): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {};
  for (const { node } of await cluster.instances(app))
    counts[node ?? 'nobody'] = (counts[node ?? 'nobody'] ?? 0) + 1;
  return counts;
};

test.serial('nine instances are spread evenly over three nodes', async t => {
  await cluster.apply('nine', { scale: { web: 9 } });
  await cluster.ready('nine', 9);
  t.deepEqual(await perNode('nine'), { 'node-1': 3, 'node-2': 3, 'node-3': 3 });
});

test.serial('labels that are required keep an app on the nodes that have them', async t => {
  await cluster.apply('european', { scale: { web: 3 }, placement: { requires: { zone: 'eu' } } });
  await cluster.ready('european', 3);
  t.deepEqual(await perNode('european'), { 'node-1': 3 });
  const { ranking } = await cluster.api.explain('european/web/0');
  const excluded = Object.fromEntries(ranking!.excluded.map(({ node, reason }) => [node, reason]));
  t.regex(excluded['node-2']!, /zone/);
  t.regex(excluded['node-3']!, /zone/);
});

test.serial('an instance for which no node has room waits, and explain says why', async t => {
  await cluster.apply('huge', { limits: { memory: '900G' } });
  const explanation = await cluster.api.explain('huge/web/0');
  for (const { reason } of explanation.ranking!.excluded) t.regex(reason, /memory/);
  t.deepEqual(explanation.ranking!.candidates, []);
  const told = await until('the supervisor tells', async () => {
    const { items } = await cluster.api.events({ kind: 'instance-unplaced', limit: 50 });
    return items.find(event => event.subject.includes('huge/web/0'));
  });
  t.regex(told.message, /huge\/web\/0/);
  await cluster.api.remove('huge');
});

test.serial('a node that joins takes new work', async t => {
  const joined = await cluster.add({ labels: { zone: 'asia' } });
  await joined.ready();
  await until('the others see it', async () => (await cluster.api.nodes()).items.length === 4);
  await cluster.api.scale('nine', { web: 12 });
  await cluster.ready('nine', 12);
  t.true(((await perNode('nine'))['node-4'] ?? 0) >= 2);
});

test.serial('a node that leaves stops its own and is replaced', async t => {
  await cluster.node('node-4').end('SIGINT');
  await cluster.ready('nine', 12, all => all.every(({ node }) => node !== 'node-4'));
  const { items } = await cluster.api.events({ kind: 'node-left', limit: 10 });
  t.is(items.length, 1);
  const expired = await cluster.api.events({ kind: 'promise-expired', limit: 100 });
  t.deepEqual(
    expired.items.filter(event => event.subject.startsWith('node-4/')),
    [],
    'it withdrew its promises',
  );
});

test.serial('a host name that another app holds is refused with the name of the holder', async t => {
  await cluster.apply('first', { domains: { list: ['taken.example'] } });
  const error = await t.throwsAsync(cluster.apply('second', { domains: { list: ['taken.example'] } }));
  t.regex(error.message, /taken\.example/);
  t.regex(error.message, /first/);
  t.deepEqual(
    (await cluster.api.apps()).items.map(({ app }) => app).filter(app => app === 'second'),
    [],
  );
});

test.serial('an app waits for what it depends on', async t => {
  await cluster.apply('front', { 'depends-on': ['back'] });
  const waiting = await until('front says what it waits for', async () =>
    (await cluster.instances('front')).find(({ state, trouble }) => state === 'pending' && trouble !== null),
  );
  t.regex(waiting.trouble!, /back/);
  await cluster.apply('back');
  await cluster.ready('back', 1);
  await cluster.ready('front', 1);
});
