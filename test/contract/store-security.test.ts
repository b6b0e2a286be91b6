/** The store against an etcd that wants certificates, and one that wants passwords. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Store, StoreError } from '../../src/ports/store.ts';
import type { OpenStoreOptions } from '../../src/store/open-store.ts';
import { Authority } from '../support/certificates.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { etcdWorld, sessionRecord } from '../support/store-worlds.ts';
import { until } from '../support/until.ts';

const ROOT = ['--user', 'root:secret'];

let directory: string;
let secured: Etcd;
let withPasswords: Etcd;
let strangers: Authority;
let tls: { ca: string; cert: string; key: string };
let strangersTls: typeof tls;
let adminTls: typeof tls;

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hop3-certificates-'));
  const authority = await Authority.make(directory);
  const server = await authority.issue('localhost');
  tls = { ca: authority.ca, ...(await authority.issue('agent')) };
  adminTls = { ca: authority.ca, ...(await authority.issue('root')) };
  strangers = await Authority.make(await mkdtemp(join(directory, 'strangers-')));
  strangersTls = { ca: authority.ca, ...(await strangers.issue('agent')) };
  [secured, withPasswords] = await Promise.all([
    startEtcd({ tls: { ca: authority.ca, ...server } }),
    startEtcd(),
  ]);
  await withPasswords.ctl('user', 'add', 'root:secret');
  await withPasswords.ctl('user', 'grant-role', 'root', 'root');
  await withPasswords.ctl('auth', 'enable');
});
test.after.always(async () => {
  await Promise.all([secured.stop(), withPasswords.stop()]);
  await rm(directory, { recursive: true, force: true });
});

test.serial('with a client certificate everything works over TLS', async t => {
  const { store, close } = open(secured, { tls });
  await everything(t, store);
  await close();
});

const strange: { title: string; settings: () => Partial<OpenStoreOptions> }[] = [
  { title: 'a client certificate of another authority', settings: () => ({ tls: strangersTls }) },
  {
    title: 'a server whose authority is not trusted',
    settings: () => ({ tls: { ...tls, ca: strangers.ca } }),
  },
];
for (const { title, settings } of strange) {
  test.serial(`no request leaves with ${title}`, async t => {
    const { store, close } = open(secured, settings());
    const error = await t.throwsAsync(store.commit([], [hostname('a')]), { instanceOf: StoreError });
    t.is(error.outcome, 'not-sent');
    const { endpoints } = await store.describe();
    t.like(endpoints[0], { reachable: false, version: null });
    t.truthy(endpoints[0]?.error);
    await close();
  });
}

test.serial(
  'with etcd authentication on, the common name is the user, with what its role allows',
  async t => {
    await secured.ctl('user', 'add', 'root:secret');
    await secured.ctl('user', 'grant-role', 'root', 'root');
    await secured.ctl('user', 'add', 'agent', '--no-password');
    await secured.ctl('role', 'add', 'agent');
    await secured.ctl('role', 'grant-permission', 'agent', '--prefix=true', 'readwrite', '/hop3/allowed/');
    await secured.ctl('user', 'grant-role', 'agent', 'agent');
    await secured.ctl('auth', 'enable');
    t.teardown(() => secured.ctl(...ROOT, 'auth', 'disable'));

    const allowed = open(secured, { tls, cluster: 'allowed' });
    await everything(t, allowed.store);
    await allowed.close();

    const forbidden = open(secured, { tls, cluster: 'forbidden' });
    const error = await t.throwsAsync(forbidden.store.get('hostnames', 'a'), { instanceOf: StoreError });
    t.regex(error.message, /permission denied/);
    t.is(error.outcome, 'refused');
    t.false(error.retryable);
    await forbidden.close();

    const admin = open(secured, { tls: adminTls, cluster: 'forbidden' });
    t.is(await admin.store.get('hostnames', 'a'), null);
    await admin.close();
  },
);

test.serial('with a user name and a password everything works', async t => {
  const { store, close } = open(withPasswords, { username: 'root', password: 'secret' });
  await everything(t, store);
  t.like((await store.describe()).endpoints[0], { reachable: true, error: null });
  await close();
});

const turnedAway: { title: string; settings: Partial<OpenStoreOptions>; words: RegExp }[] = [
  {
    title: 'a wrong password',
    settings: { username: 'root', password: 'guess' },
    words: /invalid user ID or password/,
  },
  { title: 'an unknown user', settings: { username: 'nobody', password: 'x' }, words: /invalid user ID/ },
  { title: 'no user at all', settings: {}, words: /set a user name and password, or a client certificate/ },
];
for (const { title, settings, words } of turnedAway) {
  test.serial(`etcd refuses ${title}, in words`, async t => {
    const { store, close } = open(withPasswords, settings);
    const reading = store.get('hostnames', 'a');
    const error = await t.throwsAsync(reading, { instanceOf: StoreError, message: words });
    t.is(error.outcome, 'refused');
    t.false(error.retryable);
    const opening = store.openSession({ record: sessionRecord(), resume: null });
    await t.throwsAsync(opening, { instanceOf: StoreError, message: words });
    await close();
  });
}

test.serial('a login survives a restart of etcd', async t => {
  const { store, close } = open(withPasswords, { username: 'root', password: 'secret' });
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  const session = await store.openSession({ record: sessionRecord({ ttlSeconds: 20 }), resume: null });
  await withPasswords.first.restart();
  const deadlineBefore = session.deadlineMs();
  await until('a commit goes through', () => tried(store));
  await until('the mirror sees it', () => mirror.get('tried') !== undefined);
  await until('the session is renewed', () => session.deadlineMs() > deadlineBefore);
  t.true(session.valid());
  await close();
});

test.serial('tokens that etcd has forgotten are got anew', async t => {
  const { store, close } = open(withPasswords, { username: 'root', password: 'secret' });
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  const session = await store.openSession({ record: sessionRecord(), resume: null });
  // Turning authentication off and on again makes every token invalid.
  await withPasswords.ctl(...ROOT, 'auth', 'disable');
  await withPasswords.ctl('auth', 'enable');
  t.is((await store.commit([], [hostname('later')])).kind, 'committed');
  const late = store.mirror('hostnames');
  await late.ready();
  t.truthy(late.get('later'));
  await until('the first mirror sees it', () => mirror.get('later') !== undefined);
  const deadlineBefore = session.deadlineMs();
  await until('the session is renewed', () => session.deadlineMs() > deadlineBefore);
  await close();
});

test.serial('a password that etcd does not ask for is no hindrance, and is said', async t => {
  const { store, close, world } = open(withPasswords, { username: 'root', password: 'secret' });
  await withPasswords.ctl(...ROOT, 'auth', 'disable');
  await everything(t, store);
  t.is(world.log.matching('does not ask for the user name').length, 1);
  await withPasswords.ctl('auth', 'enable');
  t.is((await store.commit([], [hostname('again')])).kind, 'committed');
  await close();
});

function open(etcd: Etcd, settings: Partial<OpenStoreOptions>) {
  const world = etcdWorld(etcd, settings);
  return { world, store: world.client('one'), close: () => world.close() };
}

async function everything(t: ExecutionContext, store: Store): Promise<void> {
  const mirror = store.mirror('hostnames');
  await mirror.ready();
  const session = await store.openSession({ record: sessionRecord(), resume: null });
  t.is((await store.commit([], [hostname('a')])).kind, 'committed');
  t.is((await store.get('hostnames', 'a'))?.value.app, 'blog');
  await until('the mirror has seen it', () => mirror.get('a') !== undefined);
  const deadlineBefore = session.deadlineMs();
  await until('the session is renewed', () => session.deadlineMs() > deadlineBefore);
  await session.revoke();
  t.is(await store.get('sessions', 'node-1/first'), null);
  // Newer etcd tells its version to nobody but root, once it asks who is there.
  const [endpoint] = (await store.describe()).endpoints;
  t.true(endpoint?.reachable);
  t.regex(endpoint?.error ?? 'none', /^none$|permission denied/);
  mirror.close();
}

function hostname(name: string) {
  return { put: 'hostnames', name, value: { v: 1, app: 'blog' } } as const;
}

async function tried(store: Store): Promise<boolean> {
  try {
    return (await store.commit([], [hostname('tried')])).kind === 'committed';
  } catch (error) {
    if (error instanceof StoreError && error.retryable) return false;
    throw error;
  }
}
