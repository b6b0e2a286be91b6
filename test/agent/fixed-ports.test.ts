import test, { type ExecutionContext } from 'ava';
import { FixedPorts } from '../../src/agent/fixed-ports.ts';
import { Holdings } from '../../src/agent/holdings.ts';
import { wantedOf } from '../../src/agent/wanted.ts';
import type { AppSpec, FixedPort } from '../../src/model/app-spec.ts';
import { appSpec, processSpec } from '../support/nouns.ts';
import { SimCluster } from '../support/sim-cluster.ts';
import { appRecord, member } from './helpers.ts';

const federation: FixedPort = { number: 8448, protocol: 'tcp', name: 'federation' };

/** An app whose instances have port 8448 each, and may run twice unless it is said. */
function chat(app: string, scale = 1, parts: Partial<AppSpec> = {}): AppSpec {
  const hostnames = [`${app}.example.com`];
  return appSpec({ app, hostnames, ports: [federation], processes: [processSpec({ scale })], ...parts });
}

const exclusively = (app: string, scale = 1): AppSpec =>
  chat(app, scale, { processes: [processSpec({ scale, exclusive: true, stopTimeoutSeconds: 2 })] });

/** Port 8448 of each node that has given it to somebody. */
function holders(cluster: SimCluster): Record<string, string> {
  const keys = Object.entries(cluster.etcd.contents('ports'));
  return Object.fromEntries(keys.map(([name, { instance }]) => [name.replace('/8448/tcp', ''), instance]));
}

/** Whose copies live on each node; the same as the keys say, when all is as it should be. */
function living(cluster: SimCluster): Record<string, string> {
  const owned = Object.keys(cluster.etcd.contents('owners')).map(subject =>
    subject.slice('instance/'.length),
  );
  return Object.fromEntries(
    owned.flatMap(instance => cluster.copies(instance).map(({ node }) => [node.name, instance] as const)),
  );
}

function allAsTheKeysSay(t: ExecutionContext, cluster: SimCluster, count: number): void {
  t.deepEqual(living(cluster), holders(cluster));
  t.is(Object.keys(holders(cluster)).length, count);
}

const troubleOf = (cluster: SimCluster, instance: string): string | null | undefined =>
  cluster
    .node('node-1')
    .agent.admin.instances({})
    .items.find(view => view.instance === instance)?.trouble;

test('two apps that want one port are placed on two nodes, and each node says in a key whose it is', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog'));
  await cluster.run(chat('shop', 2));
  allAsTheKeysSay(t, cluster, 3);
  t.deepEqual(Object.values(holders(cluster)).sort(), ['blog/web/0', 'shop/web/0', 'shop/web/1']);
  const [node = ''] =
    Object.entries(holders(cluster)).find(([, instance]) => instance === 'blog/web/0') ?? [];
  t.deepEqual(cluster.said(node, 'blog/web/0')?.ports, ['8448/tcp']);
});

test('more than there are nodes are refused when they are applied, with who has the port', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog', 2));
  const said = await cluster.apply(chat('shop', 2));
  const problems = said.flatMap(progress =>
    progress.kind === 'done' && progress.result.kind === 'refused' ? progress.result.problems : [],
  );
  t.like(problems[0], { field: 'ports[0].number', conflict: true });
  t.regex(problems[0]!.message, /8448\/tcp.*3 nodes.*app "blog" has it for 2 of "web"/);
  await cluster.run(chat('shop', 1));
});

test('what no node can take for want of a port says who has it, and is placed as soon as one is let go', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog', 2));
  await cluster.run(chat('shop', 1));
  const { warnings } = await cluster.node('node-1').agent.admin.scale('shop', { web: 2 });
  t.regex(warnings[0]?.message ?? '', /8448\/tcp.*3 nodes.*app "blog" has it for 2 of "web"/);
  await cluster.advance(5_000);
  t.is(cluster.owner('shop/web/1'), undefined);
  const trouble = troubleOf(cluster, 'shop/web/1') ?? '';
  for (const [node, instance] of Object.entries(holders(cluster)))
    t.true(trouble.includes(`${node} has given port 8448/tcp to ${instance}`), trouble);
  const { ranking } = cluster.node('node-1').agent.admin.explain('shop/web/1');
  t.deepEqual(ranking!.candidates, []);
  t.true(ranking!.excluded.every(({ reason }) => reason.startsWith('has given port 8448/tcp to ')));
  t.deepEqual((await cluster.node('node-1').agent.admin.scale('blog', { web: 1 })).warnings, []);
  await cluster.until(() => cluster.settled('shop') && cluster.settled('blog'));
  allAsTheKeysSay(t, cluster, 3);
});

test('a port is the instance’s again when its agent is started anew, and nothing moves', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog', 3));
  const [before, copies] = [holders(cluster), living(cluster)];
  for (const node of cluster.nodes.values()) await node.restart();
  await cluster.advance(10_000);
  t.deepEqual(holders(cluster), before);
  t.deepEqual(living(cluster), copies);
  t.is(cluster.events('instance-started').length, 3);
});

test('a copy that outlives its session keeps its port until it is stopped', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog'));
  const [name = ''] = Object.keys(holders(cluster));
  const node = cluster.node(name);
  // Its agent hears neither the store nor the others, and what it runs is taken over.
  node.store.setLink('refused');
  node.offline = true;
  await cluster.until(() => cluster.owner('blog/web/0')?.node !== name);
  await cluster.until(() => Object.keys(holders(cluster)).length === 2);
  t.is(node.driver.running('blog/web/0').length, 1);
  await cluster.run(chat('shop', 1), { on: [...cluster.nodes.keys()].find(other => other !== name)! });
  node.store.setLink('up');
  node.offline = false;
  await cluster.until(() => node.driver.running('blog/web/0').length === 0);
  await cluster.until(() => holders(cluster)[name] === undefined);
  allAsTheKeysSay(t, cluster, 2);
});

test('the port of an exclusive instance is free again when what its node had is taken by another', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(exclusively('blog'));
  const [name = ''] = Object.keys(holders(cluster));
  await cluster.node(name).crash();
  await cluster.until(() => cluster.owner('blog/web/0')?.node !== name, 60_000);
  await cluster.node(name).start();
  await cluster.until(() => holders(cluster)[name] === undefined);
  await cluster.until(() => cluster.settled('blog'));
  allAsTheKeysSay(t, cluster, 1);
});

test('a port that another program has is no crash of the app: another node takes it, and says why', async t => {
  const cluster = new SimCluster();
  for (const name of ['node-1', 'node-2']) cluster.node(name).foreignPorts.add('8448/tcp');
  await cluster.start();
  await cluster.run(chat('blog'));
  t.deepEqual(Object.keys(holders(cluster)), ['node-3']);
  t.deepEqual(cluster.events('instance-given-up'), []);
  t.deepEqual(cluster.events('instance-exited'), []);
  const failed = cluster.events('instance-start-failed').map(({ message }) => message);
  for (const message of failed) t.regex(message, /port 8448\/tcp is in use by process 812 \(nginx\)/);
});

test('when another program has it everywhere, it is tried for ever, and said', async t => {
  const cluster = new SimCluster(['node-1']);
  cluster.node('node-1').foreignPorts.add('8448/tcp');
  await cluster.start();
  await cluster.apply(chat('blog', 1, { restart: { policy: 'on-failure', max: 2 } }));
  await cluster.advance(60_000);
  t.like(cluster.said('node-1', 'blog/web/0'), { state: 'backoff' });
  t.regex(troubleOf(cluster, 'blog/web/0')!, /8448\/tcp is in use by process 812/);
  cluster.node('node-1').foreignPorts.clear();
  await cluster.until(() => cluster.settled('blog'), 300_000);
});

test('a new release is started where the old one has stopped, one instance after the other', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  const deploy = { ...appSpec().deploy, maxSurge: 3 };
  await cluster.run(chat('blog', 3, { deploy }));
  const before = holders(cluster);
  let fewest = 3;
  cluster.behaviour = () => {
    fewest = Math.min(fewest, Object.keys(living(cluster)).length);
    return { readyAfterMs: 500 };
  };
  await cluster.run(chat('blog', 3, { deploy }), { content: 'blog 2' });
  t.is(fewest, 2, 'the others run while one is replaced');
  t.deepEqual(holders(cluster), before);
  allAsTheKeysSay(t, cluster, 3);
});

test('a release that wants a port which is another’s on its node goes to a node that has it', async t => {
  const cluster = new SimCluster([]);
  cluster.add('node-1', { labels: { zone: 'eu' } });
  cluster.add('node-2');
  await cluster.start();
  const placement = { requires: { zone: 'eu' }, spread: null };
  await cluster.run(chat('shop', 1, { placement }));
  await cluster.run(chat('blog', 1, { placement, ports: [] }));
  t.is(cluster.owner('blog/web/0')?.node, 'node-1');
  await cluster.run(chat('blog'), { content: 'blog 2' });
  t.deepEqual(holders(cluster), { 'node-1': 'shop/web/0', 'node-2': 'blog/web/0' });
  allAsTheKeysSay(t, cluster, 2);
});

test('when no other node could take it, what runs goes on, and says what it waits for', async t => {
  const cluster = new SimCluster([]);
  cluster.add('node-1', { labels: { zone: 'eu' } });
  cluster.add('node-2', { capacity: { memoryBytes: 100 * 1024 ** 2, cpu: 1 } });
  await cluster.start();
  await cluster.run(chat('shop'));
  await cluster.run(chat('blog', 1, { ports: [] }));
  await cluster.apply(chat('blog'), { content: 'blog 2' });
  await cluster.advance(10_000);
  t.like(cluster.said('node-1', 'blog/web/0'), { state: 'running', release: 1 });
  t.is(cluster.copies('blog/web/0').length, 1);
  await cluster.node('node-1').agent.admin.remove('shop');
  await cluster.until(() => cluster.said('node-1', 'blog/web/0')?.release === 2);
  allAsTheKeysSay(t, cluster, 1);
});

test('what a node runs without owning it is not started on a port that another instance has', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  await cluster.run(chat('shop'));
  await cluster.run(chat('blog', 1, { ports: [] }));
  const blog = cluster.etcd.contents('apps')['blog']!;
  // Its next release wants the port as well: what no check at apply lets through may come about in other ways.
  const spec = { ...blog.spec, ports: [federation] };
  cluster.etcd.put('apps', 'blog', { ...blog, spec, release: 2, generation: 2 });
  await cluster.advance(1_000);
  for (const lease of cluster.etcd.liveLeases()) cluster.etcd.killLease(lease);
  await cluster.advance(1_000);
  const [copy] = cluster.copies('blog/web/0');
  cluster.node('node-1').driver.exit(copy!.unit.unit, { code: 1 });
  await cluster.advance(10_000);
  t.deepEqual(living(cluster), { 'node-1': 'shop/web/0' });
  t.deepEqual(cluster.events('instance-start-failed'), []);
  await cluster.node('node-1').agent.admin.remove('shop');
  await cluster.until(() => cluster.said('node-1', 'blog/web/0')?.release === 2);
});

test('a release that wants a port no more lets it go when the old copy is gone', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog', 2));
  await cluster.run(chat('blog', 2, { ports: [] }), { content: 'blog 2' });
  await cluster.until(() => Object.keys(holders(cluster)).length === 0, 20_000);
  t.is(Object.keys(living(cluster)).length, 2);
});

test('what a release wants newly is taken before the old copy stops', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog', 2, { ports: [] }));
  await cluster.run(chat('blog', 2), { content: 'blog 2' });
  allAsTheKeysSay(t, cluster, 2);
});

test('an app that is removed leaves no port behind', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(chat('blog', 3));
  await cluster.node('node-1').agent.admin.remove('blog');
  await cluster.until(() => Object.keys(cluster.etcd.contents('apps')).length === 0);
  t.deepEqual(holders(cluster), {});
});

/** One node without loops, which wants one instance of each app. */
async function alone(...apps: string[]) {
  const one = await member();
  const { etcd, world, node, store, clock, random, ledger } = one;
  for (const app of apps) etcd.put('apps', app, appRecord(chat(app)));
  await clock.settle();
  const holdings = new Holdings({ node, store, clock, random, ledger });
  const runs = new Set<string>();
  const ports = new FixedPorts({ ...one, holdings, units: () => [], runs: instance => runs.has(instance) });
  const wanted = apps.flatMap(app => wantedOf(world.apps.get(app)!.value));
  const claims = wanted.map(each => ({
    subject: `instance/${each.instance}`,
    known: undefined,
    reason: 'a test',
    taking: ports.taking(each),
  }));
  const session = one.keeper.current()!;
  const keys = (): string[] =>
    Object.entries(etcd.contents('ports')).map(([name, { instance }]) => `${name} ${instance}`);
  return { ...one, holdings, ports, wanted, claims, session, keys, runs };
}

test('of two claims made at once that want one port, one is refused', async t => {
  const { holdings, claims, session, keys } = await alone('blog', 'shop');
  const taken = await holdings.acquireAll(claims, session);
  t.is(taken.size, 1);
  t.is(holdings.held().size, 1);
  t.deepEqual(
    keys(),
    [...taken].map(subject => `node-1/8448/tcp ${subject.slice('instance/'.length)}`),
  );
});

test('a claim rests on the port as it was read: one that was taken since is not taken again', async t => {
  const { holdings, claims, session, keys, etcd } = await alone('blog');
  etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'shop', instance: 'shop/web/0' });
  t.deepEqual([...(await holdings.acquireAll(claims, session))], []);
  t.deepEqual(keys(), ['node-1/8448/tcp shop/web/0']);
});

test('an instance takes its own port again, unless it has changed hands since it was read', async t => {
  const { holdings, ports, wanted, session, keys, etcd, clock } = await alone('blog');
  etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'blog', instance: 'blog/web/0' });
  await clock.settle();
  const claim = {
    subject: 'instance/blog/web/0',
    known: undefined,
    reason: 'a test',
    taking: ports.taking(wanted[0]!),
  };
  etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'shop', instance: 'shop/web/0' });
  t.deepEqual([...(await holdings.acquireAll([claim], session))], []);
  await clock.settle();
  etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'blog', instance: 'blog/web/0' });
  await clock.settle();
  const again = { ...claim, taking: ports.taking(wanted[0]!) };
  t.is((await holdings.acquireAll([again], session)).size, 1);
  t.deepEqual(keys(), ['node-1/8448/tcp blog/web/0']);
});

test('a release takes along only the key that was read', async t => {
  const { holdings, ports, claims, session, keys, etcd, clock } = await alone('blog');
  await holdings.acquireAll(claims, session);
  await clock.settle();
  const { subject, token } = [...holdings.held().values()][0]!;
  const { compares, writes } = ports.leaving('blog/web/0');
  etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'shop', instance: 'shop/web/0' });
  await t.throwsAsync(holdings.release(subject, token, 'a test', writes, compares), {
    message: /is not released yet/,
  });
  t.deepEqual(keys(), ['node-1/8448/tcp shop/web/0']);
});

const leftovers: Record<string, { runs: boolean; stays: boolean }> = {
  'of something that lives here stays, owned or not': { runs: true, stays: true },
  'of nothing that is here any more is let go': { runs: false, stays: false },
};
for (const [name, { runs: lives, stays }] of Object.entries(leftovers)) {
  test(`a key ${name}`, async t => {
    const { ports, session, keys, runs, etcd, clock } = await alone('blog');
    if (lives) runs.add('blog/web/0');
    etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'blog', instance: 'blog/web/0' });
    etcd.put('ports', 'node-2/8448/tcp', { v: 1, app: 'blog', instance: 'blog/web/0' });
    await clock.settle();
    await ports.review(session);
    t.is(keys().includes('node-1/8448/tcp blog/web/0'), stays);
    t.true(keys().includes('node-2/8448/tcp blog/web/0'), 'what another node has is that node’s to let go');
  });
}

test('nothing is let go before it is known what runs here', async t => {
  const { ports, session, keys, etcd, clock, holdings, world, store } = await alone('blog');
  etcd.put('ports', 'node-1/8448/tcp', { v: 1, app: 'blog', instance: 'blog/web/0' });
  await clock.settle();
  const early = new FixedPorts({
    node: 'node-1',
    holdings,
    world,
    store,
    units: () => null,
    runs: () => false,
  });
  await early.review(session);
  t.is(keys().length, 1);
  await ports.review(session);
  t.is(keys().length, 0);
});
