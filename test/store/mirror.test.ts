import test from 'ava';
import type { HolderRecord } from '../../src/model/records.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeEtcd } from '../support/fake-store.ts';

async function mirrored() {
  const clock = new FakeClock();
  const log = new FakeLog();
  const etcd = new FakeEtcd(clock);
  etcd.put('hostnames', 'a', held('blog'));
  const store = etcd.client('node-1', { log });
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  await clock.settle();
  const batches: string[][] = [];
  mirror.onChange(changes => batches.push(changes.map(change => change.name)));
  return { clock, log, etcd, store, mirror, batches };
}

test('what a watch has lost is found by the routine list', async t => {
  const { clock, etcd, mirror } = await mirrored();
  etcd.losesEvents = true;
  etcd.put('hostnames', 'b', held('shop'));
  etcd.delete('hostnames', 'a');
  await clock.advance(60_000);
  t.is(mirror.get('b'), undefined, 'the watch must have lost it, or this tests nothing');
  await clock.advance(5 * 60_000);
  t.deepEqual(
    mirror.all().map(entry => entry.name),
    ['b'],
  );
});

test('an etcd restored from a backup is listed anew, loudly', async t => {
  const { clock, log, etcd, mirror, batches } = await mirrored();
  const backup = etcd.revision;
  etcd.put('hostnames', 'b', held('shop'));
  etcd.put('hostnames', 'a', held('shop'));
  await clock.settle();
  etcd.restore(backup);
  await clock.advance(5_000);
  t.deepEqual(
    mirror.all().map(entry => [entry.name, entry.value.app]),
    [['a', 'blog']],
  );
  t.is(mirror.revision, backup);
  t.deepEqual(batches.at(-1), ['b', 'a']);
  t.is(log.matching('gone back in time').length, 1);
  t.is(log.matching('gone back in time')[0]?.level, 'error');
});

test('another cluster behind the same address is noticed', async t => {
  const { clock, log, etcd } = await mirrored();
  etcd.clusterId = 'fake-2';
  etcd.put('hostnames', 'b', held('shop'));
  await clock.advance(5_000);
  t.is(log.matching('another cluster').length, 1);
});

test('silence shows as staleness, and the mirror catches up', async t => {
  const { clock, etcd, store, mirror } = await mirrored();
  store.setLink('silent');
  etcd.put('hostnames', 'b', held('shop'));
  await clock.advance(3_000);
  t.is(mirror.staleMs(), 3_000);
  t.is(mirror.get('b'), undefined);
  store.setLink('up');
  await clock.advance(1_000);
  t.is(mirror.get('b')?.value.app, 'shop');
  t.is(mirror.staleMs(), 0);
});

test('a mirror is synced late when the store is away at first', async t => {
  const clock = new FakeClock();
  const store = new FakeEtcd(clock).client('node-1');
  store.setLink('refused');
  const mirror = store.mirror('hostnames');
  await clock.advance(10_000);
  t.false(mirror.synced);
  store.setLink('up');
  const ready = mirror.ready();
  await clock.advance(4_000);
  await ready;
  t.true(mirror.synced);
});

test('a mirror that is closed while it is listed watches nothing', async t => {
  const clock = new FakeClock();
  const store = new FakeEtcd(clock).client('node-1');
  store.mirror('hostnames').close();
  await clock.settle();
  t.is(clock.pending, 0);
});

test('a closed store leaves no timer', async t => {
  const { clock, store } = await mirrored();
  await store.close();
  await clock.settle();
  t.is(clock.pending, 0);
});

function held(app: string): HolderRecord {
  return { v: 1, app };
}
