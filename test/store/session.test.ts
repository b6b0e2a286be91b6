import test from 'ava';
import { StoreError, type Mirror } from '../../src/ports/store.ts';
import { Keyspace } from '../../src/store/keys.ts';
import { LostLeases } from '../../src/store/lost-leases.ts';
import { Timeline } from '../../src/store/timeline.ts';
import { SessionKey } from '../../src/store/session-key.ts';
import { WireSession } from '../../src/store/session.ts';
import type { Wire } from '../../src/store/wire.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeEtcd } from '../support/fake-store.ts';
import { sessionRecord } from '../support/store-worlds.ts';

async function opened(ttlSeconds: number) {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  const store = etcd.client('node-1');
  const startedAtMs = clock.now();
  const session = await store.openSession({ record: sessionRecord({ ttlSeconds }), resume: null });
  let lost = '';
  session.onLost(reason => (lost = reason));
  await clock.settle();
  return { clock, etcd, store, session, startedAtMs, lost: () => lost };
}

for (const { ttlSeconds, leftMs } of [
  { ttlSeconds: 2, leftMs: 1_500 },
  { ttlSeconds: 4, leftMs: 3_000 },
  { ttlSeconds: 10, leftMs: 7_500 },
]) {
  test(`a TTL of ${ttlSeconds} s leaves ${leftMs} ms after the grant was sent`, async t => {
    const { session, startedAtMs } = await opened(ttlSeconds);
    t.is(session.deadlineMs(), startedAtMs + leftMs);
  });
}

test('a TTL that etcd raises counts as raised, in the record too', async t => {
  const { session, etcd, startedAtMs } = await opened(1);
  t.is(session.ttlSeconds, 2);
  t.is(session.deadlineMs(), startedAtMs + 1_500);
  t.is(etcd.contents('sessions')['node-1/first']?.ttlSeconds, 2);
});

for (const link of ['refused', 'silent', 'replies-lost'] as const) {
  test(`with the way to etcd ${link}, a session is lost at its deadline, without being asked`, async t => {
    const { clock, store, session, lost } = await opened(10);
    store.setLink(link);
    await clock.advance(session.deadlineMs() - clock.now() - 1);
    t.is(lost(), '');
    t.true(session.valid());
    await clock.advance(1);
    t.regex(lost(), /could not be renewed for 7500 ms, its TTL is 10 s/);
    t.false(session.valid());
  });
}

test('a process that was frozen knows on waking, before any timer has fired', async t => {
  const { clock, session } = await opened(10);
  clock.freeze(7_500);
  t.false(session.valid());
});

test('the wall clock means nothing to a session', async t => {
  const { clock, session } = await opened(10);
  clock.stepWall(24 * 3_600_000);
  t.true(session.valid());
  clock.stepWall(-48 * 3_600_000);
  await clock.advance(60_000);
  t.true(session.valid());
});

test('a renewal counts from when it was sent, however late its reply comes', async t => {
  const { clock, store, session, startedAtMs } = await opened(10);
  store.setReplyDelay(800);
  // One delay for the keepalive, one for the check of the key.
  await clock.advance(2_000 + 1_599);
  t.is(session.deadlineMs(), startedAtMs + 7_500);
  await clock.advance(1);
  t.is(session.deadlineMs(), startedAtMs + 2_000 + 7_500);
});

test('renewals that are never answered in time extend nothing', async t => {
  const { clock, store, session, startedAtMs, lost } = await opened(10);
  store.setReplyDelay(1_000);
  await clock.advance(7_500);
  t.not(lost(), '');
  t.is(session.deadlineMs(), startedAtMs + 7_500);
});

test('a short interruption is survived', async t => {
  const { clock, store, session, lost } = await opened(10);
  store.setLink('replies-lost');
  await clock.advance(5_000);
  store.setLink('up');
  await clock.advance(60_000);
  t.is(lost(), '');
  t.true(session.valid());
});

test('a lost session leaves no timer, and its lease is revoked when etcd is back', async t => {
  const { clock, etcd, store, session } = await opened(10);
  store.setLink('refused');
  await clock.advance(7_500);
  t.false(session.valid());
  t.deepEqual(etcd.liveLeases(), [session.lease]);
  store.setLink('up');
  await clock.advanceUntil(() => etcd.liveLeases().length === 0, 2_400);
  t.is(clock.pending, 0);
});

test('before a new session the lost lease goes, or the new one does not come', async t => {
  const { clock, etcd, store, session } = await opened(60);
  clock.freeze(50_000);
  t.false(session.valid());
  store.setLink('refused');
  const record = sessionRecord({ incarnation: 'second' });
  await t.throwsAsync(store.openSession({ record, resume: null }), { instanceOf: StoreError });
  store.setLink('up');
  const next = await store.openSession({ record, resume: null });
  t.deepEqual(etcd.liveLeases(), [next.lease]);
});

test('a keepalive reply alone extends nothing: the key must be on the lease', async t => {
  const clock = new FakeClock();
  const log = new FakeLog();
  const head = { clusterId: 'stub', revision: 1n };
  // The watch is silent and renewals are answered; only the transaction knows that the key is gone.
  const wire = {
    keepAlive: () => ({ beat: async () => ({ ttlSeconds: 10 }), close: () => undefined }),
    txn: async () => ({ head, succeeded: false, read: [] }),
    revoke: async () => undefined,
  } as unknown as Wire;
  const silent = { onChange: () => () => undefined, close: () => undefined } as unknown as Mirror<'sessions'>;
  const key = new SessionKey(wire, new Keyspace('test'), new Timeline(), {
    node: 'node-1',
    incarnation: 'first',
    lease: '1',
  });
  const lostLeases = new LostLeases(wire, clock, log);
  const session = new WireSession(
    { wire, clock, log, lostLeases, key, mirror: silent, stale: false },
    {
      node: 'node-1',
      incarnation: 'first',
      lease: '1',
      ttlSeconds: 10,
      resumed: false,
      grantSentAtMs: clock.now(),
    },
  );
  const before = session.deadlineMs();
  await clock.advance(2_000);
  t.false(session.valid());
  t.is(session.deadlineMs(), before);
});

test('the check goes through etcd’s log where reads may be stale, and never writes', async t => {
  const sent: unknown[] = [];
  const wire = {
    txn: async (request: unknown) => {
      sent.push(request);
      return { head: { clusterId: 'stub', revision: 1n }, succeeded: true, read: [] };
    },
  } as unknown as Wire;
  const key = new SessionKey(wire, new Keyspace('test'), new Timeline(), {
    node: 'node-1',
    incarnation: 'first',
    lease: '1',
  });
  await key.check(false, 400);
  await key.check(true, 400);
  const read = { read: '/hop3/test/sessions/node-1/first', keysOnly: true };
  const conditions = [{ key: '/hop3/test/sessions/node-1/first', lease: '1' }];
  t.deepEqual(sent, [
    { conditions, success: [read], failure: [read] },
    { conditions, success: [read], failure: [{ delete: '/hop3/test/unused' }] },
  ]);
});
