import test from 'ava';
import { heldDownMs } from '../../src/ownership/hold-down.ts';
import { ownerRecord } from '../agent/helpers.ts';

const owned = ownerRecord({ ttlSeconds: 10, released: null });
const released = ownerRecord({ ttlSeconds: 10, released: { at: '', reason: 'stopped' } });

const rows: [string, Parameters<typeof heldDownMs>, number][] = [
  ['nobody has ever had it', [null, null, 500, false], 0],
  ['it was released after its work had stopped', [released, null, 500, false], 0],
  ['it was this node itself, in an incarnation that is dead', [owned, null, 500, true], 0],
  ['its session has not been seen absent', [owned, null, 500, false], 10_000],
  ['its session was first seen absent just now', [owned, 500, 500, false], 10_000],
  ['almost a whole TTL ago', [owned, 500, 10_499, false], 1],
  ['a whole TTL ago', [owned, 500, 10_500, false], 0],
  ['long ago', [owned, 500, 99_000, false], 0],
];
for (const [what, input, expected] of rows) {
  test(`rule 3: how long an exclusive subject is left alone: ${what}`, t => {
    t.is(heldDownMs(...input), expected);
  });
}
