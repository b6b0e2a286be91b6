import test from 'ava';
import { deadlineMs } from '../../src/model/deadline.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import { appSpec, processSpec } from '../support/nouns.ts';
import { SimCluster, type SimNode } from '../support/sim-cluster.ts';

const TTL_SECONDS = 10;
const INSTANCE = 'single/writer/0';

function single(parts: { scale?: number; stopTimeoutSeconds?: number; exclusive?: boolean } = {}): AppSpec {
  const { scale = 1, stopTimeoutSeconds = 2, exclusive = true } = parts;
  return appSpec({
    app: 'single',
    hostnames: [],
    processes: [
      processSpec({
        type: 'writer',
        routed: false,
        exclusive,
        scale,
        stopTimeoutSeconds,
        startTimeoutSeconds: 30,
      }),
    ],
  });
}

async function running(
  names = ['node-1', 'node-2', 'node-3'],
): Promise<{ cluster: SimCluster; owner: SimNode }> {
  const cluster = new SimCluster(names, { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  await cluster.run(single());
  return { cluster, owner: cluster.node(cluster.owner(INSTANCE)!.node) };
}

function hasSession({ etcd }: SimCluster, { name }: SimNode): boolean {
  return Object.values(etcd.contents('sessions')).some(session => session.node === name);
}

/** Looks at every step of the clock; the most copies that lived at once, and for how long none did. */
async function watch(cluster: SimCluster, forMs: number): Promise<{ most: number; longestNoneMs: number }> {
  let most = 0;
  let noneMs = 0;
  let longestNoneMs = 0;
  for (let passedMs = 0; passedMs < forMs; passedMs += 50) {
    await cluster.advance(50);
    const copies = cluster.copies(INSTANCE).length;
    most = Math.max(most, copies);
    noneMs = copies === 0 ? noneMs + 50 : 0;
    longestNoneMs = Math.max(longestNoneMs, noneMs);
  }
  return { most, longestNoneMs };
}

test('rule 11: an exclusive copy runs under the guard, and knows its token', async t => {
  const { cluster, owner } = await running();
  const [copy] = cluster.copies(INSTANCE);
  t.true(copy!.unit.guarded);
  const acquired = cluster.events('subject-acquired').at(-1)!;
  t.is(owner.driver.launches.at(-1)!.token, String(acquired.details['fencingToken']));
  t.true(cluster.owner(INSTANCE)!.exclusive);
  await cluster.stop();
});

test('rule 6: the guard is armed again with every renewal, and never for longer than the session is good for', async t => {
  const { cluster, owner } = await running();
  let last = owner.guard.armedUntilMs()!;
  for (let round = 0; round < 5; round++) {
    await cluster.advance(2500);
    const until = owner.guard.armedUntilMs()!;
    t.true(until > last);
    t.true(until <= deadlineMs(cluster.clock.now(), TTL_SECONDS));
    last = until;
  }
  t.is(cluster.copies(INSTANCE).length, 1);
  await cluster.stop();
});

test('rule 6: a node that owns nothing exclusive arms nothing', async t => {
  const { cluster, owner } = await running();
  for (const node of cluster.nodes.values()) if (node !== owner) t.is(node.guard.armedUntilMs(), null);
  await cluster.stop();
});

test('rules 3 and 5: an owner cut off from the store stops before its deadline, and nobody starts before one TTL more', async t => {
  const { cluster, owner } = await running();
  const cutMs = cluster.clock.now();
  owner.store.setLink('refused');
  await cluster.until(() => cluster.copies(INSTANCE).length === 0);
  t.true(cluster.clock.now() <= deadlineMs(cutMs, TTL_SECONDS));
  t.deepEqual(
    owner.driver.stops.map(({ graceSeconds }) => graceSeconds <= 2),
    [true],
  );
  const { most, longestNoneMs } = await watch(cluster, 40_000);
  t.is(most, 1);
  t.true(longestNoneMs >= TTL_SECONDS * 1000);
  const now = cluster.owner(INSTANCE)!;
  t.not(now.node, owner.name);
  t.deepEqual(now.mayStillRun, []);
  await cluster.stop();
});

test('rule 5: what stops in time is given its stop timeout, and killed at the deadline', async t => {
  const { cluster, owner } = await running();
  cluster.behaviour = () => ({ ignoresTerm: true });
  await cluster.node(owner.name).driver.stop(cluster.copies(INSTANCE)[0]!.unit.unit, 0);
  await cluster.until(() => cluster.copies(INSTANCE).length === 1);
  owner.store.setLink('refused');
  const untilMs = owner.guard.armedUntilMs()!;
  await cluster.until(() => owner.driver.stops.length === 2);
  t.true(Math.abs(untilMs - 2000 - cluster.clock.now()) <= 20);
  await cluster.until(() => cluster.copies(INSTANCE).length === 0);
  t.true(cluster.clock.now() <= untilMs + 10);
  await cluster.stop();
});

test('rule 5: a session key that vanished while its owner had time left stops the copy at once', async t => {
  const { cluster, owner } = await running();
  const { node, incarnation } = cluster.owner(INSTANCE)!;
  const seenMs = cluster.clock.now();
  cluster.etcd.delete('sessions', `${node}/${incarnation}`);
  await cluster.until(() => owner.driver.stops.length === 1);
  t.true(cluster.clock.now() - seenMs < 500);
  await cluster.advance(1000);
  const [stopped] = cluster.events('exclusive-stopped');
  t.regex(stopped!.message, /the session of this node is lost: its session key was deleted/);
  t.is((await watch(cluster, 30_000)).most, 1);
  await cluster.stop();
});

test('rule 5: a short outage of the store stops nothing exclusive', async t => {
  const { cluster, owner } = await running();
  const [before] = cluster.copies(INSTANCE);
  for (const node of cluster.nodes.values()) node.store.setLink('refused');
  await cluster.advance(3000);
  for (const node of cluster.nodes.values()) node.store.setLink('up');
  await cluster.advance(20_000);
  t.is(cluster.copies(INSTANCE)[0]?.unit.unit, before!.unit.unit);
  t.is(owner.driver.stops.length, 0);
  await cluster.stop();
});

test('rule 3: an owner that nobody hears keeps what is exclusive for as long as its session lives', async t => {
  const { cluster, owner } = await running();
  owner.offline = true;
  t.is((await watch(cluster, 30_000)).most, 1);
  t.is(cluster.owner(INSTANCE)!.node, owner.name);
  t.is(cluster.copies(INSTANCE)[0]!.node, owner);
  t.is(cluster.assessments(`${owner.name}/capacity`).filter(({ unreachable }) => unreachable).length, 2);
  await cluster.stop();
});

test('rule 3: a released subject is taken at once', async t => {
  const { cluster, owner } = await running();
  const leftMs = cluster.clock.now();
  await cluster.whileTimePasses(owner.leave());
  await cluster.until(() => cluster.copies(INSTANCE).length === 1);
  t.true(cluster.clock.now() - leftMs < 5000);
  await cluster.stop();
});

test('rule 3: when the hold-down is over, the best of the others waits for nothing more', async t => {
  const { cluster, owner } = await running();
  await owner.crash();
  await cluster.until(() => !hasSession(cluster, owner));
  const goneMs = cluster.clock.now();
  await cluster.until(() => cluster.owner(INSTANCE)!.node !== owner.name);
  t.true(Math.abs(cluster.clock.now() - goneMs - TTL_SECONDS * 1000) <= 50);
  await cluster.stop();
});

for (const backAfterMs of [1000, 8000]) {
  test(`rule 3: a node that is back ${backAfterMs} ms into the hold-down takes what it had`, async t => {
    const { cluster, owner } = await running();
    const { incarnation } = cluster.owner(INSTANCE)!;
    await owner.crash();
    await cluster.until(() => !hasSession(cluster, owner));
    await cluster.advance(backAfterMs);
    owner.store.setLink('up');
    await owner.start();
    await cluster.until(() => cluster.owner(INSTANCE)!.incarnation !== incarnation);
    t.is(cluster.owner(INSTANCE)!.node, owner.name);
    await cluster.until(() => cluster.copies(INSTANCE).length === 1);
    await cluster.stop();
  });
}

test('rule 9: an agent that is back before its deadline keeps what runs', async t => {
  const { cluster, owner } = await running();
  const [before] = cluster.copies(INSTANCE);
  await cluster.whileTimePasses(owner.stop());
  await cluster.advance(2000);
  await owner.start();
  await cluster.advance(30_000);
  const [after] = cluster.copies(INSTANCE);
  t.is(after?.unit.unit, before!.unit.unit);
  t.is(cluster.owner(INSTANCE)!.node, owner.name);
  await cluster.stop();
});

test('rule 9: an agent that is back with a new session ends what the old one ran, and waits for nothing then', async t => {
  const { cluster, owner } = await running(['node-1']);
  const [before] = cluster.copies(INSTANCE);
  await cluster.whileTimePasses(owner.stop());
  const { node, incarnation } = cluster.owner(INSTANCE)!;
  cluster.etcd.delete('sessions', `${node}/${incarnation}`);
  await owner.start();
  await cluster.until(
    () => cluster.copies(INSTANCE).some(({ unit }) => unit.unit !== before!.unit.unit),
    8000,
  );
  t.is(cluster.copies(INSTANCE).length, 1);
  t.is(owner.driver.stops[0]?.unit, before!.unit.unit);
  t.not(cluster.owner(INSTANCE)!.incarnation, incarnation);
  await cluster.stop();
});

test('rule 6: without its agent a copy is dead at the deadline, and the agent that follows starts it anew', async t => {
  const { cluster, owner } = await running(['node-1']);
  const untilMs = owner.guard.armedUntilMs()!;
  await cluster.whileTimePasses(owner.stop());
  await cluster.until(() => cluster.copies(INSTANCE).length === 0);
  t.true(cluster.clock.now() <= untilMs + 10);
  await owner.start();
  await cluster.until(() => cluster.copies(INSTANCE).length === 1);
  await cluster.stop();
});

test('rule 6: a guard that cannot be armed has the copy stopped before it would kill it', async t => {
  const { cluster, owner } = await running(['node-1']);
  owner.guard.failure = new Error('no space left on device');
  const untilMs = owner.guard.armedUntilMs()!;
  await cluster.until(() => owner.driver.stops.length === 1);
  t.true(cluster.clock.now() <= untilMs - 2000 + 20);
  await cluster.advance(5000);
  t.is(cluster.copies(INSTANCE).length, 0);
  t.regex(cluster.node('node-1').agent.admin.explain(INSTANCE).lines.join('\n'), /guard|right of this node/);
  owner.guard.failure = null;
  await cluster.until(() => cluster.copies(INSTANCE).length === 1);
  await cluster.stop();
});

test('rule 6: the session that follows does not put off the death of what an earlier one ran', async t => {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: TTL_SECONDS });
  const node = cluster.node('node-1');
  await cluster.start();
  cluster.behaviour = ({ instance }) => ({ ignoresTerm: instance === INSTANCE });
  await cluster.run(single({ scale: 2 }));
  const untilMs = node.guard.armedUntilMs()!;
  const { incarnation } = cluster.owner(INSTANCE)!;
  cluster.etcd.delete('sessions', `node-1/${incarnation}`);
  // Both are asked to end, and one does not; the node is back, and has taken the other again, before that one is killed.
  await cluster.until(() => {
    const view = node.agent.admin.node();
    return view.state === 'Active' && view.incarnation !== incarnation;
  });
  const first = cluster.copies(INSTANCE)[0]!.unit.unit;
  while (cluster.copies(INSTANCE).some(({ unit }) => unit.unit === first)) {
    t.true(node.guard.armedUntilMs()! <= untilMs);
    await cluster.advance(50);
  }
  await cluster.until(
    () => cluster.copies(INSTANCE).length === 1 && cluster.copies('single/writer/1').length === 1,
  );
  t.true(node.guard.armedUntilMs()! > untilMs);
  await cluster.stop();
});

test('rule 6: nor the death of what was just being started under an earlier one', async t => {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: TTL_SECONDS });
  const node = cluster.node('node-1');
  await cluster.start();
  const start = node.driver.start.bind(node.driver);
  const starting = new Set<string>();
  node.driver.start = async launch => {
    if (launch.instance === INSTANCE) {
      starting.add(launch.unit);
      await cluster.clock.sleep(3000);
      starting.delete(launch.unit);
    }
    return start(launch);
  };
  await cluster.apply(single({ scale: 2 }));
  await cluster.until(() => starting.size > 0 && cluster.copies('single/writer/1').length === 1);
  const untilMs = node.guard.armedUntilMs()!;
  const { incarnation } = cluster.owner(INSTANCE)!;
  cluster.etcd.delete('sessions', `node-1/${incarnation}`);
  // The other one is dead, and taken again by the next session, while this start goes on.
  await cluster.until(() => cluster.owner('single/writer/1')!.incarnation !== incarnation);
  t.is(starting.size, 1);
  while (starting.size > 0) {
    t.true(node.guard.armedUntilMs()! <= untilMs);
    await cluster.advance(50);
  }
  await cluster.until(
    () => cluster.copies(INSTANCE).length === 1 && cluster.copies('single/writer/1').length === 1,
  );
  await cluster.stop();
});

test('rule 6: a machine that can guard nothing refuses, and says why', async t => {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: TTL_SECONDS });
  cluster.node('node-1').unguarded = 'a PID namespace can not be had here';
  await cluster.start();
  await cluster.apply(single());
  await cluster.advance(5000);
  t.is(cluster.copies(INSTANCE).length, 0);
  t.regex(
    JSON.stringify(cluster.node('node-1').agent.admin.explain(INSTANCE)),
    /PID namespace can not be had/,
  );
  await cluster.stop();
});

test('rule 7: a node whose lease leaves no room refuses, with the numbers', async t => {
  const cluster = new SimCluster(['node-1'], { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  await cluster.apply(single({ stopTimeoutSeconds: 3 }));
  await cluster.advance(5000);
  t.is(cluster.copies(INSTANCE).length, 0);
  t.regex(
    JSON.stringify(cluster.node('node-1').agent.admin.explain(INSTANCE)),
    /a lease-ttl of 11 s works|a lease-ttl of 12 s works/,
  );
  await cluster.stop();
});

test('rule 8: what becomes exclusive is stopped, released and taken anew under the guard', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  await cluster.run(single({ exclusive: false }));
  t.not(cluster.copies(INSTANCE)[0]!.unit.guarded, true);
  await cluster.apply(single());
  await cluster.until(() => cluster.copies(INSTANCE)[0]?.unit.guarded === true);
  t.is(cluster.copies(INSTANCE).length, 1);
  t.true(cluster.owner(INSTANCE)!.exclusive);
  await cluster.apply(single({ exclusive: false }));
  await cluster.until(
    () => cluster.owner(INSTANCE)!.exclusive === false && cluster.copies(INSTANCE).length === 1,
  );
  await cluster.stop();
});

test('rule 8: what was redundant where it ran last starts as exclusive only when its stop has been confirmed', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  await cluster.run(single({ exclusive: false }));
  const former = cluster.node(cluster.owner(INSTANCE)!.node);
  const other = former.name === 'node-1' ? 'node-2' : 'node-1';
  former.store.setLink('refused');
  former.offline = true;
  await cluster.apply(single(), { on: other });
  await cluster.until(() => cluster.owner(INSTANCE)!.node === other);
  await cluster.advance(40_000);
  t.is(cluster.copies(INSTANCE).length, 1);
  t.is(cluster.copies(INSTANCE)[0]!.node, former);
  t.deepEqual(cluster.owner(INSTANCE)!.mayStillRun, [former.name]);
  t.regex(
    cluster.node(other).agent.admin.explain(INSTANCE).lines.join('\n'),
    /confirmed that its copy is stopped/,
  );
  former.store.setLink('up');
  former.offline = false;
  await cluster.until(() => cluster.copies(INSTANCE)[0]?.node.name === other);
  t.is((await watch(cluster, 5000)).most, 1);
  await cluster.stop();
});

test('an exclusive instance is replaced old before new', async t => {
  const { cluster } = await running();
  const [before] = cluster.copies(INSTANCE);
  await cluster.apply(single(), { content: 'single 2' });
  let most = 0;
  await cluster.until(() => {
    const copies = cluster.copies(INSTANCE);
    most = Math.max(most, copies.length);
    return copies.some(({ unit }) => unit.unit !== before!.unit.unit);
  });
  t.is(most, 1);
  await cluster.stop();
});

test('explain says for how long an exclusive instance is still left alone', async t => {
  const { cluster, owner } = await running();
  const other = [...cluster.nodes.values()].find(node => node !== owner)!;
  await owner.crash();
  await cluster.until(() => !hasSession(cluster, owner));
  await cluster.advance(1000);
  t.regex(
    other.agent.admin.explain(INSTANCE).lines.join('\n'),
    /held down: .* not be dead before [89]\.\d s/,
  );
  await cluster.stop();
});
