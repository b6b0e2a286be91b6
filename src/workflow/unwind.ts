import type { UndoingStep } from '../model/plan.ts';
import type { Move, NextMoves, Outlook } from './moves.ts';
import { stepSpec } from './shape.ts';
import { afterUndoFailure, undoable, undoLimitMs, undoStarted } from './undo.ts';

/**
 * The moves of a chunk once all steps' own work has ended and the plan is to undo what may have started: each step after
 * all that came after it. One that is given up is an operator's to look at, and does not hold up the others.
 * Concurrency keys don't count here.
 */
export function undoMoves(outlook: Outlook): NextMoves {
  const { shape, records, chunk, moment } = outlook;
  const moves: Move[] = [];
  let { slots } = outlook;
  let wakeInMs: number | null = null;
  const wakeIn = (inMs: number): void => {
    wakeInMs = Math.min(wakeInMs ?? inMs, inMs);
  };
  for (const index of undoable(shape, records)) {
    const record = records[index];
    if (record === undefined || index < chunk.first || index >= chunk.first + chunk.count) continue;
    const step = stepSpec(shape, index);
    if (record.state === 'COMPENSATING') {
      const leftMs = leftOf(outlook, record);
      if (leftMs > 0) {
        wakeIn(leftMs);
        continue;
      }
      if ('run' in record.doing) {
        const error = `undoing it took longer than ${undoLimitMs(step) / 1000} s`;
        const after = afterUndoFailure(step, record, { error, type: 'RETRYABLE' }, moment);
        moves.push({ kind: 'time-out', index, record: after, reason: error });
        if (after.state === 'COMPENSATING' && 'wait' in after.doing) wakeIn(after.doing.wait.waitMs);
        continue;
      }
    }
    if (slots <= 0 || outlook.mayStart?.(index) === false) continue;
    slots--;
    const limitMs = undoLimitMs(step);
    const after = undoStarted(step, record, outlook.self, moment);
    const reason =
      after.undos === 1
        ? `it may have had an effect, and is ${record.state}: undo it`
        : `undo it, for the ${after.undos}. time`;
    moves.push({ kind: 'undo', index, record: after, limitMs, reason });
    wakeIn(limitMs);
  }
  return { moves, wakeInMs };
}

/** Of the attempt that runs, or of the wait before the next. */
function leftOf({ shape, nowMs, sinceMs }: Outlook, record: UndoingStep): number {
  const elapsedMs = nowMs - (sinceMs(record.index) ?? nowMs);
  const wholeMs =
    'run' in record.doing ? undoLimitMs(stepSpec(shape, record.index)) : record.doing.wait.waitMs;
  return wholeMs - elapsedMs;
}
