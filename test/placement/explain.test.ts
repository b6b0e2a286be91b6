import test from 'ava';
import { explain } from '../../src/placement/explain.ts';

const about = { instance: 'blog/web/0', subject: 'instance/blog/web/0' };

test('candidates come best first, then the excluded with their reasons', t => {
  const lines = explain({
    ...about,
    candidates: [
      { node: 'node-2', score: 0.9, reasons: ['+0.40 memory', '+0.50 more'] },
      { node: 'node-1', score: 0.25, reasons: ['+0.25 memory'] },
    ],
    excluded: [{ node: 'node-3', reason: 'is draining' }],
  });
  t.deepEqual(lines, [
    '1. node-2, score 0.90: +0.40 memory, +0.50 more',
    '2. node-1, score 0.25: +0.25 memory',
    'not node-3: is draining',
  ]);
});

test('that no node can take it is said first', t => {
  const lines = explain({ ...about, candidates: [], excluded: [{ node: 'node-3', reason: 'is draining' }] });
  t.deepEqual(lines, ['no node can take blog/web/0', 'not node-3: is draining']);
});

test('so is that there are no nodes', t => {
  t.deepEqual(explain({ ...about, candidates: [], excluded: [] }), ['blog/web/0: there are no nodes']);
});
