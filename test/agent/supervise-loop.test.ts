import test from 'ava';
import { Supervisor } from '../../src/agent/supervise-loop.ts';
import type { Assessment } from '../../src/model/node-promise.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeEtcd } from '../support/fake-store.ts';
import { runningPromise } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { appRecord, events, member } from './helpers.ts';

/** Supervisors of several nodes on one etcd, and nothing else. */
async function electing(names = ['node-1']) {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  const members: (Awaited<ReturnType<typeof member>> & { supervisor: Supervisor })[] = [];
  for (const node of names) {
    const one = await member({ clock, etcd, node });
    const supervisor = new Supervisor(one);
    one.world.onChange(['supervisor', 'sessions'], () => supervisor.loop.wake());
    one.keeper.onChange(() => supervisor.loop.wake());
    supervisor.loop.start();
    await clock.advance(100);
    members.push({ ...one, supervisor });
  }
  return {
    clock,
    etcd,
    members,
    leaders: () => members.filter(({ supervisor }) => supervisor.leading).map(({ node }) => node),
    requests: () => Object.values(etcd.contents('requests')).map(({ request }) => request),
    /** A node that only promises, and what its observers say of it. */
    broken: (observers: string[]) => {
      const { lease } = etcd.grant(3600);
      const put = (kind: 'sessions' | 'promises' | 'assessments', name: string, value: object): void => {
        const key = etcd.keys.key(kind, name);
        etcd.txn({
          conditions: [],
          success: [{ put: key, text: JSON.stringify(value), lease }],
          failure: [],
        });
      };
      put('sessions', 'node-9/i', sessionRecord({ node: 'node-9', incarnation: 'i' }));
      for (const assessor of observers) {
        const assessment: Assessment = {
          assessor,
          promiser: 'node-9',
          promise: 'running:blog/web/0',
          outcome: 'broken',
          evidence: 'no answer',
          at: '2026-01-01T00:00:00.000Z',
          trust: 0.5,
        };
        put('assessments', `node-9/running:blog/web/0/${assessor}`, { v: 1, assessment });
      }
      put('promises', 'node-9/running:blog/web/0', { v: 1, promise: runningPromise({}, 'node-9') });
    },
  };
}

test('of several candidates the first supervises, and only that one', async t => {
  const { clock, etcd, leaders } = await electing(['node-1', 'node-2', 'node-3']);
  await clock.advance(5000);
  t.deepEqual(leaders(), ['node-1']);
  t.is(Object.keys(etcd.contents('supervisor')).length, 3);
  t.deepEqual(
    events(etcd, 'supervisor-elected').map(event => event.node),
    ['node-1'],
  );
});

test('its lease ends, and the next takes over', async t => {
  const { clock, members, leaders, etcd } = await electing(['node-1', 'node-2']);
  members[0]!.store.setLink('silent');
  await clock.advance(20_000);
  t.deepEqual(leaders(), ['node-2']);
  members[0]!.store.setLink('up');
  await clock.advance(20_000);
  t.deepEqual(leaders(), ['node-2'], 'who comes back stands behind');
  t.is(Object.keys(etcd.contents('supervisor')).length, 2);
});

test('a candidate without a valid session leads nobody', async t => {
  const { clock, members, leaders } = await electing();
  t.deepEqual(leaders(), ['node-1']);
  members[0]!.store.setLink('silent');
  await clock.advance(8600);
  t.deepEqual(leaders(), []);
});

test('what a quorum finds broken is asked to be restarted, once for each attempt', async t => {
  const { clock, broken, requests, etcd } = await electing(['node-1', 'node-2', 'node-3']);
  broken(['node-1', 'node-2']);
  await clock.advance(5000);
  t.is(requests().length, 1);
  t.like(requests()[0], {
    node: 'node-9',
    action: 'restart',
    subject: 'instance/blog/web/0',
    attempt: 0,
    from: 'node-1',
  });
  t.is(events(etcd, 'request-made').length, 1);
});

test('the stream of requests may be late: nothing is asked twice', async t => {
  const { clock, etcd, members, broken, requests } = await electing(['node-1', 'node-2', 'node-3']);
  const { world, supervisor } = members[0]!;
  const all = world.requests.all.bind(world.requests);
  Object.defineProperty(world.requests, 'all', { value: () => [], configurable: true });
  Object.defineProperty(world.requests, 'revision', { get: () => 1n, configurable: true });
  broken(['node-1', 'node-2', 'node-3']);
  for (let times = 0; times < 20; times++) {
    supervisor.loop.wake();
    await clock.advance(100);
  }
  t.is(requests().length, 1);
  Object.defineProperty(world.requests, 'all', { value: all });
  Object.defineProperty(world.requests, 'revision', { get: () => etcd.revision });
  await clock.advance(5000);
  t.is(requests().length, 1);
});

test('two who both believe that they lead do no harm: only the one whose key stands is heard', async t => {
  const { clock, etcd, members, broken, requests } = await electing(['node-1', 'node-2', 'node-3']);
  const [first] = members;
  // Its candidate key is gone, and it hears of nothing; its session key is there still.
  for (const mirror of [first!.world.supervisor]) {
    const stale = mirror.all();
    Object.defineProperty(mirror, 'all', { value: () => stale });
  }
  const key = Object.keys(etcd.contents('supervisor'))[0]!;
  etcd.delete('supervisor', key);
  await clock.advance(2000);
  t.true(first!.supervisor.leading);
  t.true(members[1]!.supervisor.leading);
  broken(['node-1', 'node-2', 'node-3']);
  await clock.advance(5000);
  t.deepEqual(
    requests().map(({ from }) => from),
    ['node-2'],
  );
  t.deepEqual(
    events(etcd, 'request-made').map(event => event.node),
    ['node-2'],
    'nor is it told that it asked',
  );
});

test('what nobody can place is told once, with the reason', async t => {
  const { clock, etcd } = await electing();
  etcd.put('apps', 'blog', appRecord(webApp(1, { placement: { requires: { zone: 'eu' }, spread: null } })));
  await clock.advance(4000);
  t.is(events(etcd, 'instance-unplaced').length, 0);
  await clock.advance(30_000);
  const told = events(etcd, 'instance-unplaced');
  t.is(told.length, 1);
  t.regex(
    told[0]!.message,
    /instance\/blog\/web\/0 has had no owner for 5 s: .*not node-1: has no label zone/,
  );
});

test('the ledger is kept to 5000 events: the oldest go', async t => {
  const { clock, etcd } = await electing();
  for (let index = 0; index < 5100; index++) {
    const name = `2020-01-01T00:00:00.000Z-node-1-${String(index).padStart(8, '0')}`;
    etcd.put('events', name, {
      v: 1,
      at: '2020-01-01T00:00:00.000Z',
      kind: 'old',
      subject: 'it',
      node: 'node-1',
      message: `${index}`,
      details: {},
    });
  }
  await clock.advance(301_000);
  const left = events(etcd);
  t.is(left.length, 5000);
  t.true(
    left.some(event => event.kind === 'supervisor-elected'),
    'the newest stay',
  );
  t.false(left.some(event => event.message === '0'));
});

test('many nodes that vanish together put the brake on, and the view says so', async t => {
  const { clock, etcd, members } = await electing();
  const leases = ['node-2', 'node-3'].map(node => {
    const { lease } = etcd.grant(3600);
    const text = JSON.stringify(sessionRecord({ node, incarnation: 'i' }));
    etcd.txn({
      conditions: [],
      success: [{ put: etcd.keys.key('sessions', `${node}/i`), text, lease }],
      failure: [],
    });
    return lease;
  });
  await clock.advance(2000);
  t.false(members[0]!.supervisor.brake().active);
  for (const lease of leases) etcd.killLease(lease);
  await clock.advance(2000);
  t.true(members[0]!.supervisor.brake().active);
  t.regex(members[0]!.supervisor.brake().reason!, /2 of 3 nodes vanished together/);
  await clock.advance(60_000);
  t.false(members[0]!.supervisor.brake().active);
  t.deepEqual(
    events(etcd)
      .map(event => event.kind)
      .filter(kind => kind.startsWith('brake-')),
    ['brake-engaged', 'brake-released'],
  );
});

test('a copy that its observers find broken, and its node does not, is restarted on request', async t => {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3', 'node-4']);
  await cluster.start();
  await cluster.run(webApp(1));
  await cluster.advance(10_000);
  const { node, unit } = cluster.copies('blog/web/0')[0]!;
  // On its own machine it answers well; others find something else.
  const reply = cluster.reply.bind(cluster);
  cluster.reply = (host, port) =>
    node.driver.running('blog/web/0').some(copy => copy.unit === unit.unit) && host === node.address
      ? { kind: 'http', status: 500 }
      : reply(host, port);
  await cluster.until(() => cluster.copies('blog/web/0').every(copy => copy.unit.unit !== unit.unit));
  await cluster.until(() => cluster.settled('blog'));
  await cluster.advance(30_000);
  t.is(cluster.copies('blog/web/0').length, 1);
  t.deepEqual(
    Object.values(cluster.etcd.contents('requests')).map(({ request }) => request.attempt),
    [0],
  );
  t.deepEqual(
    Object.values(cluster.etcd.contents('answers')).map(({ answer }) => answer),
    ['done'],
  );
  t.is(cluster.owner('blog/web/0')?.node, node.name);
});
