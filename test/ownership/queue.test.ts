import test from 'ava';
import fc from 'fast-check';
import { lineFor, placeInLine, type Waiter } from '../../src/ownership/queue.ts';

function waiter(name: string, createRevision: number, agent = 'nightly'): Waiter {
  const value = { v: 1 as const, agent, node: 'node-1', incarnation: 'i', holder: name, since: '' };
  return { name, value, createRevision: BigInt(createRevision) };
}

test('a line is of one name, first come first', t => {
  const waiters = [waiter('a', 9), waiter('b', 3), waiter('c', 1, 'other'), waiter('d', 5)];
  t.deepEqual(
    lineFor('nightly', waiters).map(({ name }) => name),
    ['b', 'd', 'a'],
  );
});

const places: [what: string, waiter: string | null, place: number][] = [
  ['the first has nobody before it', 'b', 0],
  ['the last has all others before it', 'a', 2],
  ['who is not in line comes after all of it', null, 3],
  ['who has left it comes after all of it', 'gone', 3],
];
for (const [what, name, place] of places) {
  test(what, t => {
    const line = lineFor('nightly', [waiter('a', 9), waiter('b', 3), waiter('d', 5)]);
    t.is(placeInLine(line, name), place);
  });
}

test('never are two at the head of one line, in whatever order they are read', t => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(1000), { minLength: 1, maxLength: 20 }),
      fc.nat(),
      (revisions, turn) => {
        const waiters = revisions.map(revision => waiter(`w${revision}`, revision));
        const turned = [...waiters.slice(turn % waiters.length), ...waiters.slice(0, turn % waiters.length)];
        const heads = waiters.filter(({ name }) => placeInLine(lineFor('nightly', turned), name) === 0);
        t.deepEqual(
          heads.map(({ createRevision }) => createRevision),
          [BigInt(Math.min(...revisions))],
        );
      },
    ),
  );
});
