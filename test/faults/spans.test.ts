import test from 'ava';
import { becameOf, handovers, signsOf, spansOf, tokenTrouble, type Span } from './spans.ts';

const span = (parts: Partial<Span>): Span => ({
  instance: 'single/writer/0',
  token: 1n,
  node: 'node-1',
  born: '0',
  firstMs: 0,
  lastMs: 10,
  ...parts,
});

test('lines become one span for each run of a writer', t => {
  const signs = signsOf(
    [
      '1.000 a/b/0 7 node-1 1',
      '6.000 a/b/0 7 node-1 1',
      '9.000 a/b/0 7 node-1 9',
      '12.000 a/b/0 9 node-2 12',
      '13.0',
    ].join('\n'),
  );
  t.deepEqual(
    spansOf(signs).map(({ token, node, firstMs, lastMs }) => [token, node, firstMs, lastMs]),
    [
      [7n, 'node-1', 1, 6],
      [7n, 'node-1', 9, 9],
      [9n, 'node-2', 12, 12],
    ],
  );
});

test('one after the other is no overlap, and the smallest gap is told', t => {
  const spans = [span({}), span({ firstMs: 15, lastMs: 20 }), span({ firstMs: 40, lastMs: 50 })];
  t.deepEqual(handovers(spans), { overlaps: [], smallestGapMs: 5 });
});

test('nothing that changed hands has no gap', t => {
  t.is(handovers([span({})]).smallestGapMs, null);
});

for (const [name, second] of [
  ['ends later', span({ firstMs: 9, lastMs: 20 })],
  ['lies within', span({ firstMs: 2, lastMs: 3 })],
  ['begins at the very moment', span({ firstMs: 10, lastMs: 20 })],
] as const) {
  test(`an overlap is seen when the second ${name}`, t => {
    t.is(handovers([span({}), { ...second, token: 2n, node: 'node-2' }]).overlaps.length, 1);
  });
}

test('a short run in between does not hide that the first goes on', t => {
  const spans = [span({ lastMs: 100 }), span({ firstMs: 20, lastMs: 30 }), span({ firstMs: 50, lastMs: 60 })];
  t.is(handovers(spans).overlaps.length, 2);
});

test('two instances do not overlap each other', t => {
  t.deepEqual(handovers([span({}), span({ instance: 'single/other/0' })]).overlaps, []);
});

test('tokens that grow are no trouble, nor is a second run with the same one', t => {
  t.deepEqual(
    tokenTrouble([span({}), span({ firstMs: 20 }), span({ firstMs: 30, token: 5n, node: 'node-2' })]),
    [],
  );
});

test('a token that shrinks is told', t => {
  t.is(tokenTrouble([span({ token: 5n }), span({ firstMs: 30, token: 4n, node: 'node-2' })]).length, 1);
});

test('a token that two nodes have is told', t => {
  t.is(tokenTrouble([span({}), span({ firstMs: 30, node: 'node-2' })]).length, 1);
});

const lives: [what: string, spans: Span[], became: ReturnType<typeof becameOf>][] = [
  ['it went on', [span({ lastMs: 90 })], { runAnew: false, takenOver: false }],
  [
    'it was run anew',
    [span({ lastMs: 40 }), span({ born: '60', firstMs: 60 })],
    { runAnew: true, takenOver: false },
  ],
  [
    'another node took it',
    [span({ lastMs: 40 }), span({ token: 2n, node: 'node-2', firstMs: 60 })],
    { runAnew: true, takenOver: true },
  ],
  [
    'another node had it before already',
    [span({}), span({ token: 2n, node: 'node-2', firstMs: 20, lastMs: 90 })],
    { runAnew: false, takenOver: false },
  ],
  ['it was never seen before', [span({ firstMs: 60 })], { runAnew: false, takenOver: false }],
  [
    'another instance was taken over',
    [span({ lastMs: 90 }), span({ instance: 'x', node: 'node-2', firstMs: 60 })],
    { runAnew: false, takenOver: false },
  ],
];
for (const [what, spans, became] of lives) {
  test(`what became of an instance: ${what}`, t => {
    t.deepEqual(becameOf(spans, 'single/writer/0', 50), became);
  });
}
