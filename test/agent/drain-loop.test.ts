import test from 'ava';
import { processSpec } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

/** As many as any test here has. */
const ALL = Array.from({ length: 9 }, (_, index) => `blog/web/${index}`);

async function running(nodes = ['node-1', 'node-2', 'node-3']) {
  const cluster = new SimCluster(nodes, { ttlSeconds: 20 });
  cluster.behaviour = () => ({ readyAfterMs: 800 });
  await cluster.start();
  const admin = () => cluster.node('node-1').agent.admin;
  const drain = (node: string, reason = 'new kernel') => cluster.whileTimePasses(admin().drain(node, reason));
  const seen = (node: string) =>
    admin()
      .nodes()
      .items.find(({ name }) => name === node)!;
  const onNode = (node: string) =>
    ALL.filter(instance => cluster.node(node).driver.running(instance).length > 0);
  return { cluster, admin, drain, seen, onNode };
}

/** How many copies of each instance are ready, by the word of their nodes, at every moment until the end. */
async function fewestReady(cluster: SimCluster, instances: string[], until: () => boolean): Promise<number> {
  let fewest = Infinity;
  await cluster.until(
    () => {
      const ready = instances.filter(instance =>
        [...cluster.nodes.keys()].some(node => cluster.said(node, instance)?.ready === true),
      );
      fewest = Math.min(fewest, ready.length);
      return until();
    },
    120_000,
    20,
  );
  return fewest;
}

test('a node is emptied without any instance ceasing to be ready, one after the other', async t => {
  const { cluster, drain, seen, onNode } = await running();
  await cluster.run(webApp(6));
  const had = onNode('node-2');
  t.is(had.length, 2);
  await drain('node-2');
  const all = ALL.slice(0, 6);
  t.is(await fewestReady(cluster, all, () => seen('node-2').drain?.left === 0), 6);
  t.deepEqual(onNode('node-2'), []);
  t.true(cluster.settled('blog'));
  const handed = cluster.events('subject-handed-over');
  t.deepEqual(
    handed.map(({ subject }) => subject),
    had.map(instance => `instance/${instance}`).sort(),
  );
  const taken = cluster.events('subject-acquired').filter(({ subject }) => subject === handed[1]!.subject);
  const firstStopped = cluster
    .events('instance-stopped')
    .find(({ subject }) => `instance/${subject}` === handed[0]!.subject)!;
  t.true(firstStopped.at <= taken.at(-1)!.at, 'the second goes when the first has arrived');
  for (const instance of all) t.deepEqual(cluster.owner(instance)?.mayStillRun, []);
});

test('it takes nothing new, says so in public, and takes work again when it is let', async t => {
  const { cluster, drain, seen, onNode, admin } = await running();
  await drain('node-2');
  await cluster.until(() => seen('node-2').draining && seen('node-2').drain?.left === 0);
  t.like(cluster.etcd.contents('promises')['node-2/draining']?.promise.body, {
    reason: 'new kernel',
    left: 0,
  });
  await cluster.run(webApp(4));
  t.deepEqual(onNode('node-2'), []);
  await cluster.whileTimePasses(admin().undrain('node-2'));
  await cluster.until(() => !seen('node-2').draining && seen('node-2').drain === null);
  await cluster.run(webApp(9));
  t.true(onNode('node-2').length > 0);
  t.deepEqual(
    cluster
      .events()
      .map(({ kind }) => kind)
      .filter(kind => kind.startsWith('node-')),
    ['node-draining', 'node-drained', 'node-undrained'],
  );
});

test('what is exclusive is dead and released before another node starts it', async t => {
  const { cluster, drain, seen } = await running();
  const mailer = processSpec({ type: 'mailer', exclusive: true, routed: false, stopTimeoutSeconds: 1 });
  await cluster.run(webApp(1, { processes: [mailer] }));
  const first = cluster.owner('blog/mailer/0')!.node;
  await drain(first);
  let most = 0;
  await cluster.until(() => {
    most = Math.max(most, cluster.copies('blog/mailer/0').length);
    return seen(first).drain?.left === 0 && cluster.settled('blog');
  });
  t.is(most, 1);
  t.not(cluster.owner('blog/mailer/0')!.node, first);
  t.deepEqual(cluster.events('subject-handed-over'), []);
});

test('what nobody else can take stays and runs on, and why is said', async t => {
  const cluster = new SimCluster(['node-1', 'node-2']);
  cluster.node('node-2').settings = { labels: { disk: 'fast' } };
  await cluster.start();
  await cluster.run(webApp(1, { placement: { requires: { disk: 'fast' }, spread: null } }));
  const { admin } = cluster.node('node-1').agent;
  await cluster.whileTimePasses(admin.drain('node-2', 'moving house'));
  const seen = () => admin.nodes().items.find(({ name }) => name === 'node-2')!;
  await cluster.until(() => seen().drain !== null);
  await cluster.advance(30_000);
  t.deepEqual(seen().drain, {
    reason: 'moving house',
    left: 1,
    stays: [
      { instance: 'blog/web/0', why: 'node-1 has no label disk, required is "fast"; node-2 is draining' },
    ],
  });
  t.true(cluster.settled('blog'));
});

test('with nowhere to go at all it is refused', async t => {
  const { cluster, drain, admin } = await running(['node-1', 'node-2']);
  await t.throwsAsync(cluster.whileTimePasses(admin().drain('node-9', 'x')), { message: /no node "node-9"/ });
  await drain('node-2');
  await cluster.until(() =>
    admin()
      .nodes()
      .items.some(({ draining }) => draining),
  );
  await t.throwsAsync(drain('node-1'), {
    message: 'what runs on node-1 would have nowhere to go: node-2 is draining',
  });
});

test('the wish outlives the agent, which goes on where it was', async t => {
  const { cluster, drain, seen, onNode } = await running();
  await cluster.run(webApp(9));
  await drain('node-2');
  await cluster.until(() => cluster.events('subject-handed-over').length > 0);
  await cluster.node('node-2').restart();
  await cluster.until(() => seen('node-2').drain?.left === 0, 120_000);
  t.deepEqual(onNode('node-2'), []);
  t.true(cluster.settled('blog'));
});

test('a node whose machine dies while it is emptied is emptied by its death, and drains when it is back', async t => {
  const { cluster, drain, seen, onNode } = await running();
  await cluster.run(webApp(9));
  await drain('node-2');
  await cluster.until(() => cluster.events('subject-handed-over').length > 0);
  await cluster.node('node-2').crash();
  await cluster.until(() => cluster.settled('blog'), 120_000);
  await cluster.start('node-2');
  await cluster.until(() => seen('node-2').drain?.left === 0);
  t.deepEqual(onNode('node-2'), []);
});

test('a supervisor may ask for it; the node makes the wish its own', async t => {
  const { cluster, seen } = await running();
  const request = {
    id: 'r1',
    node: 'node-3',
    action: 'drain' as const,
    subject: 'node/node-3',
    reason: 'everything there is broken',
    attempt: 0,
    from: 'node-1',
    at: cluster.clock.timestamp(),
  };
  cluster.etcd.put('requests', 'node-3/r1', { v: 1, request });
  await cluster.until(() => seen('node-3').drain?.left === 0);
  t.is(seen('node-3').drain?.reason, 'the supervisor asked: everything there is broken');
});
