import test from 'ava';
import { evidenceAgainst, unreachableNodes } from '../../src/agent/evidence.ts';
import type { Assessment } from '../../src/model/node-promise.ts';
import { assessment } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { member } from './helpers.ts';

const INSTANCE = 'blog/web/0';

/** What these observers say of node-9, in a cluster of node-1 (whose view it is), node-2, node-3 and node-9. */
async function seen(said: { node: string[]; instance: string[] }, others = ['node-2', 'node-3']) {
  const { etcd, clock, world } = await member();
  for (const node of [...others, 'node-9'])
    etcd.put('sessions', `${node}/i`, sessionRecord({ node, incarnation: 'i' }));
  const say = (assessor: string, promise: string, unreachable: boolean): void => {
    const parts: Partial<Assessment> = {
      promiser: 'node-9',
      promise,
      ...(unreachable ? { unreachable } : {}),
    };
    etcd.put('assessments', `node-9/${promise}/${assessor}`, {
      v: 1,
      assessment: assessment(assessor, 'broken', parts),
    });
  };
  for (const node of ['node-1', ...others]) {
    say(node, 'capacity', said.node.includes(node));
    say(node, `running:${INSTANCE}`, said.instance.includes(node));
  }
  await clock.settle();
  return {
    world,
    unreachable: [...unreachableNodes(world)],
    witnesses:
      evidenceAgainst(world, 'node-9', INSTANCE)?.map(entry => entry.value.assessment.assessor) ?? null,
  };
}

for (const { title, node, instance, unreachable, witnesses } of [
  {
    title: 'all hear nothing of it',
    node: ['node-1', 'node-2', 'node-3'],
    instance: ['node-1', 'node-2', 'node-3'],
    unreachable: true,
    witnesses: 3,
  },
  {
    title: 'most do',
    node: ['node-1', 'node-2'],
    instance: ['node-1', 'node-2'],
    unreachable: true,
    witnesses: 2,
  },
  { title: 'one alone does', node: ['node-1'], instance: ['node-1'], unreachable: false, witnesses: null },
  { title: 'nobody does', node: [], instance: [], unreachable: false, witnesses: null },
  {
    title: 'its agent is silent, and the instance answers',
    node: ['node-1', 'node-2', 'node-3'],
    instance: [],
    unreachable: true,
    witnesses: null,
  },
  {
    title: 'the instance is gone, and its agent beats',
    node: [],
    instance: ['node-1', 'node-2', 'node-3'],
    unreachable: false,
    witnesses: null,
  },
]) {
  test(`rule 12: when ${title}, there is ${witnesses === null ? 'no evidence' : 'evidence'}`, async t => {
    const found = await seen({ node, instance });
    t.deepEqual(found.unreachable, unreachable ? ['node-9'] : []);
    t.is(found.witnesses?.length ?? null, witnesses);
  });
}

test('rule 12: two nodes cut off from each other have no evidence against each other', async t => {
  const found = await seen({ node: ['node-1'], instance: ['node-1'] }, []);
  t.deepEqual(found.unreachable, []);
  t.is(found.witnesses, null);
});

test('rule 12: what is taken on evidence is taken only while that stands', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(1));
  await cluster.advance(10_000);
  const owner = cluster.owner(INSTANCE)!.node;
  const others = [...cluster.nodes.values()].filter(node => node.name !== owner);
  // In the very moment of the claim an observer hears it again.
  let claims = 0;
  for (const { store } of others) {
    const commit = store.commit.bind(store);
    store.commit = async (compares, writes) => {
      const taking = writes.some(write => 'put' in write && write.put === 'owners');
      for (const compare of taking ? compares : []) {
        if (compare.kind !== 'assessments') continue;
        claims++;
        const entry = cluster.etcd.contents('assessments')[compare.name]!;
        cluster.etcd.put('assessments', compare.name, {
          v: 1,
          assessment: { ...entry.assessment, outcome: 'kept', unreachable: undefined },
        });
        break;
      }
      return commit(compares, writes);
    };
  }
  cluster.node(owner).offline = true;
  await cluster.advance(5000);
  t.true(claims > 0);
  t.is(cluster.owner(INSTANCE)?.node, owner);
});

test('rule 12: who is taken from while its session lives goes on until the other is ready, then stops and says so', async t => {
  const cluster = new SimCluster();
  cluster.behaviour = () => ({ readyAfterMs: 3000 });
  await cluster.start();
  await cluster.run(webApp(1));
  await cluster.advance(10_000);
  const node = cluster.node(cluster.owner(INSTANCE)!.node);
  node.offline = true;
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== node.name, 10_000);
  t.is(node.agent.admin.node().state, 'Active');
  t.is(cluster.copies(INSTANCE).filter(copy => copy.node === node).length, 1);
  await cluster.until(() => cluster.owner(INSTANCE)?.mayStillRun.length === 0, 20_000);
  t.deepEqual(
    cluster.copies(INSTANCE).map(copy => copy.node.name),
    [cluster.owner(INSTANCE)!.node],
  );
  await cluster.advance(1000);
  t.is(cluster.events('subject-taken').length, 1);
});

test('rule 12: who is heard again is a candidate again within a second', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.advance(10_000);
  const node = cluster.node('node-3');
  const excluded = (): boolean =>
    cluster.assessments('node-3/capacity').some(said => said.unreachable === true);
  node.offline = true;
  await cluster.until(excluded, 5000);
  node.offline = false;
  await cluster.until(() => !excluded(), 1000);
  t.pass();
});
