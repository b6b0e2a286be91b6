import type { PlanCancel, PlanState, StepRecord, StepState } from '../model/plan.ts';
import type { PlanShape } from './shape.ts';
import { stepSpec } from './shape.ts';
import { mustBeUndone } from './undo.ts';

/** A plan's steps, counted. One pass over them. */
export interface Survey {
  /** Anything has happened at all. */
  touched: boolean;
  /** Steps whose own work has not ended. */
  open: number;
  /** The lowest step whose own work failed or timed out, whatever was undone since; null = none did. */
  firstFailed: number | null;
  cancelled: number;
  /** Steps that are to be undone and have not been begun, should the plan undo anything. */
  toUndo: number;
  undoing: number;
  undone: number;
  /** Undoings that were given up. */
  escalated: number;
}

export function survey(shape: PlanShape, records: readonly (StepRecord | undefined)[]): Survey {
  const result: Survey = {
    touched: false,
    open: 0,
    firstFailed: null,
    cancelled: 0,
    toUndo: 0,
    undoing: 0,
    undone: 0,
    escalated: 0,
  };
  for (let index = 0; index < shape.steps.length; index++) {
    const record = records[index];
    if (record === undefined) {
      result.open++;
      continue;
    }
    if (record.state !== 'PENDING' || record.attempt > 0) result.touched = true;
    // Most of a large plan's steps are like these, and all are looked at whenever one chunk moves.
    if (record.state === 'RUNNING') {
      result.open++;
      continue;
    }
    if (record.state === 'COMPLETED' && !shape.undoable) continue;
    const end = ownEnd(record);
    if ((end === 'FAILED' || end === 'TIMED_OUT') && result.firstFailed === null) result.firstFailed = index;
    if (end === 'CANCELLED') result.cancelled++;
    switch (record.state) {
      case 'PENDING':
      case 'RETRY_WAIT':
        result.open++;
        break;
      case 'COMPENSATING':
        result.undoing++;
        break;
      case 'COMPENSATED':
        result.undone++;
        break;
      case 'COMPENSATION_FAILED':
        result.escalated++;
        break;
      default:
        if (shape.undoable && mustBeUndone(stepSpec(shape, index), record)) result.toUndo++;
    }
  }
  return result;
}

/** How its own work ended, whatever was undone since; or its state. */
function ownEnd(record: StepRecord): StepState {
  switch (record.state) {
    case 'COMPENSATING':
    case 'COMPENSATED':
    case 'COMPENSATION_FAILED':
      return record.undoes;
    default:
      return record.state;
  }
}

/** Whether the plan has come to undoing what may have started. */
export function mustUndo(shape: PlanShape, counts: Survey): boolean {
  const wrong = counts.firstFailed !== null || counts.cancelled > 0;
  return shape.undoable && counts.open === 0 && wrong && counts.toUndo + counts.undoing > 0;
}

/**
 * The plan's state, as its steps show it. A plan that was to end before its time but had nothing left that could be
 * cancelled has completed; one whose own complete-by took something away has failed. COMPENSATED = whatever may have
 * started and can be undone is undone.
 */
export function planState(shape: PlanShape, counts: Survey, cancel: PlanCancel | null): PlanState {
  if (counts.open > 0) return counts.touched ? 'RUNNING' : 'PENDING';
  if (mustUndo(shape, counts)) return 'COMPENSATING';
  if (counts.escalated > 0) return 'COMPENSATION_FAILED';
  if (counts.undone > 0) return 'COMPENSATED';
  if (counts.cancelled > 0) return cancel?.kind === 'complete-by' ? 'FAILED' : 'CANCELLED';
  return counts.firstFailed === null ? 'COMPLETED' : 'FAILED';
}
