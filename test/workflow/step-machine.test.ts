import test from 'ava';
import type { StepState } from '../../src/model/plan.ts';
import { hasEnded, nextStepState, type StepEvent } from '../../src/workflow/step-machine.ts';

const states: StepState[] = [
  'PENDING',
  'RUNNING',
  'RETRY_WAIT',
  'COMPLETED',
  'FAILED',
  'TIMED_OUT',
  'CANCELLED',
  'SKIPPED',
  'COMPENSATING',
  'COMPENSATED',
  'COMPENSATION_FAILED',
];
const events: StepEvent[] = [
  'Start',
  'Complete',
  'Wait',
  'Fail',
  'TimeOut',
  'Cancel',
  'Skip',
  'Again',
  'Undo',
  'UndoWait',
  'Undone',
  'GiveUp',
];
const lawful: Record<string, StepState> = {
  'PENDING Start': 'RUNNING',
  'PENDING Skip': 'SKIPPED',
  'PENDING Cancel': 'CANCELLED',
  'RUNNING Complete': 'COMPLETED',
  'RUNNING Wait': 'RETRY_WAIT',
  'RUNNING Fail': 'FAILED',
  'RUNNING TimeOut': 'TIMED_OUT',
  'RUNNING Cancel': 'CANCELLED',
  'RETRY_WAIT Start': 'RUNNING',
  'RETRY_WAIT Fail': 'FAILED',
  'RETRY_WAIT TimeOut': 'TIMED_OUT',
  'RETRY_WAIT Cancel': 'CANCELLED',
  'COMPLETED Undo': 'COMPENSATING',
  'FAILED Undo': 'COMPENSATING',
  'FAILED Again': 'PENDING',
  'TIMED_OUT Undo': 'COMPENSATING',
  'TIMED_OUT Again': 'PENDING',
  'CANCELLED Undo': 'COMPENSATING',
  'CANCELLED Again': 'PENDING',
  'SKIPPED Again': 'PENDING',
  'COMPENSATING Undo': 'COMPENSATING',
  'COMPENSATING UndoWait': 'COMPENSATING',
  'COMPENSATING Undone': 'COMPENSATED',
  'COMPENSATING GiveUp': 'COMPENSATION_FAILED',
  'COMPENSATION_FAILED Again': 'COMPENSATING',
};

for (const state of states) {
  test(`from ${state}, a step goes only where the table says`, t => {
    for (const event of events) {
      const after = lawful[`${state} ${event}`];
      if (after !== undefined) t.is(nextStepState(state, event), after, event);
      else {
        t.throws(() => nextStepState(state, event), {
          message: `step: ${event} cannot happen in state ${state}`,
        });
      }
    }
  });
}

test("a step's own work is over in every state but three", t => {
  t.deepEqual(
    states.filter(state => !hasEnded(state)),
    ['PENDING', 'RUNNING', 'RETRY_WAIT'],
  );
});
