import test from 'ava';
import { completed, noop, PlanCluster } from '../../support/plan-cluster.ts';

test('rule 14: on an etcd that was restored a plan stands still until it is recovered; then it goes on from the backup, with tokens above any that was given', async t => {
  const cluster = await PlanCluster.start(1, () => ({ afterMs: 1_000, result: completed }));
  const plan = await cluster.submit(
    Array.from({ length: 4 }, (_, index) => noop(index > 0 ? { dependsOn: [index - 1] } : {})),
  );
  await cluster.clock.advance(1_500);
  t.deepEqual(cluster.states(plan), ['COMPLETED', 'RUNNING', 'PENDING', 'PENDING']);
  const backup = cluster.etcd.revision;
  // Much is lost with what comes after the backup.
  for (let port = 0; port < 50; port++)
    cluster.etcd.put('hostnames', `${port}.example.com`, { v: 1, app: 'blog' });
  await cluster.clock.advance(1_000);
  const given = cluster.asked.length;
  const highest = cluster.asked.map(({ task }) => BigInt(task.token)).reduce((a, b) => (a > b ? a : b));
  cluster.etcd.restore(backup);
  await cluster.clock.advance(30_000);
  t.is(cluster.asked.length, given);
  t.is(cluster.node().engine.figures().running, 0);
  t.deepEqual(cluster.states(plan), ['COMPLETED', 'RUNNING', 'PENDING', 'PENDING']);
  const tokenBase = String(2n ** 41n);
  const epoch = { v: 1, number: 1, tokenBase, at: cluster.clock.timestamp(), by: 'node-1' } as const;
  cluster.etcd.put('cluster', 'epoch', epoch);
  const view = await cluster.ended(plan);
  t.is(view.state, 'COMPLETED');
  t.deepEqual(cluster.attempts().slice(given), ['1 2', '2 1', '3 1']);
  for (const { task } of cluster.asked.slice(given)) t.true(BigInt(task.token) > highest);
});
