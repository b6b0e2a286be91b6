import test from 'ava';
import { startCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: 3 });
  await cluster.apply('shop', { scale: { web: 3 }, restart: { policy: 'never' } });
  await cluster.ready('shop', 3);
});
test.after.always(() => cluster.stop());

test.serial(
  'every promise of a running instance is kept in the eyes of the other two nodes, with evidence',
  async t => {
    const running = await until('both observers have judged all', async () => {
      const { items } = await cluster.api.promises({ kind: 'running' });
      const judged = items.every(
        ({ assessments, outcome }) => assessments.length === 2 && outcome === 'kept',
      );
      return items.length === 3 && judged ? items : null;
    });
    for (const promise of running) {
      t.is(promise.outcome, 'kept');
      t.deepEqual(promise.assessments.map(({ assessor }) => assessor).sort(), promise.observers.toSorted());
      t.false(promise.observers.includes(promise.promiser), 'nobody judges itself');
      for (const { evidence } of promise.assessments)
        t.regex(evidence, /HTTP 200 from 127\.0\.0\.1:\d+\/ in \d+ ms/);
    }
  },
);

test.serial('a node promises its capacity and what it holds', async t => {
  const { items } = await cluster.api.promises({ of: 'node-1' });
  const kinds = new Set(items.map(({ body }) => body.kind));
  t.true(kinds.has('capacity'));
  t.true(kinds.has('holding'));
  t.is(items.find(({ body }) => body.kind === 'capacity')!.polarity, 'accept');
});

test.serial(
  'a promise that is taken back is withdrawn, with the reason, and not expired or broken',
  async t => {
    await cluster.api.scale('shop', { web: 2 });
    const withdrawn = await until('the ledger has it', async () => {
      const { items } = await cluster.api.events({ kind: 'promise-withdrawn', limit: 200 });
      return items.find(({ subject }) => subject.endsWith('/running:shop/web/2'));
    });
    t.regex(withdrawn.message, /scaled|released|stopped/);
    const { items } = await cluster.api.events({ limit: 1000 });
    const told = items.filter(({ subject }) => subject === withdrawn.subject).map(({ kind }) => kind);
    t.false(told.includes('promise-expired'));
    t.false(told.includes('promise-broken'));
  },
);

test.serial(
  'a promise that is not kept while its lease lives is broken in the eyes of its observers',
  async t => {
    // Frozen, so that the promiser cannot notice by itself: its process dies, and its promise stands while its lease does.
    const victim = (await cluster.ready('shop', 2))[0]!;
    const node = cluster.node(victim.node!);
    const witness = cluster.nodes.find(({ name }) => name !== node.name)!;
    process.kill(-victim.pid!, 'SIGSTOP');
    try {
      const broken = await until('an observer says so', async () => {
        const { items } = await witness.api.events({ kind: 'promise-broken', limit: 50 });
        return items.find(({ subject }) => subject === `${node.name}/running:${victim.instance}`);
      });
      t.not(broken.node, node.name);
      t.regex(String(broken.details['evidence']), /no answer/);
    } finally {
      try {
        process.kill(-victim.pid!, 'SIGCONT');
      } catch {
        // It has been replaced meanwhile.
      }
    }
  },
);

test.serial('there is one supervisor; when it is killed another takes over; failover needs none', async t => {
  const first = (await cluster.api.supervisor()).node!;
  t.truthy(first);
  await cluster.node(first).crash();
  const witness = cluster.nodes.find(({ name }) => name !== first)!;
  const second = await until('another is elected', async () => {
    const { node } = await witness.api.supervisor();
    return node !== null && node !== first ? node : null;
  });
  t.not(second, first);
  await until('the ledger has it', async () => {
    const { items } = await witness.api.events({ kind: 'supervisor-elected', limit: 20 });
    return items.some(event => event.node === second);
  });
  await cluster.ready('shop', 2, all => all.every(({ node }) => node !== first));
});
