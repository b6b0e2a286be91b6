import test from 'ava';
import {
  holdersOf,
  placementInputs,
  runningElsewhere,
  wantedInstances,
  wantedOrWhyNot,
} from '../../src/agent/wanted.ts';
import { processSpec, runningPromise } from '../support/nouns.ts';
import { webApp } from '../support/sim-cluster.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { appRecord, member, ownerRecord } from './helpers.ts';

test('wanted is every index of every process type of every app that stays', async t => {
  const { etcd, clock, world } = await member();
  const processes = [processSpec({ scale: 2 }), processSpec({ type: 'mailer', scale: 1, routed: false })];
  etcd.put('apps', 'blog', appRecord({ ...webApp(2), processes }));
  etcd.put('apps', 'old', appRecord(webApp(3, { app: 'old' }), { removing: true }));
  etcd.put('apps', 'none', appRecord(webApp(0, { app: 'none' })));
  await clock.settle();
  t.deepEqual(
    wantedInstances(world).map(({ instance }) => instance),
    ['blog/web/0', 'blog/web/1', 'blog/mailer/0'],
  );
});

for (const { instance, words } of [
  { instance: 'shop/web/0', words: 'there is no app "shop" any more' },
  { instance: 'old/web/0', words: 'app "old" is being removed' },
  { instance: 'blog/mailer/0', words: 'release 1 of "blog" has no process type "mailer"' },
  { instance: 'blog/web/2', words: '"web" of "blog" is scaled to 2' },
]) {
  test(`not wanted, in words: ${words}`, async t => {
    const { etcd, clock, world } = await member();
    etcd.put('apps', 'blog', appRecord(webApp(2)));
    etcd.put('apps', 'old', appRecord(webApp(3, { app: 'old' }), { removing: true }));
    await clock.settle();
    t.deepEqual(wantedOrWhyNot(world, instance), { notWanted: words });
    t.like(wantedOrWhyNot(world, 'blog/web/1'), { index: 1, instance: 'blog/web/1' });
  });
}

test('placement sees what is free, what is taken by a live session, and who had it last', async t => {
  const { etcd, clock, world, keeper } = await member();
  const { incarnation } = keeper.current()!;
  etcd.put(
    'apps',
    'blog',
    appRecord(webApp(4), { artifact: { digest: 'd', bytes: 1, platform: 'linux-x64' } }),
  );
  const owned = (index: number, parts: object): bigint =>
    etcd.put(
      'owners',
      `instance/blog/web/${index}`,
      ownerRecord({ subject: `instance/blog/web/${index}`, ...parts }),
    );
  owned(0, { incarnation });
  owned(1, { node: 'node-2', incarnation: 'gone' });
  owned(2, { node: 'node-2', released: { at: 'x', reason: 'stopped' } });
  await clock.settle();
  const { free, placed, nodes } = placementInputs(world);
  t.deepEqual(
    free.map(({ instance, runsOn, platform }) => ({ instance, runsOn, platform })),
    [
      { instance: 'blog/web/1', runsOn: ['node-2'], platform: 'linux-x64' },
      { instance: 'blog/web/2', runsOn: [], platform: 'linux-x64' },
      { instance: 'blog/web/3', runsOn: [], platform: 'linux-x64' },
    ],
  );
  t.deepEqual(
    placed.map(({ instance, node }) => ({ instance, node })),
    [{ instance: 'blog/web/0', node: 'node-1' }],
  );
  t.deepEqual(
    nodes.map(({ node, draining, trust }) => ({ node, draining, trust })),
    [{ node: 'node-1', draining: false, trust: 1 }],
  );
});

test('a refusal counts for the generation it was made for', async t => {
  const { etcd, clock, world } = await member();
  const refuse = (generation: number): bigint =>
    etcd.put('refusals', 'instance/blog/web/0/node-2', {
      v: 1,
      subject: 'instance/blog/web/0',
      node: 'node-2',
      reason: 'full',
      generation,
    });
  etcd.put('apps', 'blog', appRecord(webApp(1), { generation: 2 }));
  refuse(1);
  await clock.settle();
  t.deepEqual(placementInputs(world).free[0]?.refusals, []);
  refuse(2);
  await clock.settle();
  t.deepEqual(placementInputs(world).free[0]?.refusals, [{ node: 'node-2', reason: 'full' }]);
});

test('what others run is what their nodes promise, whether ready or not', async t => {
  const { etcd, clock, world } = await member();
  etcd.put('promises', 'node-2/running:auth/web/0', {
    v: 1,
    promise: runningPromise({ instance: 'auth/web/0', app: 'auth', ready: true }, 'node-2'),
  });
  await clock.settle();
  t.deepEqual(
    runningElsewhere(world).map(({ node, instance, ready }) => [node, instance, ready]),
    [['node-2', 'auth/web/0', true]],
  );
});

test('holders are other nodes that promise it and can be reached', async t => {
  const { etcd, clock, world } = await member();
  for (const node of ['node-1', 'node-2', 'node-3', 'node-4']) {
    const peer = node === 'node-3' ? null : { host: node, port: 7400 };
    if (node !== 'node-4') etcd.put('sessions', `${node}/i`, sessionRecord({ node, incarnation: 'i', peer }));
    etcd.put('promises', `${node}/holding:d`, {
      v: 1,
      promise: {
        ...runningPromise({}, node),
        name: 'holding:d',
        body: { kind: 'holding', artifact: 'd', bytes: 1 },
      },
    });
  }
  await clock.settle();
  t.deepEqual(holdersOf(world, 'd', 'node-1'), [{ node: 'node-2', peer: { host: 'node-2', port: 7400 } }]);
  t.deepEqual(holdersOf(world, 'e', 'node-1'), []);
});
