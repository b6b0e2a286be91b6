import test from 'ava';
import { forgetNames, releaseAbandoned } from '../../../src/agent/names/forget-names.ts';
import type { World } from '../../../src/agent/world.ts';
import type { NameRequest } from '../../../src/model/named-agents.ts';
import type { OwnerRecord } from '../../../src/model/records.ts';
import { AdminError } from '../../../src/ports/admin.ts';
import { SimCluster, type SimNode } from '../../support/sim-cluster.ts';

const LONG_MS = 31 * 86_400_000;
const never = new AbortController().signal;

function asked(cluster: SimCluster, node: SimNode, name: string, parts: Partial<NameRequest> = {}) {
  const request = { holder: 'h', wait: false, waitSeconds: 0, ttlSeconds: 300, token: null, ...parts };
  return cluster.whileTimePasses(node.agent.names.request(name, request, never));
}

test('what nobody asked for in a long time is forgotten with its state, and has a higher token when it is had again', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: 10 });
  await cluster.start();
  await cluster.advance(1000);
  const [one, two] = [cluster.node('node-1'), cluster.node('node-2')];
  const { token } = await asked(cluster, one, 'old');
  const write = { holder: 'h', token: token!, state: { page: 7 } };
  await cluster.whileTimePasses(one.agent.names.putState('old', write));
  await cluster.whileTimePasses(one.agent.names.release('old', 'h', token));
  await asked(cluster, one, 'had');
  await cluster.until(() => cluster.etcd.contents('owners')['agent/old']?.released !== null);
  cluster.clock.stepWall(LONG_MS);
  // Its holder goes on.
  const gone = (): boolean => cluster.etcd.contents('owners')['agent/old'] === undefined;
  for (let minutes = 0; minutes < 7 && !gone(); minutes++) {
    await asked(cluster, one, 'had');
    await cluster.advance(60_000);
  }
  t.true(gone());
  t.is(cluster.etcd.contents('agents')['old'], undefined);
  t.is(cluster.etcd.contents('owners')['agent/had']?.released, null);
  t.is(two.agent.names.agent('old').state, 'Inactive');
  await t.throwsAsync(() => cluster.whileTimePasses(one.agent.names.putState('old', write)), {
    instanceOf: AdminError,
  });
  const again = await asked(cluster, two, 'old');
  t.true(BigInt(again.token!) > BigInt(token!));
  await cluster.stop();
});

test('a name that was taken since it was looked at is not forgotten', async t => {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: 10 });
  await cluster.start();
  await cluster.advance(1000);
  const node = cluster.node('node-1');
  const { token } = await asked(cluster, node, 'old');
  await cluster.whileTimePasses(node.agent.names.release('old', 'h', token));
  await cluster.until(() => cluster.etcd.contents('owners')['agent/old']?.released !== null);
  const [entry] = (await cluster.whileTimePasses(node.store.list('owners'))).entries;
  await asked(cluster, node, 'old');
  cluster.clock.stepWall(LONG_MS);
  const late = { owners: { all: () => [entry!] }, waiters: { all: () => [] } } as unknown as Pick<
    World,
    'owners' | 'waiters'
  >;
  const { store, log } = node;
  await cluster.whileTimePasses(forgetNames({ world: late, store, clock: cluster.clock, log }));
  t.is(cluster.etcd.contents('owners')['agent/old']?.released, null);
  await cluster.stop();
});

test('what a lost node had is released after a while, keeps its state, and is forgotten in the end', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: 10 });
  await cluster.start();
  await cluster.advance(1000);
  const [one, two] = [cluster.node('node-1'), cluster.node('node-2')];
  const owner = (name: string): OwnerRecord | undefined => cluster.etcd.contents('owners')[`agent/${name}`];
  const { token } = await asked(cluster, two, 'left');
  await cluster.whileTimePasses(
    two.agent.names.putState('left', { holder: 'h', token: token!, state: { page: 7 } }),
  );
  await two.crash();
  await cluster.until(() => one.agent.names.agent('left').state === 'Unassigned');
  const { token: had } = await asked(cluster, one, 'had');
  const goOn = async (done: () => boolean): Promise<void> => {
    for (let minutes = 0; minutes < 20 && !done(); minutes++) {
      await asked(cluster, one, 'had', { token: had });
      await cluster.advance(60_000);
    }
  };
  const lostMs = cluster.clock.now();
  await goOn(() => owner('left')?.released !== null);
  t.true(cluster.clock.now() - lostMs >= 600_000, 'whoever wants it has been before');
  t.deepEqual(cluster.etcd.contents('agents')['left']?.state, { page: 7 });
  t.is(owner('had')?.token, null, 'what somebody has is left alone');
  cluster.clock.stepWall(LONG_MS);
  await goOn(() => owner('left') === undefined);
  t.is(owner('left'), undefined);
  t.is(cluster.etcd.contents('agents')['left'], undefined);
  await cluster.stop();
});

test('what is to be released for a lost node is taken after the hold-down, and never while its session is there', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: 10 });
  await cluster.start();
  await cluster.advance(1000);
  const [one, two] = [cluster.node('node-1'), cluster.node('node-2')];
  await asked(cluster, two, 'left');
  await cluster.until(() => one.agent.names.agent('left').state === 'Assigned');
  const release = async (): Promise<void> => {
    const { entries } = await cluster.whileTimePasses(one.store.list('owners'));
    const world = { owners: { all: () => entries }, waiters: { all: () => [] } } as unknown as World;
    const { names } = one.agent;
    await cluster.whileTimePasses(releaseAbandoned({ world, names, goneMs: () => LONG_MS, signal: never }));
  };
  await release();
  t.is(one.agent.names.agent('left').owner, 'node-2');
  await two.crash();
  await cluster.until(() => one.agent.names.agent('left').state === 'Unassigned');
  await release();
  t.is(
    cluster.etcd.contents('owners')['agent/left']?.released,
    null,
    'its node may not know yet that it is lost',
  );
  await cluster.advance(11_000);
  await release();
  t.not(cluster.etcd.contents('owners')['agent/left']?.released, null);
  await cluster.stop();
});
