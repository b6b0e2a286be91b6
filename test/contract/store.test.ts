/**
 * One suite for both: what the in-memory etcd promises the tests of all other rooms, a real one does too. What only a
 * real one can suffer (kills, pauses, compactions, lost replies, TLS) is in store-faults.test.ts and store-security.test.ts.
 */
import test, { type ExecutionContext } from 'ava';
import type { CronSchedule } from '../../src/model/plan.ts';
import type { HolderRecord } from '../../src/model/records.ts';
import {
  type Change,
  type Compare,
  type ListOptions,
  type Session,
  type Store,
  StoreError,
  type Write,
} from '../../src/ports/store.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { appSpec } from '../support/nouns.ts';
import { etcdWorld, fakeWorld, sessionRecord, type StoreWorld } from '../support/store-worlds.ts';

let etcd: Etcd;

test.before(async () => {
  etcd = await startEtcd();
});
test.after.always(() => etcd.stop());

contract('an absent entry is read as null', async (t, { store }) => {
  t.is(await store.get('hostnames', 'nobody.example'), null);
});

contract('an entry is read as it was committed', async (t, { store, other }) => {
  const session = await store.openSession({ record: sessionRecord(), resume: null });
  const first = await committed(store, puts('a'));
  const put: Write = { put: 'hostnames', name: 'a', value: held('shop'), lease: session.lease };
  const second = await committed(store, [put]);
  t.deepEqual(await other.get('hostnames', 'a'), {
    kind: 'hostnames',
    name: 'a',
    value: held('shop'),
    createRevision: first,
    revision: second,
    lease: session.lease,
  });
  t.true(second > first);
});

contract('fields nobody knows are kept', async (t, { store, world }) => {
  await world.putText('hostnames', 'a', '{"v":1,"app":"blog","colour":"blue"}');
  t.deepEqual((await store.get('hostnames', 'a'))?.value, {
    ...held('blog'),
    colour: 'blue',
  } as HolderRecord);
});

contract('a list is of one kind and prefix, at one revision', async (t, { store }) => {
  const last = await committed(store, [
    ...puts('b/2', 'a/1', 'b/1', 'bb'),
    { put: 'volumes', name: 'b/0', value: { v: 1, app: 'blog', node: 'node-1' } },
  ]);
  t.deepEqual(names(await store.list('hostnames')), ['a/1', 'b/1', 'b/2', 'bb']);
  t.deepEqual(names(await store.list('hostnames', { prefix: 'b/' })), ['b/1', 'b/2']);
  t.deepEqual(names(await store.list('hostnames', { prefix: 'none' })), []);
  t.true((await store.list('hostnames')).revision >= last);
});

const listings: { title: string; options: ListOptions; after?: string; expected: string[] }[] = [
  { title: 'in name order', options: {}, expected: ['a', 'b1', 'b2', 'c'] },
  { title: 'the first two by name', options: { limit: 2 }, expected: ['a', 'b1'] },
  { title: 'the newest first', options: { newestFirst: true }, expected: ['c', 'b2', 'a', 'b1'] },
  { title: 'only the newest two', options: { newestFirst: true, limit: 2 }, expected: ['c', 'b2'] },
  { title: 'those created after another', options: {}, after: 'b1', expected: ['a', 'b2', 'c'] },
  { title: 'the newest of those', options: { newestFirst: true, limit: 1 }, after: 'a', expected: ['c'] },
];
for (const { title, options, after, expected } of listings) {
  contract(`a list can be had ${title}`, async (t, { store }) => {
    const created = new Map<string, bigint>();
    for (const name of ['b1', 'a', 'b2', 'c']) created.set(name, await committed(store, puts(name)));
    // Written again, it is no newer: what counts is when it was created.
    await committed(store, puts('b1'));
    const found = await store.list('hostnames', after ? { ...options, after: created.get(after)! } : options);
    t.deepEqual(names(found), expected);
  });
}

const AT = '2026-01-01T00:00:00.000Z';
const schedule: CronSchedule = {
  expression: '@daily',
  timeZone: 'Europe/Berlin',
  overlap: 'forbid',
  catchUp: { kind: 'all', atMost: 3 },
};
const spec = {
  title: 'é',
  priority: 5,
  sequential: false,
  onFailure: 'stop',
  completeBySeconds: null,
} as const;
const steps = [{ agent: 'noop', resource: '', payload: { mimeType: 'text/plain', text: 'a\u0000"\n' } }];
const owner = { node: 'node-1', incarnation: 'first', operation: 'o', tokenBase: '7' };
const ofPlans: Extract<Write, { put: unknown }>[] = [
  {
    put: 'plans',
    name: 'p1',
    value: {
      ...{ v: 1, plan: 'p1', spec, steps, chunks: 1, submittedAt: AT, origin: 'rest', idempotencyKey: 'k' },
      settled: { state: 'COMPLETED', at: AT },
      cancel: { kind: 'asked', by: 'ann', at: AT },
    },
  },
  {
    put: 'steps',
    name: 'p1/000000',
    value: {
      ...{ v: 1, plan: 'p1', chunk: 0, first: 0, count: 1, owner, token: '12' },
      steps: [{ index: 0, attempt: 1, state: 'COMPLETED', output: { value: { n: 1.5 } }, endedAt: AT }],
    },
  },
  { put: 'definitions', name: 'p1/000000', value: { v: 1, plan: 'p1', first: 0, steps } },
  {
    put: 'idempotency',
    name: encodeURIComponent('order 7/a?é'),
    value: { v: 1, plan: 'p1', digest: 'sha256:1' },
  },
  {
    put: 'guards',
    name: encodeURIComponent('the db/x'),
    value: { v: 1, key: 'the db/x', plan: 'p1', chunk: 0 },
  },
  {
    put: 'schedules',
    name: 'app/blog/1',
    value: {
      ...{ v: 1, name: 'app/blog/1', schedule, plan: { ...spec, steps }, paused: true, origin: 'app/blog' },
      ...{ dealtWithMs: 1_767_225_600_000, lastFiredAt: AT, lastOutcome: 'it ran', plans: ['p1'] },
    },
  },
  { put: 'drains', name: 'node-1', value: { v: 1, node: 'node-1', reason: 'disk', from: 'node-2', at: AT } },
  {
    put: 'deploys',
    name: 'blog',
    value: {
      ...{ v: 1, app: 'blog', plan: 'p1', node: 'node-1', since: AT, asked: appSpec(), token: '7' },
      draft: { spec: appSpec(), release: 2, before: null, impact: 'restart', secrets: { KEY: 'x' } },
    },
  },
];
for (const { put: kind, name, value } of ofPlans) {
  contract(
    `an entry of ${kind} is read, listed and mirrored as it was written, and deleted`,
    async (t, scene) => {
      const { store, other, world } = scene;
      const mirror = other.mirror(kind);
      await mirror.ready();
      const revision = await committed(store, [{ put: kind, name, value } as Write]);
      t.deepEqual((await other.get(kind, name))?.value, value);
      const { entries } = await other.list(kind, { prefix: name.slice(0, 2) });
      t.deepEqual(
        entries.map(entry => ({ name: entry.name, value: entry.value })),
        [{ name, value }],
      );
      await world.until('it is mirrored', () => mirror.get(name)?.revision === revision);
      t.deepEqual(mirror.get(name)?.value, value);
      await store.commit([{ kind, name, revision }], [{ delete: kind, name }]);
      t.is(await other.get(kind, name), null);
      await world.until('that it is gone, too', () => mirror.get(name) === undefined);
      mirror.close();
    },
  );
}

contract('more keys than one page are listed and mirrored whole', async (t, { store, other }) => {
  const all = Array.from({ length: 1_101 }, (_, index) => `host-${String(index).padStart(4, '0')}`);
  for (let first = 0; first < all.length; first += 120) {
    await committed(store, puts(...all.slice(first, first + 120)));
  }
  t.deepEqual(names(await other.list('hostnames')), all);
  const mirror = other.mirror('hostnames');
  await mirror.ready();
  t.deepEqual(
    mirror.all().map(entry => entry.name),
    all,
  );
});

const compares: { title: string; compare: (facts: Facts) => Compare; holds: boolean }[] = [
  { title: 'absent, and it is', compare: () => ({ ...free, is: 'absent' }), holds: true },
  { title: 'absent, but it is there', compare: () => ({ ...taken, is: 'absent' }), holds: false },
  { title: 'present, and it is', compare: () => ({ ...taken, is: 'present' }), holds: true },
  { title: 'present, but it is not there', compare: () => ({ ...free, is: 'present' }), holds: false },
  { title: 'at its revision', compare: ({ revision }) => ({ ...taken, revision }), holds: true },
  {
    title: 'at another revision',
    compare: ({ revision }) => ({ ...taken, revision: revision - 1n }),
    holds: false,
  },
  { title: 'on its lease', compare: ({ session }) => ({ ...taken, lease: session.lease }), holds: true },
  { title: 'on another lease', compare: () => ({ ...taken, lease: '12345' }), holds: false },
  {
    title: 'on a lease, but it is not there',
    compare: ({ session }) => ({ ...free, lease: session.lease }),
    holds: false,
  },
];
interface Facts {
  session: Session;
  revision: bigint;
}
const taken = { kind: 'hostnames', name: 'taken' } as const;
const free = { kind: 'hostnames', name: 'free' } as const;
for (const { title, compare, holds } of compares) {
  contract(`a commit that compares a key to be ${title}`, async (t, { store }) => {
    const session = await store.openSession({ record: sessionRecord(), resume: null });
    const put: Write = { put: 'hostnames', name: 'taken', value: held('blog'), lease: session.lease };
    const revision = await committed(store, [put]);
    const result = await store.commit([compare({ session, revision })], puts('new'));
    t.is(result.kind, holds ? 'committed' : 'refused');
    t.is((await store.get('hostnames', 'new')) !== null, holds);
  });
}

contract('a refused commit writes nothing and gives the compared keys as they are', async (t, { store }) => {
  const revision = await committed(store, puts('a', 'b'));
  const result = await store.commit(
    [
      { kind: 'hostnames', name: 'a', revision },
      { kind: 'hostnames', name: 'b', is: 'absent' },
      { kind: 'hostnames', name: 'c', is: 'absent' },
    ],
    [{ delete: 'hostnames', name: 'a' }, ...puts('c')],
  );
  t.is(result.kind, 'refused');
  t.true(result.revision >= revision);
  if (result.kind === 'refused') t.deepEqual(result.current.map(entry => entry.name).sort(), ['a', 'b']);
  t.deepEqual(names(await store.list('hostnames')), ['a', 'b']);
});

contract('a commit writes and deletes all at one revision', async (t, { store }) => {
  await committed(store, puts('a'));
  const revision = await committed(store, [{ delete: 'hostnames', name: 'a' }, ...puts('b', 'c')]);
  const { entries } = await store.list('hostnames');
  t.deepEqual(
    entries.map(entry => [entry.name, entry.revision]),
    [
      ['b', revision],
      ['c', revision],
    ],
  );
});

const refusals: { title: string; compares?: Compare[]; writes: Write[]; words: RegExp }[] = [
  {
    title: 'a value that is too large',
    writes: [...puts('small'), { put: 'hostnames', name: 'big', value: held('x'.repeat(1_500_000)) }],
    words: /transaction has 1\.43 MiB; at most 1 MiB fit; its largest value, hostnames\/big, has 1\.43 MiB/,
  },
  {
    title: 'too many writes',
    writes: puts(...Array.from({ length: 129 }, (_, index) => `host-${index}`)),
    words: /at most 128 writes; this one has 129/,
  },
  {
    title: 'too many compares',
    compares: Array.from({ length: 129 }, () => ({ ...free, is: 'absent' })),
    writes: puts('a'),
    words: /at most 128 compares; this one has 129/,
  },
  {
    title: 'the same key twice',
    writes: [...puts('a'), { delete: 'hostnames', name: 'a' }],
    words: /hostnames\/a is written twice/,
  },
  {
    title: 'a lease that does not exist',
    writes: [{ put: 'hostnames', name: 'a', value: held('blog'), lease: '4711' }],
    words: /lease has expired or was revoked/,
  },
];
for (const { title, compares: conditions = [], writes, words } of refusals) {
  contract(`a commit with ${title} is refused in words, for good`, async (t, { store }) => {
    const error = await t.throwsAsync(store.commit(conditions, writes), { instanceOf: StoreError });
    t.regex(error.message, words);
    t.is(error.outcome, 'refused');
    t.false(error.retryable);
    t.deepEqual(names(await store.list('hostnames')), []);
  });
}

contract('a transaction at its limits is committed', async (t, { store }) => {
  const many = Array.from({ length: 128 }, (_, index) => `host-${index}`);
  const absent = many.map(name => ({ kind: 'hostnames', name, is: 'absent' }) as const);
  t.is((await store.commit(absent, puts(...many))).kind, 'committed');
  await committed(store, [{ put: 'hostnames', name: 'big', value: held('x'.repeat(1_000_000)) }]);
  t.is((await store.get('hostnames', 'big'))?.value.app.length, 1_000_000);
});

const unreadable = [
  {
    title: 'of a later version',
    text: '{"v":2,"app":"blog"}',
    words: /has version 2; this agent supports version 1/,
  },
  {
    title: 'without a version',
    text: '{"app":"blog"}',
    words: /has no version; this agent supports version 1/,
  },
  { title: 'of broken JSON', text: '{"v":1,', words: /is not JSON/ },
  { title: 'that is no object', text: '[1]', words: /is not a JSON object/ },
];
for (const { title, text, words } of unreadable) {
  contract(`an entry ${title} is left out, and said once`, async (t, { store, world }) => {
    await committed(store, puts('good'));
    const mirror = store.mirror('hostnames');
    await mirror.ready();
    await world.putText('hostnames', 'odd', text);
    await committed(store, puts('later'));
    await world.until('the mirror has seen the later one', () => mirror.get('later') !== undefined);
    t.deepEqual(
      mirror.all().map(entry => entry.name),
      ['good', 'later'],
    );
    t.deepEqual(names(await store.list('hostnames')), ['good', 'later']);
    const error = await t.throwsAsync(store.get('hostnames', 'odd'), { instanceOf: StoreError });
    t.regex(error.message, words);
    t.regex(error.message, /hostnames\/odd/);
    t.is(error.outcome, 'refused');
    t.false(error.retryable);
    t.is(world.log.matching('is left out').length, 1);
  });
}

contract(
  'a mirror lists what is there, then follows every change in order',
  async (t, { store, other, world }) => {
    await committed(other, puts('a', 'b'));
    const mirror = store.mirror('hostnames');
    t.false(mirror.synced);
    await mirror.ready();
    t.true(mirror.synced);
    const seen: string[] = [];
    mirror.onChange(changes => seen.push(...changes.map(inWords)));
    await committed(other, [{ put: 'hostnames', name: 'a', value: held('shop') }]);
    await committed(other, [{ delete: 'hostnames', name: 'b' }]);
    const last = await committed(other, puts('c'));
    await world.until('the mirror has seen the last', () => mirror.revision >= last);
    t.deepEqual(seen, ['a: blog to shop', 'b: blog to nothing', 'c: nothing to blog']);
    t.deepEqual(
      mirror.all().map(entry => [entry.name, entry.value.app]),
      [
        ['a', 'shop'],
        ['c', 'blog'],
      ],
    );
    t.is(mirror.get('b'), undefined);
    t.is(mirror.get('c')?.revision, last);
  },
);

contract('the changes of one transaction come in one call', async (t, { store, other, world }) => {
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  const batches: number[] = [];
  mirror.onChange(changes => batches.push(changes.length));
  const last = await committed(other, puts('a', 'b', 'c'));
  await world.until('the mirror has seen them', () => mirror.revision >= last);
  t.deepEqual(batches, [3]);
});

contract('an empty list counts as a list', async (t, { store, world }) => {
  const mirror = store.mirror('hostnames');
  const batches: number[] = [];
  mirror.onChange(changes => batches.push(changes.length));
  await mirror.ready();
  await world.until('the listener was called', () => batches.length > 0);
  t.deepEqual(batches, [0]);
  t.deepEqual(mirror.all(), []);
});

contract('a mirror of a prefix sees nothing else', async (t, { store, other, world }) => {
  const wide = store.mirror('hostnames');
  const narrow = store.mirror('hostnames', 'b/');
  const volumes = store.mirror('volumes');
  await Promise.all([wide.ready(), narrow.ready(), volumes.ready()]);
  await committed(other, puts('a/1', 'b/1', 'c/1'));
  await world.until('both have seen it', () => wide.all().length === 3 && narrow.all().length === 1);
  t.deepEqual(
    narrow.all().map(entry => entry.name),
    ['b/1'],
  );
  t.deepEqual(volumes.all(), []);
});

contract('a closed mirror is silent, and waiting for it ends', async (t, { store, world }) => {
  const mirror = store.mirror('hostnames');
  const control = store.mirror('hostnames');
  await mirror.ready();
  let calls = 0;
  mirror.onChange(() => calls++);
  const stopped = control.onChange(() => calls++);
  stopped();
  mirror.close();
  const last = await committed(store, puts('a'));
  await world.until('the other mirror has seen it', () => control.revision >= last);
  t.is(calls, 0);

  const early = store.mirror('hostnames');
  early.close();
  await t.throwsAsync(early.ready(), { instanceOf: StoreError, message: /closed before it was ready/ });
});

contract('waiting for a mirror can be given up', async (t, { store }) => {
  const mirror = store.mirror('hostnames');
  const reason = new Error('the agent stops');
  await t.throwsAsync(mirror.ready(AbortSignal.abort(reason)), { is: reason });
  await mirror.ready(new AbortController().signal);
  t.true(mirror.synced);
});

contract('a session is a key on a lease, with the TTL that was granted', async (t, { store, other }) => {
  const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 3 }), resume: null });
  t.true(session.valid());
  t.false(session.resumed);
  t.is(session.incarnation, 'first');
  t.is(session.ttlSeconds, 3);
  const entry = await other.get('sessions', 'node-1/first');
  t.is(entry?.lease, session.lease);
  t.deepEqual(entry?.value, sessionRecord({ ttlSeconds: 3 }));
});

contract('a session is renewed, and its deadline moves on', async (t, { store, world }) => {
  const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 4 }), resume: null });
  const first = session.deadlineMs();
  let renewals = 0;
  session.onRenewed(() => renewals++);
  // Past its TTL of 4 s it lives only because it is renewed.
  await world.until('the deadline has moved by more than a TTL', () => session.deadlineMs() > first + 4_500);
  t.true(session.valid());
  t.true(renewals >= 2);
  t.true(await world.leaseIsAlive(session.lease));
});

contract('a session record can be updated in place', async (t, { store, other }) => {
  const session = await store.openSession({ record: sessionRecord(), resume: null });
  await Promise.all([
    session.update(sessionRecord({ labels: { zone: 'eu' } })),
    session.update(sessionRecord({ labels: { zone: 'us' }, draining: true, incarnation: 'ignored' })),
  ]);
  const entry = await other.get('sessions', 'node-1/first');
  t.deepEqual(entry?.value, sessionRecord({ labels: { zone: 'us' }, draining: true }));
  t.is(entry?.lease, session.lease);
});

contract('an incarnation that is in use cannot be opened again', async (t, { store, other }) => {
  const session = await store.openSession({ record: sessionRecord(), resume: null });
  const again = other.openSession({ record: sessionRecord(), resume: null });
  const error = await t.throwsAsync(again, { instanceOf: StoreError });
  t.regex(error.message, /sessions\/node-1\/first exists on another lease/);
  t.is(error.outcome, 'refused');
  t.false(error.retryable);
  t.true(session.valid());
});

contract('a successor resumes the session of a detached process', async (t, { store, other }) => {
  const before = await store.openSession({ record: sessionRecord(), resume: null });
  const created = (await other.get('sessions', 'node-1/first'))!.createRevision;
  await before.detach();
  t.false(before.valid());
  const after = await other.openSession({
    record: sessionRecord({ incarnation: 'second', pid: 2 }),
    resume: { incarnation: 'first', lease: before.lease },
  });
  t.true(after.resumed);
  t.is(after.incarnation, 'first');
  const entry = await other.get('sessions', 'node-1/first');
  t.is(entry?.createRevision, created);
  t.is(entry?.lease, after.lease);
  t.is(entry?.value.pid, 2);
  t.is(await other.get('sessions', 'node-1/second'), null);
});

contract('a process that was succeeded notices at once', async (t, { store, other, world }) => {
  const before = await store.openSession({ record: sessionRecord({ ttlSeconds: 60 }), resume: null });
  let lost = '';
  before.onLost(reason => (lost = reason));
  const resume = { incarnation: 'first', lease: before.lease };
  await other.openSession({ record: sessionRecord({ incarnation: 'second', ttlSeconds: 60 }), resume });
  await world.until('the former one is lost', () => lost !== '');
  t.regex(lost, /taken over/);
  t.false(before.valid());
});

contract('what cannot be resumed begins anew', async (t, { store, other }) => {
  const before = await store.openSession({ record: sessionRecord(), resume: null });
  await before.revoke();
  const after = await other.openSession({
    record: sessionRecord({ incarnation: 'second' }),
    resume: { incarnation: 'first', lease: before.lease },
  });
  t.false(after.resumed);
  t.is(after.incarnation, 'second');
  t.is(await other.get('sessions', 'node-1/first'), null);
  t.is((await other.get('sessions', 'node-1/second'))?.lease, after.lease);
});

contract('revoking a session takes everything on its lease with it', async (t, { store, other }) => {
  const session = await store.openSession({ record: sessionRecord(), resume: null });
  let lost = false;
  session.onLost(() => (lost = true));
  await committed(store, [{ put: 'hostnames', name: 'a', value: held('blog'), lease: session.lease }]);
  await session.revoke();
  t.false(session.valid());
  t.false(lost, 'it was given up, not lost');
  t.is(await other.get('hostnames', 'a'), null);
  t.is(await other.get('sessions', 'node-1/first'), null);
});

contract('a detached session keeps its key until the TTL has passed', async (t, { store, other, world }) => {
  const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 2 }), resume: null });
  await session.detach();
  t.truthy(await other.get('sessions', 'node-1/first'));
  await world.until('the key is gone', async () => (await other.get('sessions', 'node-1/first')) === null);
  t.false(await world.leaseIsAlive(session.lease));
});

const deaths = [
  {
    title: 'its key is deleted by somebody',
    strike: (world: StoreWorld) => world.delete('sessions', 'node-1/first'),
  },
  {
    title: 'its lease dies early',
    strike: (world: StoreWorld, session: Session) => world.killLease(session.lease),
  },
];
for (const { title, strike } of deaths) {
  contract(`a session is lost at once when ${title}`, async (t, { store, world }) => {
    // With this TTL no renewal comes to help: only the watch can tell in time.
    const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 60 }), resume: null });
    const reasons: string[] = [];
    session.onLost(reason => reasons.push(reason));
    await strike(world, session);
    await world.until('it is lost', () => reasons.length > 0);
    t.deepEqual(reasons, ['its session key was deleted']);
    t.false(session.valid());
    let late = '';
    session.onLost(reason => (late = reason));
    t.deepEqual([late], reasons, 'who asks late is told at once');
    const update = session.update(sessionRecord());
    const error = await t.throwsAsync(update, { instanceOf: StoreError, message: /no longer held/ });
    t.false(error.retryable);
    await world.until('its lease is gone too', async () => !(await world.leaseIsAlive(session.lease)));
  });
}

contract('after a loss the same store opens a new session', async (t, { store, world }) => {
  const session = await store.openSession({ record: sessionRecord(), resume: null });
  await world.killLease(session.lease);
  await world.until('it is lost', () => !session.valid());
  const next = await store.openSession({ record: sessionRecord({ incarnation: 'second' }), resume: null });
  t.true(next.valid());
  t.is((await store.get('sessions', 'node-1/second'))?.lease, next.lease);
});

contract(
  'a closed store refuses requests and leaves its sessions to their TTL',
  async (t, { store, other }) => {
    const session = await store.openSession({ record: sessionRecord(), resume: null });
    await store.close();
    t.false(session.valid());
    const error = await t.throwsAsync(store.get('hostnames', 'a'), { instanceOf: StoreError });
    t.is(error.outcome, 'not-sent');
    t.false(error.retryable);
    t.is((await other.get('sessions', 'node-1/first'))?.lease, session.lease);
  },
);

contract('a store describes its endpoints', async (t, { store }) => {
  const { endpoints, knownDefects } = await store.describe();
  t.is(endpoints.length, 1);
  t.like(endpoints[0], { reachable: true, isLeader: true, error: null });
  t.regex(endpoints[0]!.version!, /^\d+\.\d+\.\d+$/);
  t.true(Array.isArray(knownDefects));
});

interface Scene {
  world: StoreWorld;
  store: Store;
  other: Store;
}

function contract(title: string, check: (t: ExecutionContext, scene: Scene) => Promise<void>): void {
  for (const [kind, open] of [
    ['memory', fakeWorld],
    ['etcd', () => etcdWorld(etcd)],
  ] as const) {
    // In a row, so that a busy machine does not starve the sessions.
    test.serial(`${kind}: ${title}`, async t => {
      const world = open();
      try {
        await check(t, { world, store: world.client('one'), other: world.client('other') });
      } finally {
        await world.close();
      }
    });
  }
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

function names(found: { entries: { name: string }[] }): string[] {
  return found.entries.map(entry => entry.name);
}

function inWords(change: Change<'hostnames'>): string {
  return `${change.name}: ${change.before?.value.app ?? 'nothing'} to ${change.after?.value.app ?? 'nothing'}`;
}
