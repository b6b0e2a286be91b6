import test from 'ava';
import fc from 'fast-check';
import { stepStates, type PlanCancel, type PlanSpec, type StepRecord } from '../../src/model/plan.ts';
import { retryByHand } from '../../src/workflow/retry-by-hand.ts';
import { shapeOf } from '../../src/workflow/shape.ts';
import { planState, survey, surveyAfter } from '../../src/workflow/survey.ts';
import { moment, plan, record, step } from './helpers.ts';

const undoable = step({ compensate: { agent: 'noop', resource: '' } });
const two = plan([step(), step()]);
const three = plan([step(), step({ dependsOn: [0] }), step({ dependsOn: [1] }), step()]);
const saga = plan([undoable, { ...step(), dependsOn: [0] }], { onFailure: 'compensate' });
const asked: PlanCancel = { kind: 'asked', by: 'ada', at: '' };
const overall: PlanCancel = { kind: 'complete-by', by: 'node-1', at: '' };
const stateOf = (spec: PlanSpec, records: StepRecord[], cancel: PlanCancel | null = null): string => {
  const shape = shapeOf(spec);
  return planState(shape, survey(shape, byIndex(spec, records)), cancel);
};

const rows: [string, string, string][] = [
  ['nothing has happened', stateOf(two, []), 'PENDING'],
  ['one step runs', stateOf(two, [record(0, 'RUNNING')]), 'RUNNING'],
  ['one has completed', stateOf(two, [record(0, 'COMPLETED')]), 'RUNNING'],
  [
    'one waits after a retry by hand',
    stateOf(two, [record(0, 'PENDING', { attempt: 2, before: 2 })]),
    'RUNNING',
  ],
  ['all have completed', stateOf(two, [record(0, 'COMPLETED'), record(1, 'COMPLETED')]), 'COMPLETED'],
  ['one was skipped', stateOf(two, [record(0, 'COMPLETED'), record(1, 'SKIPPED')]), 'COMPLETED'],
  ['one has failed', stateOf(two, [record(0, 'FAILED'), record(1, 'COMPLETED')]), 'FAILED'],
  ['one timed out', stateOf(two, [record(0, 'COMPLETED'), record(1, 'TIMED_OUT')]), 'FAILED'],
  [
    'somebody took something away',
    stateOf(two, [record(0, 'FAILED'), record(1, 'CANCELLED')], asked),
    'CANCELLED',
  ],
  [
    'its own time took something away',
    stateOf(two, [record(0, 'COMPLETED'), record(1, 'CANCELLED')], overall),
    'FAILED',
  ],
  ['cancelled too late', stateOf(two, [record(0, 'COMPLETED'), record(1, 'COMPLETED')], asked), 'COMPLETED'],
  [
    'it failed, and is to be undone',
    stateOf(saga, [record(0, 'COMPLETED'), record(1, 'FAILED')]),
    'COMPENSATING',
  ],
  [
    'it was cancelled, and is to be undone',
    stateOf(saga, [record(0, 'COMPLETED'), record(1, 'CANCELLED')], asked),
    'COMPENSATING',
  ],
  ['it is being undone', stateOf(saga, [record(0, 'COMPENSATING'), record(1, 'FAILED')]), 'COMPENSATING'],
  [
    'it is undone, though one step has no way to be',
    stateOf(saga, [record(0, 'COMPENSATED'), record(1, 'FAILED')]),
    'COMPENSATED',
  ],
  [
    'it could not be undone',
    stateOf(saga, [record(0, 'COMPENSATION_FAILED'), record(1, 'FAILED')]),
    'COMPENSATION_FAILED',
  ],
  [
    'nothing had begun that could be undone',
    stateOf(saga, [record(0, 'CANCELLED', { attempt: 0 }), record(1, 'CANCELLED', { attempt: 0 })], asked),
    'CANCELLED',
  ],
  ['a saga that went well', stateOf(saga, [record(0, 'COMPLETED'), record(1, 'COMPLETED')]), 'COMPLETED'],
];
for (const [what, state, expected] of rows) {
  test(`a plan's state: ${what}`, t => {
    t.is(state, expected);
  });
}

const failedInTheMiddle = [
  record(0, 'COMPLETED'),
  record(1, 'FAILED', { attempt: 3, spentMs: 9 }),
  record(2, 'SKIPPED'),
  record(3, 'CANCELLED'),
];
const again = (
  spec: PlanSpec,
  records: StepRecord[],
  only: number[] | null = null,
  cancel: PlanCancel | null = null,
) => retryByHand(shapeOf(spec), byIndex(spec, records), cancel, only && new Set(only), moment);

const retries: [string, ReturnType<typeof again>, string[] | string][] = [
  [
    'all that failed, and what was skipped after it',
    again(three, failedInTheMiddle),
    ['1 PENDING 3-3', '2 PENDING 0-0', '3 PENDING 1-1'],
  ],
  [
    'one step alone, and what was skipped',
    again(three, failedInTheMiddle, [3]),
    ['2 PENDING 0-0', '3 PENDING 1-1'],
  ],
  [
    'one step alone in a plan that goes on: only what was skipped after it',
    again({ ...three, onFailure: 'continue' }, failedInTheMiddle, [3]),
    ['3 PENDING 1-1'],
  ],
  [
    'an undoing that was given up',
    again(saga, [record(0, 'COMPENSATION_FAILED'), record(1, 'FAILED')]),
    ['0 COMPENSATING 1-0'],
  ],
  [
    'a step that completed',
    again(three, failedInTheMiddle, [0]),
    'step 0 is COMPLETED: it is none that failed',
  ],
  [
    'a plan that completed',
    again(two, [record(0, 'COMPLETED'), record(1, 'COMPLETED')]),
    'every step has completed',
  ],
  ['a plan that goes on', again(two, [record(0, 'FAILED')]), 'the plan has not ended, it is RUNNING'],
  [
    'a plan that was undone',
    again(saga, [record(0, 'COMPENSATED'), record(1, 'FAILED')]),
    'its steps have been undone: submit it anew',
  ],
];
for (const [what, found, expected] of retries) {
  test(`a retry by hand: ${what}`, t => {
    if (found.kind === 'refused') t.is(found.reason, expected as string);
    else {
      t.deepEqual(
        found.records.map(one => `${one.index} ${one.state} ${one.attempt}-${one.before ?? 0}`),
        expected as string[],
      );
    }
  });
}

function byIndex(spec: PlanSpec, records: StepRecord[]): (StepRecord | undefined)[] {
  return spec.steps.map((_, index) => records.find(one => one.index === index));
}

const anyRecord = fc
  .record({
    state: fc.constantFrom(...stepStates),
    attempt: fc.nat(2),
    undoes: fc.constantFrom('COMPLETED', 'FAILED', 'TIMED_OUT', 'CANCELLED'),
  })
  .map(
    ({ state, attempt, undoes }) =>
      (index: number) =>
        record(index, state, {
          attempt,
          ...(state.startsWith('COMPENSAT') && { undoes }),
        }),
  );
const turns = fc.array(fc.dictionary(fc.constantFrom('0', '1', '2', '3', '4', '5'), fc.option(anyRecord)), {
  maxLength: 20,
});

for (const kind of ['stop', 'compensate'] as const) {
  test(`property: a survey that is kept up with is that of all steps, when a failed plan will ${kind}`, t => {
    const steps = Array.from({ length: 6 }, (_, index) => (index % 2 === 0 ? undoable : step()));
    const shape = shapeOf(plan(steps, { onFailure: kind }));
    fc.assert(
      fc.property(turns, all => {
        const records = new Array<StepRecord | undefined>(steps.length).fill(undefined);
        let kept = survey(shape, records);
        for (const turn of all) {
          const changes = Object.entries(turn).map(([name, made]) => {
            const index = Number(name);
            const before = records[index];
            records[index] = made?.(index);
            return { index, before, after: records[index] };
          });
          const whole = survey(shape, records);
          kept = surveyAfter(shape, kept, changes) ?? whole;
          t.deepEqual(kept, whole);
        }
      }),
    );
  });
}
