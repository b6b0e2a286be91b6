import type { InstantMs } from '../model/ids.ts';
import type { StepRecord } from '../model/plan.ts';
import { limitOf } from './attempts.ts';
import { runOf } from './history.ts';
import { stepSpec, type PlanShape } from './shape.ts';
import { undoLimitMs } from './undo.ts';

export interface OverdueStep {
  index: number;
  attempt: number;
  overdueMs: number;
  reason: string;
}

/**
 * Steps that run past their complete-by in the eyes of a supervisor: `sinceMs` = when it first saw this very attempt, on its own
 * clock, so it is later than their owner, never earlier. The owner is to be asked; when it does not answer either, its
 * chunk may be taken from it, as from an owner that is gone.
 */
export function overdueSteps(
  shape: PlanShape,
  records: readonly (StepRecord | undefined)[],
  sinceMs: (index: number, attempt: number) => InstantMs | undefined,
  nowMs: InstantMs,
): OverdueStep[] {
  return records.flatMap((record, index) => {
    const run = record && runOf(record);
    if (!record || !run) return [];
    const step = stepSpec(shape, index);
    const limitMs = record.state === 'COMPENSATING' ? undoLimitMs(step) : limitOf(step, record);
    const overdueMs = nowMs - (sinceMs(index, record.attempt) ?? nowMs) - limitMs;
    if (overdueMs <= 0) return [];
    const reason = `${run.lockedBy} should have ended it within ${limitMs / 1000} s, ${overdueMs / 1000} s ago`;
    return [{ index, attempt: record.attempt, overdueMs, reason }];
  });
}
