import type { StepState } from '../model/plan.ts';

export type StepEvent =
  | 'Start'
  | 'Complete'
  | 'Wait'
  | 'Fail'
  | 'TimeOut'
  | 'Cancel'
  | 'Skip'
  | 'Again'
  | 'Undo'
  | 'UndoWait'
  | 'Undone'
  | 'GiveUp';

/**
 * One step. `Again` is an operator's retry by hand, `GiveUp` the escalation of an undoing that will not succeed. An absent
 * entry is a move that cannot happen: asking for it is a programmer's error.
 */
const moves: Readonly<Record<StepState, Readonly<Partial<Record<StepEvent, StepState>>>>> = {
  PENDING: { Start: 'RUNNING', Skip: 'SKIPPED', Cancel: 'CANCELLED' },
  RUNNING: {
    Complete: 'COMPLETED',
    Wait: 'RETRY_WAIT',
    Fail: 'FAILED',
    TimeOut: 'TIMED_OUT',
    Cancel: 'CANCELLED',
  },
  RETRY_WAIT: { Start: 'RUNNING', Fail: 'FAILED', TimeOut: 'TIMED_OUT', Cancel: 'CANCELLED' },
  COMPLETED: { Undo: 'COMPENSATING' },
  FAILED: { Undo: 'COMPENSATING', Again: 'PENDING' },
  TIMED_OUT: { Undo: 'COMPENSATING', Again: 'PENDING' },
  CANCELLED: { Undo: 'COMPENSATING', Again: 'PENDING' },
  SKIPPED: { Again: 'PENDING' },
  COMPENSATING: {
    Undo: 'COMPENSATING',
    UndoWait: 'COMPENSATING',
    Undone: 'COMPENSATED',
    GiveUp: 'COMPENSATION_FAILED',
  },
  COMPENSATED: {},
  COMPENSATION_FAILED: { Again: 'COMPENSATING' },
};

/** The state after an event. @throws Error naming state and event when the event cannot happen in that state */
export function nextStepState(state: StepState, event: StepEvent): StepState {
  const after = moves[state][event];
  if (after === undefined) throw new Error(`step: ${event} cannot happen in state ${state}`);
  return after;
}

/** Whether a step's own work is over; it may still be undone. */
export function hasEnded(state: StepState): boolean {
  return state !== 'PENDING' && state !== 'RUNNING' && state !== 'RETRY_WAIT';
}
