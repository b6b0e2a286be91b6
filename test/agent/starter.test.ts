import test from 'ava';
import { Starter, type PortWish } from '../../src/agent/starter.ts';
import { Supplies } from '../../src/agent/supplies.ts';
import type { FixedPort } from '../../src/model/app-spec.ts';
import type { Host } from '../../src/ports/host.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { FakeDriver } from '../support/fake-driver.ts';
import { appSpec, desiredInstance, processSpec, runningPromise } from '../support/nouns.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { appRecord, member } from './helpers.ts';

async function starting(range: [number, number] = [4000, 4003]) {
  const one = await member();
  const network = new Map<string, FakeArtifacts>();
  const artifacts = new FakeArtifacts(network);
  const driver = new FakeDriver({ clock: one.clock });
  const busy = new Set<number>();
  const host: Host = {
    name: 'node-1',
    bootId: 'boot-1',
    pid: 1,
    platform: 'linux-x64-node20',
    capacity: () => ({ memoryBytes: 1, cpu: 1 }),
    freePort: async (_host, [first, last], taken) => {
      // As the real one, it looks before it answers.
      await Promise.resolve();
      for (let port = first; port <= last; port++) if (!taken.has(port) && !busy.has(port)) return port;
      throw new Error(`no free port in ${first}-${last}`);
    },
    whyTaken: async (_host, { number }) => (busy.has(number) ? `port ${number} is in use` : null),
  };
  const stop = new AbortController();
  const supplies = new Supplies({ ...one, artifacts });
  const starter = new Starter({
    ...one,
    bindAddress: '10.0.0.1',
    portRange: range,
    user: 'hop3',
    artifacts,
    supplies,
    driver,
    host,
    signal: stop.signal,
  });
  const digest = artifacts.hold('blog');
  const desired = (index: number, parts = {}) =>
    desiredInstance({ index, artifact: { digest, bytes: 1, platform: null }, ...parts });
  const wish = (parts: Partial<PortWish> = {}): PortWish => ({
    takenPorts: () =>
      new Set(
        [0, 1, 2, 3].flatMap(index => driver.running(`blog/web/${index}`).map(unit => unit.endpoint!.port)),
      ),
    preferPort: null,
    ...parts,
  });
  return { ...one, artifacts, network, driver, busy, starter, digest, desired, wish };
}

test('several starts at once get ports of their own', async t => {
  const { starter, desired, wish } = await starting();
  const units = await Promise.all(
    [0, 1, 2, 3].map(async index => (await starter.start(desired(index), wish()))!),
  );
  t.deepEqual(units.map(unit => unit.endpoint?.port).sort(), [4000, 4001, 4002, 4003]);
  t.is(new Set(units.map(unit => unit.unit)).size, 4);
});

test('the port it had is kept when nobody has it, so that no proxy need be told', async t => {
  const { starter, busy, desired, wish } = await starting();
  t.is((await starter.start(desired(0), wish({ preferPort: 4002 })))!.endpoint?.port, 4002);
  busy.add(4003);
  t.is((await starter.start(desired(1), wish({ preferPort: 4003 })))!.endpoint?.port, 4000);
  const taken = wish({ preferPort: 4001, takenPorts: () => new Set([4000, 4001]) });
  t.is((await starter.start(desired(2), taken))!.endpoint?.port, 4002);
});

test('when no port is left that is said, and one that is freed is used', async t => {
  const { starter, busy, desired, wish } = await starting([4000, 4000]);
  busy.add(4000);
  await t.throwsAsync(starter.start(desired(0), wish()), { message: /no free port in 4000-4000/ });
  busy.delete(4000);
  t.is((await starter.start(desired(0), wish()))!.endpoint?.port, 4000);
});

test('a start that failed gives its port back', async t => {
  const { starter, driver, desired, wish } = await starting([4000, 4000]);
  const start = driver.start.bind(driver);
  driver.start = async () => {
    throw new Error('no such directory');
  };
  await t.throwsAsync(starter.start(desired(0), wish()));
  driver.start = start;
  t.is((await starter.start(desired(0), wish()))!.endpoint?.port, 4000);
});

const fixed = (parts: Partial<FixedPort> = {}): FixedPort => ({
  number: 4001,
  protocol: 'tcp',
  name: null,
  ...parts,
});

test('a fixed port that is for HTTP is the one it listens on; any other stands beside', async t => {
  const { starter, driver, desired, wish } = await starting();
  const spec = appSpec({ ports: [fixed({ http: true, number: 9090 })] });
  t.is((await starter.start(desired(0, { spec }), wish()))!.endpoint?.port, 9090);
  t.is(
    (await starter.start(desired(1, { spec: appSpec({ ports: [fixed()] }) }), wish()))!.endpoint?.port,
    4000,
  );
  t.deepEqual(driver.launches[1]?.ports, [fixed()]);
});

test('a fixed port that is in use is no fault of the app', async t => {
  const { starter, busy, driver, desired, wish } = await starting();
  busy.add(4001);
  const error = await t.throwsAsync(
    starter.start(desired(0, { spec: appSpec({ ports: [fixed()] }) }), wish()),
  );
  t.like(error, { name: 'DriverError', message: 'port 4001 is in use', retryable: true });
  t.deepEqual(driver.launches, []);
});

test('what some app wants as a fixed port is given to nobody else', async t => {
  const { starter, etcd, clock, desired, wish } = await starting([4000, 4002]);
  etcd.put('apps', 'shop', appRecord(appSpec({ app: 'shop', ports: [fixed({ number: 4000 }), fixed()] })));
  await clock.settle();
  t.is((await starter.start(desired(0), wish({ preferPort: 4001 })))!.endpoint?.port, 4002);
});

test('a process that is not routed gets no port', async t => {
  const { starter, desired, wish } = await starting();
  const worker = desired(0, { process: processSpec({ routed: false }) });
  t.is((await starter.start(worker, wish()))!.endpoint, null);
});

test('instances of one release unpack it once, and fetch it once from a node that promises to hold it', async t => {
  const { starter, artifacts, network, etcd, clock, desired, wish } = await starting();
  const other = new FakeArtifacts(network);
  network.set('node-2:7400', other);
  const digest = other.hold('elsewhere');
  etcd.put(
    'sessions',
    'node-2/i',
    sessionRecord({ node: 'node-2', incarnation: 'i', peer: { host: 'node-2', port: 7400 } }),
  );
  etcd.put('promises', `node-2/holding:${digest}`, {
    v: 1,
    promise: {
      ...runningPromise({}, 'node-2'),
      name: `holding:${digest}`,
      body: { kind: 'holding', artifact: digest, bytes: 1 },
    },
  });
  await clock.settle();
  const unpack = artifacts.unpack.bind(artifacts);
  let unpacked = 0;
  artifacts.unpack = (...args) => (unpacked++, unpack(...args));
  const artifact = { digest, bytes: 1, platform: null };
  await Promise.all([0, 1, 2].map(index => starter.start(desired(index, { artifact }), wish())));
  t.is(unpacked, 1);
  t.deepEqual(artifacts.fetched, [digest]);
});

test('what no node holds, and what has no artifact, is refused in words', async t => {
  const { starter, desired, wish } = await starting();
  const lost = { digest: 'sha256:lost', bytes: 1, platform: null };
  await t.throwsAsync(starter.start(desired(0, { artifact: lost }), wish()), {
    message: /cannot get sha256:lost from a peer: no node promises to hold it/,
  });
  await t.throwsAsync(starter.start(desired(0, { artifact: null }), wish()), {
    message: /release 1 of blog has no artifact/,
  });
});
