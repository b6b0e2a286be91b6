import test from 'ava';
import fc from 'fast-check';
import type { PlaceableNode, Rebalancing } from '../../src/model/placement.ts';
import { rebalance, type Settled } from '../../src/placement/rebalance.ts';
import { reservation } from '../../src/placement/reservation.ts';
import { appSpec, freeInstance, placeableNode, processSpec } from '../support/nouns.ts';

const mebibyte = 1024 * 1024;
const [one, two, three] = ['node-1', 'node-2', 'node-3'].map(name => placeableNode(name)) as [
  PlaceableNode,
  PlaceableNode,
  PlaceableNode,
];

/** `blog` on the nodes named, from its first instance on. */
function at(
  nodes: string[],
  parts: Parameters<typeof appSpec>[0] = {},
  fixed: string | null = null,
): Settled[] {
  const spec = appSpec(parts);
  return nodes.map((node, index) => ({ instance: freeInstance(index, { spec }), node, fixed }));
}

const moved = ({ moves }: Rebalancing) => moves.map(({ instance, from, to }) => `${instance} ${from} ${to}`);

interface Row {
  nodes: PlaceableNode[];
  placed: Settled[];
  moves: string[];
}

const rows: Record<string, Row> = {
  'what is even stays': { nodes: [one, two, three], placed: at(['node-1', 'node-2', 'node-3']), moves: [] },
  'one more here than there is even': {
    nodes: [one, two],
    placed: at(['node-1', 'node-1', 'node-2']),
    moves: [],
  },
  'a node that came back gets its share': {
    nodes: [one, two, three],
    placed: at(['node-1', 'node-2', 'node-1', 'node-2', 'node-1', 'node-2']),
    moves: ['blog/web/0 node-1 node-3', 'blog/web/1 node-2 node-3'],
  },
  'a node that is emptied, runs no apps, comes and goes or is not trusted gets nothing': {
    nodes: [
      one,
      placeableNode('node-2', { draining: true }),
      placeableNode('node-3', { roles: ['proxy'] }),
      placeableNode('node-4', { unsteady: 'comes and goes' }),
      placeableNode('node-5', { trust: 0.5 }),
      placeableNode('node-6', { unreachable: true }),
    ],
    placed: at(['node-1', 'node-1', 'node-1']),
    moves: [],
  },
  'required labels hold': {
    nodes: [one, two, placeableNode('node-3', { labels: { zone: 'eu' } })],
    placed: at(['node-1', 'node-1', 'node-1', 'node-1'], {
      placement: { requires: { zone: 'eu' }, spread: null },
    }),
    moves: ['blog/web/0 node-1 node-3', 'blog/web/1 node-1 node-3'],
  },
  'values of the spread label come before nodes': {
    nodes: [
      placeableNode('node-1', { labels: { zone: 'a' } }),
      placeableNode('node-2', { labels: { zone: 'a' } }),
      placeableNode('node-3', { labels: { zone: 'b' } }),
    ],
    placed: at(['node-1', 'node-2', 'node-1', 'node-2'], { placement: { requires: {}, spread: 'zone' } }),
    moves: ['blog/web/0 node-1 node-3', 'blog/web/1 node-2 node-3'],
  },
  'what has no room stays': {
    nodes: [one, placeableNode('node-2', { capacity: { memoryBytes: 100 * mebibyte, cpu: 4 } })],
    placed: at(['node-1', 'node-1']),
    moves: [],
  },
  'what refuses it gets nothing': {
    nodes: [one, two],
    placed: at(['node-1', 'node-1']).map(settled => ({
      ...settled,
      instance: { ...settled.instance, refusals: [{ node: 'node-2', reason: 'its disk is full' }] },
    })),
    moves: [],
  },
  'of single instances each, the fuller node gives': {
    nodes: [one, two],
    placed: ['blog', 'shop', 'wiki', 'mail'].flatMap(app =>
      at(['node-1'], { app, limits: { memoryBytes: 512 * mebibyte, cpu: 0.5, processes: null } }),
    ),
    moves: ['blog/web/0 node-1 node-2', 'mail/web/0 node-1 node-2'],
  },
  'a move that would only swap who is fuller is none': {
    nodes: [one, two],
    placed: at(['node-1'], { limits: { memoryBytes: 2048 * mebibyte, cpu: 2, processes: null } }),
    moves: [],
  },
};
for (const [title, { nodes, placed, moves }] of Object.entries(rows)) {
  test(title, t => t.deepEqual(moved(rebalance(nodes, placed)), moves));
}

test('each move says why, and what must stay says so where its place is a bad one', t => {
  const nodes = [one, two];
  const mailer = processSpec({ type: 'mailer', exclusive: true });
  const spec = appSpec({ app: 'post', processes: [mailer] });
  const fixed = [0, 1].map(index => ({
    instance: freeInstance(index, { spec, process: mailer }),
    node: 'node-1',
    fixed: 'is exclusive',
  }));
  const { moves, stays, nodes: counts } = rebalance(nodes, [...at(['node-1', 'node-1']), ...fixed]);
  t.deepEqual(moves, [
    {
      instance: 'blog/web/0',
      from: 'node-1',
      to: 'node-2',
      reason: 'node-1 has 2 of blog/web, node-2 has 0',
    },
  ]);
  t.deepEqual(stays, [
    { instance: 'post/mailer/0', node: 'node-1', why: 'is exclusive' },
    { instance: 'post/mailer/1', node: 'node-1', why: 'is exclusive' },
  ]);
  t.deepEqual(counts, [
    { node: 'node-1', instances: 4, instancesAfter: 3 },
    { node: 'node-2', instances: 0, instancesAfter: 1 },
  ]);
});

const node = fc
  .record({
    zone: fc.constantFrom('a', 'b', undefined),
    cpu: fc.constantFrom(1, 2, 4),
    gibibytes: fc.constantFrom(1, 2, 8),
    draining: fc.boolean(),
    trust: fc.constantFrom(1, 1, 0.6),
  })
  .map(({ zone, cpu, gibibytes, draining, trust }) => ({
    labels: zone === undefined ? {} : { zone },
    capacity: { cpu, memoryBytes: gibibytes * 1024 * mebibyte },
    draining,
    trust,
  }));
const app = fc.record({
  spread: fc.constantFrom('zone', null),
  requires: fc.constantFrom({}, {}, { zone: 'a' }),
  memory: fc.constantFrom(null, 64, 300),
  cpu: fc.constantFrom(null, 0.05, 0.5),
});
const world = fc
  .record({
    nodes: fc.array(node, { minLength: 1, maxLength: 5 }),
    apps: fc.array(app, { minLength: 1, maxLength: 3 }),
    places: fc.array(fc.tuple(fc.nat(), fc.nat(), fc.boolean()), { maxLength: 14 }),
  })
  .map(({ nodes, apps, places }) => {
    const members = nodes.map((parts, index) => placeableNode(`node-${index}`, parts));
    const specs = apps.map(({ spread, requires, memory, cpu }, index) =>
      appSpec({
        app: `app${index}`,
        placement: { spread, requires: { ...requires } },
        limits: { memoryBytes: memory === null ? null : memory * mebibyte, cpu, processes: null },
      }),
    );
    const placed = places.map(([which, where, fixed], index): Settled => {
      return {
        instance: freeInstance(index, { spec: specs[which % specs.length]! }),
        node: `node-${where % members.length}`,
        fixed: fixed ? 'it is' : null,
      };
    });
    return { members, placed };
  });

function after(placed: Settled[], { moves }: Rebalancing): Settled[] {
  return moves.reduce(
    (all, { instance, from, to }) =>
      all.map(other => {
        return other.instance.instance === instance && other.node === from ? { ...other, node: to } : other;
      }),
    placed,
  );
}

/** Sums of the squares of copies over labels and over nodes: the less, the more even. */
function unevenness(members: PlaceableNode[], placed: Settled[]): [number, number] {
  const squares = (keyOf: (settled: Settled) => string | null): number => {
    const counts = new Map<string, number>();
    for (const settled of placed) {
      const key = keyOf(settled);
      if (key !== null) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return [...counts.values()].reduce((sum, count) => sum + count ** 2, 0);
  };
  const zoneOf = (name: string) => members.find(member => member.node === name)?.labels['zone'] ?? 'none';
  return [
    squares(({ instance: { spec }, node: where }) =>
      spec.placement.spread === null ? null : `${spec.app} ${zoneOf(where)}`,
    ),
    squares(({ instance: { spec }, node: where }) => `${spec.app} ${where}`),
  ];
}

test('it ends, is content with what it has made, makes nothing less even, and breaks no rule of placement', t => {
  fc.assert(
    fc.property(world, ({ members, placed }) => {
      const found = rebalance(members, placed);
      const then = after(placed, found);
      t.deepEqual(rebalance(members, then).moves, []);
      const [labels, nodes] = unevenness(members, placed);
      const [labelsThen, nodesThen] = unevenness(members, then);
      t.true(labelsThen < labels || (labelsThen === labels && nodesThen <= nodes));
      for (const [index, settled] of then.entries()) {
        if (settled.node === placed[index]!.node) continue;
        t.is(settled.fixed, null);
        const to = members.find(member => member.node === settled.node)!;
        t.false(to.draining);
        for (const [label, value] of Object.entries(settled.instance.spec.placement.requires))
          t.is(to.labels[label], value);
        const there = then.filter(other => other.node === to.node);
        const reserved = there.map(({ instance: { spec, process } }) => reservation(spec, process));
        t.true(reserved.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0) <= to.capacity.memoryBytes);
        t.true(reserved.reduce((sum, { cpu }) => sum + Math.round(cpu * 1000), 0) <= to.capacity.cpu * 1000);
      }
    }),
    { numRuns: 300 },
  );
});

test('it says the same whatever order it hears of things in', t => {
  fc.assert(
    fc.property(world, ({ members, placed }) => {
      t.deepEqual(rebalance([...members].reverse(), [...placed].reverse()), rebalance(members, placed));
    }),
  );
});
