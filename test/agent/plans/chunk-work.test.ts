import test from 'ava';
import { completed, PlanCluster } from '../../support/plan-cluster.ts';

test('what arrives while something is being written counts, and nothing is done twice for it', async t => {
  const cluster = await PlanCluster.start(1, ({ index }) => ({
    afterMs: 100 + 5 * index,
    result: completed,
  }));
  // Each write takes longer than from one result to the next.
  cluster.node().store.setReplyDelay(12);
  const view = await cluster.ended(await cluster.submit(20));
  t.is(view.state, 'COMPLETED');
  t.is(cluster.asked.length, 20);
});

test('results that come shortly after each other are written together, and the last without a wait', async t => {
  const cluster = await PlanCluster.start(1, ({ index }) => ({ afterMs: 100 + index, result: completed }));
  const plan = await cluster.submit(10);
  const { writes } = cluster.node().engine.figures();
  const beganMs = cluster.clock.now();
  await cluster.ended(plan);
  t.true(cluster.node().engine.figures().writes - writes <= 5);
  t.true(cluster.clock.now() - beganMs <= 115);
});
