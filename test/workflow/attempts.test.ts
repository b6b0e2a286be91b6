import test from 'ava';
import fc from 'fast-check';
import type { FailureType, StepRecord, StepResult, StepSpec } from '../../src/model/plan.ts';
import { acceptResult, started } from '../../src/workflow/attempts.ts';
import { backoffMs, workedBy } from '../../src/workflow/history.ts';
import { overdueSteps } from '../../src/workflow/overdue.ts';
import { afterOwnerLost } from '../../src/workflow/owner-lost.ts';
import { effectKey, shapeOf } from '../../src/workflow/shape.ts';
import { undoStarted } from '../../src/workflow/undo.ts';
import { moment, plan, record, step } from './helpers.ts';

const retry = { attempts: 3, firstWaitSeconds: 1, factor: 3, longestWaitSeconds: 5, jitter: 0.5 };
const undo = { agent: 'noop', resource: '', timeoutSeconds: 5, retry: { ...retry, attempts: 2 } };
const failed = (type: FailureType): StepResult => ({ kind: 'failed', type, error: 'HTTP 503' });
const completed: StepResult = { kind: 'completed', output: { value: 42 } };
const claim = { attempt: 1, token: '7' };
const accept = (
  spec: Partial<StepSpec>,
  before: StepRecord | undefined,
  result: StepResult,
  elapsedMs = 100,
  given = claim,
) => acceptResult(step({ retry, ...spec }), before, '7', given, result, elapsedMs, moment);

const running = record(0, 'RUNNING');
const accepted: [string, ReturnType<typeof accept>, Record<string, unknown>][] = [
  [
    'it completed, and its output is kept',
    accept({}, running, completed),
    { state: 'COMPLETED', output: { value: 42 }, endedAt: '+0' },
  ],
  [
    'a failure that may pass is tried again',
    accept({}, running, failed('RETRYABLE')),
    {
      state: 'RETRY_WAIT',
      wait: { waitMs: 1_000, nextRunAt: '+1000' },
      spentMs: 100,
      trouble: { failures: 1, error: 'HTTP 503', type: 'RETRYABLE' },
    },
  ],
  [
    'a failure that will not pass is its end',
    accept({}, running, failed('FATAL')),
    { state: 'FAILED', trouble: { failures: 1, error: 'HTTP 503', type: 'FATAL' } },
  ],
  [
    'the last attempt is its end',
    accept({}, { ...running, attempt: 3 }, failed('RETRYABLE'), 100, { attempt: 3, token: '7' }),
    { state: 'FAILED', attempt: 3 },
  ],
  [
    'attempts before a retry by hand do not count',
    accept({}, { ...running, attempt: 3, before: 2 }, failed('RETRYABLE'), 100, { attempt: 3, token: '7' }),
    { state: 'RETRY_WAIT', before: 2 },
  ],
  [
    'a wait that would end after the time for all attempts is its end',
    accept({ completeBySeconds: 2 }, { ...running, spentMs: 950 }, failed('RETRYABLE')),
    { state: 'FAILED' },
  ],
  ['it was told to stop, and did', accept({}, running, { kind: 'stopped' }), { state: 'CANCELLED' }],
  [
    'it is undone',
    accept({ compensate: undo }, record(0, 'COMPENSATING'), completed),
    { state: 'COMPENSATED', undoes: 'COMPLETED', undos: 1 },
  ],
  [
    'undoing it failed, and is tried again',
    accept({ compensate: undo }, record(0, 'COMPENSATING'), failed('RETRYABLE')),
    { state: 'COMPENSATING', doing: { wait: { waitMs: 1_000, nextRunAt: '+1000' } } },
  ],
  [
    'undoing it failed for the last time',
    accept({ compensate: undo }, record(0, 'COMPENSATING', { undos: 2 }), failed('RETRYABLE')),
    {
      state: 'COMPENSATION_FAILED',
      undos: 2,
      trouble: { failures: 1, error: 'HTTP 503', type: 'RETRYABLE' },
    },
  ],
  [
    'undoing it will never succeed',
    accept({ compensate: undo }, record(0, 'COMPENSATING'), failed('FATAL')),
    { state: 'COMPENSATION_FAILED', undos: 1 },
  ],
];
for (const [what, answer, expected] of accepted) {
  test(`what an agent's answer makes of a step: ${what}`, t => {
    t.true(answer.accepted);
    if (answer.accepted) t.like(answer.record, expected);
  });
}

const refused: [string, ReturnType<typeof accept>, string][] = [
  ['it was never started', accept({}, undefined, completed), 'the step was never started'],
  [
    'it has ended',
    accept({}, record(0, 'COMPLETED'), completed),
    'the step is COMPLETED: nothing of it runs',
  ],
  [
    'it waits to be tried again',
    accept({}, record(0, 'RETRY_WAIT'), completed),
    'the step is RETRY_WAIT: nothing of it runs',
  ],
  [
    'a later attempt runs',
    accept({}, { ...running, attempt: 2 }, completed),
    'it is of attempt 1, the one that runs is attempt 2',
  ],
  [
    'the owner has changed',
    accept({}, running, completed, 100, { attempt: 1, token: '6' }),
    "it has token 6, the owner's is 7",
  ],
  [
    'it came after its time',
    accept({ timeoutSeconds: 2 }, running, completed, 2_000),
    'it came 2000 ms after the start, its complete-by was 2000 ms',
  ],
  [
    'it came after the time for all attempts',
    accept({ completeBySeconds: 3 }, { ...running, spentMs: 2_000 }, completed, 1_000),
    'it came 1000 ms after the start, its complete-by was 1000 ms',
  ],
  [
    'it was undone too late',
    accept({ compensate: undo }, record(0, 'COMPENSATING'), completed, 5_000),
    'it came 5000 ms after the start, its complete-by was 5000 ms',
  ],
];
for (const [what, answer, reason] of refused) {
  test(`a result is refused: ${what}`, t => {
    t.deepEqual(answer, { accepted: false, reason });
  });
}

test('waits grow up to the longest, and chance takes off no more than its share', t => {
  t.deepEqual(
    [1, 2, 3, 4].map(attempts => backoffMs(retry, attempts, 0)),
    [1_000, 3_000, 5_000, 5_000],
  );
  t.is(backoffMs(retry, 1, 1), 500);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 100 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (attempts, chance) => {
        const waitMs = backoffMs(retry, attempts, chance);
        t.true(waitMs >= 500 && waitMs <= 5_000);
      },
    ),
  );
});

const spec = plan([step({ retry, compensate: undo })], { onFailure: 'compensate' });
const lost: [string, StepRecord, Record<string, unknown>][] = [
  [
    'what ran is tried again at once',
    running,
    { state: 'RETRY_WAIT', attempt: 1, wait: { waitMs: 0, nextRunAt: '+0' }, spentMs: 400 },
  ],
  [
    'what ran for the last time has timed out',
    { ...running, attempt: 3 },
    { state: 'TIMED_OUT', attempt: 3 },
  ],
  [
    'what was being undone is undone again',
    record(0, 'COMPENSATING'),
    { state: 'COMPENSATING', doing: { wait: { waitMs: 0, nextRunAt: '+0' } } },
  ],
  [
    'what was being undone for the last time is given up',
    record(0, 'COMPENSATING', { undos: 2 }),
    { state: 'COMPENSATION_FAILED' },
  ],
];
for (const [what, before, expected] of lost) {
  test(`an owner is gone: ${what}`, t => {
    const [after] = afterOwnerLost(shapeOf(spec), [before], 'node-1', () => 600, 1_000, moment);
    t.like(after, expected);
    t.is(after?.trouble?.error, 'node-1, which worked at it, is gone: it may have done its work');
  });
}

test('an owner is gone: what does not run stays as it is', t => {
  const all = (['PENDING', 'RETRY_WAIT', 'COMPLETED', 'FAILED', 'SKIPPED', 'COMPENSATED'] as const).map(
    state => record(0, state),
  );
  t.deepEqual(
    afterOwnerLost(shapeOf(spec), all, 'node-1', () => 0, 1_000, moment),
    all,
  );
});

test('a supervisor finds what runs past its time, by its own clock', t => {
  const shape = shapeOf(
    plan([step({ timeoutSeconds: 2 }), step({ compensate: undo })], { onFailure: 'compensate' }),
  );
  const records = [record(0, 'RUNNING', { attempt: 2 }), record(1, 'COMPENSATING')];
  const since = (index: number, attempt: number): number | undefined =>
    index === 0 && attempt === 1 ? 0 : 10_000;
  t.deepEqual(overdueSteps(shape, records, since, 12_000), []);
  t.deepEqual(overdueSteps(shape, records, since, 15_500), [
    { index: 0, attempt: 2, overdueMs: 3_500, reason: 'node-1 should have ended it within 2 s, 3.5 s ago' },
    { index: 1, attempt: 1, overdueMs: 500, reason: 'node-1 should have ended it within 5 s, 0.5 s ago' },
  ]);
  t.deepEqual(
    overdueSteps(shape, records, () => undefined, 99_000),
    [],
    'not what it sees for the first time',
  );
});

test('all attempts at one effect have one key', t => {
  t.is(effectKey('p1', 3, 'work'), 'p1/3');
  t.is(effectKey('p1', 3, 'undo'), 'p1/3/undo');
});

test('who worked at a step last is known of it, whatever became of that', t => {
  const shape = shapeOf(plan([step({ compensate: undo })], { onFailure: 'compensate' }));
  const after = (one: StepRecord, result: StepResult): StepRecord => {
    const given = { attempt: one.attempt, token: '7' };
    const answer = accept({ compensate: undo }, one, result, 100, given);
    return answer.accepted ? answer.record : t.fail(answer.reason);
  };
  const [lost] = afterOwnerLost(shape, [running], 'node-1', () => 0, 0, moment);
  t.is(workedBy(lost), 'node-1');
  const again = started(step(), lost, 0, 'node-2', 0, moment);
  t.is(workedBy(again), 'node-2');
  const ended = after(again, completed);
  t.is(workedBy(ended), 'node-2');
  const undoing = undoStarted(step({ compensate: undo }), ended, 'node-3', moment);
  t.is(workedBy(undoing), 'node-3');
  t.is(workedBy(after(undoing, failed('RETRYABLE'))), 'node-3');
  t.is(workedBy(after(undoing, completed)), 'node-3');
  t.is(workedBy(record(0, 'SKIPPED')), null);
});
