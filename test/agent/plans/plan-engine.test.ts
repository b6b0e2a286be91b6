import test from 'ava';
import { PlanCluster } from '../../support/plan-cluster.ts';

for (const steps of [1, 40, 300]) {
  for (const nodes of [1, 3]) {
    test(`a plan of ${steps} steps is done by ${nodes} nodes, each step once`, async t => {
      const cluster = await PlanCluster.start(nodes);
      const plan = await cluster.submit(steps);
      const view = await cluster.ended(plan);
      t.is(view.state, 'COMPLETED');
      t.is(view.counts.COMPLETED, steps);
      t.is(cluster.asked.length, steps);
    });
  }
}
