import test from 'ava';
import { claimLoop } from '../../src/agent/claim-loop.ts';
import { FixedPorts } from '../../src/agent/fixed-ports.ts';
import { Holdings } from '../../src/agent/holdings.ts';
import { Refusals } from '../../src/agent/refusals.ts';
import { Shortcomings } from '../../src/agent/shortcomings.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';
import { appRecord, member } from './helpers.ts';

/** After this a node that has just joined takes part. */
const SETTLED_MS = 2000;

function refusingNothing(one: Awaited<ReturnType<typeof member>>): Refusals {
  const shortcomings = new Shortcomings(one.clock);
  return new Refusals({ ...one, shortcomings, session: () => one.keeper.current(), unable: () => null });
}

function portsOf(one: Awaited<ReturnType<typeof member>>, holdings: Holdings): FixedPorts {
  return new FixedPorts({ ...one, holdings, units: () => [], runs: () => false });
}

/** Who ranks first for the first instance, found out by letting it take it. */
async function favourite(cluster: SimCluster): Promise<string> {
  await cluster.start();
  await cluster.advance(SETTLED_MS);
  await cluster.apply(webApp(1));
  await cluster.until(() => cluster.owner('blog/web/0') !== undefined);
  return cluster.owner('blog/web/0')!.node;
}

test('the best candidate takes it at once', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.advance(SETTLED_MS);
  const beganMs = cluster.clock.now();
  await cluster.apply(webApp(3));
  await cluster.until(() => Object.keys(cluster.etcd.contents('owners')).length === 3);
  t.is(cluster.clock.now(), beganMs);
  t.true(cluster.events('subject-acquired').every(event => event.message.includes('ranked 1 of 3')));
});

test('when the best does nothing, the second takes it after one stagger, and the third after two', async t => {
  const best = await favourite(new SimCluster());
  for (const { idle, afterMs } of [
    { idle: 1, afterMs: 400 },
    { idle: 2, afterMs: 800 },
  ]) {
    const cluster = new SimCluster();
    await cluster.start();
    await cluster.advance(SETTLED_MS);
    const others = [...cluster.nodes.keys()].filter(name => name !== best);
    // Its session lives, and it does nothing.
    const doNothing = async (name: string): Promise<void> => {
      const { store } = cluster.node(name);
      const commit = store.commit.bind(store);
      store.commit = async (compares, writes) =>
        writes.some(write => 'put' in write && write.put === 'owners')
          ? { kind: 'refused', revision: 0n, current: [] }
          : commit(compares, writes);
    };
    await doNothing(best);
    if (idle === 2) {
      const probe = new SimCluster();
      await probe.start();
      await probe.advance(SETTLED_MS);
      const { store } = probe.node(best);
      store.commit = async () => ({ kind: 'refused', revision: 0n, current: [] });
      await probe.apply(webApp(1), { on: others[0]! });
      await probe.until(() => probe.owner('blog/web/0') !== undefined);
      await doNothing(probe.owner('blog/web/0')!.node);
    }
    const beganMs = cluster.clock.now();
    await cluster.apply(webApp(1));
    await cluster.until(() => cluster.owner('blog/web/0') !== undefined, 60_000, 1);
    t.is(cluster.clock.now() - beganMs, afterMs);
  }
});

test('rule 4: a node whose copy of the world is stale claims nothing', async t => {
  const one = await member();
  const { clock, etcd, store, ledger, random, world, node } = one;
  const holdings = new Holdings({ node, store, clock, random, ledger });
  const loop = claimLoop({ ...one, holdings, ports: portsOf(one, holdings), refusals: refusingNothing(one) });
  etcd.put('apps', 'blog', appRecord(webApp(1)));
  await clock.advance(3000);
  world.staleMs = () => 10_001;
  loop.start();
  await clock.advance(20_000);
  t.deepEqual(etcd.contents('owners'), {});
  world.staleMs = () => 9_999;
  await clock.advance(20_000);
  t.is(Object.keys(etcd.contents('owners')).length, 1);
  await loop.stop();
});

test('rule 4: a node without a session claims nothing', async t => {
  const cluster = new SimCluster(['node-1', 'node-2']);
  await cluster.start();
  for (const node of cluster.nodes.values()) node.store.setLink('silent');
  await cluster.until(() =>
    [...cluster.nodes.values()].every(node => node.agent.admin.node().state === 'ConnectionLost'),
  );
  cluster.etcd.put('apps', 'blog', appRecord(webApp(4)));
  await cluster.advance(20_000);
  t.deepEqual(cluster.etcd.contents('owners'), {});
});

test('a node refuses what it cannot do, says why, and another takes it', async t => {
  const best = await favourite(new SimCluster());
  const cluster = new SimCluster();
  await cluster.start();
  const { artifacts } = cluster.node('node-1');
  t.truthy(artifacts);
  cluster.node(best).unable = "this node can't enforce the limits declared for cpu";
  await cluster.node(best).restart();
  await cluster.run(webApp(1));
  t.not(cluster.owner('blog/web/0')!.node, best);
  t.like(cluster.etcd.contents('refusals')[`instance/blog/web/0/${best}`], {
    node: best,
    subject: 'instance/blog/web/0',
    reason: "this node can't enforce the limits declared for cpu",
    generation: 1,
  });
});

test('a refusal is taken back when nothing stands against it any more', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  cluster.node('node-1').unable = 'not today';
  await cluster.apply(webApp(1));
  await cluster.advance(20_000);
  t.is(cluster.owner('blog/web/0'), undefined);
  t.is(Object.keys(cluster.etcd.contents('refusals')).length, 1);
  cluster.node('node-1').unable = null;
  await cluster.until(() => cluster.owner('blog/web/0') !== undefined, 6000);
  t.deepEqual(cluster.etcd.contents('refusals'), {});
});

test('a node takes no more than it has, though its mirror has not caught up with its own claims', async t => {
  const cluster = new SimCluster(['node-1'], { capacity: { memoryBytes: 1000 * 1024 ** 2, cpu: 8 } });
  await cluster.start();
  await cluster.apply(webApp(3, { limits: { memoryBytes: 400 * 1024 ** 2, cpu: null, processes: null } }));
  await cluster.advance(20_000);
  t.is(Object.keys(cluster.etcd.contents('owners')).length, 2);
  t.is(cluster.events('instance-unplaced').length, 1);
});

test('a node takes its share once, though its mirror shows only some of its own claims yet', async t => {
  for (const shown of [0, 1, 2]) {
    const one = await member();
    const { clock, etcd, store, ledger, random, world, node } = one;
    for (const other of ['node-2', 'node-3'])
      etcd.put(
        'sessions',
        `${other}/first`,
        sessionRecord({
          node: other,
          incarnation: 'first',
          roles: ['apps'],
          peer: { host: other, port: 7400 },
        }),
      );
    await clock.advance(SETTLED_MS);
    const holdings = new Holdings({ node, store, clock, random, ledger });
    const loop = claimLoop({
      ...one,
      holdings,
      ports: portsOf(one, holdings),
      refusals: refusingNothing(one),
    });
    loop.start();
    const get = world.owners.get.bind(world.owners);
    const isShown = (subject: string) => subject === [...holdings.held().keys()].sort()[shown];
    world.owners.get = subject => (isShown(subject) ? get(subject) : undefined);
    etcd.put('apps', 'blog', appRecord(webApp(9)));
    // Far from a stagger: nobody's turn but its own has come.
    for (let round = 0; round < 5; round++) {
      loop.wake();
      await clock.settle();
    }
    t.is(Object.keys(etcd.contents('owners')).length, 3, `while its ${shown + 1}. claim shows`);
    await loop.stop();
  }
});

test('removing an app asks its owners: owner keys go when they have released them, and the app with the last', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  const writers = new Map<string, string[]>();
  const txn = cluster.etcd.txn.bind(cluster.etcd);
  cluster.etcd.txn = request => {
    const before = cluster.etcd.contents('owners');
    const reply = txn(request);
    const after = cluster.etcd.contents('owners');
    for (const [subject, owner] of Object.entries(before)) {
      const now = after[subject];
      if (now === undefined && owner.released === null) t.fail(`${subject} was deleted while it was owned`);
      if (now?.released && !owner.released) {
        const runs = cluster.copies(subject.slice('instance/'.length)).length;
        writers.set(subject, [...(writers.get(subject) ?? []), `released with ${runs} running`]);
      }
    }
    return reply;
  };
  await cluster.node('node-1').agent.admin.remove('blog');
  await cluster.until(() => cluster.etcd.contents('apps')['blog'] === undefined);
  t.deepEqual(
    [...writers.values()].flat(),
    Array.from({ length: 3 }, () => 'released with 0 running'),
  );
  t.deepEqual(cluster.etcd.contents('owners'), {});
  t.deepEqual(cluster.etcd.contents('hostnames'), {});
  t.is(Object.keys(cluster.etcd.contents('releases')).length, 1, 'so that its number is not used again');
});

test('scaling down asks the owners, and leaves the keys', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  await cluster.node('node-1').agent.admin.scale('blog', { web: 1 });
  await cluster.until(
    () => cluster.owner('blog/web/1')?.released !== null && cluster.owner('blog/web/2')?.released !== null,
  );
  t.is(cluster.copies('blog/web/1').length + cluster.copies('blog/web/2').length, 0);
  t.regex(cluster.owner('blog/web/1')!.released!.reason, /scaled to 1/);
  await cluster.advance(30_000);
  t.is(Object.keys(cluster.etcd.contents('owners')).length, 3);
  await cluster.node('node-1').agent.admin.scale('blog', { web: 3 });
  await cluster.until(() => cluster.settled('blog'));
  t.is(cluster.copies('blog/web/2').length, 1);
});

test('an app with more instances than fit in one transaction is removed all the same', async t => {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3'], {
    capacity: { memoryBytes: 2 ** 40, cpu: 1000 },
  });
  await cluster.start();
  await cluster.run(webApp(150));
  await cluster.node('node-1').agent.admin.remove('blog');
  await cluster.until(() => cluster.etcd.contents('apps')['blog'] === undefined);
  t.deepEqual(cluster.etcd.contents('owners'), {});
});

test('an app whose owner is gone for good is removed, too', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  const owner = cluster.owner('blog/web/0')!.node;
  const other = [...cluster.nodes.keys()].find(name => name !== owner)!;
  await cluster.node(owner).crash();
  await cluster.node(other).agent.admin.remove('blog');
  await cluster.until(() => cluster.etcd.contents('apps')['blog'] === undefined, 30_000);
  t.pass();
});

test('what nobody answered for is run in the end: a claim whose reply and look-up were lost', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const { store } = cluster.node('node-1');
  const commit = store.commit.bind(store);
  let lose = true;
  store.commit = (compares, writes) => {
    if (lose && writes.some(write => 'put' in write && write.put === 'owners')) {
      lose = false;
      store.setLink('replies-lost');
      cluster.clock.after(4500, () => store.setLink('up'));
    }
    return commit(compares, writes);
  };
  await cluster.apply(webApp(1));
  await cluster.until(() => cluster.copies('blog/web/0').length === 1, 20_000);
  t.is(cluster.node('node-1').agent.admin.node().state, 'Active', 'in the very session that claimed it');
  t.is(cluster.events('session-lost').length, 0);
});
