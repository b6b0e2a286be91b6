import test from 'ava';
import { isAlive, startCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';

/** A lease so long that nothing in this file can be due to its end. */
const LEASE_TTL_SECONDS = 120;

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: LEASE_TTL_SECONDS });
  await cluster.apply('shop', { scale: { web: 3 } });
  await cluster.ready('shop', 3);
});
test.after.always(() => cluster.stop());

test.serial('an agent that is gone while its instances answer loses nothing', async t => {
  const before = await cluster.ready('shop', 3);
  const node = cluster.node('node-2');
  await node.end('SIGKILL');
  await until('both observers hear that it is silent', async () => {
    const { items } = await cluster.api.assessments({ promiser: 'node-2' });
    return items.filter(({ promise, unreachable }) => promise === 'capacity' && unreachable).length === 2;
  });
  const now = await cluster.instances('shop');
  t.deepEqual(
    now.map(({ instance, token }) => [instance, token]),
    before.map(({ instance, token }) => [instance, token]),
  );
  await node.start();
  await node.ready();
  await heardAgain('node-2');
  t.deepEqual(
    (await cluster.ready('shop', 3)).map(({ pid }) => pid),
    before.map(({ pid }) => pid),
  );
});

test.serial('a dead node is replaced long before its lease ends', async t => {
  const before = await cluster.ready('shop', 3);
  await cluster.node('node-3').crash();
  const after = await cluster.ready('shop', 3, all => all.every(({ node }) => node !== 'node-3'));
  const { items: nodes } = await cluster.api.nodes();
  t.deepEqual(
    nodes.map(({ state }) => state),
    ['Active', 'Active', 'Active'],
    'its session lives',
  );
  const moved = before.find(({ node }) => node === 'node-3')!;
  const now = after.find(({ instance }) => instance === moved.instance)!;
  t.true(BigInt(now.token!) > BigInt(moved.token!));
  t.deepEqual(now.mayStillRun, ['node-3']);
  // One that heard nobody for a moment says so until it has looked again.
  await until('both observers say why', async () => {
    const { items } = await cluster.api.assessments({ promiser: 'node-3' });
    const said = items.filter(({ promise }) => promise === `running:${moved.instance}`);
    const why = /no beat from node-3 for [\d.]+ s, and connection refused/;
    return said.length === 2 && said.every(({ evidence }) => why.test(evidence));
  });
});

test.serial('a frozen node whose instance was taken gives up its own copy when it wakes', async t => {
  const node = cluster.node('node-3');
  await node.start();
  await node.ready();
  // Until then it is no candidate.
  await heardAgain('node-3');
  await cluster.api.scale('shop', { web: 6 });
  const before = await cluster.ready('shop', 6, all => all.some(instance => instance.node === 'node-3'));
  const frozen = before.filter(instance => instance.node === 'node-3');
  node.signal('SIGSTOP');
  for (const { pid } of frozen) process.kill(-pid!, 'SIGSTOP');
  await cluster.ready('shop', 6, all => all.every(instance => instance.node !== 'node-3'));
  for (const { pid } of frozen) process.kill(-pid!, 'SIGCONT');
  node.signal('SIGCONT');
  for (const { pid } of frozen) await until(`the copy ${pid} is gone`, () => !isAlive(pid!));
  await until('nobody may still run anything', async () =>
    (await cluster.instances('shop')).every(({ mayStillRun }) => mayStillRun.length === 0),
  );
  t.is((await cluster.ready('shop', 6)).length, 6);
});

async function heardAgain(node: string): Promise<void> {
  await until(`${node} is heard again`, async () => {
    const { items } = await cluster.api.assessments({ promiser: node });
    return items.every(({ unreachable }) => !unreachable);
  });
}
