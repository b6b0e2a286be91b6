import type { InstantMs } from '../model/ids.ts';
import type { StepRecord } from '../model/plan.ts';
import { afterFailure } from './attempts.ts';
import type { Moment } from './history.ts';
import { stepSpec, type PlanShape } from './shape.ts';
import { afterUndoFailure } from './undo.ts';

/**
 * A chunk's steps as whoever takes it from an owner that is gone writes them with its claim; also what a node writes of
 * steps that it finds running under its own name and knows nothing of. What ran may have had its effect, or may still run:
 * it is tried again at once with the next attempt, or, with no attempts left, has TIMED_OUT; what was being undone is undone
 * again, or given up. `sinceMs` = since when the taker has seen it run, on its own clock.
 */
export function afterOwnerLost(
  shape: PlanShape,
  steps: readonly StepRecord[],
  owner: string,
  sinceMs: (index: number) => InstantMs | undefined,
  nowMs: InstantMs,
  moment: Moment,
): StepRecord[] {
  return steps.map(record => {
    const step = stepSpec(shape, record.index);
    const error = `${owner}, which worked at it, is gone: it may have done its work`;
    const failure = { error, type: 'RETRYABLE', atOnce: true } as const;
    if (record.state === 'RUNNING') {
      const elapsedMs = nowMs - (sinceMs(record.index) ?? nowMs);
      return afterFailure(step, record, { ...failure, elapsedMs, unknown: true }, moment);
    }
    return record.state === 'COMPENSATING' && 'run' in record.doing
      ? afterUndoFailure(step, record, failure, moment)
      : record;
  });
}
