import type { StepRecord } from '../model/plan.ts';
import type { PlanShape } from './shape.ts';
import { hasEnded } from './step-machine.ts';

export type Readiness = { kind: 'ready' } | { kind: 'wait' } | { kind: 'never'; reason: string };

const ready: Readiness = { kind: 'ready' };
const wait: Readiness = { kind: 'wait' };

/**
 * Whether a step that has not been started may be. Never before all the steps it depends on have ended. `stoppedBy` = a step
 * failed and the plan is to stop: then only steps that were written for a failure, or retried by hand, are still started.
 */
export function readiness(
  shape: PlanShape,
  records: readonly (StepRecord | undefined)[],
  index: number,
  stoppedBy: number | null,
): Readiness {
  const condition = shape.conditions[index] ?? 'all-succeeded';
  const whatever = condition === 'all-done' || condition === 'any-failed';
  const askedFor = records[index]?.before !== undefined;
  if (stoppedBy !== null && !whatever && !askedFor) {
    return { kind: 'never', reason: `the plan stopped when step ${stoppedBy} failed` };
  }
  let open = false;
  let succeeded = 0;
  let failed = false;
  let spoiled: number | null = null;
  const parents = shape.parents[index] ?? [];
  for (const parent of parents) {
    const state = records[parent]?.state ?? 'PENDING';
    if (!hasEnded(state)) open = true;
    else if (state === 'COMPLETED') succeeded++;
    else {
      spoiled ??= parent;
      if (state === 'FAILED' || state === 'TIMED_OUT') failed = true;
    }
  }
  if (condition === 'all-succeeded' && spoiled !== null) {
    const state = records[spoiled]?.state ?? 'PENDING';
    return { kind: 'never', reason: `step ${spoiled}, which it depends on, is ${state}` };
  }
  if (open) return wait;
  if (condition === 'any-succeeded' && succeeded === 0) {
    return { kind: 'never', reason: 'none of the steps it depends on succeeded' };
  }
  if (condition === 'any-failed' && !failed) {
    return { kind: 'never', reason: 'none of the steps it depends on failed' };
  }
  return ready;
}
