import test from 'ava';
import { LastRun } from '../../src/agent/last-run.ts';
import { FakeLocalState } from '../support/fake-local-state.ts';
import { FakeLog } from '../support/fake-log.ts';
import { processSpec } from '../support/nouns.ts';
import { SimCluster, webApp, type SimNode } from '../support/sim-cluster.ts';
import { appRecord, member, ownerRecord } from './helpers.ts';

const INSTANCE = 'blog/web/0';
/** Within this an agent without a store knows that it is alone, and has started what it remembers. */
const ALONE_MS = 7000;

/** One instance on its node, and that node's machine booted anew while etcd is away. */
async function bootedAlone(parts: { exclusive?: boolean } = {}) {
  const cluster = new SimCluster();
  await cluster.start();
  const spec = webApp(1);
  const exclusive = parts.exclusive ?? false;
  const processes = spec.processes.map(process => ({ ...process, exclusive, stopTimeoutSeconds: 1 }));
  await cluster.run({ ...spec, processes });
  await cluster.advance(5000);
  const node = cluster.node(cluster.owner(INSTANCE)!.node);
  for (const each of cluster.nodes.values()) each.store.setLink('refused');
  await node.crash();
  await node.start('refused');
  return { cluster, node, others: [...cluster.nodes.values()].filter(other => other !== node) };
}

const back = (cluster: SimCluster): void => {
  for (const each of cluster.nodes.values()) each.store.setLink('up');
};

test('rule 8: an agent that is started with no store in reach brings up what it ran last, and looks after it', async t => {
  const { cluster, node } = await bootedAlone();
  t.is(cluster.copies(INSTANCE).length, 0);
  await cluster.advance(ALONE_MS);
  const [copy] = cluster.copies(INSTANCE);
  t.is(copy?.node, node);
  t.is(node.driver.launches.at(-1)?.version, '1');
  node.driver.exit(copy!.unit.unit, { signal: 'SIGKILL' });
  await cluster.advance(3000);
  t.is(cluster.copies(INSTANCE).length, 1, 'a crash is repaired');
});

test('rule 8: it says that it is cut off, and shows what it runs', async t => {
  const { cluster, node } = await bootedAlone();
  const { admin } = node.agent;
  t.regex(admin.ready().reason, /not complete yet/, 'at first it may only have to wait');
  await cluster.advance(ALONE_MS);
  t.deepEqual(admin.ready(), {
    ready: false,
    reason:
      'this node is cut off: it has not heard the store since its agent started, and runs what it ran last',
  });
  t.like(admin.node(), { state: 'ConnectionLost', instances: 1 });
  t.is(node.log.matching('this node is cut off').length, 1);
  const [app] = admin.apps().items;
  t.like(app?.conditions[0], { type: 'CutOff', status: true });
  t.like(admin.instances({ app: 'blog' }).items[0], {
    instance: INSTANCE,
    state: 'running',
    node: node.name,
  });
});

test('rule 8: when the store is back, it takes again what it runs, without a restart', async t => {
  const { cluster, node } = await bootedAlone();
  await cluster.advance(ALONE_MS);
  const { pid } = cluster.copies(INSTANCE)[0]!.unit;
  back(cluster);
  await cluster.until(() => cluster.settled('blog', node.name));
  await cluster.advance(10_000);
  t.is(cluster.owner(INSTANCE)?.node, node.name);
  t.deepEqual(
    cluster.copies(INSTANCE).map(({ unit }) => unit.pid),
    [pid],
  );
  t.deepEqual(
    node.agent.admin.app('blog').conditions.map(({ type }) => type),
    ['Ready'],
  );
});

test('rule 8: what another node has taken meanwhile goes when that one is ready', async t => {
  const { cluster, node, others } = await bootedAlone();
  node.offline = true;
  await cluster.advance(ALONE_MS);
  for (const other of others) other.store.setLink('up');
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== node.name);
  node.offline = false;
  node.store.setLink('up');
  await cluster.until(() => cluster.copies(INSTANCE).every(copy => copy.node !== node));
  t.is(cluster.copies(INSTANCE).length, 1);
});

test('rule 8: what was removed meanwhile goes when the store is back', async t => {
  const { cluster, node } = await bootedAlone();
  cluster.etcd.put('apps', 'blog', { ...cluster.etcd.contents('apps')['blog']!, removing: true });
  await cluster.advance(ALONE_MS);
  t.is(cluster.copies(INSTANCE).length, 1, 'it cannot know');
  back(cluster);
  await cluster.until(() => cluster.copies(INSTANCE).length === 0);
  t.deepEqual(node.driver.running(INSTANCE), []);
});

test('nothing exclusive is started without the store', async t => {
  const { cluster, node } = await bootedAlone({ exclusive: true });
  await cluster.advance(60_000);
  t.deepEqual(cluster.copies(INSTANCE), []);
  t.false(JSON.stringify([...node.state.documents.entries()]).includes('"instances":["blog'));
});

test('what runs already when its agent is started without the store runs on, known or not', async t => {
  const { cluster, node } = await running();
  const { unit } = cluster.copies(INSTANCE)[0]!;
  node.store.setLink('refused');
  await cluster.whileTimePasses(node.stop());
  const launch = node.driver.launches.at(-1)!;
  await node.driver.start({ ...launch, unit: 'shop.web.0.1.x', instance: 'shop/web/0' });
  await node.start('refused');
  await cluster.advance(30_000);
  t.deepEqual(
    cluster.copies(INSTANCE).map(copy => copy.unit.pid),
    [unit.pid],
  );
  t.is(node.driver.running('shop/web/0').length, 1, 'nobody has said that it is not wanted');
});

test('a store that is only late changes nothing', async t => {
  const { cluster, node } = await running();
  node.store.setLink('refused');
  await cluster.whileTimePasses(node.stop());
  await node.start('refused');
  await cluster.advance(500);
  node.store.setLink('up');
  await cluster.until(() => node.agent.admin.node().state === 'Active');
  await cluster.advance(10_000);
  t.is(node.log.matching('this node is cut off').length, 0);
  t.deepEqual(node.driver.launches, []);
  t.is(cluster.copies(INSTANCE).length, 1);
});

test('a node that has left in good order remembers nothing', async t => {
  const { cluster, node } = await running();
  await cluster.whileTimePasses(node.leave());
  await node.start('refused');
  await cluster.advance(20_000);
  t.deepEqual(node.driver.running(INSTANCE), []);
});

test('what nobody has taken from this node counts as running, though it has not taken it again yet', async t => {
  const { etcd, clock, world } = await member();
  const state = new FakeLocalState();
  const lastRun = new LastRun({ state, log: new FakeLog() });
  etcd.put('apps', 'blog', appRecord(webApp(3)));
  const released = { at: '', reason: 'stopped' };
  etcd.put('owners', 'instance/blog/web/0', ownerRecord({ node: 'node-1', incarnation: 'before' }));
  etcd.put('owners', 'instance/blog/web/1', ownerRecord({ node: 'node-1', released }));
  etcd.put('owners', 'instance/blog/web/2', ownerRecord({ node: 'node-2' }));
  await clock.settle();
  lastRun.note(world, 'node-1', []);
  t.deepEqual((await lastRun.load())?.instances, ['blog/web/0']);
});

test('of two that want one fixed port, the one that has it is remembered', async t => {
  const { etcd, clock, world } = await member();
  const lastRun = new LastRun({ state: new FakeLocalState(), log: new FakeLog() });
  const ports = [{ number: 8448, protocol: 'tcp' as const, name: null, process: 'web' }];
  etcd.put('apps', 'blog', appRecord({ ...webApp(3), ports }));
  etcd.put('owners', 'instance/blog/web/0', ownerRecord({ node: 'node-1', incarnation: 'before' }));
  etcd.put('owners', 'instance/blog/web/2', ownerRecord({ node: 'node-1', incarnation: 'before' }));
  await clock.settle();
  lastRun.note(world, 'node-1', ['blog/web/1']);
  t.deepEqual((await lastRun.load())?.instances, ['blog/web/1'], 'what runs goes before what is left');
  etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'blog', instance: 'blog/web/2' });
  await clock.settle();
  lastRun.note(world, 'node-1', ['blog/web/1']);
  t.deepEqual((await lastRun.load())?.instances, ['blog/web/2'], 'it has the key of the port');
  etcd.put('ports', 'node-2/8448/tcp', { v: 1, app: 'blog', instance: 'blog/web/0' });
  await clock.settle();
  lastRun.note(world, 'node-1', []);
  t.deepEqual((await lastRun.load())?.instances, ['blog/web/2'], 'of another node it says nothing');
});

test('a document that is damaged is not run', async t => {
  const state = new FakeLocalState();
  const lastRun = new LastRun({ state, log: new FakeLog() });
  for (const [instances, apps] of [
    [['blog'], [appRecord(webApp(1))]],
    [['blog/web/0'], []],
    [[7], [appRecord(webApp(1))]],
    [['blog/web/0'], [null]],
  ]) {
    await state.write('last-run', { v: 1, instances, apps });
    t.is(await lastRun.load(), null);
  }
});

test('what is written down is complete: the release, the artifact and the secrets', async t => {
  const { etcd, clock, world } = await member();
  const state = new FakeLocalState();
  const lastRun = new LastRun({ state, log: new FakeLog() });
  const spec = webApp(2);
  const mailer = processSpec({ type: 'mailer', exclusive: true });
  const record = appRecord({ ...spec, processes: [...spec.processes, mailer] }, { secrets: { KEY: 'x' } });
  etcd.put('apps', 'blog', record);
  await clock.settle();
  lastRun.note(world, 'node-1', ['blog/web/1', 'blog/mailer/0', 'shop/web/0']);
  t.deepEqual(await lastRun.load(), { instances: ['blog/web/1'], apps: [record] });
  lastRun.note(world, 'node-1', []);
  t.is(await lastRun.load(), null);
});

test('a document that is something else is nothing', async t => {
  for (const document of [
    null,
    'x',
    {},
    { v: 2, instances: [INSTANCE], apps: [] },
    { v: 1, instances: [] },
  ]) {
    const state = new FakeLocalState();
    await state.write('last-run', document);
    t.is(await new LastRun({ state, log: new FakeLog() }).load(), null);
  }
});

async function running(): Promise<{ cluster: SimCluster; node: SimNode }> {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(1));
  await cluster.advance(5000);
  return { cluster, node: cluster.node(cluster.owner(INSTANCE)!.node) };
}
