import test from 'ava';
import { Shortcomings } from '../../src/agent/shortcomings.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import type { StartHistory } from '../../src/model/reconciliation.ts';
import { DriverError } from '../../src/ports/driver.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { appSpec, processSpec } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

const WRITER = 'single/writer/0';
const FULL = new DriverError('no space left on device', { retryable: true });

const single: AppSpec = appSpec({
  app: 'single',
  hostnames: [],
  processes: [processSpec({ type: 'writer', routed: false, exclusive: true, stopTimeoutSeconds: 2 })],
});

/** A cluster in which the disks of some nodes are full. */
async function withFullDisks(names = ['node-1', 'node-2', 'node-3']) {
  const cluster = new SimCluster(names);
  const full = new Set<string>();
  cluster.behaviour = ({ env }) => (full.has(env['HOP3_NODE'] ?? '') ? { refuses: FULL } : {});
  await cluster.start();
  await cluster.advance(2000);
  const owner = (): string | undefined => {
    const record = cluster.owner(WRITER);
    return record?.released === null ? record.node : undefined;
  };
  const refusing = (): string[] => Object.values(cluster.etcd.contents('refusals')).map(({ node }) => node);
  const taken = (): number => cluster.events('subject-acquired').length;
  return { cluster, full, owner, refusing, taken };
}

/** Run once, so that it is known who takes it first, and its owner killed. */
async function taker(): Promise<string> {
  const { cluster, owner } = await withFullDisks();
  await cluster.run(single);
  return owner()!;
}

test('what a node cannot start for a reason of its own, another node runs a moment later', async t => {
  const { cluster, full, owner, refusing } = await withFullDisks();
  const first = await taker();
  full.add(first);
  await cluster.apply(single);
  const beganMs = cluster.clock.now();
  await cluster.until(() => cluster.copies(WRITER).length === 1, 10_000);
  t.true(cluster.clock.now() - beganMs < 3000, `${cluster.clock.now() - beganMs} ms`);
  t.not(owner(), first);
  t.deepEqual(refusing(), [first]);
  t.regex(
    cluster.events('subject-released')[0]!.message,
    /it could not be started here: no space left on device$/,
  );
  const { ranking } = cluster.node(first).agent.admin.explain(WRITER);
  t.regex(
    ranking!.excluded.find(({ node }) => node === first)!.reason,
    /^refuses it: it could not be started here: no space left on device$/,
  );
});

test('so does a redundant instance', async t => {
  const { cluster, full } = await withFullDisks();
  full.add('node-1').add('node-2');
  await cluster.apply(webApp(3));
  await cluster.until(() => cluster.settled('blog'), 20_000);
  t.deepEqual(
    ['blog/web/0', 'blog/web/1', 'blog/web/2'].map(instance => cluster.copies(instance)[0]!.node.name),
    ['node-3', 'node-3', 'node-3'],
  );
});

test('it takes it again when its reason is gone and it is needed', async t => {
  const { cluster, full, owner, refusing } = await withFullDisks();
  const first = await taker();
  full.add(first);
  await cluster.run(single);
  full.clear();
  await cluster.advance(11_000);
  t.deepEqual(refusing(), [], 'no longer than it was put off for');
  const others = [...cluster.nodes.values()].filter(({ name }) => name !== first);
  for (const node of others) await node.crash();
  await cluster.until(() => owner() === first && cluster.copies(WRITER).length === 1, 60_000);
  t.pass();
});

test('who is left alone with it does not wait until it may try again', async t => {
  const { cluster, full, refusing } = await withFullDisks(['node-1', 'node-2']);
  full.add('node-1').add('node-2');
  await cluster.apply(single);
  await cluster.until(() => refusing().length === 1);
  const [refuser] = refusing();
  const other = ['node-1', 'node-2'].find(name => name !== refuser)!;
  full.clear();
  await cluster.whileTimePasses(cluster.node(other).leave());
  const beganMs = cluster.clock.now();
  await cluster.until(() => cluster.copies(WRITER).some(({ node }) => node.name === refuser), 60_000);
  t.true(cluster.clock.now() - beganMs < 6000, `${cluster.clock.now() - beganMs} ms`);
});

test('when no node can, it is handed on less and less', async t => {
  const { cluster, full, taken } = await withFullDisks();
  for (const name of cluster.nodes.keys()) full.add(name);
  await cluster.apply(single);
  await cluster.advance(300_000);
  const atFirst = taken();
  t.true(atFirst >= 3 && atFirst <= 15, `${atFirst} times in 5 min`);
  await cluster.advance(300_000);
  t.true(taken() - atFirst <= 6, `${taken() - atFirst} times in the next 5 min`);
  full.clear();
  await cluster.until(() => cluster.copies(WRITER).length === 1, 301_000);
  t.pass();
});

test('a node that is alone keeps it, and goes on trying', async t => {
  const { cluster, full, owner, taken } = await withFullDisks(['node-1']);
  full.add('node-1');
  await cluster.apply(single);
  await cluster.advance(20_000);
  t.is(owner(), 'node-1');
  t.is(taken(), 1);
  full.clear();
  await cluster.until(() => cluster.copies(WRITER).length === 1, 60_000);
});

test('what is the app’s own fault is not handed on', async t => {
  const { cluster, owner, taken, refusing } = await withFullDisks();
  const wrong = new DriverError('there is no such command', { retryable: false });
  cluster.behaviour = () => ({ refuses: wrong });
  await cluster.apply(single);
  await cluster.until(() => owner() !== undefined);
  const first = owner();
  await cluster.advance(30_000);
  t.is(owner(), first);
  t.is(taken(), 1);
  t.deepEqual(refusing(), []);
});

test('a start that lacked an artifact is tried as soon as the artifact is there', async t => {
  const cluster = new SimCluster(['node-1']);
  const able = cluster.add('node-2', { labels: { zone: 'eu' } });
  await cluster.start();
  const holder = cluster.network.get('10.0.0.1:7400')!;
  cluster.network.delete('10.0.0.1:7400');
  await cluster.apply({ ...single, placement: { requires: { zone: 'eu' }, spread: null } });
  await cluster.until(() => cluster.events('instance-start-failed').length === 8, 120_000);
  cluster.network.set('10.0.0.1:7400', holder);
  await cluster.until(() => able.artifacts.fetched.length > 0);
  const beganMs = cluster.clock.now();
  await cluster.until(() => cluster.copies(WRITER).length === 1);
  t.true(cluster.clock.now() - beganMs < 500, `${cluster.clock.now() - beganMs} ms`);
});

test('a copy that runs is not left because the next version of it can’t be started', async t => {
  const { cluster, full } = await withFullDisks();
  const spec = webApp(1);
  await cluster.run(spec);
  const [copy] = cluster.copies('blog/web/0');
  for (const name of cluster.nodes.keys()) full.add(name);
  await cluster.node('node-1').agent.admin.restart('blog', null);
  await cluster.until(() => cluster.events('instance-start-failed').length > 3, 60_000);
  t.deepEqual(
    cluster.copies('blog/web/0').map(({ unit }) => unit.pid),
    [copy!.unit.pid],
  );
  t.is(cluster.events('subject-acquired').length, 1);
});

function failed(parts: Partial<StartHistory> = {}): StartHistory {
  return {
    instance: WRITER,
    version: '1',
    failures: 3,
    lastFailureMs: 0,
    lastTrouble: 'no space',
    everReady: false,
    passing: true,
    ...parts,
  };
}

for (const { title, history } of [
  { title: 'it was tried twice at once', history: failed({ failures: 2 }) },
  { title: 'it ended by itself', history: failed({ passing: false }) },
]) {
  test(`nothing is left to others because ${title}`, t => {
    const shortcomings = new Shortcomings(new FakeClock());
    t.false(shortcomings.failed(history));
    t.is(shortcomings.why(WRITER), null);
    t.is(shortcomings.nextInMs(), null);
  });
}

test('it is left to others for twice as long each time, up to five minutes, until it has been started', async t => {
  const clock = new FakeClock();
  const shortcomings = new Shortcomings(clock);
  const forMs: number[] = [];
  for (let time = 0; time < 7; time++) {
    t.true(shortcomings.failed(failed()));
    t.is(shortcomings.why(WRITER), 'it could not be started here: no space');
    forMs.push(shortcomings.nextInMs()!);
    await clock.advance(forMs.at(-1)! - 1);
    t.not(shortcomings.why(WRITER), null);
    await clock.advance(1);
    t.is(shortcomings.why(WRITER), null);
    t.is(shortcomings.nextInMs(), null);
  }
  t.deepEqual(forMs, [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
  shortcomings.started(WRITER);
  shortcomings.failed(failed());
  t.is(shortcomings.nextInMs(), 10_000);
});
