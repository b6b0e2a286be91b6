import type { AppSpec } from '../../../src/model/app-spec.ts';
import type { PlanRecord, StepRecord } from '../../../src/model/plan.ts';
import type { AppRecord } from '../../../src/model/records.ts';
import type { DeployProgress } from '../../../src/model/views.ts';
import type { Compare, CommitResult, Write } from '../../../src/ports/store.ts';
import type { SimCluster, SimNode } from '../../support/sim-cluster.ts';

export const APP = 'blog';

/** The plan that was submitted last. */
export function latest(cluster: SimCluster): PlanRecord {
  const plans = Object.values(cluster.etcd.contents('plans'));
  return plans.toSorted((a, b) => (a.submittedAt < b.submittedAt ? -1 : 1)).at(-1)!;
}

export function record(cluster: SimCluster): AppRecord | undefined {
  return cluster.etcd.contents('apps')[APP];
}

/** Release 2, through the first node. */
export function begin(cluster: SimCluster, spec: AppSpec, signal = new AbortController().signal) {
  const node = cluster.node('node-1');
  const digest = node.artifacts.hold('blog 2');
  const specs = [{ ...spec, source: { kind: 'uploaded' as const, digest } }];
  const said: DeployProgress[] = [];
  const ended = (async () => {
    for await (const progress of node.agent.admin.apply({ specs, ifGeneration: null }, signal))
      said.push(progress);
  })();
  return { said, ended };
}

export type Commit = (compares: Compare[], writes: Write[]) => Promise<CommitResult>;

function stateWritten(writes: Write[], index: number): StepRecord['state'] | undefined {
  for (const write of writes) {
    if (!('put' in write) || write.put !== 'steps') continue;
    const found = write.value.steps.find(step => step.index === index);
    if (found !== undefined) return found.state;
  }
  return undefined;
}

/** The node is cut off for good at a moment of a step: once it has written that it begins, or as it would write that it is done. */
export function dyingAt(node: SimNode, index: number, moment: 'begun' | 'done'): { dead: () => boolean } {
  const { store } = node;
  const commit: Commit = store.commit.bind(store);
  let dead = false;
  store.commit = async (compares, writes) => {
    const state = stateWritten(writes, index);
    if (!dead && moment === 'done' && state === 'COMPLETED') {
      dead = true;
      store.setLink('refused');
    }
    const result = await commit(compares, writes);
    if (!dead && moment === 'begun' && state === 'RUNNING') {
      dead = true;
      store.setLink('refused');
    }
    return result;
  };
  return { dead: () => dead };
}
