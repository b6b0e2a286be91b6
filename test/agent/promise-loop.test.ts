import test from 'ava';
import { PromiseLoop, type Undertakings } from '../../src/agent/promise-loop.ts';
import type { NodePromise } from '../../src/model/node-promise.ts';
import { instanceStatus } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';
import { events, member } from './helpers.ts';

/** A promise loop of its own, that promises what `state` says. */
async function promising() {
  const one = await member();
  const state: Undertakings = {
    statuses: [],
    artifacts: [],
    deploying: [],
    requests: [],
    draining: null,
    reasons: new Map(),
  };
  let known = true;
  const loop = new PromiseLoop({
    ...one,
    capacity: { memoryBytes: 1024, cpu: 2 },
    undertakings: () => (known ? state : null),
  });
  one.keeper.onChange(() => loop.wake());
  return {
    ...one,
    loop,
    state,
    setKnown: (value: boolean) => (known = value),
    promised: () =>
      Object.values(one.etcd.contents('promises'))
        .map(({ promise }) => promise.name)
        .sort(),
    promise: (name: string): NodePromise | undefined =>
      one.etcd.contents('promises')[`node-1/${name}`]?.promise,
    told: () => events(one.etcd).map(event => `${event.kind} ${event.subject}`),
  };
}

test('what it promises is on its lease, and each promise is told once', async t => {
  const { clock, etcd, keeper, loop, state, promised, told } = await promising();
  state.statuses = [instanceStatus()];
  loop.start();
  await clock.advance(1000);
  t.deepEqual(promised(), ['capacity', 'running:blog/web/0']);
  await clock.advance(60_000);
  t.is(told().filter(line => line === 'promise-made node-1/running:blog/web/0').length, 1);
  etcd.killLease(keeper.current()!.lease);
  t.deepEqual(promised(), []);
  await loop.stop();
});

test('a change that is no change is not written', async t => {
  const { clock, etcd, loop, state } = await promising();
  loop.start();
  await clock.advance(1000);
  const { revision } = etcd;
  state.statuses = [...state.statuses];
  for (let times = 0; times < 10; times++) {
    loop.wake();
    await clock.advance(1000);
  }
  t.is(etcd.revision, revision);
  await loop.stop();
});

test('a promise keeps the time it was made at, however it changes', async t => {
  const { clock, loop, state, promise } = await promising();
  state.statuses = [instanceStatus({ state: 'starting', ready: false })];
  loop.start();
  await clock.advance(1000);
  const made = promise('running:blog/web/0')!.madeAt;
  state.statuses = [instanceStatus()];
  loop.wake();
  await clock.advance(1000);
  t.like(promise('running:blog/web/0'), { madeAt: made, body: { ready: true } });
  await loop.stop();
});

test('nothing is said before it is known what runs here', async t => {
  const { clock, loop, setKnown, promised } = await promising();
  setKnown(false);
  loop.start();
  await clock.advance(1000);
  t.deepEqual(promised(), []);
  setKnown(true);
  loop.wake();
  await clock.advance(1000);
  t.deepEqual(promised(), ['capacity']);
  await loop.stop();
});

test('a promise that goes is withdrawn, with the reason it has or the usual one', async t => {
  const { clock, etcd, loop, state, promised } = await promising();
  state.statuses = [instanceStatus(), instanceStatus({ instance: 'blog/web/1' })];
  loop.start();
  await clock.advance(1000);
  state.statuses = [];
  state.reasons = new Map([['running:blog/web/0', 'scaled to 0']]);
  loop.wake();
  await clock.advance(1000);
  t.deepEqual(promised(), ['capacity']);
  t.deepEqual(
    events(etcd, 'promise-withdrawn').map(event => event.details),
    [{ reason: 'scaled to 0' }, { reason: "blog/web/1 is not this node's to run any more" }],
  );
  await loop.stop();
});

for (const link of ['refused', 'silent', 'replies-lost'] as const) {
  test(`a withdrawal that meets a store that is ${link} is made up for, and told once`, async t => {
    const { clock, store, loop, state, promised, told } = await promising();
    state.statuses = [instanceStatus()];
    loop.start();
    await clock.advance(1000);
    store.setLink(link);
    state.statuses = [];
    loop.wake();
    await clock.advance(3000);
    store.setLink('up');
    await clock.advance(4000);
    t.deepEqual(promised(), ['capacity'], 'though the session never was lost');
    t.is(told().filter(line => line.startsWith('promise-withdrawn')).length, 1);
    t.is(told().filter(line => line.startsWith('promise-made')).length, 2);
    await loop.stop();
  });
}

test('what nobody could keep is not promised, and that is written down', async t => {
  const { clock, loop, log, state, promised } = await promising();
  state.statuses = [instanceStatus({ endpoint: { host: '127.0.0.1', port: 70_000 } })];
  loop.start();
  await clock.advance(1000);
  t.deepEqual(promised(), ['capacity']);
  t.is(log.matching('70000 is no port').length > 0, true);
  await loop.stop();
});

test('a hundred and fifty promises are made in more than one transaction', async t => {
  const { clock, loop, log, state, promised } = await promising();
  state.statuses = Array.from({ length: 150 }, (_, index) =>
    instanceStatus({ instance: `blog/web/${index}` }),
  );
  loop.start();
  await clock.advance(1000);
  t.is(promised().length, 151);
  state.statuses = [];
  loop.wake();
  await clock.advance(1000);
  t.is(promised().length, 1);
  t.deepEqual(
    log.lines.filter(line => line.level === 'warn'),
    [],
  );
  await loop.stop();
});

test('a new session promises everything anew; a dead one can promise nothing', async t => {
  const { clock, etcd, keeper, log, loop, state, promised, promise } = await promising();
  state.statuses = [instanceStatus()];
  loop.start();
  await clock.advance(1000);
  const before = promise('running:blog/web/0')!;
  const { lease } = keeper.current()!;
  // Its key is gone from its lease, and it has not noticed yet.
  etcd.losesEvents = true;
  etcd.killLease(lease);
  state.statuses = [instanceStatus(), instanceStatus({ instance: 'blog/web/1' })];
  t.not(keeper.current(), null);
  loop.wake();
  await clock.settle();
  t.deepEqual(promised(), []);
  t.true(log.matching('is not on its lease any more').length > 0);
  etcd.losesEvents = false;
  await clock.advance(5000);
  t.not(keeper.current()?.lease, lease);
  t.deepEqual(promised(), ['capacity', 'running:blog/web/0', 'running:blog/web/1']);
  t.true(promise('running:blog/web/0')!.madeAt > before.madeAt, 'it is another promise');
  await loop.stop();
});

test('on leaving everything is taken back', async t => {
  const { clock, ledger, loop, state, promised, told } = await promising();
  state.statuses = [instanceStatus()];
  loop.start();
  await clock.advance(1000);
  await loop.stop();
  await loop.withdrawAll('node-1 left the cluster');
  await ledger.flush();
  t.deepEqual(promised(), []);
  t.is(told().filter(line => line.startsWith('promise-withdrawn')).length, 2);
});

test('over a restart of its agent a promise is the same promise', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(1));
  const owner = cluster.owner('blog/web/0')!.node;
  const name = `${owner}/running:blog/web/0`;
  const before = cluster.etcd.contents('promises')[name]!.promise;
  const made = cluster.events('promise-made').length;
  await cluster.advance(5000);
  await cluster.node(owner).restart();
  await cluster.advance(15_000);
  t.deepEqual(cluster.etcd.contents('promises')[name]?.promise, before);
  t.is(cluster.events('promise-made').length, made);
  t.is(cluster.events('promise-withdrawn').filter(event => event.subject === name).length, 0);
});

test('withdrawn, expired and broken are three different things', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  const kinds = (instance: string): string[] =>
    cluster
      .events()
      .filter(event => event.subject.endsWith(`/running:${instance}`))
      .map(event => event.kind)
      .filter(kind => ['promise-withdrawn', 'promise-expired', 'promise-broken'].includes(kind));
  await cluster.advance(10_000);

  const [hung] = cluster.copies('blog/web/0');
  cluster.replies.set(hung!.unit.unit, { kind: 'http', status: 500 });
  await cluster.until(() => kinds('blog/web/0').length > 0);
  t.deepEqual([...new Set(kinds('blog/web/0'))], ['promise-broken']);

  await cluster.node('node-1').agent.admin.scale('blog', { web: 2 });
  await cluster.until(() => kinds('blog/web/2').length > 0);
  t.deepEqual(kinds('blog/web/2'), ['promise-withdrawn']);

  const owner = cluster.owner('blog/web/1')!.node;
  // Its agent is cut off from the store, and from nobody else: its copy still answers.
  cluster.node(owner).store.setLink('silent');
  await cluster.until(() => kinds('blog/web/1').length > 0);
  t.deepEqual(kinds('blog/web/1'), ['promise-expired']);
});

test('what was written over or deleted by a write that came late is at once written again, and what came back is taken back', async t => {
  const { clock, etcd, loop, state, promise, promised } = await promising();
  state.statuses = [instanceStatus({ state: 'starting', ready: false })];
  loop.start();
  await clock.advance(1000);
  const late = etcd.contents('promises')['node-1/running:blog/web/0']!;
  state.statuses = [instanceStatus()];
  loop.wake();
  await clock.advance(1000);
  etcd.put('promises', 'node-1/running:blog/web/0', late);
  await clock.advance(100);
  t.like(promise('running:blog/web/0'), { body: { ready: true } });
  etcd.delete('promises', 'node-1/running:blog/web/0');
  await clock.advance(100);
  t.like(promise('running:blog/web/0'), { body: { ready: true } });
  state.statuses = [];
  loop.wake();
  await clock.advance(1000);
  etcd.put('promises', 'node-1/running:blog/web/0', late);
  await clock.advance(100);
  t.deepEqual(promised(), ['capacity']);
  await loop.stop();
});
