import test from 'ava';
import type { RunningBody } from '../../src/model/node-promise.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import { DriverError } from '../../src/ports/driver.ts';
import { StoreError } from '../../src/ports/store.ts';
import { processSpec } from '../support/nouns.ts';
import { SimCluster, webApp, type SimBehaviour } from '../support/sim-cluster.ts';

const INSTANCE = 'blog/web/0';

async function oneNode(behaviour: SimBehaviour = {}) {
  const cluster = new SimCluster(['node-1']);
  cluster.behaviour = () => behaviour;
  await cluster.start();
  const node = cluster.node('node-1');
  return {
    cluster,
    node,
    state: () => cluster.said('node-1', INSTANCE)?.state,
    trouble: () => cluster.said('node-1', INSTANCE)?.trouble ?? '',
    starts: () => node.driver.launches.length,
    kinds: (...kinds: string[]) =>
      cluster
        .events()
        .map(event => event.kind)
        .filter(kind => kinds.includes(kind)),
  };
}

test('a copy is ready when it answers, and not before', async t => {
  const { cluster, state, kinds } = await oneNode({ readyAfterMs: 3000 });
  await cluster.apply(webApp(1));
  await cluster.until(() => state() === 'starting');
  await cluster.advance(2000);
  t.is(state(), 'starting');
  t.false(cluster.said('node-1', INSTANCE)?.ready);
  await cluster.until(() => state() === 'running', 2000);
  await cluster.advance(1000);
  t.true(cluster.said('node-1', INSTANCE)?.ready);
  t.deepEqual(kinds('instance-started', 'instance-ready'), ['instance-started', 'instance-ready']);
});

test('copies that begin are told of together and once, with where they listen; one that ends is told of sooner', async t => {
  const { cluster, node } = await oneNode({ readyAfterMs: 500 });
  const unpack = node.artifacts.unpack.bind(node.artifacts);
  node.artifacts.unpack = async (...args) => {
    await cluster.clock.sleep(30);
    return unpack(...args);
  };
  const told: RunningBody[][] = [];
  const commit = node.store.commit.bind(node.store);
  node.store.commit = (compares, writes) => {
    const bodies = writes.flatMap(write =>
      'put' in write && write.put === 'promises' ? write.value.promise.body : [],
    );
    const running = bodies.filter(body => body.kind === 'running');
    if (running.length > 0) told.push(running);
    return commit(compares, writes);
  };
  await cluster.run(webApp(3));
  t.deepEqual(
    told[0]?.map(({ state, endpoint }) => [state, endpoint !== null]),
    Array.from({ length: 3 }, () => ['starting', true]),
  );
  t.true(told.slice(1).every(bodies => bodies.every(({ ready }) => ready)));
  node.driver.exit(cluster.copies(INSTANCE)[0]!.unit.unit, { signal: 'SIGKILL' });
  await cluster.until(() => cluster.said('node-1', INSTANCE)?.ready === false, 30);
  await cluster.until(() => cluster.settled('blog'));
});

test('a worker without an endpoint is ready as long as it lives, and gets no port', async t => {
  const { cluster, node, state } = await oneNode();
  const spec = webApp(1, { hostnames: [], processes: [processSpec({ routed: false })] });
  await cluster.run(spec);
  t.is(state(), 'running');
  t.is(node.driver.launches[0]?.endpoint, null);
  t.is(node.driver.launches[0]?.env['PORT'], undefined);
});

test('copies on one node have ports of their own', async t => {
  const { cluster, node } = await oneNode({ readyAfterMs: 500 });
  await cluster.run(webApp(20));
  const ports = node.driver.launches.map(launch => launch.endpoint?.port);
  t.is(new Set(ports).size, 20);
  t.true(node.driver.launches.every(launch => launch.env['PORT'] === String(launch.endpoint?.port)));
});

test('what crashes is started again at once, on its port, under the same ownership', async t => {
  const { cluster, node, kinds } = await oneNode({ readyAfterMs: 100 });
  await cluster.run(webApp(1));
  const before = cluster.copies(INSTANCE)[0]!.unit;
  const owner = cluster.owner(INSTANCE);
  await cluster.advance(5000);
  const crashedMs = cluster.clock.now();
  node.driver.exit(before.unit, { signal: 'SIGKILL' });
  await cluster.until(
    () => cluster.said('node-1', INSTANCE)?.pid === before.pid! + 1 && cluster.settled('blog'),
  );
  t.true(cluster.clock.now() - crashedMs <= 150, `${cluster.clock.now() - crashedMs} ms`);
  t.deepEqual(cluster.copies(INSTANCE)[0]?.unit.endpoint, before.endpoint);
  t.deepEqual(cluster.owner(INSTANCE), owner);
  await cluster.advance(1000);
  t.deepEqual(kinds('instance-exited'), ['instance-exited']);
  t.is(cluster.events('instance-exited')[0]?.details['signal'], 'SIGKILL');
});

test('rule 10: what was released without an answer is taken anew before it is started again', async t => {
  const { cluster, node } = await oneNode();
  await cluster.run(webApp(1));
  const earlier = node.driver.launches.at(-1)!.token!;
  const commit = node.store.commit.bind(node.store);
  let late: (() => ReturnType<typeof commit>) | null = null;
  node.store.commit = (compares, writes) => {
    const releases = writes.some(
      write => 'put' in write && write.put === 'owners' && write.value.released !== null,
    );
    if (!releases || late !== null) return commit(compares, writes);
    late = () => commit(compares, writes);
    const lost = { outcome: 'unknown', retryable: true } as const;
    return Promise.reject(new StoreError('no answer in time', lost));
  };
  await cluster.apply(webApp(0));
  await cluster.until(() => late !== null);
  await cluster.apply(webApp(1));
  await cluster.until(() => node.driver.launches.length === 2 && cluster.settled('blog'));
  t.true(BigInt(node.driver.launches.at(-1)!.token!) > BigInt(earlier));
  t.is((await late!()).kind, 'refused');
  t.is(cluster.owner(INSTANCE)?.released, null);
});

test('a crash loop waits longer each time, tells the last lines of output, and is given up once', async t => {
  const { cluster, node, state, trouble, starts, kinds } = await oneNode({
    readyAfterMs: 1e9,
    endsAfterMs: 10,
    code: 3,
    prints: [{ stream: 'stderr', text: 'no database' }],
  });
  const atMs: number[] = [];
  const start = node.driver.start.bind(node.driver);
  node.driver.start = launch => {
    atMs.push(cluster.clock.now());
    return start(launch);
  };
  await cluster.apply(webApp(1));
  await cluster.until(() => state() === 'backoff');
  t.regex(trouble(), /exited with code 3[\s\S]*no database/);
  await cluster.until(() => state() === 'failed', 120_000);
  t.is(starts(), 5, 'restart.max');
  const gaps = atMs.slice(1).map((ms, index) => Math.round((ms - atMs[index]!) / 100) / 10);
  t.deepEqual(gaps, [0, 1, 2, 4]);
  t.regex(trouble(), /given up after 5 failed starts in a row/);
  await cluster.advance(600_000);
  t.is(starts(), 5);
  t.deepEqual(kinds('instance-given-up'), ['instance-given-up']);
});

test('a new release is a new chance for what was given up, and being given up again is told again', async t => {
  const { cluster, state, starts, kinds } = await oneNode({ endsAfterMs: 10, code: 1, readyAfterMs: 1e9 });
  await cluster.apply(webApp(1));
  await cluster.until(() => state() === 'failed', 120_000);
  await cluster.apply(webApp(1, { env: { TRY: { kind: 'literal', value: 'again' } } }));
  await cluster.until(() => starts() > 5 && state() !== 'failed');
  await cluster.until(() => state() === 'failed', 120_000);
  await cluster.advance(1000);
  t.is(starts(), 10);
  t.deepEqual(kinds('instance-given-up'), ['instance-given-up', 'instance-given-up']);
});

test('a copy that hangs is replaced when it has failed its health check often enough', async t => {
  const { cluster, kinds } = await oneNode({ readyAfterMs: 100 });
  await cluster.run(webApp(1));
  const { unit } = cluster.copies(INSTANCE)[0]!;
  cluster.replies.set(unit.unit, { kind: 'hangs' });
  const hungMs = cluster.clock.now();
  await cluster.until(
    () => cluster.copies(INSTANCE).every(copy => copy.unit.pid !== unit.pid) && cluster.settled('blog'),
  );
  const tookMs = cluster.clock.now() - hungMs;
  // Up to 5 s until it is asked, 3 answers 5 s apart that take 2 s each.
  t.true(tookMs > 14_000 && tookMs < 24_000, `${tookMs} ms`);
  await cluster.advance(1000);
  t.deepEqual(kinds('instance-unhealthy'), ['instance-unhealthy']);
  t.is(cluster.copies(INSTANCE).length, 1);
});

test('a copy that is slow to start is told from one that crashes, and is stopped', async t => {
  const { cluster, node, trouble } = await oneNode({ readyAfterMs: 1e9 });
  await cluster.apply(webApp(1, { processes: [processSpec({ startTimeoutSeconds: 5 })] }));
  await cluster.until(() => node.driver.stops.length > 0);
  await cluster.until(() => trouble() !== '');
  t.regex(
    trouble(),
    /was not ready within 5 s of its start \(alive, but no good answer: slow, not crashing\)/,
  );
});

for (const { title, error } of [
  {
    title: 'a DriverError',
    error: new DriverError('the memory limit of 64 MiB cannot be enforced here', { retryable: false }),
  },
  {
    title: 'an ArtifactError',
    error: new ArtifactError('cannot unpack sha256:1: not an archive', { retryable: false }),
  },
]) {
  test(`a start that fails with ${title} is told in its words, and backs off like a crash`, async t => {
    const { cluster, node, state, trouble, kinds } = await oneNode();
    const failure: Error = error;
    if (error instanceof DriverError) cluster.behaviour = () => ({ refuses: error });
    else node.artifacts.unpack = () => Promise.reject(failure);
    await cluster.apply(webApp(1));
    await cluster.until(() => state() === 'backoff');
    t.true(trouble().includes(error.message), trouble());
    await cluster.until(() => state() === 'failed', 60_000);
    t.is(kinds('instance-start-failed').length, 5);
    t.true(cluster.events('instance-start-failed')[0]?.message.includes(error.message));
  });
}

test('what its node could not even try to start, as on a full disk, is not given up', async t => {
  const { cluster, state, kinds } = await oneNode();
  const full = new DriverError('no space left on device', { retryable: true });
  cluster.behaviour = () => ({ refuses: full });
  await cluster.apply(webApp(1));
  await cluster.until(() => kinds('instance-start-failed').length > 6, 120_000);
  t.is(state(), 'backoff');
  cluster.behaviour = () => ({});
  await cluster.until(() => state() === 'running', 120_000);
  t.deepEqual(kinds('instance-given-up'), []);
});

test('a start that fails works again when what it lacked is there', async t => {
  const { cluster, node, state } = await oneNode();
  const unpack = node.artifacts.unpack.bind(node.artifacts);
  let failures = 6;
  node.artifacts.unpack = async (...args) => {
    if (failures-- > 0) throw new ArtifactError('not here yet', { retryable: true });
    return unpack(...args);
  };
  await cluster.run(webApp(1));
  t.is(state(), 'running');
  t.is(cluster.said('node-1', INSTANCE)?.trouble, null);
});

test('what is not wanted any more is drained, then stopped, then released', async t => {
  const { cluster, node } = await oneNode();
  await cluster.run(webApp(1, { processes: [processSpec({ stopTimeoutSeconds: 7 })] }));
  await node.agent.admin.scale('blog', { web: 0 });
  const seen: string[] = [];
  for (let passedMs = 0; passedMs < 2000; passedMs += 50) {
    await cluster.advance(50);
    const said = cluster.said('node-1', INSTANCE);
    const now = `${said?.state ?? 'none'} ${cluster.copies(INSTANCE).length} ${cluster.owner(INSTANCE)?.released ? 'released' : 'owned'}`;
    if (seen.at(-1) !== now) seen.push(now);
  }
  t.deepEqual(seen, ['stopping 1 owned', 'none 0 released']);
  t.deepEqual(
    node.driver.stops.map(stop => stop.graceSeconds),
    [7],
  );
});

test('a copy that outlives its stop is killed, and only then released', async t => {
  const { cluster, node } = await oneNode({ ignoresTerm: true });
  await cluster.run(webApp(1, { processes: [processSpec({ stopTimeoutSeconds: 7 })] }));
  await node.agent.admin.scale('blog', { web: 0 });
  await cluster.advance(7500);
  t.is(cluster.copies(INSTANCE).length, 1);
  t.is(cluster.owner(INSTANCE)?.released, null);
  await cluster.until(() => cluster.owner(INSTANCE)?.released !== null, 2000);
  t.is(cluster.copies(INSTANCE).length, 0);
});

test('a stop that fails is tried again, and nothing is released before it worked', async t => {
  const { cluster, node } = await oneNode();
  await cluster.run(webApp(1));
  const stop = node.driver.stop.bind(node.driver);
  let failures = 3;
  node.driver.stop = async (...args) => {
    if (failures-- > 0) throw new DriverError('no permission', { retryable: true });
    await stop(...args);
  };
  await node.agent.admin.scale('blog', { web: 0 });
  await cluster.until(() => node.log.matching('no permission').length > 0);
  t.is(cluster.owner(INSTANCE)?.released, null);
  await cluster.until(() => cluster.owner(INSTANCE)?.released !== null, 10_000);
  t.is(cluster.copies(INSTANCE).length, 0);
});

for (const link of ['refused', 'silent', 'replies-lost'] as const) {
  test(`a release that meets a store that is ${link} is made up for, without a storm`, async t => {
    const { cluster, node } = await oneNode();
    await cluster.run(webApp(1));
    await node.agent.admin.scale('blog', { web: 0 });
    await cluster.advance(500);
    node.store.setLink(link);
    await cluster.advance(5000);
    const tries = node.log.matching('"release"').length;
    t.true(tries < 25, `${tries} tries in 5 s`);
    node.store.setLink('up');
    await cluster.until(() => cluster.owner(INSTANCE)?.released !== null, 10_000);
    t.is(cluster.copies(INSTANCE).length, 0);
  });
}

test('an app waits for those it depends on, and says so', async t => {
  const { cluster, state, trouble, starts } = await oneNode();
  await cluster.apply(webApp(1, { dependsOn: ['auth'] }));
  await cluster.until(() => state() === 'pending' && trouble() !== '');
  t.is(trouble(), 'waits for auth: there is no such app');
  await cluster.advance(20_000);
  t.is(starts(), 0);
  await cluster.run(webApp(1, { app: 'auth', hostnames: [] }));
  await cluster.until(() => state() === 'running');
  t.is(starts(), 2);
});

test('what an app depends on has to be found ready by an observer, its own word is not enough', async t => {
  const cluster = new SimCluster(['node-1', 'node-2']);
  cluster.behaviour = launch => (launch.instance.startsWith('auth/') ? { readyAfterMs: 1000 } : {});
  await cluster.start();
  // Neither reaches what the other runs.
  cluster.node('node-1').deafTo.add('node-2');
  cluster.node('node-2').deafTo.add('node-1');
  await cluster.apply(webApp(1, { app: 'auth', hostnames: [] }));
  await cluster.apply(webApp(1, { dependsOn: ['auth'] }));
  const runs = () => cluster.copies(INSTANCE).length;
  const told = () => {
    const owner = cluster.owner(INSTANCE)?.node;
    return owner === undefined ? '' : (cluster.said(owner, INSTANCE)?.trouble ?? '');
  };
  await cluster.until(() => cluster.settled('auth') && /no observer has found kept/.test(told()));
  await cluster.advance(20_000);
  t.is(runs(), 0);
  const { lines } = cluster.node('node-1').agent.admin.explain(INSTANCE);
  t.true(lines.some(line => /^waits for auth: no observer has found kept node-\d\/running:auth/.test(line)));
  cluster.node('node-1').deafTo.clear();
  cluster.node('node-2').deafTo.clear();
  await cluster.until(() => cluster.settled('blog'));
  t.is(runs(), 1);
});

test('a break is not handed on: what has been ready is started again whatever became of what it depends on', async t => {
  const { cluster, node, state } = await oneNode();
  await cluster.run(webApp(1, { app: 'auth', hostnames: [] }));
  await cluster.run(webApp(1, { dependsOn: ['auth'] }));
  await cluster.whileTimePasses(node.agent.admin.scale('auth', { web: 0 }));
  await cluster.until(() => cluster.copies('auth/web/0').length === 0);
  t.is(state(), 'running');
  const before = cluster.copies(INSTANCE)[0]!.unit;
  node.driver.exit(before.unit, { signal: 'SIGKILL' });
  await cluster.until(() => cluster.copies(INSTANCE)[0]?.unit.pid === before.pid! + 1);
  await cluster.until(() => state() === 'running');
  await cluster.apply(webApp(1, { dependsOn: ['auth'], env: { A: { kind: 'literal', value: '1' } } }));
  await cluster.advance(20_000);
  t.is(cluster.copies(INSTANCE)[0]?.unit.release, 1, 'a new release waits, and the one before goes on');
});

test('adopted copies run on; they are told as adopted, not as started', async t => {
  const { cluster, node, kinds } = await oneNode();
  await cluster.run(webApp(2));
  await cluster.advance(1000);
  await node.restart();
  await cluster.advance(5000);
  t.deepEqual(kinds('instance-adopted', 'instance-started').slice(2), [
    'instance-adopted',
    'instance-adopted',
  ]);
});

test('an adopted copy that does not answer is no ready one', async t => {
  const { cluster, node, state } = await oneNode();
  await cluster.run(webApp(1));
  const { unit } = cluster.copies(INSTANCE)[0]!;
  await node.stop();
  cluster.replies.set(unit.unit, { kind: 'http', status: 500 });
  await node.start();
  await cluster.until(() => state() === 'starting');
  cluster.replies.delete(unit.unit);
  await cluster.until(() => state() === 'running');
  t.is(cluster.copies(INSTANCE)[0]?.unit.pid, unit.pid);
});

test('rollout: one after the other in index order, the new one ready before the old one goes', async t => {
  const cluster = new SimCluster();
  cluster.behaviour = () => ({ readyAfterMs: 1000 });
  await cluster.start();
  await cluster.run(webApp(3));
  await cluster.apply(webApp(3, { env: { VERSION: { kind: 'literal', value: '2' } } }));
  const order: string[] = [];
  const versions = (index: number): string =>
    cluster
      .copies(`blog/web/${index}`)
      .map(({ unit }) => unit.version)
      .sort()
      .join('+');
  while (!cluster.settled('blog')) {
    await cluster.advance(50);
    const now = [0, 1, 2].map(versions).join(' ');
    if (order.at(-1) !== now) order.push(now);
    for (const index of [0, 1, 2]) {
      const ready = [...cluster.nodes.keys()].some(name => cluster.said(name, `blog/web/${index}`)?.ready);
      t.true(ready, `blog/web/${index} has a ready copy: ${now}`);
    }
    const surge = [0, 1, 2].filter(index => versions(index).includes('+')).length;
    t.true(surge <= 2, `at most one starts while another ends: ${now}`);
  }
  const firstSeen = [0, 1, 2].map(index => order.findIndex(now => now.split(' ')[index]!.includes('2')));
  t.deepEqual(
    firstSeen,
    firstSeen.toSorted((a, b) => a - b),
  );
  t.is(new Set(firstSeen).size, 3);
  await cluster.advance(3000);
  for (const index of [0, 1, 2]) t.is(versions(index), '2');
});

test('rollout: a release that never gets ready stops at the first, and the old one serves on', async t => {
  const cluster = new SimCluster();
  cluster.behaviour = launch => (launch.release === 2 ? { endsAfterMs: 20, code: 1, readyAfterMs: 1e9 } : {});
  await cluster.start();
  await cluster.run(webApp(3));
  const before = [0, 1, 2].map(index => cluster.copies(`blog/web/${index}`)[0]!.unit.pid);
  await cluster.apply(webApp(3, { env: { VERSION: { kind: 'literal', value: '2' } } }));
  await cluster.advance(120_000);
  t.deepEqual(
    [0, 1, 2].map(index => cluster.copies(`blog/web/${index}`).map(({ unit }) => unit.pid)),
    before.map(pid => [pid]),
  );
  const said = [...cluster.nodes.keys()]
    .map(name => cluster.said(name, INSTANCE))
    .find(body => body !== null);
  t.true(said?.ready);
  t.regex(said!.trouble!, /version 1 goes on instead of 2: given up after 5 failed starts/);
});

test('a restart of an app is a rollout of the same release', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(2));
  const before = cluster.etcd.contents('owners');
  await cluster.node('node-2').agent.admin.restart('blog', 'web');
  await cluster.until(() => cluster.settled('blog'));
  t.deepEqual(
    [0, 1].map(
      index => cluster.said(before[`instance/blog/web/${index}`]!.node, `blog/web/${index}`)?.version,
    ),
    ['1.1', '1.1'],
  );
  t.deepEqual(cluster.etcd.contents('owners'), before);
});
