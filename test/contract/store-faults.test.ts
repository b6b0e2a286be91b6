/** The store against a real etcd that is killed, paused, compacted, cut off, or not heard. */
import test, { type ExecutionContext } from 'ava';
import { deadlineMs } from '../../src/model/deadline.ts';
import type { HolderRecord, OwnerRecord } from '../../src/model/records.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { type Mirror, type Store, StoreError, type Write } from '../../src/ports/store.ts';
import { type Etcd, type EtcdMember, startEtcd } from '../support/etcd.ts';
import { etcdWorld, sessionRecord } from '../support/store-worlds.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

const clock = systemClock();
let etcd: Etcd;

test.before(async () => {
  etcd = await startEtcd();
});
test.after.always(() => etcd.stop());

interface Scene {
  /** Reaches etcd through the proxy. */
  store: Store;
  direct: Store;
  proxy: TcpProxy;
}

behindProxy('a mirror learns what it missed, deletes included, from compacted history', async (t, scene) => {
  const { store, direct, proxy } = scene;
  await committed(direct, puts('gone', 'changed', 'kept'));
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  const batches: string[][] = [];
  mirror.onChange(changes =>
    batches.push(changes.map(change => `${change.name} ${change.after?.value.app ?? '-'}`).sort()),
  );
  await proxy.set('refuse');
  await committed(direct, [{ delete: 'hostnames', name: 'gone' }]);
  await committed(direct, [{ put: 'hostnames', name: 'changed', value: held('shop') }]);
  const last = await committed(direct, puts('new'));
  await etcd.compact();
  await proxy.set('pass');
  await until('the mirror has caught up', () => mirror.revision >= last);
  t.deepEqual(batches, [['changed shop', 'gone -', 'new blog']]);
  await sameAs(t, mirror, direct);
});

behindProxy('a mirror follows on after a black hole', async (t, { store, direct, proxy }) => {
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  await proxy.set('black-hole');
  const last = await committed(direct, puts('a'));
  await until('the silence shows', () => mirror.staleMs() > 300);
  t.true(mirror.revision < last);
  await proxy.set('pass');
  await until('the mirror has caught up', () => mirror.revision >= last);
  await sameAs(t, mirror, direct);
});

behindProxy('a commit whose reply is lost is sent once, and known by its operation', async (t, scene) => {
  const { store, direct, proxy } = scene;
  await store.get('owners', 'instance/blog/web/0');
  await proxy.set('drop-replies');
  const value = owner('operation-1');
  // Nothing is compared, so a second sending would be a second revision of the key.
  const commit = store.commit([], [{ put: 'owners', name: value.subject, value }]);
  const error = await t.throwsAsync(commit, { instanceOf: StoreError });
  t.is(error.outcome, 'unknown');
  t.true(error.retryable);
  const entry = await direct.get('owners', value.subject);
  t.is(entry?.value.operation, 'operation-1');
  t.is(entry?.revision, entry?.createRevision, 'written once');
  await proxy.set('pass');
  t.deepEqual(await store.get('owners', value.subject), entry);
});

behindProxy('a request that cannot leave says so', async (t, { store, proxy }) => {
  await proxy.set('refuse');
  const error = await t.throwsAsync(store.commit([], puts('a')), { instanceOf: StoreError });
  t.is(error.outcome, 'not-sent');
  t.true(error.retryable);
  t.regex(error.message, /commit: cannot be reached/);
  const opening = store.openSession({ record: sessionRecord(), resume: null });
  t.is((await t.throwsAsync(opening, { instanceOf: StoreError })).outcome, 'not-sent');
  await proxy.set('pass');
  await committed(store, puts('a'));
  t.true((await store.openSession({ record: sessionRecord(), resume: null })).valid());
});

behindProxy('a session cut off is lost before etcd deletes its key', async (t, { store, direct, proxy }) => {
  const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 4 }), resume: null });
  const mirror = direct.mirror('sessions');
  await mirror.ready();
  const validWhenGone: boolean[] = [];
  mirror.onChange(changes => {
    if (changes.some(({ name, after }) => name === 'node-1/first' && !after))
      validWhenGone.push(session.valid());
  });
  const lost = new Promise<string>(resolve => session.onLost(resolve));
  await proxy.set('black-hole');
  t.regex(await lost, /could not be renewed for \d+ ms, its TTL is 4 s/);
  t.false(session.valid());
  await proxy.set('pass');
  const next = await store.openSession({ record: sessionRecord({ incarnation: 'second' }), resume: null });
  t.true(next.valid());
  t.false(session.valid());
  t.is(await direct.get('sessions', 'node-1/first'), null, 'the lost lease was revoked first');
  await until('its end is heard', () => validWhenGone.length > 0);
  t.deepEqual(validWhenGone, [false]);
});

behindProxy('a session whose replies are lost for a moment goes on', async (t, { store, proxy }) => {
  const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 20 }), resume: null });
  await proxy.set('drop-replies');
  await until('a reply is lost', () => proxy.withheldBytes > 0);
  await proxy.set('pass');
  const before = session.deadlineMs();
  await until('it was renewed again', () => session.deadlineMs() > before + 2_000);
  t.true(session.valid());
});

behindProxy('at rest a session costs no revision', async (t, { store, direct }) => {
  for (let count = 1; ; count++) {
    const record = sessionRecord({ incarnation: `number-${count}`, ttlSeconds: 4 });
    const session = await store.openSession({ record, resume: null });
    const { revision } = await direct.list('sessions');
    let renewals = 0;
    session.onRenewed(() => renewals++);
    await until('it was renewed three times, or lost', () => renewals >= 3 || !session.valid());
    const after = await direct.list('sessions');
    // On a machine that stood still for 3 s it is lost, which is written.
    if (!session.valid()) continue;
    t.is(after.revision, revision);
    return;
  }
});

test.serial(
  'what was acknowledged before etcd was killed is there after, and the mirrors are whole',
  async t => {
    const world = etcdWorld(etcd);
    const [store, watching] = [world.client('writer'), world.client('watcher')];
    const mirror = watching.mirror('hostnames');
    await mirror.ready();
    const session = await watching.openSession({ record: sessionRecord({ ttlSeconds: 8 }), resume: null });
    let lost = '';
    session.onLost(reason => (lost = reason));
    const acknowledged: string[] = [];
    const writing = new AbortController();
    const writer = (async () => {
      for (let index = 0; !writing.signal.aborted; index++) {
        if (await tried(store, puts(`host-${index}`))) acknowledged.push(`host-${index}`);
      }
    })();
    await until('some writes were acknowledged', () => acknowledged.length > 20);
    const deadlineBefore = session.deadlineMs();
    await etcd.first.restart();
    const before = acknowledged.length;
    await until('more writes were acknowledged', () => acknowledged.length > before + 20);
    writing.abort();
    await writer;
    const last = await committed(store, puts('last'));
    await until('the mirror has seen the last write', () => mirror.revision >= last);
    t.deepEqual(
      acknowledged.filter(name => mirror.get(name) === undefined),
      [],
    );
    await sameAs(t, mirror, store);
    await until(
      'the session was renewed or lost',
      () => lost !== '' || session.deadlineMs() > deadlineBefore,
    );
    const entry = await store.get('sessions', 'node-1/first');
    t.is(session.valid(), entry?.lease === session.lease, `it must know how it stands; lost: "${lost}"`);
    await world.close();
  },
);

const losses: { title: string; strike: (member: EtcdMember) => Promise<void> | void; leader: boolean }[] = [
  { title: 'the leader is killed', strike: member => member.kill(), leader: true },
  { title: 'a follower is paused', strike: member => member.pause(), leader: false },
  { title: 'the leader is paused', strike: member => member.pause(), leader: true },
];
for (const { title, strike, leader } of losses) {
  test.serial(`with three members, everything goes on when ${title}`, async t => {
    const three = await startEtcd({ members: 3 });
    t.teardown(() => three.stop());
    const probe = etcdWorld(three).client('probe');
    const { endpoints } = await probe.describe();
    await probe.close();
    const victim = three.members[endpoints.findIndex(endpoint => endpoint.isLeader === leader)]!;
    const others = three.members.filter(member => member !== victim);

    // Without chance, a store begins with its first endpoint.
    const random = { ...systemRandom(), float: () => 0 };
    const world = etcdWorld(three, { endpoints: [victim, ...others].map(member => member.url), random });
    const store = world.client('struck');
    const elsewhere = etcdWorld(three, {
      endpoints: others.map(member => member.url),
      cluster: world.cluster,
    });
    const other = elsewhere.client('other');

    const mirror = store.mirror('hostnames');
    await mirror.ready();
    const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 30 }), resume: null });
    let lost = '';
    session.onLost(reason => (lost = reason));
    await committed(store, puts('before'));

    await strike(victim);
    const struckMs = clock.now();
    for (let index = 0; index < 10; index++) {
      await until('a commit goes through', () => tried(store, puts(`host-${index}`)));
    }
    await until('another client writes', () => tried(other, puts('elsewhere')));
    await until('the mirror has seen it', () => mirror.get('elsewhere') !== undefined);
    await sameAs(t, mirror, other);
    await until(
      'the session was renewed elsewhere',
      () => lost !== '' || session.deadlineMs() > deadlineMs(struckMs, session.ttlSeconds),
    );
    t.is(lost, '');
    t.true(session.valid());
    t.is((await other.get('sessions', 'node-1/first'))?.lease, session.lease);
    await Promise.all([world.close(), elsewhere.close()]);
  });
}

test.serial('nothing is sent to a member that says nothing while others do', async t => {
  const three = await startEtcd({ members: 3 });
  t.teardown(() => three.stop());
  const probe = etcdWorld(three).client('probe');
  const { endpoints } = await probe.describe();
  await probe.close();
  const victim = three.members[endpoints.findIndex(endpoint => !endpoint.isLeader)]!;
  const others = three.members.filter(member => member !== victim);
  const random = { ...systemRandom(), float: () => 0 };
  const world = etcdWorld(three, { endpoints: [victim, ...others].map(member => member.url), random });
  const store = world.client('struck');
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  victim.pause();
  await until('the silence shows', () => mirror.staleMs() > 1_200);
  // Sent to the member that is paused, its outcome would be unknown.
  const last = await committed(store, puts('after'));
  await until('the mirror has seen it', () => mirror.revision >= last);
  t.is(mirror.get('after')?.value.app, 'blog');
  await world.close();
});

function behindProxy(title: string, check: (t: ExecutionContext, scene: Scene) => Promise<void>): void {
  test.serial(title, async t => {
    const proxy = await startTcpProxy(etcd.first.port);
    const straight = etcdWorld(etcd);
    const through = etcdWorld(etcd, { endpoints: [proxy.url], cluster: straight.cluster });
    try {
      const direct = straight.client('direct');
      await check(t, { store: through.client('through'), direct, proxy });
      // The next test counts revisions: no lease of this one ends meanwhile.
      for (const { lease } of (await direct.list('sessions')).entries) {
        const hasEnded = () => undefined;
        await straight.killLease(lease!).catch(hasEnded);
      }
    } finally {
      await Promise.all([through.close(), straight.close()]);
      await proxy.stop();
    }
  });
}

async function sameAs(t: ExecutionContext, mirror: Mirror<'hostnames'>, store: Store): Promise<void> {
  t.deepEqual(mirror.all(), (await store.list('hostnames')).entries);
}

function held(app: string): HolderRecord {
  return { v: 1, app };
}

function puts(...all: string[]): Write[] {
  return all.map(name => ({ put: 'hostnames', name, value: held('blog') }));
}

async function committed(store: Store, writes: Write[]): Promise<bigint> {
  const result = await store.commit([], writes);
  if (result.kind !== 'committed') throw new Error('a commit without compares was refused');
  return result.revision;
}

/** Whether it was acknowledged. */
async function tried(store: Store, writes: Write[]): Promise<boolean> {
  try {
    await committed(store, writes);
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.retryable) return false;
    throw error;
  }
}

function owner(operation: string): OwnerRecord {
  return {
    v: 1,
    subject: 'instance/blog/web/0',
    node: 'node-1',
    incarnation: 'first',
    ttlSeconds: 10,
    holder: 'agent',
    operation,
    mayStillRun: [],
    released: null,
    token: null,
  };
}
