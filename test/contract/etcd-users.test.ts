import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { writeNodePems, nodeFiles } from '../../src/authority/authority-files.ts';
import { commonName, makeAuthority, makeRequest, signRequest } from '../../src/authority/certificates.ts';
import { noopAgent } from '../../src/drivers/step-noop.ts';
import type { TlsFiles } from '../../src/model/node-config.ts';
import type { Kind, Records, SessionRecord } from '../../src/model/records.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import type { PlanSubmission } from '../../src/ports/plans.ts';
import { StoreError, type Store } from '../../src/ports/store.ts';
import { type EtcdUsersOptions, setUpEtcdUsers } from '../../src/store/etcd-users.ts';
import { openStore } from '../../src/store/open-store.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeLog } from '../support/fake-log.ts';
import { noop, submission } from '../support/plan-cluster.ts';
import { startPlanNode } from '../support/plan-node.ts';
import { sessionRecord } from '../support/store-worlds.ts';

/** What a node's user may do in a real etcd with TLS, where its certificate's common name is the user. */

const CLUSTER = 'prod';
let directory = '';
let etcd: Etcd;
const tls: Record<string, TlsFiles> = {};
const stores: Record<string, Store> = {};

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hop3-users-'));
  await chmod(directory, 0o755);
  const authority = await makeAuthority(CLUSTER, new Date());
  for (const node of ['etcd', 'node-1', 'node-2', 'node-3', 'stranger']) {
    const { key, request } = await makeRequest({ node, cluster: CLUSTER });
    const identity = { node, cluster: CLUSTER, addresses: ['127.0.0.1'] };
    const cert = await signRequest(authority, { request, identity, now: new Date() });
    const files = nodeFiles(join(directory, node));
    await writeNodePems(files, { ca: authority.certificate, cert, key });
    tls[node] = files;
  }
  etcd = await startEtcd({ tls: tls['etcd']! });
  for (const node of ['node-1', 'node-2', 'node-3', 'stranger']) stores[node] = open(node);
  // Other nodes that are there already must not be locked out when authentication is turned on.
  for (const node of ['node-2', 'node-3']) await commit(node, 'sessions', `${node}/first`, session(node));
  // Somebody tried etcd's authentication once, and left this behind.
  await etcd.ctl('user', 'add', 'root:the password of then');
  await setUpEtcdUsers(options('node-1', { holdsAuthority: true }));
});

test.after.always(async () => {
  for (const store of Object.values(stores)) await store.close();
  await etcd.stop();
  await rm(directory, { recursive: true, force: true });
});

function open(node: string, cluster = CLUSTER): Store {
  const parts = { clock: systemClock(), log: new FakeLog(), random: systemRandom() };
  return openStore({ endpoints: etcd.urls, cluster, tls: tls[node]!, ...parts });
}

function options(node: string, more: Partial<EtcdUsersOptions> = {}): EtcdUsersOptions {
  return {
    endpoints: etcd.urls,
    tls: tls[node]!,
    cluster: CLUSTER,
    node,
    userOf: each => commonName({ node: each, cluster: CLUSTER }),
    holdsAuthority: false,
    mayEnable: true,
    rootPassword: 'a root password',
    clock: systemClock(),
    log: new FakeLog(),
    ...more,
  };
}

function session(node: string): SessionRecord {
  return sessionRecord({ node });
}

async function commit<K extends Kind>(node: string, kind: K, name: string, value: Records[K]): Promise<void> {
  await stores[node]!.commit([], [{ put: kind, name, value } as never]);
}

const noopParts = { clock: systemClock(), blobs: new FakeBlobs(systemClock()) };

const anything = { v: 1 } as never;
const rows: { writes: string; kind: Kind; name: string; node: string; may: boolean }[] = [
  { writes: 'its own session', kind: 'sessions', name: 'node-2/x', node: 'node-2', may: true },
  { writes: "another node's session", kind: 'sessions', name: 'node-1/x', node: 'node-2', may: false },
  {
    writes: 'the session of a node whose name its own begins',
    kind: 'sessions',
    name: 'node-22/x',
    node: 'node-2',
    may: false,
  },
  { writes: 'its own promises', kind: 'promises', name: 'node-2/capacity', node: 'node-2', may: true },
  {
    writes: "another node's promises",
    kind: 'promises',
    name: 'node-1/capacity',
    node: 'node-2',
    may: false,
  },
  { writes: 'its own ports', kind: 'ports', name: 'node-2/8448/tcp', node: 'node-2', may: true },
  { writes: "another node's ports", kind: 'ports', name: 'node-1/8448/tcp', node: 'node-2', may: false },
  { writes: 'its own answers', kind: 'answers', name: 'node-2/r1', node: 'node-2', may: true },
  { writes: "another node's answers", kind: 'answers', name: 'node-1/r1', node: 'node-2', may: false },
  { writes: 'owner keys', kind: 'owners', name: 'instance/a/web/0', node: 'node-2', may: true },
  { writes: 'apps', kind: 'apps', name: 'blog', node: 'node-2', may: true },
  { writes: 'releases', kind: 'releases', name: 'blog/000001', node: 'node-2', may: true },
  { writes: 'host names', kind: 'hostnames', name: 'blog.localhost', node: 'node-2', may: true },
  { writes: 'volumes', kind: 'volumes', name: 'blog', node: 'node-2', may: true },
  {
    writes: 'the wish that another node be emptied',
    kind: 'drains',
    name: 'node-1',
    node: 'node-2',
    may: true,
  },
  { writes: 'the turn to deploy an app', kind: 'deploys', name: 'blog', node: 'node-2', may: true },
  { writes: 'plans without a user', kind: 'plans', name: 'p1', node: 'stranger', may: false },
  { writes: 'requests to others', kind: 'requests', name: 'node-1/r1', node: 'node-2', may: true },
  { writes: 'events', kind: 'events', name: '2026-x', node: 'node-2', may: true },
  { writes: 'a candidacy', kind: 'supervisor', name: '1f', node: 'node-2', may: true },
  {
    writes: 'assessments, where the assessor stands last',
    kind: 'assessments',
    name: 'node-1/capacity/node-2',
    node: 'node-2',
    may: true,
  },
  { writes: 'refusals', kind: 'refusals', name: 'instance/a/web/0/node-2', node: 'node-2', may: true },
  { writes: 'tokens, without the authority', kind: 'enrolments', name: 'ab', node: 'node-2', may: false },
  { writes: 'tokens, with the authority', kind: 'enrolments', name: 'ab', node: 'node-1', may: true },
  { writes: 'apps without a user', kind: 'apps', name: 'blog', node: 'stranger', may: false },
];
for (const { writes, kind, name, node, may } of rows) {
  test(`${node} ${may ? 'may write' : 'can not write'} ${writes}`, async t => {
    if (may) {
      await t.notThrowsAsync(commit(node, kind, name, anything));
      await t.notThrowsAsync(stores[node]!.commit([], [{ delete: kind, name: `${name}0`.slice(0, -1) }]));
    } else {
      const error = await t.throwsAsync(commit(node, kind, name, anything));
      t.true(error instanceof StoreError && error.outcome === 'refused', error.message);
      t.regex(error.message, /permission denied|user/i);
    }
  });
}

test('a node reads all of its cluster, and nothing of another', async t => {
  await commit('node-1', 'sessions', 'node-1/read', session('node-1'));
  t.not(await stores['node-2']!.get('sessions', 'node-1/read'), null);
  await t.notThrowsAsync(stores['node-2']!.list('enrolments'));
  const elsewhere = open('node-2', 'production');
  t.teardown(() => elsewhere.close());
  await t.throwsAsync(elsewhere.list('apps'), { message: /permission denied/ });
});

test('a mirror and a session work as without users', async t => {
  const store = stores['node-2']!;
  const mirror = store.mirror('apps');
  await mirror.ready(AbortSignal.timeout(60_000));
  mirror.close();
  const opened = await store.openSession({
    record: { ...session('node-2'), incarnation: 'live', ttlSeconds: 5 },
    resume: null,
  });
  t.true(opened.valid());
  await opened.revoke();
});

// Not beside those that change users: what is under way meanwhile is refused.
test.serial(
  'a node works at plans, submits, retries, cancels and forgets them, and keeps schedules',
  async t => {
    await stores['node-3']!.commit([], [{ delete: 'sessions', name: 'node-3/first' }]);
    const node = await startPlanNode(open('node-3'), 'node-3', [noopAgent(noopParts)]);
    t.teardown(() => node.stop());
    const { plans } = node.engine;
    const ended = async (request: PlanSubmission) => {
      const { plan } = (await plans.submit(request)).plan;
      for await (const event of plans.watch(plan, null, AbortSignal.timeout(60_000)))
        if (event.kind === 'plan' && event.plan.endedAt !== null) return event.plan;
      throw new Error('its end was not told');
    };
    const keyed = noop({ concurrency: { key: 'the db', limit: 1 } });
    const small = await ended({ ...submission([keyed, keyed]), idempotencyKey: 'order/7' });
    t.is(small.state, 'COMPLETED');
    // Its definitions lie apart, and it has several chunks.
    const large = await ended(submission(300));
    t.is(large.state, 'COMPLETED');
    const bad = await ended(submission([noop({ arguments: { fail: 'fatal' } })]));
    t.is(bad.state, 'FAILED');
    await plans.retry(bad.plan, null);
    const long = await plans.submit(submission([noop({ arguments: { 'delay-ms': '60000' } })]));
    t.is((await plans.cancel(long.plan.plan, 'ann')).cancel?.by, 'ann');
    for (const { plan } of [small, large]) await plans.forget(plan);
    const schedule = {
      expression: '@daily',
      timeZone: 'UTC',
      overlap: 'allow',
      catchUp: { kind: 'none' },
    } as const;
    await plans.putSchedule('nightly', { schedule, plan: submission(1).spec, paused: false });
    await plans.pauseSchedule('nightly', true);
    await plans.removeSchedule('nightly');
    const store = stores['node-1']!;
    t.deepEqual((await store.list('definitions')).entries, []);
    t.deepEqual((await store.list('idempotency')).entries, []);
  },
);

test("a node can not end another's lease", async t => {
  const theirs = await stores['node-1']!.openSession({
    record: { ...session('node-1'), incarnation: 'held', ttlSeconds: 60 },
    resume: null,
  });
  t.teardown(() => theirs.revoke());
  await t.throwsAsync(
    etcd.ctl(
      'lease',
      'revoke',
      BigInt(theirs.lease).toString(16),
      '--cert',
      tls['node-2']!.cert,
      '--key',
      tls['node-2']!.key,
    ),
    { message: /permission denied/ },
  );
  t.not(await stores['node-1']!.get('sessions', 'node-1/held'), null);
});

test('root has the password given, also when there was a root with another', async t => {
  await t.throwsAsync(setUpEtcdUsers(options('node-2', { rootPassword: 'the password of then' })), {
    message: /authentication failed/,
  });
  await t.notThrowsAsync(setUpEtcdUsers(options('node-2')));
});

test('done again it changes nothing; a wrong password, or another node without root, does nothing', async t => {
  t.deepEqual(await setUpEtcdUsers(options('node-2', { mayEnable: false })), [
    "etcd user node-2.prod, with a role that may write only what is node-2's",
  ]);
  await t.throwsAsync(setUpEtcdUsers(options('node-2', { rootPassword: 'wrong' })), {
    message: /authentication failed, invalid user ID or password/,
  });
});
