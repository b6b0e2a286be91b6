import test from 'ava';
import fc from 'fast-check';
import type { ChunkRecord, StepRecord } from '../../src/model/plan.ts';
import { chunksOf, recordsOf, withSteps } from '../../src/workflow/chunks.ts';
import { outputsFor } from '../../src/workflow/outputs.ts';
import { shapeOf } from '../../src/workflow/shape.ts';
import { plan, record, step } from './helpers.ts';

const rows: [number, number, number][] = [
  [1, 1, 1],
  [32, 1, 32],
  [33, 2, 17],
  [100, 4, 25],
  [1_000, 8, 125],
  [10_000, 79, 127],
];
for (const [steps, chunks, largest] of rows) {
  test(`${steps} steps are put into ${chunks} chunks`, t => {
    const found = chunksOf(steps);
    t.is(found.length, chunks);
    t.is(Math.max(...found.map(({ count }) => count)), largest);
  });
}

test('every step is in exactly one chunk, in order, and no chunk has more than 128', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), steps => {
      let next = 0;
      for (const { first, count } of chunksOf(steps)) {
        t.is(first, next);
        t.true(count >= 1 && count <= 128);
        next += count;
      }
      t.is(next, steps);
    }),
  );
});

const chunk = (number: number, first: number, steps: StepRecord[]): ChunkRecord => ({
  v: 1,
  plan: 'p',
  chunk: number,
  first,
  count: 2,
  owner: null,
  token: null,
  steps,
});

test('of steps that no chunk tells of, nothing has happened', t => {
  const [a, d] = [record(0, 'RUNNING'), record(3, 'COMPLETED')];
  t.deepEqual(recordsOf(4, [chunk(1, 2, [d]), chunk(0, 0, [a])]), [a, undefined, undefined, d]);
});

test('changed steps replace, stay in order, and are only those of the chunk', t => {
  const [old, other] = [record(2, 'RUNNING'), record(3, 'RUNNING')];
  const [done, foreign] = [record(2, 'COMPLETED'), record(0, 'COMPLETED')];
  t.deepEqual(withSteps(chunk(1, 2, [other]), [old]), [old, other]);
  t.deepEqual(withSteps(chunk(1, 2, [old, other]), [done, foreign]), [done, other]);
});

test('a step is given the outputs of those of its parents that completed', t => {
  const shape = shapeOf(
    plan([step(), step(), step(), step({ dependsOn: [0, 1, 2], condition: 'all-done' })]),
  );
  const output = { value: 'x' };
  const records = [
    record(0, 'COMPLETED', { output }),
    record(1, 'COMPLETED'),
    record(2, 'FAILED', { output }),
    undefined,
  ];
  t.deepEqual([...outputsFor(shape, records, 3)], [[0, output]]);
});
