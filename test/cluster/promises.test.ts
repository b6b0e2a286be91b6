import test from 'ava';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FIXTURE_APP, hop3, startCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';

const CANDIDATES = '/hop3/test/supervisor';

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: 5 });
  await cluster.apply('shop', {
    scale: { web: 3 },
    restart: { policy: 'never' },
    domains: { list: ['shop.test'] },
  });
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

test.serial('every node promises its capacity, what it runs, serves and holds', async t => {
  await cluster.ready('shop', 3);
  for (const { name } of cluster.nodes) {
    const items = await until(`${name} serves, and holds what it runs`, async () => {
      const all = (await cluster.api.promises({ of: name })).items;
      return ['serving', 'holding'].every(kind => all.some(({ body }) => body.kind === kind)) ? all : null;
    });
    const named = (kind: string) => items.find(({ body }) => body.kind === kind)!;
    t.like(named('capacity'), { name: 'capacity', polarity: 'accept', promisee: 'any' });
    t.like(named('running'), { polarity: 'offer', promisee: 'shop', verify: { method: 'http' } });
    t.like(named('serving'), { name: 'serving:shop.test', promisee: 'any', verify: { method: 'http' } });
    t.regex(named('holding').name, /^holding:sha256:/);
  }
});

test.serial('what names no path to ask is checked over TCP', async t => {
  await cluster.apply('plain', { healthcheck: undefined });
  const promise = await until('its observers have judged it', async () => {
    const { items } = await cluster.api.promises({ app: 'plain', kind: 'running' });
    return items.find(({ assessments, outcome }) => assessments.length === 2 && outcome === 'kept');
  });
  t.is(promise.verify.method, 'tcp');
  t.regex(promise.assessments[0]!.evidence, /127\.0\.0\.1:\d+ accepts connections, in \d+ ms/);
  await cluster.api.remove('plain');
});

test.serial('a host name that another app has is refused with the name of its holder', async t => {
  const file = join(cluster.directory, 'rival.yaml');
  const manifest = {
    metadata: { id: 'rival' },
    source: { path: FIXTURE_APP },
    run: { start: 'x' },
    domains: { list: ['shop.test'] },
  };
  await writeFile(file, JSON.stringify(manifest));
  const { code, stderr } = await hop3(['apply', file], cluster.nodes[1]!.url);
  t.is(code, 6, stderr);
  t.regex(stderr, /host name "shop\.test" is held by app "shop"/);
  await t.throwsAsync(cluster.api.app('rival'));
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
    const { stdout } = await hop3(['explain', withdrawn.subject], cluster.nodes[2]!.url);
    t.regex(stdout, /is promised no more/);
    t.regex(stdout, /promise-made[^]*promise-kept[^]*promise-withdrawn/, 'its history');
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

test.serial('what the supervisor asks, and what it is answered, can be seen at every node', async t => {
  // Its own node looks rarely, so that others notice first.
  await cluster.apply('calm', {
    run: { start: 'exec node server.cjs', 'stop-timeout': 0.5 },
    healthcheck: { path: '/', interval: 600, timeout: 1 },
  });
  const [victim] = await cluster.ready('calm', 1);
  process.kill(-victim!.pid!, 'SIGSTOP');
  for (const { api, name } of cluster.nodes) {
    const asked = await until(`${name} shows the answer`, async () => {
      const { items } = await api.requests();
      return items.find(({ subject, answer }) => subject === 'instance/calm/web/0' && answer !== null);
    });
    t.like(asked, { action: 'restart', node: victim!.node, answer: { answer: 'done' } });
    t.regex(asked.reason, /broken/);
  }
  await cluster.ready('calm', 1, ([only]) => only!.pid !== victim!.pid);
  await cluster.api.remove('calm');
});

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
  const expired = await until('its promises have expired', async () => {
    const { items } = await witness.api.events({ subject: `${first}/capacity`, limit: 50 });
    return items.some(({ kind }) => kind === 'promise-expired') ? items : null;
  });
  t.false(expired.some(({ kind }) => kind === 'promise-withdrawn'));
  await cluster.node(first).start();
  await cluster.node(first).ready();
});

test.serial('with no supervisor at all, the apps of a lost node still move', async t => {
  // Somebody who never does anything has stood first: nobody else is elected for as long as the key is there.
  await cluster.etcd.ctl('put', `${CANDIDATES}/0`, '{"v":1,"node":"nobody","incarnation":"none"}');
  for (const key of (await cluster.etcd.ctl('get', '--prefix', '--keys-only', CANDIDATES)).split(/\s+/))
    if (key !== '' && key !== `${CANDIDATES}/0`) await cluster.etcd.ctl('del', key);
  await until('nobody supervises', async () => (await cluster.api.supervisor()).node === 'nobody');
  const lost = cluster.node((await cluster.ready('shop', 2)).find(({ node }) => node !== 'node-1')!.node!);
  await lost.crash();
  const after = await cluster.ready('shop', 2, all => all.every(({ node }) => node !== lost.name));
  t.is(new Set(after.map(({ instance }) => instance)).size, 2);
  t.is((await cluster.api.supervisor()).node, 'nobody', 'nor has anybody since');
});
