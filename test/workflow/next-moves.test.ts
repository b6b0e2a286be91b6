import test from 'ava';
import type { PlanSpec, StepRecord } from '../../src/model/plan.ts';
import type { Outlook } from '../../src/workflow/moves.ts';
import { neededOwner, nextMoves } from '../../src/workflow/next-moves.ts';
import { outlook, plan, record, step } from './helpers.ts';

const asked = { kind: 'asked', by: 'ada', at: '' } as const;
const overall = { kind: 'complete-by', by: 'node-2', at: '' } as const;
const after = (...dependsOn: number[]) => step({ dependsOn });
const limited = (limit: number) => step({ concurrency: { key: 'db', limit } });
const once = { attempts: 1, firstWaitSeconds: 1, factor: 2, longestWaitSeconds: 60, jitter: 0 };
const undo = { agent: 'noop', resource: '', timeoutSeconds: 5, retry: { ...once, attempts: 2 } };
const undoable = step({ compensate: undo });
const saga = plan([undoable, { ...undoable, dependsOn: [0] }, { ...undoable, dependsOn: [1] }], {
  onFailure: 'compensate',
});
const waits = (index: number, waitMs: number, more: Partial<StepRecord> = {}): StepRecord =>
  record(index, 'RETRY_WAIT', { wait: { waitMs, nextRunAt: '' }, ...more });

interface Row {
  spec: PlanSpec;
  records?: StepRecord[];
  more?: Partial<Outlook>;
  /** `start 0 RUNNING`, … */
  moves: string[];
  wakeInMs?: number | null;
}

const rows: Record<string, Row> = {
  'all that waits for nothing is started': {
    spec: plan([step(), after(0), step()]),
    moves: ['start 0 RUNNING', 'start 2 RUNNING'],
    wakeInMs: 60_000,
  },
  'a step with several parents waits for the last of them': {
    spec: plan([step(), step(), after(0, 1)]),
    records: [record(0, 'COMPLETED'), record(1, 'RUNNING')],
    moves: [],
    wakeInMs: 60_000,
  },
  'a step is started when the last parent has completed': {
    spec: plan([step(), step(), after(0, 1)]),
    records: [record(0, 'COMPLETED'), record(1, 'COMPLETED')],
    moves: ['start 2 RUNNING'],
  },
  'no more is started than there is room for, the lowest indexes first': {
    spec: plan([step(), step(), step()]),
    more: { slots: 2 },
    moves: ['start 0 RUNNING', 'start 1 RUNNING'],
  },
  'only the steps of the own chunk are moved': {
    spec: plan([step(), step(), step()]),
    more: { chunk: { first: 1, count: 1 } },
    moves: ['start 1 RUNNING'],
  },
  'a parent in another chunk counts': {
    spec: plan([step(), after(0)]),
    records: [record(0, 'RUNNING')],
    more: { chunk: { first: 1, count: 1 } },
    moves: [],
    wakeInMs: null,
  },
  'what this node cannot start is left to others': {
    spec: plan([step(), step()]),
    more: { mayStart: index => index === 1 },
    moves: ['start 1 RUNNING'],
  },
  'steps of a sequential plan go one by one': {
    spec: plan([step(), step(), step()], { sequential: true }),
    records: [record(0, 'COMPLETED')],
    moves: ['start 1 RUNNING'],
  },
  'a sequential plan stops at the first failure': {
    spec: plan([step(), step(), step()], { sequential: true, onFailure: 'continue' }),
    records: [record(0, 'FAILED')],
    moves: ['note 1 SKIPPED', 'note 2 SKIPPED', 'settle FAILED'],
    wakeInMs: null,
  },
  'a limit counts those who run here and elsewhere': {
    spec: plan([limited(3), limited(3), limited(3), step()]),
    records: [record(0, 'RUNNING')],
    more: { holders: key => (key === 'db' ? 1 : 0) },
    moves: ['start 1 RUNNING', 'start 3 RUNNING'],
  },
  'what waits for its key does not use up room': {
    spec: plan([limited(1), step()]),
    more: { slots: 1, holders: () => 1 },
    moves: ['start 1 RUNNING'],
  },
  'a wait that is over ends in the next attempt': {
    spec: plan([step()]),
    records: [waits(0, 1_000)],
    more: { sinceMs: () => 99_000 },
    moves: ['start 0 RUNNING'],
  },
  'a wait that is not over is waited for': {
    spec: plan([step()]),
    records: [waits(0, 1_000)],
    more: { sinceMs: () => 99_400 },
    moves: [],
    wakeInMs: 400,
  },
  'a wait that outlasts the time for all attempts is its end': {
    spec: plan([step({ completeBySeconds: 10 })]),
    records: [waits(0, 1_000, { spentMs: 9_000 })],
    more: { sinceMs: () => 99_000 },
    moves: ['note 0 TIMED_OUT', 'settle FAILED'],
  },
  'an attempt is ended when its time is over, and tried again': {
    spec: plan([step({ timeoutSeconds: 2 })]),
    records: [record(0, 'RUNNING')],
    more: { sinceMs: () => 98_000 },
    moves: ['time-out 0 RETRY_WAIT'],
    wakeInMs: 1_000,
  },
  'the last attempt ends as timed out, and stops the plan at once': {
    spec: plan([step({ timeoutSeconds: 2, retry: once }), step()]),
    records: [record(0, 'RUNNING')],
    more: { sinceMs: () => 98_000 },
    moves: ['time-out 0 TIMED_OUT', 'note 1 SKIPPED', 'settle FAILED'],
  },
  'an attempt has no more time than is left for all': {
    spec: plan([step({ completeBySeconds: 10 })]),
    records: [record(0, 'RUNNING', { spentMs: 7_000 })],
    more: { sinceMs: () => 98_000 },
    moves: [],
    wakeInMs: 1_000,
  },
  'stop: nothing is begun, nothing tried again, what runs may end': {
    spec: plan([step(), step(), step(), step()]),
    records: [record(0, 'FAILED'), record(1, 'RUNNING'), waits(2, 500)],
    moves: ['note 2 FAILED', 'note 3 SKIPPED'],
  },
  'continue: only what depends on the failure is skipped': {
    spec: plan([step(), after(0), step()], { onFailure: 'continue' }),
    records: [record(0, 'TIMED_OUT')],
    moves: ['note 1 SKIPPED', 'start 2 RUNNING'],
  },
  'stop: what was written for a failure is still started': {
    spec: plan([step(), { ...after(0), condition: 'any-failed' }, { ...after(1), condition: 'all-done' }]),
    records: [record(0, 'FAILED')],
    moves: ['start 1 RUNNING'],
  },
  'stop: what somebody wants done again is done, though another failure stopped the plan': {
    spec: plan([step(), step(), step()]),
    records: [record(0, 'FAILED'), record(1, 'PENDING', { attempt: 2, before: 2 })],
    moves: ['note 2 SKIPPED', 'start 1 RUNNING'],
  },
  'cancel: what has not begun never will, what runs is told': {
    spec: plan([step(), step(), step()]),
    records: [record(0, 'RUNNING'), waits(1, 500)],
    more: { cancel: asked, cancelSinceMs: 95_000 },
    moves: ['stop 0', 'note 1 CANCELLED', 'note 2 CANCELLED'],
    wakeInMs: 5_000,
  },
  'cancel: what did not stop in time is given up, and may still run': {
    spec: plan([step()]),
    records: [record(0, 'RUNNING')],
    more: { cancel: asked, cancelSinceMs: 90_000 },
    moves: ['time-out 0 CANCELLED', 'settle CANCELLED'],
  },
  'cancel: too late for what has completed': {
    spec: plan([step()]),
    records: [record(0, 'COMPLETED')],
    more: { cancel: asked },
    moves: ['settle COMPLETED'],
  },
  "the plan's time is over: first it is written down": {
    spec: plan([step(), step()], { completeBySeconds: 5 }),
    records: [record(0, 'RUNNING')],
    more: { planSinceMs: 95_000 },
    moves: ['expire'],
    wakeInMs: null,
  },
  "the plan's time is not over: it is waited for": {
    spec: plan([step()], { completeBySeconds: 5 }),
    records: [record(0, 'RUNNING')],
    more: { planSinceMs: 96_000 },
    moves: [],
    wakeInMs: 1_000,
  },
  "the plan's time is over: nothing goes on": {
    spec: plan([step(), step(), step()], { completeBySeconds: 5 }),
    records: [record(0, 'RUNNING'), waits(1, 500)],
    more: { cancel: overall },
    moves: ['time-out 0 TIMED_OUT', 'note 1 TIMED_OUT', 'note 2 CANCELLED', 'settle FAILED'],
  },
  'undo: not while anything goes on': {
    spec: saga,
    records: [record(0, 'COMPLETED'), record(1, 'RUNNING'), record(2, 'PENDING')],
    more: { cancel: asked, chunk: { first: 0, count: 1 } },
    moves: [],
  },
  'undo: the last first, the failed one too, as it may have done its work': {
    spec: saga,
    records: [record(0, 'COMPLETED'), record(1, 'FAILED'), record(2, 'SKIPPED')],
    moves: ['undo 1 COMPENSATING'],
    wakeInMs: 5_000,
  },
  'undo: the one before when that is done': {
    spec: saga,
    records: [record(0, 'COMPLETED'), record(1, 'COMPENSATED', { undoes: 'FAILED' }), record(2, 'SKIPPED')],
    moves: ['undo 0 COMPENSATING'],
  },
  'undo: one that was given up does not hold up the others': {
    spec: saga,
    records: [
      record(0, 'COMPLETED'),
      record(1, 'COMPENSATION_FAILED', { undoes: 'FAILED' }),
      record(2, 'SKIPPED'),
    ],
    moves: ['undo 0 COMPENSATING'],
  },
  'undo: what takes too long is tried again': {
    spec: saga,
    records: [record(0, 'COMPLETED'), record(1, 'COMPENSATING', { undoes: 'FAILED' }), record(2, 'SKIPPED')],
    more: { sinceMs: () => 95_000 },
    moves: ['time-out 1 COMPENSATING'],
    wakeInMs: 1_000,
  },
  'undo: until its attempts are used up, and an operator must look': {
    spec: saga,
    records: [
      record(0, 'COMPENSATING', { undoes: 'FAILED', undos: 2 }),
      record(1, 'SKIPPED'),
      record(2, 'SKIPPED'),
    ],
    more: { sinceMs: () => 95_000 },
    moves: ['time-out 0 COMPENSATION_FAILED', 'settle COMPENSATION_FAILED'],
  },
  'undo: what was cancelled before it began has nothing to undo': {
    spec: saga,
    records: [0, 1, 2].map(index => record(index, 'CANCELLED', { attempt: 0 })),
    more: { cancel: asked },
    moves: ['settle CANCELLED'],
  },
  'undo: all is undone': {
    spec: saga,
    records: [
      record(0, 'COMPENSATED'),
      record(1, 'COMPENSATED', { undoes: 'TIMED_OUT' }),
      record(2, 'SKIPPED'),
    ],
    moves: ['settle COMPENSATED'],
  },
  'undo: only as much at once as there is room for': {
    spec: plan([undoable, undoable, { ...undoable, compensate: undo }], { onFailure: 'compensate' }),
    records: [record(0, 'FAILED'), record(1, 'COMPLETED'), record(2, 'COMPLETED')],
    more: { slots: 2 },
    moves: ['undo 2 COMPENSATING', 'undo 1 COMPENSATING'],
  },
  'a settled plan has no moves': {
    spec: plan([step()]),
    records: [record(0, 'COMPLETED')],
    more: { settled: true },
    moves: [],
    wakeInMs: null,
  },
};
for (const [what, row] of Object.entries(rows)) {
  test(`next moves: ${what}`, t => {
    const next = nextMoves(outlook(row.spec, row.records, row.more));
    const texts = next.moves.map(move => {
      if (move.kind === 'settle') return `settle ${move.state}`;
      if (move.kind === 'expire') return 'expire';
      return 'record' in move
        ? `${move.kind} ${move.index} ${move.record.state}`
        : `${move.kind} ${move.index}`;
    });
    t.deepEqual(texts, row.moves);
    if (row.wakeInMs !== undefined) t.is(next.wakeInMs, row.wakeInMs);
    for (const { reason } of next.moves) t.not(reason, '');
  });
}

test('what is started is written down whole, before it is', t => {
  const spec = plan([step({ timeoutSeconds: 2, concurrency: { key: 'db', limit: 1 } })]);
  t.deepEqual(nextMoves(outlook(spec)).moves, [
    {
      kind: 'start',
      index: 0,
      limitMs: 2_000,
      concurrencyKey: 'db',
      reason: 'it is ready',
      record: {
        index: 0,
        attempt: 1,
        startedAt: '+0',
        state: 'RUNNING',
        run: { lockedBy: 'node-1', completeBy: '+2000' },
      },
    },
  ]);
});

test('time spent waiting counts against the time for all attempts', t => {
  const spec = plan([step({ completeBySeconds: 10 })]);
  const records = [waits(0, 1_000, { spentMs: 4_000 })];
  const [move] = nextMoves(outlook(spec, records, { sinceMs: () => 97_000 })).moves;
  t.like(move, { kind: 'start', limitMs: 3_000, record: { attempt: 2, spentMs: 7_000 } });
});

test('what could not be stopped says so', t => {
  const more = { cancel: asked, cancelSinceMs: 0 };
  const [move] = nextMoves(outlook(plan([step()]), [record(0, 'RUNNING')], more)).moves;
  t.like(move, {
    record: { trouble: { error: 'it did not stop within 10 s of being asked: it may still run' } },
  });
});

const needs: [string, Outlook, ReturnType<typeof neededOwner>][] = [
  ['a step could be started', outlook(plan([step()])), 'start'],
  ['a step was running', outlook(plan([step()]), [record(0, 'RUNNING')]), 'take over'],
  ['a step waits to be tried again', outlook(plan([step()]), [waits(0, 9_000)]), 'take over'],
  [
    'a step was being undone',
    outlook(saga, [
      record(0, 'COMPENSATING', { undoes: 'FAILED' }),
      record(1, 'SKIPPED'),
      record(2, 'SKIPPED'),
    ]),
    'take over',
  ],
  ['a step can only be skipped', outlook(plan([step(), after(0)]), [record(0, 'FAILED')]), 'start'],
  [
    'all wait for another chunk',
    outlook(plan([step(), after(0)]), [record(0, 'RUNNING')], { chunk: { first: 1, count: 1 } }),
    null,
  ],
  ['all wait for their key', outlook(plan([limited(1)]), [], { holders: () => 1 }), null],
  ['nobody has said what the plan has come to', outlook(plan([step()]), [record(0, 'COMPLETED')]), 'start'],
  [
    'it is for the first chunk to say so',
    outlook(plan([step(), step()]), [record(0, 'COMPLETED'), record(1, 'COMPLETED')], {
      chunk: { first: 1, count: 1 },
    }),
    null,
  ],
  ['the plan is settled', outlook(plan([step()]), [record(0, 'COMPLETED')], { settled: true }), null],
];
for (const [what, given, expected] of needs) {
  test(`whether a free chunk needs an owner: ${what}`, t => {
    t.is(neededOwner(given), expected);
  });
}
