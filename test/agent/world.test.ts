import test from 'ava';
import { World } from '../../src/agent/world.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeEtcd } from '../support/fake-store.ts';
import { webApp } from '../support/sim-cluster.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { appRecord } from './helpers.ts';

function seen() {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  const store = etcd.client('node-1');
  return { clock, etcd, store, world: new World(store) };
}

test('it is in step when every part of it is', async t => {
  const { clock, store, world } = seen();
  store.setLink('refused');
  await clock.advance(1000);
  t.false(world.synced());
  store.setLink('up');
  const ready = world.ready(new AbortController().signal);
  await clock.advance(3000);
  await ready;
  t.true(world.synced());
  world.close();
  await clock.advance(1000);
  t.is(clock.pending, 0);
});

test('who waits for it can stop waiting', async t => {
  const { store, world } = seen();
  store.setLink('refused');
  const abort = new AbortController();
  const ready = world.ready(abort.signal);
  abort.abort(new Error('no more'));
  await t.throwsAsync(ready, { message: 'no more' });
  world.close();
});

test('it is as old as its oldest part', async t => {
  const { clock, store, world } = seen();
  await clock.advance(1000);
  t.is(world.staleMs(), 0);
  store.setLink('silent');
  await clock.advance(7000);
  t.is(world.staleMs(), 7000);
});

test('of two sessions of one node the newer is the node, and both are alive', async t => {
  const { clock, etcd, world } = seen();
  etcd.put('sessions', 'node-1/b', sessionRecord({ node: 'node-1', incarnation: 'b' }));
  etcd.put('sessions', 'node-1/a', sessionRecord({ node: 'node-1', incarnation: 'a' }));
  await clock.settle();
  t.deepEqual(
    [...world.nodes().values()].map(({ value }) => value.incarnation),
    ['a'],
  );
  t.deepEqual([...world.liveIncarnations()], ['node-1/a', 'node-1/b']);
});

test('a listener hears of the kinds it named, and of nothing after it stopped', async t => {
  const { clock, etcd, world } = seen();
  await clock.settle();
  let calls = 0;
  const stop = world.onChange(['apps', 'sessions'], () => calls++);
  etcd.put('hostnames', 'x', { v: 1, app: 'blog' });
  await clock.settle();
  t.is(calls, 0);
  etcd.put('apps', 'blog', appRecord(webApp(1)));
  etcd.put('sessions', 'node-1/a', sessionRecord());
  await clock.settle();
  t.is(calls, 2);
  stop();
  etcd.delete('apps', 'blog');
  await clock.settle();
  t.is(calls, 2);
});
