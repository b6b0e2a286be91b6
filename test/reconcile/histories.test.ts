import test from 'ava';
import type { StartHistory } from '../../src/model/reconciliation.ts';
import { afterExit, afterGivenUp, afterReady, forVersion, settledMs } from '../../src/reconcile/histories.ts';
import { unit, unitExit } from '../support/nouns.ts';

const nowMs = 500_000;
const before: StartHistory = {
  instance: 'blog/web/0',
  version: '2',
  failures: 4,
  lastFailureMs: 1_000,
  lastTrouble: 'version 2 exited with code 1',
  everReady: false,
};
const starting = unit({ version: '2', phase: { kind: 'starting' }, startedMs: nowMs - 300 });

test('a version without a history begins with none', t => {
  t.deepEqual(forVersion(undefined, 'blog/web/0', '3'), {
    instance: 'blog/web/0',
    version: '3',
    failures: 0,
    lastFailureMs: null,
    lastTrouble: null,
    everReady: false,
  });
  t.is(forVersion(before, 'blog/web/0', '3').failures, 0);
  t.is(forVersion(before, 'blog/web/0', '2'), before);
});

test('a crash is a failure more, told with its last lines', t => {
  const after = afterExit(before, starting, unitExit({ code: 3, lastOutput: ['boom', 'bye'] }), nowMs);
  t.is(after.failures, 5);
  t.is(after.lastFailureMs, nowMs);
  t.is(
    after.lastTrouble,
    'version 2 exited with code 3 0.3 s after its start, before it was ready\nboom\nbye',
  );
  t.deepEqual(after.lastExit, { code: 3, signal: null });
});

const ends: [string, ReturnType<typeof unitExit>, RegExp][] = [
  ['a signal is named', unitExit({ code: null, signal: 'SIGKILL' }), /was ended by SIGKILL/],
  ['an end nobody saw is called so', unitExit({ code: null }), /ended while nobody was watching/],
];
for (const [title, exit, text] of ends) {
  test(title, t => t.regex(afterExit(before, starting, exit, nowMs).lastTrouble ?? '', text));
}

test('a crash after a minute of being ready is the first failure again', t => {
  const ready = { ...starting, phase: { kind: 'ready' as const, sinceMs: nowMs - settledMs } };
  t.is(afterExit(before, ready, unitExit(), nowMs).failures, 1);
  const short = { ...starting, phase: { kind: 'ready' as const, sinceMs: nowMs - settledMs + 1 } };
  t.is(afterExit(before, short, unitExit(), nowMs).failures, 5);
});

test('a crash after starts that the node could not even try is the first failure, and one of the app', t => {
  const after = afterExit({ ...before, passing: true }, starting, unitExit(), nowMs);
  t.is(after.failures, 1);
  t.false(after.passing);
  t.is(afterGivenUp({ ...before, passing: true }, starting, 'it hangs', nowMs).failures, 1);
});

test('a process that hung after a long life is the first failure again', t => {
  const phase = { kind: 'unhealthy' as const, sinceMs: nowMs - 10, failures: 3, evidence: 'no answer' };
  const hung = { ...starting, startedMs: nowMs - settledMs - 10, phase };
  t.is(afterGivenUp(before, hung, 'it hangs', nowMs).failures, 1);
  t.is(afterGivenUp(before, { ...hung, startedMs: nowMs - 5_000 }, 'it hangs', nowMs).failures, 5);
});

test('an exit that was asked for is no failure', t => {
  t.is(afterExit(before, starting, unitExit({ requested: true }), nowMs).failures, 4);
});

test('the last lines of a copy that was given up come with its exit', t => {
  const exit = unitExit({ requested: true, lastOutput: ['still migrating'] });
  t.is(afterExit(before, starting, exit, nowMs).lastTrouble, 'version 2 exited with code 1\nstill migrating');
});

test('a copy of an older version says nothing about this one', t => {
  const older = { ...starting, version: '1' };
  t.is(afterExit(before, older, unitExit(), nowMs), before);
  t.is(afterReady(before, older, nowMs), before);
  t.is(afterGivenUp(before, older, 'too slow', nowMs), before);
});

test('a copy of a newer version begins a new history', t => {
  for (const version of ['3', '2.1', '10']) {
    const after = afterExit(before, { ...starting, version }, unitExit(), nowMs);
    t.is(after.version, version);
    t.is(after.failures, 1);
  }
});

test('having been ready is remembered, and how the copy before ended does not matter any more', t => {
  const failed = afterExit(before, starting, unitExit(), nowMs);
  const after = afterReady(failed, starting, nowMs);
  t.true(after.everReady);
  t.is(after.lastExit, null);
  t.is(after.failures, 5);
});
