import type { PlanCancel, PlanState, StepRecord, StepState } from '../model/plan.ts';
import type { PlanShape } from './shape.ts';
import { stepSpec } from './shape.ts';
import { mustBeUndone } from './undo.ts';

/** A plan's steps, counted. */
export interface Survey {
  /** Steps to which anything has happened at all. */
  touched: number;
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

/** One step, as it was counted and as it is now. */
export interface Changed {
  index: number;
  before: StepRecord | undefined;
  after: StepRecord | undefined;
}

/** One pass over all steps of the plan. */
export function survey(shape: PlanShape, records: readonly (StepRecord | undefined)[]): Survey {
  const result: Survey = {
    touched: 0,
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
    count(result, shape, index, record, 1);
    if (result.firstFailed === null && hasFailed(record)) result.firstFailed = index;
  }
  return result;
}

/**
 * The survey after some steps have changed, each named once, at the cost of these alone. null = all have to be counted anew: the
 * first that had failed is to be done again.
 */
export function surveyAfter(shape: PlanShape, before: Survey, changes: Iterable<Changed>): Survey | null {
  const result = { ...before };
  for (const { index, before: was, after: is } of changes) {
    count(result, shape, index, was, -1);
    count(result, shape, index, is, 1);
    if (hasFailed(is)) result.firstFailed = Math.min(result.firstFailed ?? index, index);
    else if (index === result.firstFailed) return null;
  }
  return result;
}

function count(
  counts: Survey,
  shape: PlanShape,
  index: number,
  record: StepRecord | undefined,
  by: 1 | -1,
): void {
  if (record === undefined) {
    counts.open += by;
    return;
  }
  if (record.state !== 'PENDING' || record.attempt > 0) counts.touched += by;
  if (ownEnd(record) === 'CANCELLED') counts.cancelled += by;
  switch (record.state) {
    case 'PENDING':
    case 'RUNNING':
    case 'RETRY_WAIT':
      counts.open += by;
      break;
    case 'COMPENSATING':
      counts.undoing += by;
      break;
    case 'COMPENSATED':
      counts.undone += by;
      break;
    case 'COMPENSATION_FAILED':
      counts.escalated += by;
      break;
    default:
      if (shape.undoable && mustBeUndone(stepSpec(shape, index), record)) counts.toUndo += by;
  }
}

function hasFailed(record: StepRecord | undefined): boolean {
  const end = record && ownEnd(record);
  return end === 'FAILED' || end === 'TIMED_OUT';
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
  if (counts.open > 0) return counts.touched > 0 ? 'RUNNING' : 'PENDING';
  if (mustUndo(shape, counts)) return 'COMPENSATING';
  if (counts.escalated > 0) return 'COMPENSATION_FAILED';
  if (counts.undone > 0) return 'COMPENSATED';
  if (counts.cancelled > 0) return cancel?.kind === 'complete-by' ? 'FAILED' : 'CANCELLED';
  return counts.firstFailed === null ? 'COMPLETED' : 'FAILED';
}
