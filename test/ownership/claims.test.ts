import test from 'ava';
import fc from 'fast-check';
import type { Ranking } from '../../src/model/placement.ts';
import { dueClaims } from '../../src/ownership/claims.ts';

const ranking = (subject: string, nodes: string[]): Ranking => ({
  instance: subject.slice('instance/'.length),
  subject,
  candidates: nodes.map(node => ({ node, score: 0, reasons: [] })),
  excluded: [],
});
const first = ranking('instance/blog/web/0', ['node-1', 'node-2', 'node-3']);
const second = ranking('instance/blog/web/1', ['node-2', 'node-1', 'node-3']);
const third = ranking('instance/blog/web/2', ['node-2', 'node-3']);
const since = new Map([first, second, third].map(({ subject }) => [subject, 1_000]));

test('the best candidate claims at once, the next a stagger later', t => {
  t.deepEqual(dueClaims([first, second], 'node-1', since, 1_000, 150), { now: [first], wakeInMs: 150 });
  t.deepEqual(dueClaims([first, second], 'node-1', since, 1_150, 150), {
    now: [first, second],
    wakeInMs: null,
  });
});

test('the third candidate waits two staggers', t => {
  t.deepEqual(dueClaims([first], 'node-3', since, 1_100, 150), { now: [], wakeInMs: 200 });
});

test('who is no candidate never claims', t => {
  t.deepEqual(dueClaims([third], 'node-1', since, 9_999, 150), { now: [], wakeInMs: null });
});

test('what was not known to be free is free since now', t => {
  t.deepEqual(dueClaims([second], 'node-1', new Map(), 5_000, 150), { now: [], wakeInMs: 150 });
});

test('at one moment after it became free, never more nodes claim than staggers have begun', t => {
  fc.assert(
    fc.property(fc.nat({ max: 1_000 }), fc.integer({ min: 1, max: 300 }), (passedMs, staggerMs) => {
      const claiming = ['node-1', 'node-2', 'node-3'].filter(
        node => dueClaims([first], node, since, 1_000 + passedMs, staggerMs).now.length > 0,
      );
      t.is(claiming.length, Math.min(3, 1 + Math.floor(passedMs / staggerMs)));
    }),
  );
});
