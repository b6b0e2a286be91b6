import test from 'ava';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

async function running() {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  await cluster.advance(10_000);
  return cluster;
}

const subjects = (cluster: SimCluster, kind: string): string[] =>
  cluster.events(kind).map(event => event.subject);

test('what a crashed node had promised expired: each promise once, and the end of its session, by one node', async t => {
  const cluster = await running();
  const promised = Object.keys(cluster.etcd.contents('promises')).filter(name => name.startsWith('node-2/'));
  t.true(promised.length >= 3);
  await cluster.node('node-2').crash();
  await cluster.advance(30_000);
  t.deepEqual(subjects(cluster, 'promise-expired').sort(), promised);
  t.deepEqual(subjects(cluster, 'session-ended'), ['node/node-2']);
  t.is(new Set(cluster.events('promise-expired').map(event => event.node)).size, 1);
  t.deepEqual(
    subjects(cluster, 'promise-withdrawn').filter(subject => subject.startsWith('node-2/')),
    [],
  );
});

test('a node that leaves lets nothing expire', async t => {
  const cluster = await running();
  await cluster.whileTimePasses(cluster.node('node-2').leave());
  await cluster.advance(30_000);
  t.deepEqual(subjects(cluster, 'promise-expired'), []);
  t.deepEqual(subjects(cluster, 'session-ended'), []);
});

test('a restarted agent lets nothing expire', async t => {
  const cluster = await running();
  await cluster.node('node-2').restart();
  await cluster.advance(30_000);
  t.deepEqual(subjects(cluster, 'promise-expired'), []);
  t.deepEqual(subjects(cluster, 'session-ended'), []);
});

test('what was withdrawn shortly before its node crashed is not called expired', async t => {
  const cluster = await running();
  const instance = [0, 1, 2]
    .map(index => `blog/web/${index}`)
    .find(id => cluster.owner(id)?.node === 'node-2')!;
  await cluster.node('node-1').agent.admin.remove('blog');
  await cluster.until(() => cluster.said('node-2', instance) === null);
  await cluster.node('node-2').crash();
  await cluster.advance(30_000);
  t.true(subjects(cluster, 'promise-expired').includes('node-2/capacity'));
  t.false(subjects(cluster, 'promise-expired').includes(`node-2/running:${instance}`));
});

test('a promise that expired once is told again when it expires again', async t => {
  const cluster = await running();
  const { store } = cluster.node('node-2');
  for (let times = 1; times <= 2; times++) {
    store.setLink('silent');
    await cluster.advance(15_000);
    store.setLink('up');
    await cluster.advance(20_000);
    t.is(subjects(cluster, 'promise-expired').filter(subject => subject === 'node-2/capacity').length, times);
  }
});

test('of many nodes that go at once, those that are left write it down', async t => {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3', 'node-4', 'node-5']);
  await cluster.start();
  await cluster.advance(5000);
  for (const name of ['node-1', 'node-2', 'node-3']) await cluster.node(name).crash();
  await cluster.advance(30_000);
  t.deepEqual(subjects(cluster, 'session-ended').sort(), ['node/node-1', 'node/node-2', 'node/node-3']);
  t.is(subjects(cluster, 'promise-expired').length, 3);
});
