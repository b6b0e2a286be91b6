import type { NodeName } from '../../model/ids.ts';
import type { StepWork } from '../../model/plan.ts';
import { readiness } from '../../workflow/conditions.ts';
import type { KnownPlan } from './known-plan.ts';
import { workOf } from './turn.ts';

/** What the node that is asked does steps by. */
export interface Here {
  node: NodeName;
  has: (agent: string) => boolean;
  /** Has its agent, and does not leave it to other nodes. */
  does: (work: StepWork) => boolean;
}

/**
 * In words, for each agent that is not here, or leaves the step to other nodes: the first step that waits for nothing else. Nothing
 * of those by which some node has begun a step of the plan. Which agents other nodes have, this one does not know: a step is theirs
 * at once if they can do it.
 */
export function unmanned({ shape, records, settled, entry }: KnownPlan, { node, has, does }: Here): string[] {
  if (shape === null || settled || entry.value.cancel !== null) return [];
  const idle = new Set(shape.agents);
  const first = new Map<string, number>();
  for (const [index, { agent }] of shape.steps.entries()) {
    if (!idle.has(agent)) continue;
    if ((records[index]?.attempt ?? 0) > 0) idle.delete(agent);
    else if (!first.has(agent) && isReady(shape, records, index)) first.set(agent, index);
    if (idle.size === 0) return [];
  }
  return [...first].flatMap(([agent, index]) => {
    if (!idle.has(agent) || does(workOf(shape, records, index))) return [];
    const why = has(agent) ? 'leaves this one to those that can do it' : 'does not have it';
    return `step ${index} waits for the agent "${agent}": ${node} ${why}, and no other node has begun the step`;
  });
}

function isReady(
  shape: NonNullable<KnownPlan['shape']>,
  records: KnownPlan['records'],
  index: number,
): boolean {
  const state = records[index]?.state ?? 'PENDING';
  return state === 'PENDING' && readiness(shape, records, index, null).kind === 'ready';
}
