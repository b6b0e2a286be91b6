import test from 'ava';
import type { HolderRecord } from '../../src/model/records.ts';
import { StoreError } from '../../src/ports/store.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeEtcd } from '../support/fake-store.ts';

/** Has deleted what a stale read still shows. */
async function deleted() {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  const then = etcd.put('hostnames', 'a', held('blog'));
  const store = etcd.client('node-1');
  await store.commit([], [{ delete: 'hostnames', name: 'a' }]);
  etcd.readsAsOf = then;
  return { clock, etcd, store };
}

for (const [what, read] of [
  ['one key', store => store.get('hostnames', 'a')],
  ['a list', store => store.list('hostnames')],
] as [string, (store: Awaited<ReturnType<typeof deleted>>['store']) => Promise<unknown>][]) {
  test(`a read of ${what} from before what has been seen is no answer, and may be asked for again`, async t => {
    const { etcd, store } = await deleted();
    const error = await t.throwsAsync(() => read(store), { instanceOf: StoreError, message: /defect/ });
    t.true(error.retryable);
    etcd.readsAsOf = null;
    await t.notThrowsAsync(() => read(store));
  });
}

test('a mirror shows nothing that its own node has seen go', async t => {
  const { clock, etcd, store } = await deleted();
  const mirror = store.mirror('hostnames');
  await clock.advance(1000);
  t.false(mirror.synced);
  etcd.readsAsOf = null;
  await clock.advance(5000);
  t.true(mirror.synced);
  t.deepEqual(mirror.all(), []);
});

test('who has not seen what came after cannot know that a read is stale', async t => {
  const { etcd } = await deleted();
  const entry = await etcd.client('node-2').get('hostnames', 'a');
  t.is(entry?.value.app, 'blog');
});

test('an etcd that went back in time as a whole is read as it is', async t => {
  const { etcd, store } = await deleted();
  const backup = etcd.readsAsOf!;
  etcd.readsAsOf = null;
  etcd.restore(backup);
  t.is((await store.get('hostnames', 'a'))?.value.app, 'blog');
});

function held(app: string): HolderRecord {
  return { v: 1, app };
}
