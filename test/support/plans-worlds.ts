import type { StepResult } from '../../src/model/plan.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { Plans } from '../../src/ports/plans.ts';
import type { StepAgent } from '../../src/ports/step-agents.ts';
import type { Store } from '../../src/ports/store.ts';
import type { Etcd } from './etcd.ts';
import { FakePlans } from './fake-plans.ts';
import { FakeEtcd } from './fake-store.ts';
import { startPlanNode } from './plan-node.ts';
import { etcdWorld } from './store-worlds.ts';
import { until } from './until.ts';

/** What the contract suite needs of the world behind plans: two nodes that serve them, and an agent `noop` that a test speaks for. */
export interface PlansWorld {
  plans: Plans;
  /** As another node serves the same. */
  other: Plans;
  /** Until what is ready of a plan runs. */
  begin(id: string): Promise<void>;
  /** What the agent says of the attempt that runs, until the step shows it and what is ready after it runs. */
  finish(id: string, index: number, result: StepResult): Promise<void>;
  close(): Promise<void>;
}

export const plansWorlds: Record<string, (etcd: Etcd) => Promise<PlansWorld>> = {
  'in memory': () => {
    const plans = new FakePlans();
    return Promise.resolve({
      plans,
      other: plans,
      begin: async id => plans.begin(id),
      finish: async (id, index, result) => plans.finish(id, index, result),
      close: () => Promise.resolve(),
    });
  },
  'the engine': () => {
    const etcd = new FakeEtcd(systemClock());
    return engines(node => etcd.client(node));
  },
  'the engine on etcd': etcd => {
    const world = etcdWorld(etcd);
    return engines(node => world.client(node));
  },
};

async function engines(storeOf: (node: string) => Store): Promise<PlansWorld> {
  const asked = new Map<string, (result: StepResult) => void>();
  const agent: StepAgent = {
    name: 'noop',
    check: () => [],
    run: ({ plan, index }) => new Promise(resolve => asked.set(`${plan}/${index}`, resolve)),
  };
  const [node, other] = await Promise.all(
    ['node-1', 'node-2'].map(name => startPlanNode(storeOf(name), name, [agent])),
  );
  if (node === undefined || other === undefined) throw new Error('two nodes are started');
  const { plans } = node.engine;
  const settled = async (id: string): Promise<boolean> => {
    const { items } = await plans.steps(id, {});
    const ended = new Set(items.flatMap(({ index, endedAt }) => (endedAt === null ? [] : index)));
    return items.every(({ index, state, dependsOn }) => {
      if (state === 'RUNNING') return asked.has(`${id}/${index}`);
      return state !== 'RETRY_WAIT' && (state !== 'PENDING' || !dependsOn.every(parent => ended.has(parent)));
    });
  };
  return {
    plans,
    other: other.engine.plans,
    begin: async id => {
      await until('what is ready runs', () => settled(id));
    },
    finish: async (id, index, result) => {
      const name = `${id}/${index}`;
      (await until(`step ${index} runs`, () => asked.get(name)))(result);
      const { attempt } = await plans.step(id, index);
      asked.delete(name);
      await until(`step ${index} shows it`, async () => {
        const now = await plans.step(id, index);
        return now.state !== 'RUNNING' || now.attempt > attempt;
      });
      await until('what is ready runs', () => settled(id));
    },
    close: async () => {
      await Promise.all([node.stop(), other.stop()]);
    },
  };
}
