import test from 'ava';
import type { StepResult } from '../../src/model/plan.ts';
import type { StepTask } from '../../src/ports/step-agents.ts';
import type { AttemptId, Hello, WorkerResult } from '../../src/rpc/read-work.ts';
import { RemoteWorker, type ResultVerdict, type WorkerLink } from '../../src/rpc/worker.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { stepTask } from '../support/step-task.ts';

const TIMES = { silenceMs: 8000, resumeMs: 5000, stopMs: 10_000 };
const unknown = /nobody knows what became of the attempt/;

/** One end of a stream that remembers what went over it. */
class FakeLink implements WorkerLink {
  readonly sent: [string, Record<string, unknown>][] = [];
  closed: string | null = null;

  send(message: object): void {
    this.sent.push(...(Object.entries(message) as [string, Record<string, unknown>][]));
  }

  close(reason: string): void {
    this.closed = reason;
  }

  /** Kinds of messages since it was last asked. */
  news(): string[] {
    return this.sent.splice(0).map(([kind]) => kind);
  }
}

function connected(hello: Partial<Hello> = {}) {
  const clock = new FakeClock();
  const verdicts: ResultVerdict[] = [];
  const state = { gone: 0, changed: 0, keepOutput: (): Promise<null> => Promise.resolve(null) };
  const worker = new RemoteWorker(
    'secret',
    { name: 'w', agents: ['pdf'], slots: 2, session: '', resumes: false, running: [], ...hello },
    {
      clock,
      times: TIMES,
      keepOutput: () => state.keepOutput(),
      onResult: verdict => verdicts.push(verdict),
    },
    { changed: () => state.changed++, gone: () => state.gone++ },
  );
  const link = new FakeLink();
  worker.join(link, []);
  const stopping = new AbortController();
  const run = (parts: Partial<StepTask> = {}) => {
    const outcome: { result: StepResult | null } = { result: null };
    const done = worker
      .run('pdf', stepTask(parts), stopping.signal)
      .then(result => (outcome.result = result));
    return { outcome, done };
  };
  return { clock, worker, link, verdicts, state, stopping, run };
}

function idOf(parts: Partial<StepTask> = {}): AttemptId {
  const { plan, index: step, attempt, token } = stepTask(parts);
  return { plan, step, attempt, token };
}

function says(parts: Partial<WorkerResult> = {}): WorkerResult {
  return { attempt: idOf(), completed: undefined, failed: undefined, stopped: undefined, ...parts };
}
const completed = { completed: { output: new Uint8Array(), mimeType: '' } };

test('an attempt goes to the worker, and its result to whoever waits', async t => {
  const { worker, link, run, verdicts } = connected();
  const work = { agent: 'pdf', resource: 'a.pdf', arguments: { dpi: '300' } };
  const inputs = new Map([[3, { value: { pages: 2 } }]]);
  const { done } = run({
    work,
    inputs,
    remainingMs: 1234.5,
    payload: { mimeType: 'text/plain', bytes: Buffer.from('x') },
  });
  t.deepEqual(link.sent, [
    [
      'assign',
      {
        attempt: idOf(),
        kind: 'KIND_WORK',
        agent: 'pdf',
        resource: 'a.pdf',
        arguments: { dpi: '300' },
        payload: { mimeType: 'text/plain', data: Buffer.from('x') },
        inputs: { 3: { json: '{"pages":2}' } },
        idempotencyKey: 'plan-1/0',
        remainingMs: 1234,
      },
    ],
  ]);
  link.news();
  t.is(worker.room, 1);
  await worker.result(says(completed));
  t.deepEqual(await done, { kind: 'completed', output: null });
  t.deepEqual([link.news(), verdicts, worker.room], [['accepted'], ['accepted'], 2]);
});

const outcomes: [string, Partial<WorkerResult>, StepResult][] = [
  [
    'failed for now',
    { failed: { type: 'RETRYABLE', error: 'busy' } },
    { kind: 'failed', type: 'RETRYABLE', error: 'busy' },
  ],
  [
    'failed for good',
    { failed: { type: 'FATAL', error: 'no' } },
    { kind: 'failed', type: 'FATAL', error: 'no' },
  ],
  [
    'failed without a word',
    { failed: { type: null, error: '' } },
    { kind: 'failed', type: 'RETRYABLE', error: 'it says no more' },
  ],
  ['stopped', { stopped: {} }, { kind: 'stopped' }],
];
for (const [name, said, expected] of outcomes) {
  test(`what a worker says became of it is what became of it: ${name}`, async t => {
    const { worker, run } = connected();
    const { done } = run();
    await worker.result(says(said));
    t.deepEqual(await done, expected);
  });
}

test('with its slots taken it gets nothing, whichever of its names is asked for', async t => {
  const { worker, run, link } = connected({ slots: 1, agents: ['pdf', 'ocr'] });
  run();
  t.is(worker.room, 0);
  t.like(await worker.run('ocr', stepTask({ index: 1 }), new AbortController().signal), {
    kind: 'failed',
    type: 'RETRYABLE',
  });
  t.deepEqual(link.news(), ['assign']);
});

test('silence fails what it does, and gets it nothing more until it is heard; then it is told to stop that, and its result is refused', async t => {
  const { clock, worker, link, run, verdicts, state } = connected();
  const { outcome } = run();
  await clock.advance(TIMES.silenceMs - 1);
  t.is(outcome.result, null);
  await clock.advance(2);
  t.like(outcome.result, { kind: 'failed', type: 'RETRYABLE' });
  t.regex((outcome.result as { error: string }).error, unknown);
  t.is(worker.room, 0);
  link.news();
  const { changed } = state;
  worker.heard();
  t.deepEqual(link.news(), ['stop']);
  t.true(state.changed > changed);
  // It may still be at it.
  t.is(worker.room, 1);
  await worker.result(says(completed));
  t.deepEqual(link.news(), ['refused']);
  t.deepEqual(verdicts, ['stale']);
  t.is(worker.room, 2);
  t.is(state.gone, 0);
});

test('anything it says keeps it from being silent', async t => {
  const { clock, worker, run } = connected();
  const { outcome } = run();
  for (let n = 0; n < 10; n++) {
    await clock.advance(TIMES.silenceMs - 1);
    worker.heard();
  }
  t.is(outcome.result, null);
});

test('what it said while this process stood still is heard before it is called silent', async t => {
  const { clock, worker, run } = connected();
  const { outcome } = run();
  clock.freeze(3 * TIMES.silenceMs);
  await clock.advance(1);
  worker.heard();
  await clock.advance(TIMES.silenceMs - 1);
  t.is(outcome.result, null);
});

test('when its stream breaks, what it does has failed at once, and it is gone', async t => {
  const { worker, run, state, clock } = connected();
  const { done } = run();
  worker.lost();
  t.regex(((await done) as { error: string }).error, unknown);
  t.deepEqual([state.gone, worker.room, clock.pending], [1, 0, 0]);
});

test('one that resumes goes on with what it says to be at, and the rest has failed', async t => {
  const { worker, clock, run, state, link } = connected({ resumes: true });
  const kept = run();
  const dropped = run({ index: 1 });
  worker.lost();
  t.is(worker.room, 0);
  await clock.advance(TIMES.resumeMs - 1);
  t.deepEqual([kept.outcome.result, dropped.outcome.result, state.gone], [null, null, 0]);
  const next = new FakeLink();
  worker.join(next, [idOf()]);
  t.like(await dropped.done, {
    kind: 'failed',
    type: 'RETRYABLE',
    error: 'the worker "w" came back without it',
  });
  t.is(worker.room, 1);
  await clock.advance(TIMES.resumeMs);
  worker.heard();
  await worker.result(says(completed));
  t.deepEqual(await kept.done, { kind: 'completed', output: null });
  t.deepEqual([next.news(), link.closed], [['accepted'], null]);
});

test('one that resumes and does not come back is gone', async t => {
  const { worker, clock, run, state } = connected({ resumes: true });
  const { outcome } = run();
  worker.lost();
  await clock.advance(TIMES.resumeMs + 1);
  t.regex((outcome.result as { error: string } | null)?.error ?? '', unknown);
  t.deepEqual([state.gone, clock.pending], [1, 0]);
});

test('it may come back before its last stream was seen to break, which is closed then', t => {
  const { worker, run, link } = connected({ resumes: true });
  run();
  const next = new FakeLink();
  worker.join(next, [idOf()]);
  t.truthy(link.closed);
  t.deepEqual([worker.isOn(link), worker.isOn(next)], [false, true]);
});

test('what a new worker says to be at is nothing that anybody waits for: it is told to stop, and refused', async t => {
  const { worker, link } = connected();
  worker.join(link, [idOf()]);
  t.is(worker.room, 1);
  await worker.result(says(completed));
  t.deepEqual(link.news(), ['stop', 'refused']);
  t.is(worker.room, 2);
});

test('told to stop it may still say what became of it; if it says nothing, that is given up', async t => {
  for (const [said, expected] of [
    [{ stopped: {} }, { kind: 'stopped' }],
    [completed, { kind: 'completed', output: null }],
  ] as const) {
    const { worker, link, run, stopping } = connected();
    const { done } = run();
    stopping.abort(new Error('ann cancelled it'));
    t.deepEqual(link.sent.at(-1), ['stop', { attempt: idOf(), reason: 'ann cancelled it' }]);
    await worker.result(says(said));
    t.deepEqual(await done, expected);
  }
  const { clock, worker, run, stopping, link } = connected();
  const { outcome } = run();
  stopping.abort();
  for (let waitedMs = 0; waitedMs <= TIMES.stopMs; waitedMs += 1000) {
    worker.heard();
    await clock.advance(1000);
  }
  t.like(outcome.result, { kind: 'failed', type: 'RETRYABLE' });
  t.is(worker.room, 1);
  await worker.result(says({ stopped: {} }));
  t.is(link.sent.at(-1)![0], 'refused');
  t.is(worker.room, 2);
});

test('one that comes back is told again to stop what it was to stop', t => {
  const { worker, run, stopping } = connected({ resumes: true });
  run();
  worker.lost();
  stopping.abort();
  const next = new FakeLink();
  worker.join(next, [idOf()]);
  t.deepEqual(next.news(), ['stop']);
});

test('a result that comes after its time is refused, and the attempt has failed', async t => {
  const { worker, clock, run, link, verdicts } = connected();
  const { outcome } = run({ remainingMs: 3000 });
  await clock.advance(3001);
  await worker.result(says(completed));
  t.like(outcome.result, { kind: 'failed', type: 'RETRYABLE' });
  t.deepEqual([link.sent.at(-1)![0], verdicts], ['refused', ['stale']]);
});

for (const [name, parts] of [
  ['of another attempt', { attempt: 2 }],
  ['with another token', { token: '8' }],
  ['of another step', { index: 1 }],
  ['of another plan', { plan: 'plan-2' }],
] as const) {
  test(`a result ${name} changes nothing`, async t => {
    const { worker, run, verdicts } = connected();
    const { outcome } = run();
    await worker.result(says({ ...completed, attempt: idOf(parts) }));
    t.deepEqual([outcome.result, verdicts, worker.room], [null, ['stale'], 1]);
  });
}

test('a result is taken once', async t => {
  const { worker, run, verdicts } = connected();
  const { done } = run();
  const first = worker.result(says(completed));
  await worker.result(says({ failed: { type: 'FATAL', error: 'no' } }));
  await first;
  t.deepEqual(await done, { kind: 'completed', output: null });
  t.deepEqual(verdicts, ['stale', 'accepted']);
});

test('a result that says nothing is refused, and the attempt goes on', async t => {
  const { worker, run, verdicts } = connected();
  const { outcome, done } = run();
  await worker.result(says());
  t.deepEqual([outcome.result, verdicts], [null, ['invalid']]);
  await worker.result(says(completed));
  t.like(await done, { kind: 'completed' });
});

test('an output that can’t be kept fails the attempt, and the worker is told', async t => {
  const { worker, run, verdicts, state } = connected();
  const { done } = run();
  state.keepOutput = () => Promise.reject(new Error('the disk is full'));
  await worker.result(says(completed));
  t.deepEqual(await done, {
    kind: 'failed',
    type: 'RETRYABLE',
    error: "its output can't be kept: the disk is full",
  });
  t.deepEqual(verdicts, ['not-kept']);
});

test('what was given up while its output was being kept is refused', async t => {
  const { worker, run, verdicts, state, clock } = connected();
  const { done } = run();
  let kept: (output: null) => void = () => undefined;
  state.keepOutput = () => new Promise(resolve => (kept = resolve));
  const answered = worker.result(says(completed));
  await clock.advance(TIMES.silenceMs + 1);
  kept(null);
  await answered;
  t.like(await done, { kind: 'failed' });
  t.deepEqual(verdicts, ['stale']);
});

test('one that leaves gets nothing more, and finishes what it has', async t => {
  const { worker, run } = connected();
  const { done } = run();
  worker.leave();
  t.is(worker.room, 0);
  await worker.result(says(completed));
  t.like(await done, { kind: 'completed' });
});
