import test from 'ava';
import type { UnitPhase } from '../../src/model/reconciliation.ts';
import { retire } from '../../src/reconcile/retire.ts';
import { unit, unitExit } from '../support/nouns.ts';

const exited: UnitPhase = { kind: 'exited', sinceMs: 0, exit: unitExit() };
const how = { inTraffic: true, graceSeconds: 3, drainMs: 1_000, nowMs: 10_000, reason: 'why' };

const rows: [string, UnitPhase, 'stop' | 'drain' | 'forget' | null, number | null][] = [
  ['a starting copy is stopped', { kind: 'starting' }, 'stop', null],
  ['a ready copy is drained', { kind: 'ready', sinceMs: 0 }, 'drain', 11_000],
  ['a draining copy has its time', { kind: 'draining', sinceMs: 9_500 }, null, 10_500],
  ['a drained copy is stopped', { kind: 'draining', sinceMs: 9_000 }, 'stop', null],
  ['a stopping copy is waited for', { kind: 'stopping', sinceMs: 0 }, null, null],
  ['an ended copy is forgotten', exited, 'forget', null],
];
for (const [title, phase, kind, dueMs] of rows) {
  test(title, t => {
    const step = retire(unit({ phase }), how);
    t.is(step.action?.kind ?? null, kind);
    t.is(step.dueMs, dueMs);
  });
}

test('a ready copy that gets no requests is stopped at once', t => {
  const ready = unit({ phase: { kind: 'ready', sinceMs: 0 } });
  t.is(retire(ready, { ...how, inTraffic: false }).action?.kind, 'stop');
  t.is(retire({ ...ready, endpoint: null }, how).action?.kind, 'stop');
});
