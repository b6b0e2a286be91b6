import { once } from 'node:events';
import { createServer } from 'node:net';
import test from 'ava';
import { ask, startCluster, type TestCluster } from '../support/cluster.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({
    nodes: 3,
    leaseTtlSeconds: 10,
    // Addresses of their own, as hosts have: a fixed port of one is not that of another.
    settings: [
      { labels: { zone: 'eu' }, address: '127.0.0.11' },
      { labels: { zone: 'us' }, address: '127.0.0.12' },
      { limits: { memory: '1G' }, address: '127.0.0.13' },
    ],
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

test.serial(
  'a fixed port is one instance’s on each node, and who cannot have it is told who has',
  async t => {
    const number = await freePort();
    const ports = { ports: [{ number, http: true }], exclusive: [] };
    // On one node somebody else listens there, who is not ours.
    const somebody = createServer().listen(number, '127.0.0.12');
    t.teardown(() => somebody.close());
    await once(somebody, 'listening');
    await cluster.apply('alpha', ports);
    const [alpha] = await cluster.ready('alpha', 1);
    await cluster.apply('beta', ports);
    const [beta] = await cluster.ready('beta', 1);
    t.deepEqual([alpha?.node, beta?.node].sort(), ['node-1', 'node-3']);
    t.like(await ask(alpha!), { instance: 'alpha/web/0', node: alpha?.node });
    t.like(await ask(beta!), { instance: 'beta/web/0', node: beta?.node });
    t.is(beta?.endpoint?.port, number);

    const error = await t.throwsAsync(cluster.apply('gamma', { ...ports, scale: { web: 2 } }));
    t.regex(error.message, new RegExp(`ports\\[0\\].number: port ${number}/tcp .*app "alpha".*app "beta"`));

    // The third has to wait: for a node where the port is nobody's.
    await cluster.apply('gamma', ports);
    const waiting = await until('gamma says what it waits for', async () =>
      (await cluster.instances('gamma')).find(({ trouble }) => /is in use by process/.test(trouble ?? '')),
    );
    t.not(waiting.state, 'failed');
    await cluster.api.remove('alpha');
    const [gamma] = await cluster.ready('gamma', 1);
    t.is(gamma?.endpoint?.port, number);
    t.like(await ask(gamma!), { instance: 'gamma/web/0' });
    for (const app of ['beta', 'gamma']) await cluster.api.remove(app);
  },
);

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
