import test, { type ExecutionContext } from 'ava';
import { collectLoop } from '../../src/agent/collect-loop.ts';
import type { Unit } from '../../src/model/reconciliation.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeEtcd, type FakeStore } from '../support/fake-store.ts';
import { appSpec, unit } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';
import { appRecord } from './helpers.ts';

const HOUR_MS = 60 * 60_000;

test('what nothing needs any more goes within the hour; what runs, is wanted or could be gone back to stays', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const { artifacts } = cluster.node('node-1');
  for (let release = 1; release <= 8; release++) await cluster.run(webApp(1), { content: `blog ${release}` });
  const stray = artifacts.hold('nobody needs this');
  const releases = Object.values(cluster.etcd.contents('releases'));
  t.is(releases.length, 8);
  await cluster.clock.advance(HOUR_MS + 1000);
  t.false(artifacts.stored.has(stray));
  t.deepEqual(
    releases.map(({ artifact }) => artifacts.stored.has(artifact!.digest)),
    [false, false, false, true, true, true, true, true],
    'the newest five',
  );
  t.deepEqual([...artifacts.releases.keys()], ['blog/8'], 'only what runs is unpacked');
  t.deepEqual(
    Object.values(cluster.etcd.contents('releases')).map(({ release }) => release),
    [4, 5, 6, 7, 8],
  );
  await cluster.advance(1000);
  const promised = Object.keys(cluster.etcd.contents('promises')).filter(name => name.includes('holding:'));
  t.is(promised.length, artifacts.stored.size, 'what is gone is promised no more');
  t.is(cluster.copies('blog/web/0').length, 1);
});

test('of an app that was removed everything goes, once nothing of it runs', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const { agent, artifacts } = cluster.node('node-1');
  await cluster.run(webApp(1));
  await cluster.run(webApp(1, { app: 'shop', hostnames: [] }));
  const [blog, shop] = Object.values(cluster.etcd.contents('releases')).map(
    ({ artifact }) => artifact!.digest,
  );
  await cluster.whileTimePasses(agent.admin.remove('blog'));
  await cluster.until(() => cluster.etcd.contents('apps')['blog'] === undefined);
  await cluster.clock.advance(20 * 60_000 + 1000);
  t.deepEqual([...artifacts.releases.keys()], ['shop/1']);
  t.deepEqual([artifacts.stored.has(blog!), artifacts.stored.has(shop!)], [false, true]);
});

interface Alone {
  clock: FakeClock;
  etcd: FakeEtcd;
  artifacts: FakeArtifacts;
  store: FakeStore;
  /** What this node says of what runs here; null = it has not looked yet. */
  seen: Unit[] | null;
}

/** The loop of a node that has unpacked release 1 of the blog, for the second time it looks. */
function alone(t: ExecutionContext): Alone {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  const artifacts = new FakeArtifacts(new Map());
  const world: Alone = { clock, etcd, artifacts, store: etcd.client('node-1'), seen: null };
  artifacts.releases.set('blog/1', artifacts.hold('blog 1'));
  const loop = collectLoop({
    store: { list: (kind, range) => world.store.list(kind, range) },
    artifacts,
    instances: { units: () => world.seen ?? [], statuses: () => (world.seen === null ? null : []) },
    deployments: { deploying: () => [] },
    places: { inUse: () => [] },
    clock,
    log: new FakeLog(),
  });
  loop.start();
  t.teardown(() => loop.stop());
  return world;
}

test('before a node has looked at what runs there, nothing goes; then, what runs stays though nobody wants it', async t => {
  const world = alone(t);
  world.artifacts.releases.set('blog/2', world.artifacts.hold('blog 2'));
  await world.clock.advance(10_000);
  t.deepEqual([...world.artifacts.releases.keys()], ['blog/1', 'blog/2']);
  world.seen = [unit({ instance: 'blog/web/0', release: 1 })];
  await world.clock.advance(10_000);
  t.deepEqual([...world.artifacts.releases.keys()], ['blog/1']);
});

test('what a rollout may go back to stays unpacked, though nothing runs of it just now', async t => {
  const world = alone(t);
  const before = { release: 1, spec: appSpec(), artifact: null, restarts: {} };
  world.artifacts.releases.set('blog/2', world.artifacts.hold('blog 2'));
  world.artifacts.releases.set('blog/3', world.artifacts.hold('blog 3'));
  world.etcd.put(
    'apps',
    'blog',
    appRecord(appSpec(), { release: 3, rollout: { before, stage: 'replacing' } }),
  );
  world.seen = [];
  await world.clock.advance(10_000);
  t.deepEqual([...world.artifacts.releases.keys()], ['blog/1', 'blog/3']);
});

test('what a deployment is made from stays as long as it goes on', async t => {
  const world = alone(t);
  const [uploaded, source, built] = ['a', 'b', 'c'].map(content => world.artifacts.hold(content));
  const spec = appSpec({ app: 'shop', source: { kind: 'uploaded', digest: uploaded! } });
  const artifact = { digest: built!, bytes: 1, platform: null };
  const draft = { spec, release: 1, before: null, impact: 'rebuild' as const, artifact, secrets: {} };
  const since = '2026-01-01T00:00:00.000Z';
  const shop = { v: 1 as const, app: 'shop', plan: 'p', node: 'node-2', since, asked: spec, token: '0' };
  world.etcd.put('deploys', 'shop', { ...shop, draft: { ...draft, source: source! } });
  world.seen = [];
  await world.clock.advance(10_000);
  t.deepEqual([...world.artifacts.stored.keys()], [uploaded, source, built]);
});

test('a first release that becomes wanted while the store is asked keeps its artifact', async t => {
  const world = alone(t);
  const { etcd, artifacts, store } = world;
  const digest = artifacts.hold('shop 1');
  const artifact = { digest, bytes: 1, platform: null };
  const spec = appSpec({ app: 'shop' });
  const draft = { spec, release: 1, before: null, impact: 'rebuild' as const, artifact, secrets: {} };
  const at = '2026-01-01T00:00:00.000Z';
  const by = {
    v: 1 as const,
    app: 'shop',
    plan: 'p',
    node: 'node-1',
    since: at,
    asked: spec,
    token: '0',
    draft,
  };
  etcd.put('deploys', 'shop', by);
  const list = store.list.bind(store);
  let asked = 0;
  store.list = async (kind, range) => {
    const found = await list(kind, range);
    asked++;
    if (asked === 1) {
      etcd.delete('deploys', 'shop');
      etcd.put('apps', 'shop', appRecord(spec, { artifact }));
      etcd.put('releases', 'shop/000001', { v: 1, app: 'shop', release: 1, spec, artifact, at });
    }
    return found;
  };
  world.seen = [];
  await world.clock.advance(10_000);
  t.true(asked >= 3);
  t.true(artifacts.stored.has(digest));
});

test('an unpacked release that still serves, or is being deployed, stays', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const node = cluster.node('node-1');
  await cluster.run(webApp(1));
  // The second never gets ready: the first serves on.
  cluster.behaviour = () => ({ endsAfterMs: 10, code: 1, readyAfterMs: 1e9 });
  await cluster.apply(webApp(1), { content: 'blog 2' });
  await cluster.advance(60_000);
  const hooks = node.artifacts.runHooks.bind(node.artifacts);
  let during: string[] = [];
  node.artifacts.runHooks = async (...args) => {
    await cluster.clock.sleep(HOUR_MS);
    during = [...node.artifacts.releases.keys()];
    return hooks(...args);
  };
  const applying = cluster.apply(webApp(1, { beforeRun: ['true'] }), { content: 'blog 3' }).catch(() => []);
  await cluster.clock.advance(HOUR_MS + 1000);
  t.deepEqual(during.sort(), ['blog/1', 'blog/2', 'blog/3']);
  await applying;
});
