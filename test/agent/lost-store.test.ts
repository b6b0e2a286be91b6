import test from 'ava';
import type { Link } from '../support/fake-store.ts';
import { SimCluster, webApp, type SimNode } from '../support/sim-cluster.ts';

const INSTANCE = 'blog/web/0';

/** Cut off from the store and from everybody else, or back. */
function isolate(node: SimNode, link: Link): void {
  node.store.setLink(link);
  node.offline = link !== 'up';
}

/** One instance, and the names of the node that has it and of one that has not. */
async function running(settings: { readyAfterMs?: number } = {}) {
  const cluster = new SimCluster();
  cluster.behaviour = () => ({ readyAfterMs: settings.readyAfterMs ?? 0 });
  await cluster.start();
  await cluster.run(webApp(1));
  const owner = cluster.owner(INSTANCE)!.node;
  const copy = cluster.copies(INSTANCE)[0]!.unit;
  return { cluster, owner, copy, node: cluster.node(owner) };
}

test('rule 8: a copy outlives the store, and no other node is given time to think', async t => {
  const { cluster, node, copy } = await running();
  for (const each of cluster.nodes.values()) each.store.setLink('refused');
  await cluster.advance(60_000);
  t.deepEqual(
    cluster.copies(INSTANCE).map(({ unit }) => unit.pid),
    [copy.pid],
  );
  t.is(node.agent.admin.node().state, 'ConnectionLost');
});

test('rule 8: what crashes while the store is away is started again, and is ready again', async t => {
  const { cluster, node, copy } = await running({ readyAfterMs: 300 });
  for (const each of cluster.nodes.values()) each.store.setLink('silent');
  await cluster.until(() => node.agent.admin.node().state === 'ConnectionLost');
  node.driver.exit(copy.unit, { signal: 'SIGKILL' });
  await cluster.advance(1000);
  const [again] = cluster.copies(INSTANCE);
  t.truthy(again);
  t.not(again!.unit.pid, copy.pid);

  for (const each of cluster.nodes.values()) each.store.setLink('up');
  await cluster.until(() => cluster.said(node.name, INSTANCE)?.pid === again!.unit.pid);
  t.true(cluster.said(node.name, INSTANCE)?.ready);
});

test('rule 8: a crash that happens after another node was seen waiting for a stop is repaired as well', async t => {
  const { cluster, node, copy } = await running();
  // This node may still run something of which nothing is left here: it cannot say so while it is cut off.
  cluster.etcd.put('owners', 'instance/shop/web/0', {
    v: 1,
    subject: 'instance/shop/web/0',
    node: 'node-9',
    incarnation: 'gone',
    ttlSeconds: 10,
    holder: 'agent',
    operation: 'x',
    mayStillRun: [node.name],
    released: null,
    token: null,
  });
  node.store.setLink('refused');
  await cluster.advance(100);
  node.driver.exit(copy.unit, { code: 1 });
  await cluster.advance(3000);
  const [again] = cluster.copies(INSTANCE).filter(each => each.node === node);
  t.truthy(again);
  t.true(node.log.matching('is ready').length > 0);
  node.store.setLink('up');
  await cluster.until(() => cluster.etcd.contents('owners')['instance/shop/web/0']?.mayStillRun.length === 0);
  t.pass();
});

test('rule 8: a node that nobody reaches stops its copy only after the other is ready', async t => {
  const { cluster, owner, node, copy } = await running({ readyAfterMs: 5000 });
  isolate(node, 'silent');
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== owner, 30_000);
  const taker = cluster.owner(INSTANCE)!.node;
  t.deepEqual(cluster.owner(INSTANCE)?.mayStillRun, [owner], 'the taker says that it may run there still');
  t.is(cluster.copies(INSTANCE).length, 2);

  isolate(node, 'up');
  await cluster.until(() => !node.driver.running(INSTANCE).some(unit => unit.pid === copy.pid));
  t.true(cluster.said(taker, INSTANCE)?.ready, 'the other was ready when this one went');
  await cluster.advance(5000);
  t.deepEqual(
    cluster.copies(INSTANCE).map(each => each.node.name),
    [taker],
  );
  t.deepEqual(cluster.owner(INSTANCE)?.mayStillRun, [], 'its confirmed stop cleared it');
  t.is(cluster.owner(INSTANCE)?.node, taker);
  t.is(node.driver.stops.length, 1);
});

test('rule 8: while the other is not ready, the copy goes on, back in the cluster or not', async t => {
  const { cluster, owner, node, copy } = await running({ readyAfterMs: 1000 });
  cluster.behaviour = () => ({ readyAfterMs: 3_600_000 });
  isolate(node, 'refused');
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== owner, 30_000);
  isolate(node, 'up');
  await cluster.advance(25_000);
  t.true(cluster.copies(INSTANCE).some(each => each.node === node && each.unit.pid === copy.pid));
  t.deepEqual(cluster.owner(INSTANCE)?.mayStillRun, [owner]);
  t.is(node.driver.stops.length, 0);
});

test('rule 8: a copy that dies after another node has taken it is not started again', async t => {
  const { cluster, owner, node, copy } = await running();
  cluster.behaviour = () => ({ readyAfterMs: 3_600_000 });
  isolate(node, 'refused');
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== owner, 30_000);
  isolate(node, 'up');
  await cluster.until(() => node.agent.admin.node().state === 'Active');
  await cluster.advance(3000);
  node.driver.exit(copy.unit, { code: 1 });
  await cluster.advance(10_000);
  t.deepEqual(node.driver.running(INSTANCE), []);
  t.deepEqual(cluster.owner(INSTANCE)?.mayStillRun, []);
});

test('rule 8: that some third node is ready does not count, only the owner does', async t => {
  const { cluster, owner, node } = await running();
  cluster.behaviour = () => ({ readyAfterMs: 3_600_000 });
  isolate(node, 'refused');
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== owner, 30_000);
  // One whose agent is not there to take back what it never promised.
  const third = 'node-9';
  const taker = cluster.owner(INSTANCE)!.node;
  await cluster.until(() => cluster.said(taker, INSTANCE) !== null);
  const said = cluster.said(taker, INSTANCE)!;
  cluster.etcd.put('promises', `${third}/running:${INSTANCE}`, {
    v: 1,
    promise: {
      promiser: third,
      promisee: 'blog',
      name: `running:${INSTANCE}`,
      kind: 'state',
      polarity: 'offer',
      body: { ...said, ready: true, state: 'running' },
      given: [],
      verify: { method: 'lease' },
      madeAt: '2026-01-01T00:00:00.000Z',
      completeBy: null,
    },
  });
  isolate(node, 'up');
  await cluster.advance(10_000);
  t.is(node.driver.running(INSTANCE).length, 1);
});

test('a session lost and made anew takes back what nobody took meanwhile, without a restart', async t => {
  const { cluster, owner, node, copy } = await running();
  for (const each of cluster.nodes.values()) each.store.setLink('silent');
  await cluster.advance(20_000);
  for (const each of cluster.nodes.values()) each.store.setLink('up');
  await cluster.until(() => cluster.settled('blog'));
  t.is(cluster.owner(INSTANCE)?.node, owner, 'it runs it already, so it ranks first');
  t.deepEqual(cluster.owner(INSTANCE)?.mayStillRun, []);
  t.deepEqual(
    cluster.copies(INSTANCE).map(({ unit }) => unit.pid),
    [copy.pid],
  );
  t.is(node.driver.launches.length, 1);
});

test('what is not wanted any more is stopped when the node hears of it', async t => {
  const { cluster, owner, node } = await running();
  isolate(node, 'refused');
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== owner, 30_000);
  const other = cluster.owner(INSTANCE)!.node;
  await cluster.node(other).agent.admin.remove('blog');
  await cluster.until(() => cluster.etcd.contents('apps')['blog'] === undefined);
  t.is(cluster.copies(INSTANCE).length, 1);
  isolate(node, 'up');
  await cluster.until(() => cluster.copies(INSTANCE).length === 0);
  t.pass();
});
