import test from 'ava';
import type { NodePromise, Outcome } from '../../src/model/node-promise.ts';
import type { SupervisorRequest } from '../../src/model/records.ts';
import type { KnownRequest } from '../../src/supervise/repair.ts';
import { supervise, type SuperviseInput, type Supervision } from '../../src/supervise/supervise.ts';
import { assessment, runningPromise } from '../support/nouns.ts';

const liveNodes = ['node-1', 'node-2', 'node-3', 'node-4'];
const observers = ['node-2', 'node-3', 'node-4'];
const quiet: SuperviseInput = {
  promises: [],
  unplaced: [],
  requests: [],
  gone: [],
  liveNodes,
  told: new Set(),
  nowMs: 0,
};
const judged = (outcome: Outcome) => ({
  promise: runningPromise(),
  assessments: observers.map(node => assessment(node, outcome)),
  observers,
});
const lost = { subject: 'instance/blog/web/0', sinceMs: 0, why: 'no node can take blog/web/0' };

test('with nothing wrong there is nothing to ask, tell or wait for', t => {
  t.deepEqual(supervise({ ...quiet, promises: [judged('kept')] }), {
    requests: [],
    events: [],
    forget: [],
    told: new Set<string>(),
    wakeInMs: null,
  });
});

test('a broken promise of a node that is gone is nobody’s to repair', t => {
  const gone = { ...quiet, promises: [judged('broken')], liveNodes: observers };
  t.deepEqual(supervise(gone).requests, []);
});

test('a promise that stays broken is asked about five times, then a person is told, once', t => {
  const played = play(30 * 60_000, () => 'broken');
  t.deepEqual(
    played.requests.map(({ atMs, request }) => [atMs / 1000, request.attempt]),
    [
      [0, 0],
      [10, 1],
      [30, 2],
      [70, 3],
      [150, 4],
    ],
  );
  t.deepEqual(
    played.events.map(({ atMs, kind }) => [atMs / 1000, kind]),
    [[310, 'repair-given-up']],
  );
});

test('what was well in between begins anew with the first attempt', t => {
  const played = play(120_000, nowMs => (nowMs > 15_000 && nowMs < 60_000 ? 'kept' : 'broken'));
  t.deepEqual(
    played.requests.map(({ atMs, request }) => [atMs / 1000, request.attempt]),
    [
      [0, 0],
      [10, 1],
      [60, 0],
      [70, 1],
      [90, 2],
    ],
  );
});

test('after giving up, having been well and breaking again is asked about again', t => {
  const played = play(20 * 60_000, nowMs => (nowMs > 400_000 && nowMs < 500_000 ? 'kept' : 'broken'));
  t.deepEqual(
    played.events.map(({ kind }) => kind),
    ['repair-given-up', 'repair-given-up'],
  );
});

/** As after five requests without effect, on these nodes, for these apps. */
const hopeless = (...where: [node: string, app: string][]): SuperviseInput => ({
  ...quiet,
  promises: where.map(([node, app]) => {
    const base = runningPromise();
    const body = { ...base.body, instance: `${app}/web/0`, app } as NodePromise['body'];
    const promise = { ...base, promiser: node, name: `running:${app}/web/0`, body };
    return { ...judged('broken'), promise };
  }),
  told: new Set(where.map(([node, app]) => `given-up ${node} instance/${app}/web/0`)),
});

test('a node on which two apps stay broken, and nowhere else, is asked once to empty itself', t => {
  const unfit = hopeless(['node-1', 'blog'], ['node-1', 'shop']);
  const first = supervise(unfit);
  t.deepEqual(first.requests, [
    {
      node: 'node-1',
      action: 'drain',
      subject: 'node/node-1',
      reason: 'blog, shop stay broken there, however often restarted, and nowhere else',
      attempt: 0,
    },
  ]);
  t.deepEqual(supervise({ ...unfit, told: first.told }).requests, []);
});

test('a node is not blamed for one app, for apps that are broken elsewhere, or twice', t => {
  t.deepEqual(supervise(hopeless(['node-1', 'blog'])).requests, []);
  const everywhere = hopeless(['node-1', 'blog'], ['node-1', 'shop'], ['node-2', 'shop']);
  t.deepEqual(supervise(everywhere).requests, []);
  const unfit = hopeless(['node-1', 'blog'], ['node-1', 'shop']);
  const draining = {
    promise: {
      ...runningPromise(),
      promiser: 'node-1',
      name: 'draining',
      body: { kind: 'draining' as const, reason: 'x', left: 2, stays: [] },
    },
    assessments: [],
    observers,
  };
  t.deepEqual(supervise({ ...unfit, promises: [...unfit.promises, draining] }).requests, []);
});

test('an instance without an owner is told of after 5 s, once for each time', t => {
  const early = supervise({ ...quiet, unplaced: [lost], nowMs: 4_000 });
  t.deepEqual(early.events, []);
  t.is(early.wakeInMs, 1_000);
  const late = supervise({ ...quiet, unplaced: [lost], nowMs: 5_000, told: early.told });
  t.deepEqual(late.events, [
    {
      kind: 'instance-unplaced',
      subject: 'instance/blog/web/0',
      message: 'instance/blog/web/0 has had no owner for 5 s: no node can take blog/web/0',
      details: { why: 'no node can take blog/web/0' },
    },
  ]);
  const later = supervise({ ...quiet, unplaced: [lost], nowMs: 6_000, told: late.told });
  t.deepEqual(later.events, []);
  const placed = supervise({ ...quiet, nowMs: 7_000, told: later.told });
  const again = supervise({
    ...quiet,
    unplaced: [{ ...lost, sinceMs: 8_000 }],
    nowMs: 13_000,
    told: placed.told,
  });
  t.is(again.events.length, 1);
});

test('nodes that vanish in a crowd are told of, and that they came back', t => {
  const gone = ['node-3', 'node-4'].map(node => ({ node, sinceMs: 0 }));
  const crowd = { ...quiet, liveNodes: ['node-1', 'node-2'], gone };
  const engaged = supervise(crowd);
  t.deepEqual(
    engaged.events.map(({ kind, details }) => [kind, details]),
    [['brake-engaged', { gone: ['node-3', 'node-4'] }]],
  );
  t.deepEqual(supervise({ ...crowd, told: engaged.told }).events, []);
  const released = supervise({ ...quiet, told: engaged.told });
  t.deepEqual(
    released.events.map(({ kind }) => kind),
    ['brake-released'],
  );
  t.deepEqual(supervise({ ...quiet, told: released.told }).events, []);
});

test('requests are forgotten when their node is gone, or after ten minutes', t => {
  const requests = [
    known('young', 'node-1', 0),
    known('old', 'node-1', -600_000),
    known('orphan', 'node-9', 0),
  ];
  t.deepEqual(supervise({ ...quiet, requests }).forget, ['old', 'orphan']);
});

/** Rounds of one second with a node that answers every request with `done`, and an outcome that ignores it. */
function play(lastMs: number, outcomeAt: (nowMs: number) => Outcome) {
  const requests: { atMs: number; request: Supervision['requests'][number] }[] = [];
  const events: { atMs: number; kind: string }[] = [];
  let stored: KnownRequest[] = [];
  let told: ReadonlySet<string> = new Set();
  for (let nowMs = 0; nowMs <= lastMs; nowMs += 1_000) {
    const result = supervise({
      ...quiet,
      promises: [judged(outcomeAt(nowMs))],
      requests: stored,
      told,
      nowMs,
    });
    told = result.told;
    stored = stored.filter(({ request }) => !result.forget.includes(request.id));
    for (const request of result.requests) {
      requests.push({ atMs: nowMs, request });
      stored.push(known(`r${nowMs}`, request.node, nowMs, request));
    }
    events.push(...result.events.map(({ kind }) => ({ atMs: nowMs, kind })));
  }
  return { requests, events };
}

function known(
  id: string,
  node: string,
  sinceMs: number,
  parts: Partial<SupervisorRequest> = {},
): KnownRequest {
  return {
    request: {
      action: 'restart',
      subject: 'instance/blog/web/0',
      reason: 'broken',
      attempt: 0,
      from: 'node-2',
      at: 'then',
      ...parts,
      id,
      node,
    },
    answer: { v: 1, id, node, answer: 'done', reason: '', at: 'then' },
    sinceMs,
  };
}
