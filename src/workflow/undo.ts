import type { NodeName } from '../model/ids.ts';
import type { StepRecord, StepSpec, StepWork, UndoingStep, UndoneStep, WorkEnd } from '../model/plan.ts';
import { backoffMs, historyOf, withFailure, type AttemptEnd, type Moment } from './history.ts';
import type { PlanShape } from './shape.ts';
import { defaultUndoRetry, stepSpec, timeoutMs } from './shape.ts';
import { nextStepState } from './step-machine.ts';

/** Whether a step has ended, may have had an effect, and has a way to undo it that nobody has begun. */
export function mustBeUndone(step: StepSpec, record: StepRecord | undefined): boolean {
  return (
    record !== undefined &&
    record.attempt > 0 &&
    step.compensate !== undefined &&
    (record.state === 'COMPLETED' ||
      record.state === 'FAILED' ||
      record.state === 'TIMED_OUT' ||
      record.state === 'CANCELLED')
  );
}

/**
 * The steps whose undoing may go on now: none that comes after them, however far, is still to be undone. The last in the
 * plan's order first. Only right once no step's own work goes on any more.
 */
export function undoable(shape: PlanShape, records: readonly (StepRecord | undefined)[]): number[] {
  const held = new Uint8Array(shape.steps.length);
  const free: number[] = [];
  for (let place = shape.order.length - 1; place >= 0; place--) {
    const index = shape.order[place] ?? 0;
    const children = shape.children[index] ?? [];
    const below = children.some(child => held[child] === 1);
    const record = records[index];
    const open = record?.state === 'COMPENSATING' || mustBeUndone(stepSpec(shape, index), record);
    if (open && !below) free.push(index);
    if (open || below) held[index] = 1;
  }
  return free;
}

/** A step as its owner starts to undo it, for the first time or again. */
export function undoStarted(
  step: StepSpec,
  record: StepRecord,
  owner: NodeName,
  moment: Moment,
): UndoingStep {
  nextStepState(record.state, 'Undo');
  const again = record.state === 'COMPENSATING';
  return {
    ...historyOf(record, record.index),
    attempt: record.attempt + 1,
    state: 'COMPENSATING',
    undoes: again ? record.undoes : endOf(record),
    undos: again ? record.undos + 1 : 1,
    doing: { run: { lockedBy: owner, completeBy: moment.timestamp(undoLimitMs(step)) } },
  };
}

export function undoLimitMs(step: StepSpec): number {
  return timeoutMs(undoWork(step));
}

/** What an agent's answer makes of a step that it was undoing. */
export function afterUndo(
  step: StepSpec,
  record: UndoingStep,
  result: AttemptEnd,
  moment: Moment,
): UndoingStep | UndoneStep {
  switch (result.kind) {
    case 'completed':
      return over(record, record, 'Undone', moment);
    case 'stopped':
      return afterUndoFailure(step, record, { error: 'it was stopped', type: 'RETRYABLE' }, moment);
    case 'failed':
      return afterUndoFailure(step, record, result, moment);
    case 'cut-short': {
      const { attempts } = undoWork(step).retry ?? defaultUndoRetry;
      if (attempts <= 1) return afterUndoFailure(step, record, { ...result, type: 'RETRYABLE' }, moment);
      nextStepState(record.state, 'UndoWait');
      const wait = { waitMs: 0, nextRunAt: moment.timestamp(0) };
      return { ...record, undos: record.undos - 1, doing: { wait } };
    }
  }
}

export interface UndoFailure {
  error: string;
  type: 'RETRYABLE' | 'FATAL';
  /** Tried again without a wait: it was not the step that failed. */
  atOnce?: boolean;
}

/** An undoing after an attempt at it failed: to be tried again, or given up, which is for an operator to see. */
export function afterUndoFailure(
  step: StepSpec,
  record: UndoingStep,
  failure: UndoFailure,
  moment: Moment,
): UndoingStep | UndoneStep {
  const history = { ...record, ...withFailure(record, failure) };
  const retry = undoWork(step).retry ?? defaultUndoRetry;
  if (failure.type === 'FATAL' || record.undos >= retry.attempts) {
    return over(record, history, 'GiveUp', moment);
  }
  nextStepState(record.state, 'UndoWait');
  const waitMs = failure.atOnce ? 0 : backoffMs(retry, record.undos, moment.random());
  return { ...history, doing: { wait: { waitMs, nextRunAt: moment.timestamp(waitMs) } } };
}

function over(
  record: UndoingStep,
  history: StepRecord,
  event: 'Undone' | 'GiveUp',
  moment: Moment,
): UndoneStep {
  nextStepState(record.state, event);
  return {
    ...historyOf(history, record.index),
    state: event === 'Undone' ? 'COMPENSATED' : 'COMPENSATION_FAILED',
    undoes: record.undoes,
    undos: record.undos,
    endedAt: moment.timestamp(0),
  };
}

function undoWork(step: StepSpec): StepWork {
  if (!step.compensate) throw new Error(`there is no way to undo this step of agent ${step.agent}`);
  return step.compensate;
}

function endOf(record: StepRecord): WorkEnd {
  switch (record.state) {
    case 'COMPLETED':
    case 'FAILED':
    case 'TIMED_OUT':
    case 'CANCELLED':
      return record.state;
    default:
      throw new Error(`step ${record.index} is ${record.state}: its own work has not ended`);
  }
}
