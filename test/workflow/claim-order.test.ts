import test from 'ava';
import fc from 'fast-check';
import { dueChunks, fairShare, inClaimOrder, type FreeChunk } from '../../src/workflow/claim-order.ts';

const free = (plan: string, more: Partial<FreeChunk> = {}): FreeChunk => ({
  plan,
  chunk: 0,
  priority: 5,
  createRevision: 1n,
  freeSinceMs: 0,
  takeOver: false,
  ...more,
});
const nodes = ['node-1', 'node-2', 'node-3'];
const input = {
  self: 'node-1',
  nodes: ['node-1'],
  ownedHere: 0,
  ownedByAll: 0,
  slots: 100,
  nowMs: 0,
  staggerMs: 100,
};

test('chunks go by priority, then first come first, then by their place in the plan', t => {
  const late = free('late', { createRevision: 90n });
  const early = free('early', { createRevision: 9n });
  const second = free('early', { createRevision: 9n, chunk: 1 });
  const urgent = free('urgent', { createRevision: 99n, priority: 0 });
  t.deepEqual(inClaimOrder([late, second, early, urgent]), [urgent, early, second, late]);
});

test('a node claims no more than it has room for, the first in order', t => {
  const all = [
    free('c', { createRevision: 3n }),
    free('a', { createRevision: 1n }),
    free('b', { createRevision: 2n }),
  ];
  const due = dueChunks({ ...input, free: all, slots: 2 });
  t.deepEqual(
    due.now.map(({ plan }) => plan),
    ['a', 'b'],
  );
});

test('what was going on is taken over with room or without', t => {
  const due = dueChunks({ ...input, free: [free('a'), free('b', { takeOver: true })], slots: 0 });
  t.deepEqual(
    due.now.map(({ plan }) => plan),
    ['b'],
  );
});

test('who takes no chunks claims none', t => {
  t.deepEqual(dueChunks({ ...input, free: [free('a')], self: 'node-9' }), { now: [], wakeInMs: null });
});

test('an equal share is rounded up', t => {
  t.deepEqual([fairShare(7, 3), fairShare(6, 3), fairShare(0, 3), fairShare(3, 0)], [3, 2, 0, 3]);
});

test('a node that has its share leaves the rest to all others first', t => {
  const sated = { ...input, nodes, free: [free('a')], ownedHere: 3, ownedByAll: 5 };
  t.deepEqual(dueChunks({ ...sated, nowMs: 299 }).now, []);
  t.is(dueChunks({ ...sated, nowMs: 0 }).now.length, 0);
  t.is(dueChunks({ ...sated, nowMs: 500 }).now.length, 1, 'but takes it when nobody else does');
});

test('at the moment they come free, each chunk is claimed by at most one node, and no node goes beyond its share', t => {
  const chunks = fc.integer({ min: 1, max: 60 });
  fc.assert(
    fc.property(chunks, count => {
      const all = Array.from({ length: count }, (_, chunk) => free('p', { chunk }));
      const claimed = nodes.map(self => dueChunks({ ...input, nodes, self, free: all }).now);
      const names = claimed.flat().map(({ chunk }) => chunk);
      t.is(new Set(names).size, names.length);
      for (const { length } of claimed) t.true(length <= fairShare(count, nodes.length));
    }),
  );
});

test('in the end every chunk is claimed, even by one node that is left alone with them', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), count => {
      const all = Array.from({ length: count }, (_, chunk) => free('p', { chunk }));
      let [nowMs, left, owned] = [0, all, 0];
      for (let turn = 0; turn < 20 && left.length > 0; turn++) {
        const due = dueChunks({ ...input, nodes, free: left, ownedHere: owned, ownedByAll: owned, nowMs });
        left = left.filter(chunk => !due.now.includes(chunk));
        owned += due.now.length;
        t.true(left.length === 0 || due.wakeInMs !== null);
        nowMs += due.wakeInMs ?? 0;
      }
      t.is(left.length, 0);
    }),
  );
});
