import fc from 'fast-check';
import test from 'ava';
import { notLinearizable, type Operation } from './linearizable.ts';

const read = (startMs: number, endMs: number, value: string | null): Operation => ({
  kind: 'read',
  value,
  startMs,
  endMs,
});
const swap = (startMs: number, endMs: number, from: string | null, to: string): Operation => ({
  kind: 'swap',
  outcome: 'done',
  from,
  to,
  startMs,
  endMs,
});
const lost = (startMs: number, from: string | null, to: string): Operation => ({
  kind: 'swap',
  outcome: 'unknown',
  from,
  to,
  startMs,
  endMs: startMs,
});
const refused = (
  startMs: number,
  endMs: number,
  from: string | null,
  to: string,
  found: string | null,
): Operation => ({ kind: 'swap', outcome: 'refused', from, to, found, startMs, endMs });

const could: [string, Operation[]][] = [
  ['nothing at all', []],
  ['one after the other', [swap(0, 1, null, 'a'), read(2, 3, 'a'), swap(4, 5, 'a', 'b'), read(6, 7, 'b')]],
  ['a read beside a write that sees it', [swap(0, 10, null, 'a'), read(1, 2, 'a')]],
  ['a read beside a write that does not', [swap(0, 10, null, 'a'), read(1, 2, null)]],
  [
    'two reads beside a write, the later one the wiser',
    [swap(0, 10, null, 'a'), read(1, 2, null), read(3, 4, 'a')],
  ],
  ['a write without an answer that happened', [lost(0, null, 'a'), read(5, 6, 'a')]],
  ['a write without an answer that never did', [lost(0, null, 'a'), read(5, 6, null), swap(7, 8, null, 'b')]],
  ['a write without an answer that happened late', [lost(0, null, 'a'), read(5, 6, null), read(9, 10, 'a')]],
  ['a refusal that names what another wrote', [swap(0, 5, null, 'a'), refused(1, 6, null, 'b', 'a')]],
  [
    'three writers at once, in the one order that works',
    [swap(0, 10, 'b', 'c'), swap(0, 10, null, 'a'), swap(0, 10, 'a', 'b'), read(11, 12, 'c')],
  ],
];

const couldNot: [string, Operation[]][] = [
  ['a stale read', [swap(0, 1, null, 'a'), swap(2, 3, 'a', 'b'), read(4, 5, 'a')]],
  ['a write that was acknowledged and lost', [swap(0, 1, null, 'a'), read(2, 3, null)]],
  ['two who both replaced the same value', [swap(0, 5, null, 'a'), swap(1, 6, null, 'b')]],
  ['reads that go back in time', [swap(0, 10, null, 'a'), read(1, 2, 'a'), read(3, 4, null)]],
  ['a value out of nowhere', [read(0, 1, 'a')]],
  ['a write seen before it began', [read(0, 1, 'a'), swap(2, 3, null, 'a')]],
  ['an unanswered write seen before it began', [read(0, 1, 'a'), lost(2, null, 'a')]],
  ['an unanswered write seen, and then not', [lost(0, null, 'a'), read(1, 2, 'a'), read(3, 4, null)]],
  ['a refusal though nothing was in the way', [refused(0, 1, null, 'a', null)]],
  [
    'a refusal that names what was long replaced',
    [swap(0, 1, null, 'a'), swap(2, 3, 'a', 'b'), refused(4, 5, null, 'c', 'a')],
  ],
];

for (const [name, operations] of could) {
  test(`could have happened: ${name}`, t => t.is(notLinearizable(operations, null), null));
}

for (const [name, operations] of couldNot) {
  test(`could not have happened: ${name}`, t => t.not(notLinearizable(operations, null), null));
}

/** What really happens one at a time, told with starts and ends drawn around each moment. */
const history = fc
  .array(fc.record({ swaps: fc.boolean(), early: fc.nat(30), late: fc.nat(30), silent: fc.boolean() }), {
    maxLength: 60,
  })
  .map(moves => {
    let value: string | null = null;
    return moves.map(({ swaps, early, late, silent }, index): Operation => {
      const atMs = index * 10;
      const [startMs, endMs] = [atMs - early, atMs + late];
      if (!swaps) return read(startMs, endMs, value);
      const from = value;
      value = `v${index}`;
      return silent ? lost(startMs, from, value) : swap(startMs, endMs, from, value);
    });
  });

test('what happened one at a time is always found to be possible', t => {
  fc.assert(fc.property(history, operations => notLinearizable(operations, null) === null));
  t.pass();
});

test('a read of a value that was replaced before it began is always found out', t => {
  fc.assert(
    fc.property(history, operations => {
      const done = operations.filter(operation => operation.kind === 'swap' && operation.outcome === 'done');
      const [first, second] = done;
      fc.pre(first?.kind === 'swap' && second !== undefined);
      const endMs = Math.max(...operations.map(operation => operation.endMs)) + 100;
      return (
        notLinearizable([...operations, read(endMs, endMs + 1, (first as { to: string }).to)], null) !== null
      );
    }),
  );
  t.pass();
});
