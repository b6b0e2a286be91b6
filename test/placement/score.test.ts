import test from 'ava';
import { score } from '../../src/placement/score.ts';
import { Usage } from '../../src/placement/usage.ts';
import { freeInstance, placeableNode } from '../support/nouns.ts';

const node = placeableNode('node-1', { capacity: { memoryBytes: 4 * 1024 ** 3, cpu: 4 } });
const half = { memoryBytes: 2 * 1024 ** 3, cpu: 2 };
const small = { memoryBytes: 0, cpu: 0 };

function points(placed: [string, { memoryBytes: number; cpu: number }][], trust = 1): number {
  const usage = new Usage(placed.map(([instance, reserves]) => ({ instance, node: 'node-1', reserves })));
  return score(freeInstance(5), { ...node, trust }, usage).score;
}

test('an empty, trusted node has 0.9: all but the locality', t => {
  t.is(points([]), 0.9);
});

test('half of memory and CPU taken by another app cost half of 0.7', t => {
  t.is(points([['shop/web/0', half]]), 0.55);
});

test('each copy of the same process type costs 0.2, and the first brings half of the locality', t => {
  t.is(points([['blog/web/0', small]]), 0.75);
  t.is(
    points([
      ['blog/web/0', small],
      ['blog/web/1', small],
    ]),
    0.55,
  );
});

test('another process type of the same app only brings locality', t => {
  t.is(points([['blog/mailer/0', small]]), 0.95);
});

test('a node that had it last, or has its data, has all of the locality', t => {
  const usage = new Usage([]);
  t.is(score(freeInstance(0, { runsOn: ['node-1'] }), node, usage).score, 1);
  t.is(score(freeInstance(0, { tiedTo: ['node-1'] }), node, usage).score, 1);
});

test('lost trust costs up to a half', t => {
  t.is(points([], 0), 0.4);
  t.is(points([], 0.5), 0.65);
});

test('a node without memory or CPU has no share of them free', t => {
  const bare = placeableNode('node-1', { capacity: { memoryBytes: 0, cpu: 0 } });
  t.is(score(freeInstance(0), bare, new Usage([])).score, 0.2);
});

test('every part is given in words', t => {
  const usage = new Usage([{ instance: 'blog/web/0', node: 'node-1', reserves: half }]);
  t.deepEqual(score(freeInstance(1), { ...node, trust: 0.5 }, usage).reasons, [
    '+0.20 50 % of 4096 MiB memory free',
    '+0.15 50 % of 4 cores free',
    '+0.00 1 other blog/web there',
    '+0.05 has blog already',
    '−0.25 trust 0.50',
  ]);
});
