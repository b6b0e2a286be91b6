import test from 'ava';
import type { StepRecord } from '../../src/model/plan.ts';
import type { StepRequest } from '../support/step-resource.ts';
import { PlanHistory, type StepSeen } from './plan-history.ts';

const at = '2026-01-01T00:00:00.000Z';
const run = { lockedBy: 'node-1', completeBy: at };

const running = (index: number, attempt = 1, token = '7'): StepSeen =>
  of({ index, attempt, state: 'RUNNING', run }, token);
const completed = (index: number, attempt = 1, token = '7'): StepSeen =>
  of({ index, attempt, state: 'COMPLETED', endedAt: at }, token);
const of = (record: StepRecord, token: string): StepSeen => ({ record, token });

const asked = (index: number, parts: Partial<StepRequest> = {}): StepRequest => ({
  ...{ key: `p/${index}`, token: 7n, effect: true },
  ...{ askedAt: index * 10, answeredAt: index * 10 + 1 },
  ...parts,
});

/** Step 1 waits for step 0. */
const steps = [{}, { dependsOn: [0] }];
const inOrder = [[running(0)], [completed(0)], [running(1)], [completed(1)]];
const once = [asked(0), asked(1)];

const rows: { name: string; saw: StepSeen[][]; letIn: StepRequest[]; trouble: RegExp | null }[] = [
  { name: 'one step after the other', saw: inOrder, letIn: once, trouble: null },
  {
    name: 'what is learned all at once, as after a watch was lost',
    saw: [[completed(1), completed(0)]],
    letIn: once,
    trouble: null,
  },
  {
    name: 'an attempt that was lost, and repeated under a later token',
    saw: [
      [running(0)],
      [running(0, 2, '9')],
      [completed(0, 2, '9')],
      [running(1, 1, '9')],
      [completed(1, 1, '9')],
    ],
    letIn: [asked(0), asked(0, { token: 9n, effect: false, askedAt: 5 }), asked(1, { token: 9n })],
    trouble: null,
  },
  {
    name: 'a step that never ends',
    saw: inOrder.slice(0, 3),
    letIn: once,
    trouble: /^step 1 is RUNNING in attempt 1$/,
  },
  {
    name: 'a step that nobody heard of',
    saw: inOrder.slice(0, 2),
    letIn: once,
    trouble: /^step 1 is PENDING$/,
  },
  {
    name: 'a step that fails',
    saw: [...inOrder.slice(0, 3), [of({ index: 1, attempt: 1, state: 'FAILED', endedAt: at }, '7')]],
    letIn: once,
    trouble: /^step 1 is FAILED in attempt 1$/,
  },
  {
    name: 'a step that ends twice',
    saw: [...inOrder, [completed(0, 2)]],
    letIn: once,
    trouble: /^step 0 was COMPLETED in attempt 1, and then COMPLETED in attempt 2$/,
  },
  {
    name: 'a step that runs again after its end',
    saw: [...inOrder, [running(0, 2)]],
    letIn: once,
    trouble: /^step 0 was COMPLETED in attempt 1, and then RUNNING in attempt 2$/,
  },
  {
    name: 'a result that is exchanged for another',
    saw: [...inOrder, [of({ ...completed(0).record, output: { value: 'late' } }, '7')]],
    letIn: once,
    trouble: /^step 0 was COMPLETED in attempt 1, and then COMPLETED in attempt 1$/,
  },
  {
    name: 'an attempt that is forgotten',
    saw: [[running(0, 2)], [running(0)], ...inOrder.slice(1)],
    letIn: once,
    trouble: /^step 0 went from RUNNING in attempt 2 to RUNNING in attempt 1$/,
  },
  {
    name: 'a step that is started while the one it waits for runs',
    saw: [[running(0)], [running(1)], [completed(0)], [completed(1)]],
    letIn: once,
    trouble: /^step 1 was started before step 0 had completed$/,
  },
  {
    name: 'a step that the resource is asked for before it has answered what it waits for',
    saw: inOrder,
    letIn: [asked(0, { answeredAt: 12 }), asked(1)],
    trouble: /^step 1 was asked for before step 0 was answered$/,
  },
  {
    name: 'a step without an effect',
    saw: inOrder,
    letIn: [asked(0)],
    trouble: /^step 1 took effect 0 times$/,
  },
  {
    name: 'a step with two effects',
    saw: inOrder,
    letIn: [...once, asked(1, { askedAt: 12 })],
    trouble: /^step 1 took effect 2 times$/,
  },
  {
    name: 'an attempt with a key of its own',
    saw: inOrder,
    letIn: [...once, asked(1, { key: 'p/1/2' })],
    trouble: /^p\/1\/2 is no step's key$/,
  },
  {
    name: 'a result that is taken from an owner whose successor was at work',
    saw: inOrder,
    letIn: [...once, asked(1, { token: 9n, effect: false, askedAt: 12 })],
    trouble: /^step 1 completed under token 7, and was asked for under 9$/,
  },
];

for (const { name, saw, letIn, trouble } of rows) {
  test(`${trouble === null ? 'no trouble' : 'trouble'}: ${name}`, t => {
    const history = new PlanHistory('p', steps);
    saw.forEach(seen => history.saw(seen));
    const found = history.judge(letIn);
    t.is(found.length, trouble === null ? 0 : 1, found.join('; '));
    if (trouble !== null) t.regex(found[0]!, trouble);
  });
}

test('how far a plan has come is counted by its steps as they were seen last', t => {
  const history = new PlanHistory('p', [...steps, {}]);
  t.deepEqual(history.progress, { ended: 0, running: 0, open: 3 });
  history.saw([running(0), running(2)]);
  history.saw([completed(0), running(1)]);
  t.deepEqual(history.progress, { ended: 1, running: 2, open: 2 });
});

test('of much trouble only some is told, and how much more there is', t => {
  const history = new PlanHistory(
    'p',
    Array.from({ length: 9 }, () => ({})),
  );
  t.deepEqual(history.judge([]).slice(-2), ['step 4 is PENDING', 'and 4 more like these']);
});
