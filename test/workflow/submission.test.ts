import test from 'ava';
import { newPlan, sameAs, specOf } from '../../src/workflow/submission.ts';
import { plan, step } from './helpers.ts';

const given = { plan: 'p', submittedAt: '2026-01-01T00:00:00Z', idempotencyKey: null, origin: 'test' };

for (const steps of [1, 32, 33, 1_000]) {
  test(`a plan of ${steps} steps is written in parts that make the same plan again`, t => {
    const spec = plan(
      Array.from({ length: steps }, (_, index) => step({ resource: `r${index}` })),
      { priority: 3 },
    );
    const written = newPlan(spec, given);
    t.is(written.plan.chunks, written.chunks.length);
    t.is(written.definitions.length, steps <= 32 ? 0 : written.chunks.length);
    t.deepEqual(specOf(written.plan, [...written.definitions].reverse()), spec);
    t.deepEqual(JSON.parse(JSON.stringify(written)), written, 'it is plain JSON');
  });
}

test('a plan of which a part is missing is none', t => {
  const written = newPlan(plan(Array.from({ length: 100 }, () => step())), given);
  t.is(specOf(written.plan, written.definitions.slice(1)), null);
});

test('one key stands for one body', t => {
  const known = { v: 1, plan: 'p', digest: 'sha256:a' } as const;
  t.deepEqual(sameAs(null, 'sha256:a'), { kind: 'new' });
  t.deepEqual(sameAs(known, 'sha256:a'), { kind: 'same', plan: 'p' });
  t.deepEqual(sameAs(known, 'sha256:b'), { kind: 'conflict', plan: 'p' });
});
