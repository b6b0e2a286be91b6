import test from 'ava';
import type { UnitPhase } from '../../src/model/reconciliation.ts';
import { afterProbe } from '../../src/reconcile/health.ts';
import { unit } from '../support/nouns.ts';

const unhealthy = (failures: number, evidence = 'before'): UnitPhase => ({
  kind: 'unhealthy',
  sinceMs: 10,
  failures,
  evidence,
});
const draining: UnitPhase = { kind: 'draining', sinceMs: 10 };

const rows: [string, UnitPhase, boolean, UnitPhase][] = [
  ['the first good answer makes it ready', { kind: 'starting' }, true, { kind: 'ready', sinceMs: 99 }],
  ['a bad answer while starting changes nothing', { kind: 'starting' }, false, { kind: 'starting' }],
  ['good answers keep it ready', { kind: 'ready', sinceMs: 5 }, true, { kind: 'ready', sinceMs: 5 }],
  [
    'the first bad answer is counted',
    { kind: 'ready', sinceMs: 5 },
    false,
    { kind: 'unhealthy', sinceMs: 99, failures: 1, evidence: 'now' },
  ],
  ['further bad answers are counted', unhealthy(1), false, unhealthy(2, 'now')],
  ['the one that reaches the threshold is the evidence', unhealthy(2), false, unhealthy(3, 'now')],
  ['the evidence stays as it was at the threshold', unhealthy(3), false, unhealthy(4)],
  ['a good answer heals', unhealthy(2), true, { kind: 'ready', sinceMs: 99 }],
  ['what is draining is not judged', draining, false, draining],
];

for (const [title, phase, good, after] of rows) {
  test(title, t => t.deepEqual(afterProbe(unit({ phase }), { good, evidence: 'now' }, 3, 99), after));
}

test('of what starts the first bad answer is kept, and a connection that is refused is none', t => {
  const starting = unit({ phase: { kind: 'starting' } });
  const asked = (of: typeof starting, answered: boolean, evidence: string): UnitPhase =>
    afterProbe(of, { good: false, answered, evidence }, 3, 99);
  t.deepEqual(asked(starting, false, 'connection refused'), { kind: 'starting' });
  const phase = asked(starting, true, 'HTTP 404 in 3 ms');
  t.deepEqual(phase, { kind: 'starting', refusal: 'HTTP 404 in 3 ms' });
  t.deepEqual(
    asked(unit({ phase }), true, 'HTTP 404 in 5 ms'),
    phase,
    'what is said does not change with every check',
  );
});
