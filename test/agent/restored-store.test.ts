import test from 'ava';
import type { AppSpec } from '../../src/model/app-spec.ts';
import { appSpec, processSpec } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

const TTL_SECONDS = 10;
const INSTANCE = 'single/writer/0';

const single: AppSpec = appSpec({
  app: 'single',
  hostnames: [],
  processes: [processSpec({ type: 'writer', routed: false, exclusive: true, stopTimeoutSeconds: 2 })],
});

/** A cluster whose etcd goes back to before it was told of the exclusive app. */
async function restored(): Promise<{ cluster: SimCluster; token: bigint }> {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3'], { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  await cluster.run(webApp(3));
  const backup = cluster.etcd.revision;
  await cluster.run(single);
  const token = BigInt(String(cluster.events('subject-acquired').at(-1)!.details['fencingToken']));
  await cluster.advance(5000);
  cluster.etcd.restore(backup);
  return { cluster, token };
}

test('rule 14: when etcd has gone back in time all nodes give up, and exclusive processes are stopped', async t => {
  const { cluster } = await restored();
  await cluster.until(() => cluster.copies(INSTANCE).length === 0, 5000);
  await cluster.until(() =>
    [...cluster.nodes.values()].every(({ agent }) => agent.admin.node().state === 'ConnectionLost'),
  );
  t.regex(cluster.node('node-1').agent.admin.ready().reason, /etcd has gone back in time.*cluster recover/);
  await cluster.advance(60_000);
  t.is(cluster.copies(INSTANCE).length, 0);
  t.is(cluster.copies('blog/web/0').length, 1, 'what may run twice goes on');
  await cluster.stop();
});

test('rule 14: after recover nodes own again, with tokens above any that was given, and after the longest lease', async t => {
  const { cluster, token } = await restored();
  await cluster.until(() =>
    [...cluster.nodes.values()].every(({ agent }) => agent.admin.node().state === 'ConnectionLost'),
  );
  const recoveredMs = cluster.clock.now();
  const { epoch, tokenBase } = await cluster.whileTimePasses(cluster.node('node-2').agent.admin.recover());
  t.is(epoch, 1);
  t.true(BigInt(tokenBase) > token);
  await cluster.until(() =>
    [...cluster.nodes.values()].every(({ agent }) => agent.admin.node().state === 'Active'),
  );
  // The backup does not know the app: what was written after it is lost.
  await cluster.apply(single);
  await cluster.until(() => cluster.copies(INSTANCE).length === 1);
  t.true(cluster.clock.now() - recoveredMs >= TTL_SECONDS * 1000);
  const again = BigInt(String(cluster.events('subject-acquired').at(-1)!.details['fencingToken']));
  t.true(again > token);
  t.is(cluster.owner(INSTANCE)!.tokenBase, tokenBase);
  t.is(cluster.copies('blog/web/0').length, 1);
  await cluster.stop();
});

test('rule 14: an agent that was away when etcd was restored notices what it had seen before', async t => {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  const backup = cluster.etcd.revision;
  await cluster.run(single);
  await cluster.advance(5000);
  const node = cluster.node('node-1');
  await cluster.whileTimePasses(node.stop());
  cluster.etcd.restore(backup);
  await node.start();
  await cluster.advance(30_000);
  t.not(node.agent.admin.node().state, 'Active');
  t.is(cluster.copies(INSTANCE).length, 0);
  t.regex(node.agent.admin.ready().reason, /gone back in time/);
  await cluster.whileTimePasses(node.agent.admin.recover());
  await cluster.until(() => node.agent.admin.node().state === 'Active');
  await cluster.stop();
});

test('rule 14: another etcd in place of the known one is not taken for it', async t => {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  cluster.etcd.clusterId = 'fake-2';
  await cluster.until(() => cluster.node('node-1').agent.admin.node().state === 'ConnectionLost');
  t.regex(cluster.node('node-1').agent.admin.ready().reason, /another one than before/);
  await cluster.stop();
});

test('rule 14: an agent that is started again while what was owned before may still run waits as well', async t => {
  const { cluster } = await restored();
  const all = [...cluster.nodes.values()];
  await cluster.until(() => all.every(({ agent }) => agent.admin.node().state === 'ConnectionLost'));
  await cluster.whileTimePasses(cluster.node('node-2').agent.admin.recover());
  await cluster.until(() => all.every(({ agent }) => agent.admin.node().state === 'Active'));
  await cluster.advance(3000);
  for (const node of all) await node.restart();
  const startedMs = cluster.clock.now();
  await cluster.until(() => all.every(({ agent }) => agent.admin.node().state === 'Active'));
  await cluster.apply(single);
  await cluster.until(() => cluster.copies(INSTANCE).length === 1);
  t.true(cluster.clock.now() - startedMs >= TTL_SECONDS * 1000);
  // And once it is over, it is over for whoever starts later.
  await cluster.advance(10_000);
  for (const node of all) await node.restart();
  await cluster.until(() => all.every(({ agent }) => agent.admin.node().state === 'Active'));
  const againMs = cluster.clock.now();
  await cluster.apply({ ...single, app: 'other' });
  await cluster.until(() => cluster.copies('other/writer/0').length === 1);
  t.true(cluster.clock.now() - againMs < TTL_SECONDS * 1000);
  await cluster.stop();
});

test('rule 14: a second backup, from before the first recovery, is recovered from in one go, with greater tokens', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  const backup = cluster.etcd.revision;
  const all = [...cluster.nodes.values()];
  const bases: bigint[] = [];
  for (const epoch of [1, 2]) {
    await cluster.run(single);
    await cluster.advance(5000);
    cluster.etcd.restore(backup);
    await cluster.until(() => all.every(({ agent }) => agent.admin.node().state === 'ConnectionLost'));
    const opened = await cluster.whileTimePasses(cluster.node('node-1').agent.admin.recover());
    t.is(opened.epoch, epoch);
    bases.push(BigInt(opened.tokenBase));
    await cluster.until(() => all.every(({ agent }) => agent.admin.node().state === 'Active'), 15_000);
  }
  t.true(bases[1]! > bases[0]!);
  await cluster.stop();
});
