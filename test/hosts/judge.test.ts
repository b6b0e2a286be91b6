import test from 'ava';
import type { Span } from '../faults/spans.ts';
import { judged, takeoverTrouble, type Cycle, type Moves, type Takeover } from './judge.ts';

const FAILED_MS = 1000;
const run = (node: string, firstMs: number, lastMs: number, token: bigint): Span => ({
  ...{ instance: 'single/careless/0', token, node, born: String(firstMs) },
  ...{ firstMs, lastMs },
});
const end = (atMs: number, node = 'a') => ({ atMs, node, incarnation: 'i' });
const atWork = run('a', 0, 7000, 1n);
const taken = run('b', 20_000, 25_000, 2n);

const cases: [what: string, cycle: Partial<Cycle>, trouble: RegExp | null][] = [
  ['dead before the key was gone, then taken: all is well', {}, null],
  ['at work when the key was gone', { spans: [run('a', 0, 9001, 1n), taken] }, /outlived the session key/],
  ['still at work when another host began', { spans: [run('a', 0, 20_001, 1n), taken] }, /by 1 ms/],
  ['taken, and nobody saw the key go', { ends: [end(9000, 'b'), end(500)] }, /nobody saw/],
  ['taken by nobody', { spans: [atWork] }, /no other host ran it/],
  [
    'run by the other host under an older token',
    { spans: [atWork, run('b', 20_000, 25_000, 0n)] },
    /began after/,
  ],
  [
    'gone on all the time, where that is allowed: all is well',
    { mayGoOn: true, spans: [run('a', 0, 25_000, 1n)], ends: [] },
    null,
  ],
  [
    'gone on although the key was gone',
    { mayGoOn: true, spans: [run('a', 0, 25_000, 1n)] },
    /outlived the session key/,
  ],
  [
    'started anew on its own host, though it could have gone on',
    { mayGoOn: true, spans: [atWork, run('a', 8000, 25_000, 1n)], ends: [] },
    /neither went on nor changed hosts/,
  ],
  ['dead in time and taken, where it might have gone on: all is well', { mayGoOn: true }, null],
  ['what went wrong before is told', { trouble: ['no agent came back'] }, /no agent came back/],
];
for (const [what, cycle, trouble] of cases) {
  test(`a cycle is judged: ${what}`, t => {
    const row = judged({
      ...{ what: 'agent', host: 'a', sinceMs: FAILED_MS, mayGoOn: false, trouble: [] },
      ...{ spans: [atWork, taken], ends: [end(9000)] },
      ...cycle,
    });
    if (trouble === null) t.deepEqual(row.trouble, []);
    else t.regex(row.trouble.join('\n'), trouble);
  });
}

const taken6 = { afterMs: 6000, sessionThere: true };
const takeovers: [what: string, moves: Moves, takeover: Takeover | null, trouble: RegExp | null][] = [
  ['before the lease would have ended: all is well', 'must', taken6, null],
  ['when the session was gone', 'must', { ...taken6, sessionThere: false }, /its session was gone/],
  ['when the lease would have ended', 'must', { ...taken6, afterMs: 10_000 }, /would have ended by 10000/],
  ['by nobody, where somebody must', 'must', null, /nothing was taken over/],
  ['by nobody, where nobody may: all is well', 'never', null, null],
  ['where nobody may', 'never', taken6, /taken over after 6000 ms/],
  ['late, where somebody may: all is well', 'may', { afterMs: 20_000, sessionThere: false }, null],
  ['by nobody, where somebody may: all is well', 'may', null, null],
];
for (const [what, moves, takeover, trouble] of takeovers) {
  test(`what a host had that was cut off is taken over ${what}`, t => {
    const said = takeoverTrouble(moves, takeover, 10_000);
    if (trouble === null) t.is(said, null);
    else t.regex(said ?? '', trouble);
  });
}

test('a cycle has its numbers', t => {
  const cycle = { what: 'agent', host: 'a', sinceMs: FAILED_MS, mayGoOn: false, trouble: [] };
  t.deepEqual(judged({ ...cycle, spans: [atWork, taken], ends: [end(9000)] }), {
    ...{ what: 'agent', cycles: 1, handovers: 1, overlaps: 0, smallestGapMs: 13_000 },
    ...{ leastBeforeKeyMs: 2000, longestTakeoverMs: 19_000, trouble: [] },
  });
});
