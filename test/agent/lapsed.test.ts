import test from 'ava';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

const INSTANCE = 'blog/web/0';
const LEASE_MS = 10_000;

/** One instance that has run for a while, its node, and the others. */
async function running(names = ['node-1', 'node-2', 'node-3']) {
  const cluster = new SimCluster(names);
  await cluster.start();
  await cluster.run(webApp(1));
  await cluster.advance(10_000);
  const node = cluster.node(cluster.owner(INSTANCE)!.node);
  const others = [...cluster.nodes.values()].filter(other => other !== node);
  const session = (): boolean =>
    Object.values(cluster.etcd.contents('sessions')).some(other => other.node === node.name);
  const answering = (): string[] =>
    cluster
      .assessments(`${node.name}/running:${INSTANCE}`)
      .filter(said => said.answering !== undefined)
      .map(said => said.assessor);
  const { pid } = cluster.copies(INSTANCE)[0]!.unit;
  return { cluster, node, others, session, answering, pid };
}

test('rule 12: a node that is cut off from the store only loses nothing, and takes its own back', async t => {
  const { cluster, node, others, session, answering, pid } = await running();
  const before = cluster.owner(INSTANCE)!;
  node.store.setLink('silent');
  await cluster.until(() => !session());
  await cluster.until(() => answering().length === 2, 2000);
  await cluster.advance(5 * 60_000);
  t.deepEqual(cluster.owner(INSTANCE), before, 'nobody has written its owner key');
  t.deepEqual(answering().sort(), others.map(({ name }) => name).sort());
  t.regex(
    cluster.assessments(`${node.name}/running:${INSTANCE}`)[0]!.evidence,
    /the session of node-\d is gone, and it still answers: HTTP 200/,
  );
  t.like(others[0]!.agent.admin.instances({ app: 'blog' }).items[0], { node: node.name, ready: true, pid });
  const { lines } = others[0]!.agent.admin.explain(INSTANCE);
  t.true(
    lines.includes(
      `${node.name} is cut off from the store, and it still answers: it stays there until ${node.name} is back`,
    ),
  );
  node.store.setLink('up');
  await cluster.until(() => cluster.owner(INSTANCE)?.incarnation !== before.incarnation);
  await cluster.until(() => cluster.settled('blog'));
  t.is(cluster.owner(INSTANCE)?.node, node.name);
  t.deepEqual(
    cluster.copies(INSTANCE).map(({ unit }) => unit.pid),
    [pid],
  );
  t.is(node.driver.launches.length, 1);
  await cluster.until(() => answering().length === 0, 20_000);
  t.pass();
});

test('rule 12: cut off from the store and from one observer, it loses nothing', async t => {
  const { cluster, node, others, session } = await running();
  others[0]!.deafTo.add(node.name);
  node.deafTo.add(others[0]!.name);
  node.store.setLink('silent');
  await cluster.until(() => !session());
  await cluster.advance(60_000);
  t.is(cluster.owner(INSTANCE)?.node, node.name);
  t.deepEqual(
    cluster.assessments(`${node.name}/running:${INSTANCE}`).map(said => [said.assessor, said.unreachable]),
    others.map(({ name }) => [name, name === others[0]!.name ? true : undefined]),
  );
});

test('rule 12: cut off from one observer only, it loses nothing either', async t => {
  const { cluster, node, others } = await running();
  others[0]!.deafTo.add(node.name);
  await cluster.advance(60_000);
  t.is(cluster.owner(INSTANCE)?.node, node.name);
  t.is(cluster.events('subject-taken').length, 0);
});

test('rule 12: when it stops answering, it is taken within seconds', async t => {
  const { cluster, node, session } = await running();
  node.store.setLink('silent');
  await cluster.until(() => !session());
  await cluster.advance(60_000);
  node.offline = true;
  const beganMs = cluster.clock.now();
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== node.name);
  t.true(cluster.clock.now() - beganMs < 4500, `${cluster.clock.now() - beganMs} ms`);
  t.deepEqual(cluster.owner(INSTANCE)?.mayStillRun, [node.name]);
});

test('rule 12: a verdict that is late is waited for', async t => {
  const { cluster, node, others, session } = await running();
  for (const { store } of others) {
    const commit = store.commit.bind(store);
    store.commit = async (compares, writes) => {
      const verdict = writes.some(write => 'put' in write && write.put === 'assessments');
      if (verdict) await cluster.clock.sleep(2500, new AbortController().signal);
      return commit(compares, writes);
    };
  }
  node.store.setLink('silent');
  await cluster.until(() => !session());
  await cluster.advance(60_000);
  t.is(cluster.owner(INSTANCE)?.node, node.name);
});

test('rule 12: when nobody says anything, it is taken after a bounded moment', async t => {
  const { cluster, node, others, session } = await running();
  for (const { store } of others) {
    const commit = store.commit.bind(store);
    store.commit = async (compares, writes) =>
      writes.some(write => 'put' in write && write.put === 'assessments')
        ? { kind: 'refused', revision: 0n, current: [] }
        : commit(compares, writes);
  }
  node.store.setLink('silent');
  await cluster.until(() => !session());
  const beganMs = cluster.clock.now();
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== node.name);
  const tookMs = cluster.clock.now() - beganMs;
  t.true(tookMs >= 2900 && tookMs < 4000, `${tookMs} ms`);
});

test('rule 12: who hears that it answers in the moment of the claim prevents it', async t => {
  const { cluster, node, others, session } = await running();
  const { promise } = cluster.etcd.contents('promises')[`${node.name}/running:${INSTANCE}`]!;
  let claims = 0;
  for (const { store } of others) {
    const commit = store.commit.bind(store);
    store.commit = async (compares, writes) => {
      if (writes.some(write => 'put' in write && write.put === 'owners')) {
        const said = compares.filter(({ kind }) => kind === 'assessments');
        if (claims++ === 0) t.is(said.length, 2);
        const name = `${node.name}/running:${INSTANCE}/${others[1]!.name}`;
        const entry = cluster.etcd.contents('assessments')[name]!;
        cluster.etcd.put('assessments', name, {
          v: 1,
          assessment: { ...entry.assessment, outcome: 'kept', unreachable: undefined, answering: promise },
        });
      }
      return commit(compares, writes);
    };
  }
  // Its machine is gone, and its lease ends before it is called silent.
  node.offline = true;
  const name = Object.keys(cluster.etcd.contents('sessions')).find(key => key.startsWith(`${node.name}/`))!;
  const lease = (await others[0]!.store.get('sessions', name))!.lease!;
  node.store.setLink('refused');
  cluster.etcd.killLease(lease);
  await cluster.until(() => !session());
  await cluster.advance(4000);
  t.true(claims > 0);
  t.is(cluster.owner(INSTANCE)?.node, node.name);
});

test('rule 12: observers that are started anew learn from the others what to ask', async t => {
  const { cluster, node, others, session, answering } = await running();
  node.store.setLink('silent');
  await cluster.until(() => !session());
  await cluster.until(() => answering().length === 2);
  for (const other of others) {
    await other.restart();
    await cluster.advance(20_000);
  }
  t.is(cluster.owner(INSTANCE)?.node, node.name);
  t.is(answering().length, 2);
});

test('rule 12: a release made meanwhile runs elsewhere', async t => {
  const { cluster, node, others, session, answering } = await running();
  node.store.setLink('silent');
  await cluster.until(() => !session());
  await cluster.until(() => answering().length === 2);
  const deploying = cluster.apply(webApp(1), { on: others[0]!.name, content: 'blog 2' });
  await cluster.whileTimePasses(deploying);
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== node.name);
  await cluster.until(() => cluster.settled('blog', others[0]!.name));
  t.deepEqual(cluster.owner(INSTANCE)?.mayStillRun, [node.name]);
  node.store.setLink('up');
  await cluster.until(() => cluster.copies(INSTANCE).every(copy => copy.node !== node));
  t.pass();
});

test('rule 12: a node that is back and does not want it any more gives it up to the others', async t => {
  const { cluster, node, session, answering } = await running();
  node.store.setLink('silent');
  await cluster.until(() => !session());
  await cluster.until(() => answering().length === 2);
  node.unable = 'its disk is gone';
  node.store.setLink('up');
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== node.name, 20_000);
  await cluster.until(() => cluster.copies(INSTANCE).every(copy => copy.node !== node), 20_000);
  t.true(cluster.settled('blog'));
});

test('a process that nobody can ask goes with its session', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  const spec = webApp(1);
  await cluster.run({ ...spec, processes: spec.processes.map(process => ({ ...process, routed: false })) });
  await cluster.advance(10_000);
  const { node } = cluster.owner(INSTANCE)!;
  cluster.node(node).store.setLink('silent');
  const beganMs = cluster.clock.now();
  await cluster.until(() => cluster.owner(INSTANCE)?.node !== node);
  t.true(cluster.clock.now() - beganMs < LEASE_MS + 3000, `${cluster.clock.now() - beganMs} ms`);
});
