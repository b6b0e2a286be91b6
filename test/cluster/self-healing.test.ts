import test from 'ava';
import type { InstanceView } from '../../src/model/views.ts';
import { ask, isAlive, startCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { until } from '../support/until.ts';

/** One cluster for the file: the tests run one after the other, each leaves it whole. */
let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: 5 });
});
test.after.always(() => cluster.stop());

const byName = (instances: InstanceView[], name: string): InstanceView =>
  instances.find(instance => instance.instance === name)!;
const facts = (instances: InstanceView[]): string[] =>
  instances.map(({ instance, node, pid, token }) => `${instance} ${node} ${pid} ${token}`);

test.serial('three instances run on three nodes and answer', async t => {
  await cluster.apply('shop', { scale: { web: 3 } });
  const ready = await cluster.ready('shop', 3);
  t.deepEqual(ready.map(({ node }) => node).sort(), ['node-1', 'node-2', 'node-3']);
  for (const instance of ready) t.is((await ask(instance))['instance'], instance.instance);
});

test.serial('a killed process is running again on its node, with the same token', async t => {
  const before = byName(await cluster.ready('shop', 3), 'shop/web/0');
  process.kill(before.pid!, 'SIGKILL');
  const after = byName(
    await cluster.ready('shop', 3, all => byName(all, 'shop/web/0').pid !== before.pid),
    'shop/web/0',
  );
  t.is(after.node, before.node);
  t.is(after.token, before.token);
});

test.serial('a process that hangs is noticed and replaced', async t => {
  const before = byName(await cluster.ready('shop', 3), 'shop/web/1');
  await ask(before, '/hang', 1000).catch(() => null);
  const after = byName(
    await cluster.ready('shop', 3, all => byName(all, 'shop/web/1').pid !== before.pid),
    'shop/web/1',
  );
  await until('the hung process is gone', () => !isAlive(before.pid!));
  t.is((await ask(after))['instance'], 'shop/web/1');
});

test.serial('an agent that is killed and started again finds the same processes and tokens', async t => {
  // A lease so long that no machine is too slow to be back before it ends.
  const patient = await startCluster({ nodes: 1, leaseTtlSeconds: 60 });
  t.teardown(() => patient.stop());
  const [node] = patient.nodes as [TestNode];
  await patient.apply('shop', { scale: { web: 2 } });
  const before = await patient.ready('shop', 2);
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    await node.end(signal);
    await node.start();
    await node.ready();
    const after = await patient.ready('shop', 2);
    t.deepEqual(facts(after), facts(before), `after ${signal}`);
  }
  const { items } = await patient.api.events({ kind: 'instance-adopted', limit: 100 });
  t.true(items.some(event => event.node === node.name));
});

test.serial('a node that is lost is replaced, and its promises are told to have expired', async t => {
  const before = await cluster.ready('shop', 3);
  const lost = cluster.node('node-3');
  const moved = before.filter(instance => instance.node === 'node-3').map(({ instance }) => instance);
  await lost.crash();
  const after = await cluster.ready('shop', 3, all => all.every(({ node }) => node !== 'node-3'));
  for (const name of moved) t.not(byName(after, name).token, byName(before, name).token);
  const expired = await until('the expiry is in the ledger', async () => {
    const { items } = await cluster.api.events({ kind: 'promise-expired', limit: 100 });
    const found = items.filter(event => event.subject.startsWith('node-3/running:'));
    return found.length > 0 ? found : null;
  });
  t.deepEqual(
    [...new Set(expired.map(({ subject }) => subject))].sort(),
    moved.map(name => `node-3/running:${name}`),
  );
  await lost.start();
  await lost.ready();
});

test.serial('an agent away for longer than its lease loses nothing that still answers', async t => {
  const before = await cluster.ready('shop', 3);
  const victim = before.find(({ node }) => node === 'node-2')!;
  const node = cluster.node('node-2');
  await node.end('SIGKILL');
  await until('its session is gone, and its observers say that its copy answers', async () => {
    const { items } = await cluster.api.assessments({ promiser: 'node-2' });
    return items.filter(({ answering }) => answering?.name === `running:${victim.instance}`).length === 2;
  });
  t.is((await ask(victim))['pid'], victim.pid);
  await node.start();
  await node.ready();
  const after = byName(
    await cluster.ready('shop', 3, all => byName(all, victim.instance).token !== victim.token),
    victim.instance,
  );
  t.is(after.node, 'node-2', 'its new session has taken it again');
  t.is(after.pid, victim.pid);
});

test.serial('a copy that dies while its agent is away is replaced elsewhere', async t => {
  const before = await cluster.ready('shop', 3);
  const victim = before.find(({ node }) => node === 'node-2')!;
  const node = cluster.node('node-2');
  await node.end('SIGKILL');
  await until('its copy is looked after by its observers', async () => {
    const { items } = await cluster.api.assessments({ promiser: 'node-2' });
    return items.filter(({ answering }) => answering?.name === `running:${victim.instance}`).length === 2;
  });
  process.kill(-victim.pid!, 'SIGKILL');
  const taken = byName(
    await cluster.ready('shop', 3, all => byName(all, victim.instance).node !== 'node-2'),
    victim.instance,
  );
  t.deepEqual(taken.mayStillRun, ['node-2']);
  await node.start();
  await node.ready();
  await until('the owner key says that nothing of it runs there', async () => {
    const { mayStillRun } = byName(await cluster.instances('shop'), victim.instance);
    return mayStillRun.length === 0;
  });
  t.is(byName(await cluster.ready('shop', 3), victim.instance).pid, taken.pid);
});

test.serial('a restart of etcd restarts nothing', async t => {
  const before = await cluster.ready('shop', 3);
  await cluster.etcd.first.kill();
  await cluster.etcd.first.start();
  await cluster.etcd.first.healthy();
  const after = await cluster.ready('shop', 3);
  t.deepEqual(facts(after).map(pidsOnly), facts(before).map(pidsOnly));
});

test.serial(
  'etcd away for several leases stops and moves nothing, and a crash meanwhile is still repaired',
  async t => {
    const before = await cluster.ready('shop', 3);
    await cluster.etcd.first.stop();
    await until(
      'the nodes know that they are cut off',
      async () => (await cluster.nodes[0]!.api.node()).state === 'ConnectionLost',
    );
    const crashed = before[0]!;
    process.kill(crashed.pid!, 'SIGKILL');
    await until('it answers again, with no store', async () => {
      const answer = await ask(crashed, '/', 2000).catch(() => null);
      return answer !== null && answer['pid'] !== crashed.pid;
    });
    for (const instance of before.slice(1)) t.is((await ask(instance))['pid'], instance.pid);
    await cluster.etcd.first.start();
    await cluster.etcd.first.healthy();
    const after = await cluster.ready('shop', 3, all => all.length === 3);
    for (const instance of before.slice(1)) {
      t.is(byName(after, instance.instance).pid, instance.pid, instance.instance);
      t.is(byName(after, instance.instance).node, instance.node);
    }
  },
);

test.serial('everything stopped and started again comes back without hands', async t => {
  const before = await cluster.ready('shop', 3);
  await Promise.all(cluster.nodes.map(node => node.crash()));
  await cluster.etcd.first.kill();
  await cluster.etcd.first.start();
  await cluster.etcd.first.healthy();
  await Promise.all(cluster.nodes.map(node => node.start()));
  await Promise.all(cluster.nodes.map(node => node.ready()));
  // What was promised before stands until it is known to be broken, or its lease ends.
  const isNew = ({ pid }: InstanceView): boolean => before.every(old => old.pid !== pid);
  const after = await cluster.ready('shop', 3, all => all.length === 3 && all.every(isNew));
  for (const instance of after) t.is((await ask(instance))['instance'], instance.instance);
});

test.serial('an app that is removed leaves no process and no name behind', async t => {
  const before = await cluster.ready('shop', 3);
  await cluster.api.remove('shop');
  await until('it is gone', async () => (await cluster.api.apps()).items.length === 0);
  for (const { pid } of before) await until(`pid ${pid} is gone`, () => !isAlive(pid!));
  t.deepEqual(await cluster.instances('shop'), []);
  t.deepEqual((await cluster.api.subjects()).items, []);
});

function pidsOnly(fact: string): string {
  return fact.split(' ').slice(0, 3).join(' ');
}
