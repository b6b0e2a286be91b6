import test from 'ava';
import { problemText } from '../../src/model/problem.ts';
import type { NodePromise } from '../../src/model/node-promise.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import {
  hostnameConflicts,
  impossible,
  overcommitted,
  portConflicts,
  type PortNode,
} from '../../src/promise/conflicts.ts';
import { appSpec, processSpec, runningPromise } from '../support/nouns.ts';

const two = appSpec({ hostnames: ['a.example.com', 'b.example.com'] });
const mebibyte = 1024 * 1024;

test('a host name that another app holds is refused with its name', t => {
  const holders = new Map([
    ['a.example.com', 'blog'],
    ['b.example.com', 'shop'],
  ]);
  t.deepEqual(hostnameConflicts(two, holders).map(problemText), [
    'blog: domains.list: host name "b.example.com" is held by app "shop" (choose another, or take it from "shop" first)',
  ]);
});

test('host names that nobody holds are free', t => t.deepEqual(hostnameConflicts(two, new Map()), []));

test('what does not fit after the older ones is named with the numbers', t => {
  const node = { node: 'node-1', capacity: { memoryBytes: 300 * mebibyte, cpu: 1 } };
  const reserves = { memoryBytes: 128 * mebibyte, cpu: 0.1 };
  const placed = ['blog/web/0', 'blog/web/1', 'shop/web/0'].map(instance => ({
    instance,
    node: 'node-1',
    reserves,
  }));
  t.deepEqual(overcommitted(node, placed).map(problemText), [
    'shop: limits: shop/web/0 needs 128 MiB and 0.1 cores, and node-1 has 44 MiB and 0.8 cores left (blog/web/0, blog/web/1 came before it)',
  ]);
  t.deepEqual(overcommitted(node, placed.slice(0, 2)), []);
});

const port = { number: 8448, protocol: 'tcp' as const, name: null };
const chat = (app: string, scale = 1, parts: Partial<AppSpec> = {}): AppSpec =>
  appSpec({ app, ports: [port], processes: [processSpec({ scale })], ...parts });
const zone = (name: string): Partial<AppSpec> => ({ placement: { requires: { zone: name }, spread: null } });
const node = (number: number, parts: Partial<PortNode> = {}): PortNode => ({
  node: `node-${number}`,
  roles: ['apps'],
  labels: { zone: number === 3 ? 'us' : 'eu' },
  ...parts,
});
const three = [1, 2, 3].map(number => node(number));
const once3 = 'port 8448/tcp can be had once on each node, and 3 nodes could give it';

interface PortRow {
  spec: AppSpec;
  before?: AppSpec;
  others?: AppSpec[];
  nodes?: PortNode[];
  problem: string | null;
}

const portRows: Record<string, PortRow> = {
  'as many as there are nodes fit': { spec: chat('blog', 3), problem: null },
  'more do not': {
    spec: chat('blog', 4),
    problem: `${once3}: 4 of "web" can't all run (scale it down, or add nodes)`,
  },
  'two apps share the nodes': { spec: chat('blog', 2), others: [chat('shop', 1)], problem: null },
  'two apps that want more than there are are told of each other': {
    spec: chat('blog', 2),
    others: [chat('shop', 2), chat('wiki', 3, { ports: [{ ...port, protocol: 'udp' }] })],
    problem: `${once3}: app "shop" has it for 2 of "web" (choose another, scale one of them down, or add nodes)`,
  },
  'who can go elsewhere is not in the way': {
    spec: chat('blog', 2, zone('eu')),
    others: [chat('shop', 1)],
    problem: null,
  },
  'who cannot is': {
    spec: chat('blog', 1, zone('us')),
    others: [chat('shop', 3)],
    problem:
      'port 8448/tcp can be had once on each node, and 1 node could give it: app "shop" has it for 3 of "web" (choose another, scale one of them down, or add nodes)',
  },
  'a node that listens there itself gives it to nobody': {
    spec: chat('blog', 3),
    nodes: [node(1, { listens: { '8448/tcp': 'its proxy' } }), node(2), node(3)],
    problem:
      'port 8448/tcp can be had once on each node, and 2 nodes could give it: 3 of "web" can\'t all run (scale it down, or add nodes)',
  },
  'what listens on every node is named': {
    spec: chat('blog'),
    nodes: [1, 2].map(number => node(number, { listens: { '8448/tcp': 'its etcd' } })),
    problem: 'port 8448/tcp is in use on every node: its etcd on node-1, its etcd on node-2 (choose another)',
  },
  'what was wanted before is not questioned when a node is away': {
    spec: chat('blog', 3),
    before: chat('blog', 3),
    nodes: three.slice(1),
    problem: null,
  },
  'more than before is': {
    spec: chat('blog', 4),
    before: chat('blog', 3),
    problem: `${once3}: 4 of "web" can't all run (scale it down, or add nodes)`,
  },
  'a process that only the source will name counts as well': {
    spec: chat('blog', 1, {
      processes: [],
      webSettings: { scale: 4, exclusive: false, startTimeoutSeconds: 1, stopTimeoutSeconds: 1 },
    }),
    problem: `${once3}: 4 of "web" can't all run (scale it down, or add nodes)`,
  },
  'of a process type that has none, there may be more': {
    spec: chat('blog', 1, { processes: [processSpec(), processSpec({ type: 'mailer', scale: 9 })] }),
    problem: null,
  },
  'where no node runs such apps that is another matter': { spec: chat('blog', 4), nodes: [], problem: null },
};
for (const [title, { spec, before, others = [], nodes = three, problem }] of Object.entries(portRows)) {
  test(`fixed ports: ${title}`, t => {
    const found = portConflicts(spec, before ?? null, others, nodes);
    t.deepEqual(found.map(problemText), problem === null ? [] : [`${spec.app}: ports[0].number: ${problem}`]);
    t.true(found.every(({ conflict }) => conflict === true));
  });
}

const action = { ...runningPromise(), kind: 'action' as const };
const capacity: NodePromise = { ...runningPromise(), body: { kind: 'capacity', memoryBytes: -1, cpu: 2 } };
const serving: NodePromise = {
  ...runningPromise(),
  body: { kind: 'serving', hostname: 'h', app: 'blog', instances: 0 },
};
const holding: NodePromise = {
  ...runningPromise(),
  body: { kind: 'holding', artifact: 'sha256:ab', bytes: Number.NaN },
};
const draining: NodePromise = {
  ...runningPromise(),
  body: { kind: 'draining', reason: 'why', left: 1, stays: [] },
};

const rows: [string, NodePromise, string | null][] = [
  ['a copy that runs is possible', runningPromise(), null],
  [
    'a copy that starts is not ready',
    runningPromise({ state: 'starting' }),
    'it cannot be ready while its state is starting',
  ],
  ['a port has its bounds', runningPromise({ endpoint: { host: 'h', port: 70_000 } }), '70000 is no port'],
  ['an action needs an end', action, 'an action needs a time to be complete by'],
  ['capacity is not negative', capacity, '-1 bytes and 2 cores are no capacity'],
  ['serving takes an instance', serving, '0 instances serve nobody'],
  ['a size is a number', holding, 'NaN bytes are no size'],
  ['draining is always possible', draining, null],
];
for (const [title, promise, message] of rows) {
  test(title, t => {
    t.deepEqual(
      impossible(promise).map(problem => problem.message),
      message === null ? [] : [message],
    );
  });
}
