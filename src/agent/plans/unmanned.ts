import type { NodeName } from '../../model/ids.ts';
import { readiness } from '../../workflow/conditions.ts';
import type { KnownPlan } from './known-plan.ts';

/** What the node that is asked does steps by. */
export interface Here {
  node: NodeName;
  has: (agent: string) => boolean;
}

/**
 * In words, for each agent that is not here: the first step that waits for nothing else. Nothing of those by which some node has
 * begun a step of the plan. Which agents other nodes have, this one does not know: a step is theirs at once if they can do it.
 */
export function unmanned({ shape, records, settled, entry }: KnownPlan, { node, has }: Here): string[] {
  if (shape === null || settled || entry.value.cancel !== null) return [];
  const absent = new Set(shape.agents.filter(agent => !has(agent)));
  if (absent.size === 0) return [];
  const first = new Map<string, number>();
  for (const [index, { agent }] of shape.steps.entries()) {
    if (!absent.has(agent)) continue;
    if ((records[index]?.attempt ?? 0) > 0) absent.delete(agent);
    else if (!first.has(agent) && isReady(shape, records, index)) first.set(agent, index);
  }
  return [...first].flatMap(([agent, index]) =>
    absent.has(agent)
      ? `step ${index} waits for the agent "${agent}": ${node} does not have it, and no other node has begun the step`
      : [],
  );
}

function isReady(
  shape: NonNullable<KnownPlan['shape']>,
  records: KnownPlan['records'],
  index: number,
): boolean {
  const state = records[index]?.state ?? 'PENDING';
  return state === 'PENDING' && readiness(shape, records, index, null).kind === 'ready';
}
