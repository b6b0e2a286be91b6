import test from 'ava';
import { Usage } from '../../src/placement/usage.ts';
import { freeInstance, placeableNode } from '../support/nouns.ts';

const reserves = { memoryBytes: 1_000, cpu: 0.1 };
const node = placeableNode('node-1', { capacity: { memoryBytes: 10_000, cpu: 1 } });

test('an empty node has all of its capacity left', t => {
  t.deepEqual(new Usage([]).free(node), node.capacity);
});

test('what is placed is taken off, exactly, however many', t => {
  const usage = new Usage([{ instance: 'blog/web/0', node: 'node-1', reserves }]);
  usage.add({ instance: 'blog/web/1', node: 'node-1', reserves });
  usage.add({ instance: 'shop/web/0', node: 'node-1', reserves });
  usage.add({ instance: 'shop/web/1', node: 'node-2', reserves });
  t.deepEqual(usage.free(node), { memoryBytes: 7_000, cpu: 0.7 });
});

test('more can be promised than there is, and then less than nothing is left', t => {
  const big = { memoryBytes: 11_000, cpu: 2 };
  const usage = new Usage([{ instance: 'blog/web/0', node: 'node-1', reserves: big }]);
  t.deepEqual(usage.free(node), { memoryBytes: -1_000, cpu: -1 });
});

test('copies are counted by process type and by app', t => {
  const usage = new Usage([
    { instance: 'blog/web/0', node: 'node-1', reserves },
    { instance: 'blog/mailer/0', node: 'node-1', reserves },
    { instance: 'shop/web/0', node: 'node-1', reserves },
  ]);
  t.is(usage.copiesOfProcess(freeInstance(1), node), 1);
  t.is(usage.copiesOfApp(freeInstance(1), node), 2);
  t.is(usage.copiesOfProcess(freeInstance(1), placeableNode('node-2')), 0);
});
