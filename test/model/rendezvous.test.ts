import test from 'ava';
import fc from 'fast-check';
import { rendezvousOrder } from '../../src/model/rendezvous.ts';

const members = fc.uniqueArray(fc.stringMatching(/^[a-z0-9-]{1,8}$/), { minLength: 1, maxLength: 12 });

test('every node ranks alike, in whatever order it heard of the members', t => {
  fc.assert(
    fc.property(fc.string(), members, (key, names) => {
      t.deepEqual(rendezvousOrder(key, names), rendezvousOrder(key, [...names].reverse()));
      t.deepEqual([...rendezvousOrder(key, names)].sort(), [...names].sort());
    }),
  );
});

test('a member that leaves changes nothing between the others', t => {
  fc.assert(
    fc.property(fc.string(), members, (key, names) => {
      const [gone, ...left] = names;
      t.deepEqual(
        rendezvousOrder(key, names).filter(name => name !== gone),
        rendezvousOrder(key, left),
      );
    }),
  );
});

test('keys are shared out evenly', t => {
  const nodes = ['node-1', 'node-2', 'node-3', 'node-4'];
  const firsts = Array.from({ length: 4_000 }, (_, index) => rendezvousOrder(`blog/web/${index}`, nodes)[0]);
  for (const node of nodes) {
    const share = firsts.filter(first => first === node).length;
    t.true(share > 850 && share < 1_150, `${node} is first for ${share} of 4000 keys`);
  }
});
