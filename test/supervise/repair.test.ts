import test from 'ava';
import type { Outcome, RunningBody } from '../../src/model/node-promise.ts';
import type { AnswerRecord } from '../../src/model/records.ts';
import { defaultPolicy } from '../../src/supervise/policy.ts';
import { repairOf, type KnownRequest } from '../../src/supervise/repair.ts';
import { assessment, runningPromise } from '../support/nouns.ts';

const observers = ['node-2', 'node-3', 'node-4'];
const nowMs = 1_000_000;

function asked(attempt: number, agoMs: number, answer: AnswerRecord['answer'] | null): KnownRequest {
  const id = `r${attempt}`;
  return {
    request: {
      id,
      node: 'node-1',
      action: 'restart',
      subject: 'instance/blog/web/0',
      reason: 'broken',
      attempt,
      from: 'node-2',
      at: 'then',
    },
    answer: answer === null ? null : { v: 1, id, node: 'node-1', answer, reason: '', at: 'then' },
    sinceMs: nowMs - agoMs,
  };
}

interface Row {
  outcomes?: Outcome[];
  /** How many of them say that it is not reached, nor its agent. */
  unreached?: number;
  /** The process that they found broken. */
  pid?: number;
  body?: Partial<RunningBody>;
  requests?: KnownRequest[];
  move: string;
}

const rows: Record<string, Row> = {
  'broken in the eyes of a quorum: asked to restart': {
    outcomes: ['broken', 'broken', 'kept'],
    move: 'ask 0',
  },
  'broken in the eyes of one: not yet': { outcomes: ['broken', 'indeterminate'], move: 'none' },
  'a quorum of kept is healthy': { outcomes: ['broken', 'kept', 'repaired'], move: 'healthy' },
  'what is not reached, nor its agent, is for others to take': { unreached: 2, move: 'none' },
  'one that can not reach it is no reason to leave the rest unheard': { unreached: 1, move: 'ask 0' },
  'what was found broken has been replaced: the next is left alone': { pid: 4710, move: 'none' },
  'what was found broken is what runs': { pid: 4711, move: 'ask 0' },
  'a copy its node is starting is left to it': { body: { state: 'starting', ready: false }, move: 'none' },
  'a copy its node has given up is left to it': { body: { state: 'failed', ready: false }, move: 'none' },
  'a copy its node calls unhealthy is asked about': {
    body: { state: 'unhealthy', ready: false },
    move: 'ask 0',
  },
  'not again while the request is unanswered': { requests: [asked(0, 20_000, null)], move: 'wait 40000' },
  'not again while the node is at it': { requests: [asked(0, 20_000, 'accepted')], move: 'wait 40000' },
  'a request unanswered for a minute had no effect': { requests: [asked(0, 60_000, null)], move: 'ask 1' },
  'after a fruitless one it waits 10 s': { requests: [asked(0, 4_000, 'done')], move: 'wait 6000' },
  'then it asks again': { requests: [asked(0, 10_000, 'done')], move: 'ask 1' },
  'a refusal is waited out too': { requests: [asked(0, 4_000, 'refused')], move: 'wait 6000' },
  'each wait is twice the one before': {
    requests: [asked(0, 300_000, 'done'), asked(2, 30_000, 'done'), asked(1, 90_000, 'done')],
    move: 'wait 10000',
  },
  'after five fruitless ones it is given up': {
    requests: [0, 1, 2, 3, 4].map(attempt => asked(attempt, 160_000, 'failed')),
    move: 'give-up 5',
  },
};

for (const [title, { outcomes, unreached = 0, pid, body, requests, move }] of Object.entries(rows)) {
  test(title, t => {
    const assessments = (outcomes ?? ['broken', 'broken', 'broken']).map((outcome, index) => ({
      ...assessment(observers[index]!, outcome, { pid }),
      ...(index < unreached ? { unreachable: true as const } : {}),
    }));
    const supervised = { promise: runningPromise(body), assessments, observers };
    t.is(text(repairOf(supervised, requests ?? [], defaultPolicy, nowMs)), move);
  });
}

test('judgements of nodes that do not observe it count for nothing', t => {
  const assessments = ['node-7', 'node-8', 'node-9'].map(node => assessment(node, 'broken'));
  t.is(
    repairOf({ promise: runningPromise(), assessments, observers }, [], defaultPolicy, nowMs).kind,
    'none',
  );
});

test('what nobody observes is never found broken', t => {
  const supervised = {
    promise: runningPromise(),
    assessments: [assessment('node-2', 'broken')],
    observers: [],
  };
  t.is(repairOf(supervised, [], defaultPolicy, nowMs).kind, 'none');
});

test('the request names who finds it broken, and why', t => {
  const assessments = observers.slice(0, 2).map(node => assessment(node, 'broken', { evidence: 'HTTP 500' }));
  const move = repairOf({ promise: runningPromise(), assessments, observers }, [], defaultPolicy, nowMs);
  t.deepEqual(move, {
    kind: 'ask',
    request: {
      node: 'node-1',
      action: 'restart',
      subject: 'instance/blog/web/0',
      pid: 4711,
      reason: 'broken in the eyes of node-2, node-3: HTTP 500',
      attempt: 0,
    },
  });
});

function text(move: ReturnType<typeof repairOf>): string {
  switch (move.kind) {
    case 'none':
    case 'healthy':
      return move.kind;
    case 'wait':
      return `wait ${move.untilMs - nowMs}`;
    case 'ask':
      return `ask ${move.request.attempt}`;
    case 'give-up':
      return `give-up ${move.attempts}`;
  }
}
