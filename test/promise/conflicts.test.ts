import test from 'ava';
import { problemText } from '../../src/model/problem.ts';
import type { NodePromise } from '../../src/model/node-promise.ts';
import { hostnameConflicts, impossible, overcommitted } from '../../src/promise/conflicts.ts';
import { appSpec, runningPromise } from '../support/nouns.ts';

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
