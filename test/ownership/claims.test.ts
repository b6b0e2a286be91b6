import test from 'ava';
import fc from 'fast-check';
import type { Ranking } from '../../src/model/placement.ts';
import { dueClaims, paced } from '../../src/ownership/claims.ts';

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

const pace = { nextMs: 2_000, intervalMs: 2_000 };
const always = (): boolean => true;

test('rule of the brake: of what is due, one at a time, in subject order', t => {
  const { rankings, freeSinceMs } = paced([first, second, third], since, always, pace, 2_500);
  t.deepEqual(rankings, [first]);
  t.is(freeSinceMs.get(first.subject), 2_000, 'its best candidate goes first again');
});

test('rule of the brake: not before the interval since the last takeover is over', t => {
  const { rankings, freeSinceMs } = paced([first, second], since, always, pace, 1_500);
  t.deepEqual(dueClaims(rankings, 'node-1', freeSinceMs, 1_500, 150), { now: [], wakeInMs: 500 });
});

test('rule of the brake: what nobody takes in its turn lets the next pass', t => {
  t.deepEqual(paced([first, second], since, always, pace, 4_000).rankings, [second]);
  t.deepEqual(paced([first, second], since, always, pace, 6_100).rankings, [first]);
  t.is(paced([first, second], since, always, pace, 6_100).wakeInMs, 1_900);
});

test('rule of the brake: at the very end of a turn nobody is woken again and again', t => {
  // Between these two numbers lies a power of two, above which doubles have half as many places.
  const [nextMs, nowMs] = [4_192_708.091_021_834_4, 4_194_708.091_021_834];
  const { wakeInMs } = paced([first, second], since, always, { ...pace, nextMs }, nowMs);
  t.true(wakeInMs !== null && wakeInMs >= 1, String(wakeInMs));
});

test('rule of the brake: what nobody can take has no turn', t => {
  const nowhere = ranking('instance/blog/web/00', []);
  t.deepEqual(paced([nowhere, second], since, always, pace, 2_500).rankings, [nowhere, second]);
});

test('rule of the brake: what is no takeover is not held up', t => {
  const isTakeover = (subject: string): boolean => subject !== third.subject;
  t.deepEqual(paced([first, second, third], since, isTakeover, pace, 2_500).rankings, [first, third]);
});

test('rule of the brake: what may still be wanted by the one who had it is not due yet', t => {
  const later = new Map([...since, [first.subject, 9_000]]);
  t.deepEqual(paced([first, second], later, always, pace, 2_500).rankings, [first, second]);
});

test('rule of the brake: all nodes let the same one pass, and never two', t => {
  const nowMs = fc.integer({ min: 1_000, max: 60_000 });
  const nodes = ['node-1', 'node-2', 'node-3'];
  fc.assert(
    fc.property(nowMs, moment => {
      const { rankings, freeSinceMs } = paced([first, second, third], since, always, pace, moment);
      const taken = new Set(
        nodes.flatMap(node =>
          dueClaims(rankings, node, freeSinceMs, moment, 150).now.map(({ subject }) => subject),
        ),
      );
      t.true(taken.size <= 1);
    }),
  );
});
