import test from 'ava';
import fc from 'fast-check';
import { portsOf, portText } from '../../src/model/app-spec.ts';
import type { FreeInstance, PlaceableNode, PlacedInstance } from '../../src/model/placement.ts';
import { rank } from '../../src/placement/rank.ts';
import { reservation } from '../../src/placement/reservation.ts';
import { appSpec, freeInstance, placeableNode } from '../support/nouns.ts';

const three = ['node-1', 'node-2', 'node-3'].map(name => placeableNode(name));
const small = { memoryBytes: 64 * 1024 * 1024, cpu: 4 };

test('nine instances on three equal nodes are spread three, three, three', t => {
  t.deepEqual(counts(rank(instances(9), three, [])), { 'node-1': 3, 'node-2': 3, 'node-3': 3 });
});

test('three instances on three equal nodes are spread one, one, one', t => {
  t.deepEqual(counts(rank(instances(3), three, [])), { 'node-1': 1, 'node-2': 1, 'node-3': 1 });
});

test('a few instances of other apps do not make the spread uneven', t => {
  const other: PlacedInstance[] = [0, 1, 2].map(index => ({
    instance: `shop/web/${index}`,
    node: 'node-1',
    reserves: reservation(appSpec()),
  }));
  t.deepEqual(counts(rank(instances(9), three, other)), { 'node-1': 3, 'node-2': 3, 'node-3': 3 });
});

test('what is placed already counts, so a node that joins takes the new work', t => {
  const placed = place(instances(6), ['node-1', 'node-2']);
  t.deepEqual(counts(rank([freeInstance(6), freeInstance(7)], three, placed)), { 'node-3': 2 });
});

test('the node that runs it comes first, however full', t => {
  const placed = place(instances(4), ['node-2']);
  const [ranking] = rank([freeInstance(4, { runsOn: ['node-2'] })], three, placed);
  t.is(ranking?.candidates[0]?.node, 'node-2');
  t.regex(ranking?.candidates[0]?.reasons[0] ?? '', /runs it or had it last/);
});

test('the node that it is being moved to comes before all others, unless it can not take it', t => {
  const placed = place(instances(4), ['node-2']);
  const moving = freeInstance(4, { runsOn: ['node-1'], movesTo: 'node-2' });
  const [ranking] = rank([moving], three, placed);
  t.deepEqual(
    ranking?.candidates.slice(0, 2).map(({ node }) => node),
    ['node-2', 'node-1'],
  );
  t.is(ranking?.candidates[0]?.reasons[0], 'before others: it is being moved there');
  const draining = three.map(node => ({ ...node, draining: node.node === 'node-2' }));
  t.is(rank([moving], draining, placed)[0]?.candidates[0]?.node, 'node-1');
});

test('values of the spread label are evened out before nodes are', t => {
  const spec = appSpec({ placement: { requires: {}, spread: 'zone' } });
  const nodes = [
    placeableNode('a1', { labels: { zone: 'a' } }),
    placeableNode('a2', { labels: { zone: 'a' } }),
    placeableNode('a3', { labels: { zone: 'a' } }),
    placeableNode('b1', { labels: { zone: 'b' } }),
    placeableNode('n1'),
  ];
  const six = instances(6).map(({ index }) => freeInstance(index, { spec }));
  const { b1, n1, ...rest } = counts(rank(six, nodes, []));
  t.is(b1, 2);
  t.is(n1, 2);
  t.is(sum(Object.values(rest)), 2);
});

test('a node that comes and goes gets nothing new, and is told why', t => {
  const nodes = [placeableNode('shaky', { unsteady: 'comes and goes' }), placeableNode('solid')];
  for (const ranking of rank(instances(3), nodes, [])) {
    t.deepEqual(
      ranking.candidates.map(({ node }) => node),
      ['solid'],
    );
    t.deepEqual(ranking.excluded, [{ node: 'shaky', reason: 'comes and goes' }]);
  }
});

test('a node that comes and goes may take again what it had, and what nobody else can take', t => {
  const nodes = [placeableNode('shaky', { unsteady: 'comes and goes' }), placeableNode('solid')];
  const [own] = rank([freeInstance(0, { runsOn: ['shaky'] })], nodes, []);
  t.deepEqual(
    own?.candidates.map(({ node }) => node),
    ['shaky', 'solid'],
  );
  const [alone] = rank([freeInstance(0)], nodes.slice(0, 1), []);
  t.is(alone?.candidates[0]?.node, 'shaky');
});

test('an untrusted node comes after a trusted one', t => {
  const nodes = [placeableNode('shaky', { trust: 0.2 }), placeableNode('solid')];
  for (const ranking of rank(instances(2), nodes, [])) {
    t.is(ranking.candidates[0]?.node, 'solid');
  }
});

test('who cannot take it is named with the reason', t => {
  const nodes = [placeableNode('full', { capacity: small }), placeableNode('ok')];
  const [ranking] = rank([freeInstance(0)], nodes, []);
  t.deepEqual(
    ranking?.candidates.map(({ node }) => node),
    ['ok'],
  );
  t.deepEqual(ranking?.excluded, [{ node: 'full', reason: 'has 64 of 64 MiB memory left, needed are 128' }]);
});

const anyNodes = fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 }).chain(ids =>
  fc.tuple(
    ...ids.map(id =>
      fc
        .record({ memory: fc.integer({ min: 0, max: 12 }), cpu: fc.integer({ min: 0, max: 12 }) })
        .map(({ memory, cpu }) =>
          placeableNode(`node-${id}`, {
            capacity: { memoryBytes: memory * 100 * 1024 * 1024, cpu: cpu / 10 },
          }),
        ),
    ),
  ),
);

test('no node is ever given more than it has', t => {
  fc.assert(
    fc.property(anyNodes, fc.integer({ min: 0, max: 30 }), (nodes, count) => {
      const rankings = rank(instances(count), nodes, []);
      const needed = reservation(appSpec());
      for (const { node, capacity } of nodes) {
        const taken = counts(rankings)[node] ?? 0;
        t.true(taken * needed.memoryBytes <= capacity.memoryBytes);
        t.true(taken * Math.round(needed.cpu * 1000) <= Math.round(capacity.cpu * 1000));
      }
    }),
  );
});

const numbers = [8448, 25, 53];
const protocols = ['tcp', 'udp'] as const;
const anyPorts = fc.subarray(
  numbers.flatMap(number => protocols.map(protocol => ({ number, protocol, name: null }))),
  { maxLength: 2 },
);

test('no node is ever given two instances with one fixed port, whoever has it there already', t => {
  const wants = fc.array(anyPorts, { minLength: 1, maxLength: 12 });
  const keys = fc.array(fc.tuple(fc.nat(3), fc.nat(5), fc.nat(11)), { maxLength: 6 });
  const owned = fc.array(fc.tuple(fc.nat(11), fc.nat(3)), { maxLength: 6 });
  fc.assert(
    fc.property(wants, fc.integer({ min: 1, max: 4 }), keys, owned, (lists, count, held, places) => {
      const all = lists.map((ports, index) =>
        freeInstance(0, { spec: appSpec({ app: `app-${index}`, ports }) }),
      );
      const texts = all.map(({ spec }) => portsOf(spec, 'web').map(portText));
      const given = new Map<string, string>();
      const nodes = Array.from({ length: count }, (_, number) => {
        const ports = held.flatMap(([node, port, whose]): [string, string][] => {
          const text = `${numbers[port % 3]!}/${protocols[port % 2]!}`;
          return node % count === number ? [[text, all[whose % all.length]!.instance]] : [];
        });
        for (const [text, instance] of ports) given.set(`node-${number} ${text}`, instance);
        return placeableNode(`node-${number}`, { ports: new Map(ports) });
      });
      const placed: PlacedInstance[] = [];
      for (const [which, where] of places) {
        const [one, ports, node] = [
          all[which % all.length]!,
          texts[which % all.length]!,
          `node-${where % count}`,
        ];
        const isOnce = placed.every(other => other.instance !== one.instance);
        if (!isOnce || ports.some(text => (given.get(`${node} ${text}`) ?? one.instance) !== one.instance))
          continue;
        for (const text of ports) given.set(`${node} ${text}`, one.instance);
        placed.push({ instance: one.instance, node, reserves: reservation(one.spec), ports });
      }
      const free = all.filter(({ instance }) => placed.every(other => other.instance !== instance));
      for (const { instance, candidates } of rank(free, nodes, placed)) {
        const node = candidates[0]?.node;
        const index = all.findIndex(other => other.instance === instance);
        for (const text of node === undefined ? [] : texts[index]!) {
          t.is(given.get(`${node} ${text}`) ?? instance, instance);
          given.set(`${node} ${text}`, instance);
        }
      }
    }),
  );
});

test('with a port free on as many nodes as want it, each gets one', t => {
  const ports = [{ number: 8448, protocol: 'tcp' as const, name: null }];
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.nat(6), (count, taken) => {
      const nodes = Array.from({ length: count }, (_, number) => placeableNode(`node-${number}`));
      const free = Array.from({ length: 8 }, (_, index) => freeInstance(index, { spec: appSpec({ ports }) }));
      const placed = nodes.slice(0, taken).map(({ node }, index) => ({
        instance: `shop/web/${index}`,
        node,
        reserves: reservation(appSpec()),
        ports: ['8448/tcp'],
      }));
      const given = rank(free, nodes, placed).flatMap(({ candidates }) => candidates[0]?.node ?? []);
      t.is(given.length, Math.min(8, Math.max(0, count - taken)));
      t.is(new Set(given).size, given.length);
    }),
  );
});

test('the order of what is given changes nothing', t => {
  const placed = place(instances(7), ['node-1', 'node-2']);
  fc.assert(
    fc.property(
      anyOrder(instances(12).slice(7)),
      anyOrder<PlaceableNode>(three),
      anyOrder(placed),
      (free, nodes, there) => {
        t.deepEqual(rank(free, nodes, there), rank(instances(12).slice(7), three, placed));
      },
    ),
  );
});

function instances(count: number): FreeInstance[] {
  return Array.from({ length: count }, (_, index) => freeInstance(index));
}

function place(free: FreeInstance[], nodes: string[]): PlacedInstance[] {
  return free.map(({ instance, spec }, index) => ({
    instance,
    node: nodes[index % nodes.length]!,
    reserves: reservation(spec),
  }));
}

function counts(rankings: ReturnType<typeof rank>): Record<string, number> {
  const result: Record<string, number> = {};
  for (const { candidates } of rankings) {
    const node = candidates[0]?.node;
    if (node !== undefined) result[node] = (result[node] ?? 0) + 1;
  }
  return result;
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function anyOrder<T>(values: T[]): fc.Arbitrary<T[]> {
  return fc.shuffledSubarray(values, { minLength: values.length });
}
