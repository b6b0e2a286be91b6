import test from 'ava';
import { processSpec } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

const ZONED = { placement: { requires: { zone: 'a' }, spread: null } };
const ALL = Array.from({ length: 6 }, (_, index) => `blog/web/${index}`);

/** Three nodes for the app, of which the last has just joined, and one that has no part in it. */
async function uneven() {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3'], { ttlSeconds: 20, labels: { zone: 'a' } });
  cluster.add('node-4', { ttlSeconds: 20 });
  cluster.behaviour = () => ({ readyAfterMs: 800 });
  await cluster.start('node-1', 'node-2', 'node-4');
  await cluster.run(webApp(6, ZONED));
  const counts = () =>
    ['node-1', 'node-2', 'node-3'].map(
      node => ALL.filter(instance => cluster.owner(instance)?.node === node).length,
    );
  await cluster.start('node-3');
  const admin = (node = 'node-4') => cluster.node(node).agent.admin;
  const found = (node?: string) => admin(node).rebalancing();
  await cluster.until(() => found().moves.length > 0 && found('node-1').moves.length > 0);
  const plan = () =>
    Object.values(cluster.etcd.contents('plans')).findLast(({ origin }) =>
      ['rebalance', 'test'].includes(origin),
    );
  const ended = () => cluster.until(() => typeof plan()?.settled?.state === 'string', 300_000);
  return { cluster, admin, found, counts, plan, ended };
}

/** How many of the instances had a ready copy, at the worst of moments. */
async function fewestReady(cluster: SimCluster, until: () => boolean): Promise<number> {
  let fewest = Infinity;
  await cluster.until(
    () => {
      const ready = ALL.filter(instance =>
        [...cluster.nodes.keys()].some(node => cluster.said(node, instance)?.ready === true),
      );
      fewest = Math.min(fewest, ready.length);
      return until();
    },
    300_000,
    20,
  );
  return fewest;
}

test('a node that joins gets its share, one instance after the other, each of them ready all the time', async t => {
  const { cluster, admin, found, counts, plan } = await uneven();
  t.deepEqual(counts(), [3, 3, 0]);
  const { moves } = found();
  t.deepEqual(moves, [
    { ...moves[0]!, to: 'node-3' },
    { ...moves[1]!, to: 'node-3' },
  ]);
  t.is(moves[0]!.reason, `${moves[0]!.from} has 3 of blog/web, node-3 has 0`);
  const applied = await cluster.whileTimePasses(admin().rebalance());
  t.like(applied, { moves, created: true });
  const again = await cluster.whileTimePasses(admin('node-1').rebalance());
  t.like(again, { plan: applied.plan, created: false });
  t.is(await fewestReady(cluster, () => plan()?.settled !== null), 6);
  t.is(plan()?.settled?.state, 'COMPLETED');
  t.deepEqual(counts(), [2, 2, 2]);
  const handed = cluster.events('subject-handed-over').slice(-2);
  const arrived = cluster
    .events('subject-acquired')
    .filter(({ subject, node }) => subject === handed[0]!.subject && node === 'node-3');
  t.true(arrived.at(-1)!.at < handed[1]!.at, 'the second goes when the first has arrived');
  for (const instance of ALL) t.deepEqual(cluster.owner(instance)?.mayStillRun, []);
  t.deepEqual(found().moves, []);
  t.like(await cluster.whileTimePasses(admin().rebalance()), { plan: null, created: false });
});

test('it goes on when the node that works at it is lost', async t => {
  const { cluster, admin, counts, plan } = await uneven();
  await cluster.whileTimePasses(admin('node-4').rebalance());
  await cluster.until(() => cluster.events('subject-handed-over').length > 0);
  const owners = Object.values(cluster.etcd.contents('steps'))
    .filter(chunk => chunk.plan === plan()?.plan)
    .map(({ owner }) => owner?.node);
  t.deepEqual(owners, ['node-4']);
  await cluster.node('node-4').crash();
  t.is(await fewestReady(cluster, () => plan()?.settled !== null), 6);
  t.is(plan()?.settled?.state, 'COMPLETED');
  t.deepEqual(counts(), [2, 2, 2]);
});

test('cancelled, it ends after the move that is under way', async t => {
  const { cluster, admin, counts, plan, ended } = await uneven();
  const { plan: id } = await cluster.whileTimePasses(admin().rebalance());
  await cluster.until(() => cluster.events('subject-handed-over').length > 0);
  await cluster.whileTimePasses(cluster.node('node-1').agent.plans.cancel(id!, 'ada'));
  await ended();
  t.is(plan()?.settled?.state, 'CANCELLED');
  await cluster.until(() => cluster.settled('blog'));
  t.deepEqual(counts().toSorted(), [1, 2, 3]);
  await cluster.advance(20_000);
  t.deepEqual(counts().toSorted(), [1, 2, 3]);
  const requests = Object.values(cluster.etcd.contents('requests'));
  t.deepEqual(
    requests.filter(({ request }) => request.action === 'rebalance'),
    [],
  );
});

test('while a release takes the place of another nothing of its app moves; one that comes meanwhile harms nothing', async t => {
  const { cluster, admin, found, counts, ended } = await uneven();
  await cluster.whileTimePasses(admin().rebalance());
  await cluster.until(() => cluster.events('subject-handed-over').length > 0);
  const next = webApp(6, { ...ZONED, env: { A: { kind: 'literal', value: '1' } } });
  await cluster.apply(next);
  const moved = cluster.events('subject-handed-over').length;
  t.deepEqual(found().moves, []);
  t.true(found().stays.every(({ why }) => why === 'a release of "blog" is taking the place of another'));
  let handed = moved;
  const fewest = await fewestReady(cluster, () => {
    const { rollout } = cluster.etcd.contents('apps')['blog']!;
    if (rollout) handed = cluster.events('subject-handed-over').length;
    return !rollout && cluster.settled('blog');
  });
  t.is(fewest, 6);
  t.is(handed, moved);
  await ended();
  t.deepEqual(counts(), [2, 2, 2]);
});

test('a node hands over nothing that is exclusive, not its own, or wanted where it can not go', async t => {
  const { cluster } = await uneven();
  const mailer = processSpec({ type: 'mailer', exclusive: true, routed: false, stopTimeoutSeconds: 1 });
  await cluster.run(webApp(1, { app: 'post', processes: [mailer], hostnames: [] }));
  const answerTo = async (instance: string, to: string, node?: string): Promise<string> => {
    const asked = node ?? cluster.owner(instance)!.node;
    const request = {
      id: `${instance.replaceAll('/', '-')}-${to}`,
      node: asked,
      action: 'rebalance' as const,
      subject: `instance/${instance}`,
      to,
      reason: 'a test',
      attempt: 0,
      from: 'node-1',
      at: cluster.clock.timestamp(),
    };
    const name = `${asked}/${request.id}`;
    cluster.etcd.put('requests', name, { v: 1, request });
    await cluster.until(() => name in cluster.etcd.contents('answers'));
    return cluster.etcd.contents('answers')[name]!.reason;
  };
  t.is(await answerTo('post/mailer/0', 'node-3'), 'post/mailer/0 is exclusive');
  t.is(await answerTo('blog/web/0', 'node-4'), 'node-4 has no label zone, required is "a"');
  t.is(await answerTo('blog/web/0', 'node-9'), 'node-9 is not there');
  t.is(await answerTo('blog/web/0', 'node-1', 'node-3'), 'node-3 does not own instance/blog/web/0');
  t.deepEqual(cluster.events('subject-handed-over'), []);
});

test('a move that somebody has made meanwhile is none any more, and a plan may make a single one', async t => {
  const { cluster, counts, plan, ended } = await uneven();
  const { plans } = cluster.node('node-4').agent;
  const from = cluster.owner('blog/web/0')!.node;
  const move = (resource: string, to: string) => ({
    spec: {
      title: null,
      steps: [{ agent: 'move', resource, arguments: { from, to } }],
      priority: 5,
      sequential: false,
      onFailure: 'stop' as const,
      completeBySeconds: null,
    },
    idempotencyKey: null,
    digest: 'sha256:body',
    origin: 'test',
  });
  await cluster.whileTimePasses(plans.submit(move('blog/web/0', 'node-3')));
  await ended();
  t.is(plan()?.settled?.state, 'COMPLETED');
  t.is(counts()[2], 1);
  const late = await cluster.whileTimePasses(
    plans.submit(move('blog/web/0', from === 'node-1' ? 'node-2' : 'node-1')),
  );
  const state = async () => (await plans.step(late.plan.plan, 0)).error;
  await cluster.advance(5000);
  t.is(await cluster.whileTimePasses(state()), 'node-3 runs blog/web/0 now');
  t.deepEqual(
    plans.check(move('blog', 'node-3').spec).map(({ field, message }) => `${field} ${message}`),
    ['steps[0].resource is no instance'],
  );
});
