import test from 'ava';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

test('an app of nine instances is spread over three nodes, each instance on one', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(9));
  for (let index = 0; index < 9; index++) t.is(cluster.copies(`blog/web/${index}`).length, 1);
  for (const node of cluster.nodes.values()) t.is(node.driver.launches.length, 3);
});

test('at rest nothing is written, for ten minutes: sessions are renewed, and that is all', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(9));
  await cluster.advance(30_000);
  const { revision } = cluster.etcd;
  let renewals = 0;
  const renew = cluster.etcd.renew.bind(cluster.etcd);
  cluster.etcd.renew = lease => (renewals++, renew(lease));
  let writes = 0;
  const txn = cluster.etcd.txn.bind(cluster.etcd);
  cluster.etcd.txn = request => {
    const branch = [...request.success, ...request.failure];
    if (branch.some(operation => 'put' in operation || 'delete' in operation)) writes++;
    return txn(request);
  };
  await cluster.advance(600_000);
  t.is(cluster.etcd.revision, revision);
  t.is(writes, 0);
  t.is(renewals, 3 * 300, 'every 2 s from each node');
});

test('rule 9: a new agent goes on where the old one stopped: session, tokens and processes are the same', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  await cluster.advance(10_000);
  const before = {
    owners: cluster.etcd.contents('owners'),
    sessions: sessions(cluster),
    pids: pids(cluster),
  };
  const node = cluster.node('node-1');
  let everUnready = false;
  const put = cluster.etcd.txn.bind(cluster.etcd);
  cluster.etcd.txn = request => {
    const reply = put(request);
    for (const instance of Object.keys(before.pids)) {
      const owner = before.owners[`instance/${instance}`]!.node;
      if (cluster.said(owner, instance)?.ready !== true) everUnready = true;
    }
    return reply;
  };
  await node.restart();
  await cluster.advance(15_000);
  t.deepEqual(cluster.etcd.contents('owners'), before.owners);
  t.deepEqual(sessions(cluster), before.sessions);
  t.deepEqual(pids(cluster), before.pids);
  t.is(node.driver.launches.length, 0);
  t.is(node.driver.stops.length, 0);
  t.false(everUnready, 'nobody was ever told to keep away');
  t.is(cluster.events('session-resumed').length, 1);
  t.is(cluster.events('promise-expired').length, 0);
  t.is(cluster.events('promise-withdrawn').filter(event => event.subject.includes('running:')).length, 0);
});

for (const { title, settings } of [
  { title: 'another boot', settings: { bootId: 'boot-2' } },
  { title: 'another TTL', settings: { ttlSeconds: 12 } },
]) {
  test(`rule 9: after ${title} a node comes with a new session, and takes back what still runs`, async t => {
    const cluster = new SimCluster(['node-1']);
    await cluster.start();
    await cluster.run(webApp(2));
    const before = {
      sessions: sessions(cluster),
      pids: pids(cluster),
      owners: cluster.etcd.contents('owners'),
    };
    const node = cluster.node('node-1');
    await node.restart(settings);
    await cluster.until(() =>
      Object.values(cluster.etcd.contents('owners')).every(
        owner => !before.sessions.includes(`node-1/${owner.incarnation}`),
      ),
    );
    await cluster.until(() => cluster.settled('blog'));
    t.notDeepEqual(sessions(cluster), before.sessions);
    t.deepEqual(pids(cluster), before.pids, 'without a restart');
    t.is(node.driver.stops.length, 0);
    for (const owner of Object.values(cluster.etcd.contents('owners'))) t.deepEqual(owner.mayStillRun, []);
    t.is(cluster.events('session-resumed').length, 0);
  });
}

test('rule 9: a restart after the deadline is a new session', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const before = sessions(cluster);
  await cluster.node('node-1').stop();
  await cluster.advance(11_000);
  await cluster.start();
  await cluster.advance(1000);
  t.notDeepEqual(sessions(cluster), before);
});

test('what was started in between by nobody is not: a copy that died while no agent was there is started again', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  await cluster.run(webApp(1));
  const node = cluster.node('node-1');
  const { unit } = cluster.copies('blog/web/0')[0]!;
  const token = cluster.owner('blog/web/0')!;
  await node.stop();
  node.driver.exit(unit.unit, { signal: 'SIGKILL' });
  await node.start();
  await cluster.until(() => cluster.copies('blog/web/0').length === 1 && cluster.settled('blog'));
  t.not(cluster.copies('blog/web/0')[0]!.unit.pid, unit.pid);
  t.deepEqual(cluster.owner('blog/web/0'), token, 'under the same ownership');
});

test('a node that leaves stops its instances, releases them, takes back its promises, and ends its session', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  const node = cluster.node('node-2');
  const had = [0, 1, 2].filter(index => cluster.owner(`blog/web/${index}`)?.node === 'node-2');
  t.is(had.length, 1);
  await cluster.whileTimePasses(node.leave());
  t.true(node.left);
  t.is(sessions(cluster).filter(name => name.startsWith('node-2/')).length, 0);
  t.is(Object.keys(cluster.etcd.contents('promises')).filter(name => name.startsWith('node-2/')).length, 0);
  t.is(node.driver.stops.length, 1);
  await cluster.until(() => cluster.settled('blog', 'node-1'));
  for (const index of [0, 1, 2]) t.not(cluster.owner(`blog/web/${index}`)?.node, 'node-2');
  const kinds = cluster
    .events()
    .filter(event => event.node === 'node-2')
    .map(event => event.kind);
  t.true(kinds.includes('subject-released'));
  t.true(kinds.includes('node-left'));
  await cluster.advance(15_000);
  t.deepEqual(cluster.events('session-ended'), [], 'it left, it was not lost');
  t.deepEqual(cluster.events('promise-expired'), [], 'and its promises were withdrawn');
});

test('all nodes may leave at once: nothing is taken by one that is leaving', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(6));
  await Promise.all([...cluster.nodes.values()].map(node => cluster.whileTimePasses(node.leave())));
  t.deepEqual(cluster.copies('blog/web/0'), []);
  t.is(cluster.events('subject-acquired').length, 6);
  t.is(cluster.events('subject-released').length, 6);
  t.deepEqual(sessions(cluster), []);
});

test('a node that leaves waits for a start that is under way, and stops it', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const node = cluster.node('node-1');
  const unpack = node.artifacts.unpack.bind(node.artifacts);
  node.artifacts.unpack = async (...args) => {
    await cluster.clock.sleep(2000);
    return unpack(...args);
  };
  await cluster.apply(webApp(1));
  await cluster.until(() => cluster.owner('blog/web/0') !== undefined);
  await cluster.advance(100);
  await cluster.whileTimePasses(node.leave());
  t.deepEqual(cluster.copies('blog/web/0'), []);
  t.truthy(cluster.owner('blog/web/0')?.released);
});

test('an agent that stops leaves no timer behind, with the store there or not', async t => {
  for (const link of ['up', 'refused', 'silent'] as const) {
    const cluster = new SimCluster();
    await cluster.start();
    await cluster.run(webApp(3));
    for (const node of cluster.nodes.values()) node.store.setLink(link);
    await cluster.advance(20_000);
    await cluster.stop();
    await cluster.advance(20_000);
    t.is(cluster.clock.pending, 0, link);
  }
});

test('an agent that never reached the store can be stopped', async t => {
  const cluster = new SimCluster(['node-1']);
  const node = cluster.node('node-1');
  await node.start('refused');
  t.false(node.agent.admin.ready().ready);
  await cluster.whileTimePasses(node.stop());
  t.deepEqual(sessions(cluster), []);
});

test('nothing is stopped before the whole picture is there', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  await cluster.run(webApp(1));
  const node = cluster.node('node-1');
  await node.stop();
  await node.start('refused');
  await cluster.advance(60_000);
  t.is(cluster.copies('blog/web/0').length, 1);
  node.store.setLink('up');
  await cluster.until(() => cluster.settled('blog'));
  t.is(node.driver.stops.length, 0);
});

function sessions(cluster: SimCluster): string[] {
  return Object.keys(cluster.etcd.contents('sessions'));
}

function pids(cluster: SimCluster): Record<string, (number | null)[]> {
  const instances = Object.keys(cluster.etcd.contents('owners')).map(subject =>
    subject.slice('instance/'.length),
  );
  return Object.fromEntries(
    instances.map(instance => [instance, cluster.copies(instance).map(({ unit }) => unit.pid)]),
  );
}

test('a node that leaves without having heard the store leaves nothing running either', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  await cluster.run(webApp(2));
  const node = cluster.node('node-1');
  await cluster.whileTimePasses(node.stop());
  await node.start('silent');
  await cluster.whileTimePasses(node.leave());
  t.deepEqual([...cluster.copies('blog/web/0'), ...cluster.copies('blog/web/1')], []);
});

test('a node that leaves is gone even when the store goes away meanwhile', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  await cluster.run(webApp(1));
  const node = cluster.node('node-1');
  const leaving = node.leave();
  await cluster.until(() => cluster.owner('blog/web/0')?.released !== null);
  node.store.setLink('silent');
  await cluster.whileTimePasses(leaving);
  await cluster.advance(15_000);
  t.deepEqual(sessions(cluster), []);
});

test('a leave in which something fails stops all that it can, and says what failed', async t => {
  const cluster = new SimCluster(['node-1', 'node-2']);
  await cluster.start();
  await cluster.run(webApp(4));
  const node = cluster.node('node-1');
  t.true(cluster.copies('blog/web/0').length === 1);
  node.guard.disarm = () => Promise.reject(new Error('no such device'));
  await t.throwsAsync(cluster.whileTimePasses(node.agent.admin.leave()), { message: /no such device/ });
  t.deepEqual(
    [0, 1, 2, 3].flatMap(index => node.driver.running(`blog/web/${index}`)),
    [],
  );
  t.true(node.left, 'its process ends: nobody would look after anything here');
  node.running = false;
  await cluster.until(() => cluster.settled('blog', 'node-2'), 60_000);
  await cluster.stop();
});
