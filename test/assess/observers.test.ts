import test from 'ava';
import fc from 'fast-check';
import { observersOf } from '../../src/assess/observers.ts';

const nodes = fc.uniqueArray(
  fc.nat({ max: 60 }).map(id => `node-${id}`),
  { minLength: 1, maxLength: 20 },
);

test('observers are k others, never the promiser, the same in everybody’s eyes', t => {
  fc.assert(
    fc.property(nodes, fc.integer({ min: 1, max: 5 }), (all, count) => {
      const promiser = all[0]!;
      const observers = observersOf(promiser, all, count);
      t.false(observers.includes(promiser));
      t.is(observers.length, Math.min(count, all.length - 1));
      t.is(new Set(observers).size, observers.length);
      t.deepEqual(observersOf(promiser, [...all].reverse(), count), observers);
    }),
  );
});

test('a node that leaves changes at most one observer', t => {
  fc.assert(
    fc.property(nodes, all => {
      const promiser = all[0]!;
      const before = observersOf(promiser, all);
      const after = observersOf(
        promiser,
        all.filter(node => node !== all.at(-1)),
      );
      t.true(after.filter(node => !before.includes(node)).length <= 1);
    }),
  );
});

test('a node alone is observed by nobody', t => t.deepEqual(observersOf('node-1', ['node-1']), []));
