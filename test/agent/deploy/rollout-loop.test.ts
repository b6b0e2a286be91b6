import test from 'ava';
import type { AppSpec, DeploySpec, EnvValue } from '../../../src/model/app-spec.ts';
import type { Launch } from '../../../src/ports/driver.ts';
import { processSpec } from '../../support/nouns.ts';
import { SimCluster, webApp, type SimBehaviour } from '../../support/sim-cluster.ts';

const literal = (value: string): EnvValue => ({ kind: 'literal', value });
const INSTANCES = [0, 1, 2, 3].map(index => `blog/web/${index}`);

/** `blog` with four instances at release 1; what later releases do is for `behaviour` to say. */
async function running(
  deploy: Partial<DeploySpec>,
  behaviour: (launch: Launch) => SimBehaviour = () => ({}),
) {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3', 'node-4'], { ttlSeconds: 20 });
  cluster.behaviour = launch => ({ readyAfterMs: 500, ...(launch.release > 1 ? behaviour(launch) : {}) });
  await cluster.start();
  const spec = (value: string, parts: Partial<AppSpec> = {}): AppSpec => {
    const base = webApp(4, { env: { A: literal(value) }, ...parts });
    return { ...base, deploy: { ...base.deploy, ...deploy } };
  };
  await cluster.run(spec('1'));
  await cluster.until(() => cluster.events('rollout-settled').length > 0);
  const record = () => cluster.etcd.contents('apps')['blog']!;
  const admin = cluster.node('node-2').agent.admin;
  /** The version that each instance's node says it serves with. */
  const serving = () =>
    INSTANCES.map(instance => {
      const owner = cluster.owner(instance)?.node ?? '';
      const said = cluster.said(owner, instance);
      return said?.ready === true ? said.version : '-';
    }).join(' ');
  const releases = () =>
    INSTANCES.flatMap(instance => cluster.copies(instance).map(({ unit }) => unit.release)).sort();
  return { cluster, spec, record, admin, serving, releases };
}

/** What a proxy sends requests to at each moment until the end: whether ever to two releases, and how few copies at the least. */
async function mixes(cluster: SimCluster, until: () => boolean): Promise<{ mixed: boolean; fewest: number }> {
  const { process } = cluster.node('node-1').proxy;
  let mixed = false;
  let fewest = Infinity;
  await cluster.until(
    () => {
      const slots = (process.state?.backends ?? []).flatMap(backend => backend.slots);
      const addresses = slots
        .filter(slot => slot.state === 'ready')
        .map(({ endpoint }) => `${endpoint.host}:${endpoint.port}`);
      const releases = INSTANCES.flatMap(instance => cluster.copies(instance)).flatMap(({ unit }) =>
        addresses.includes(`${unit.endpoint?.host}:${unit.endpoint?.port}`) ? [unit.release] : [],
      );
      fewest = Math.min(fewest, releases.length);
      mixed ||= new Set(releases).size > 1;
      return until();
    },
    180_000,
    5,
  );
  return { mixed, fewest };
}

test('a release is settled when its observers find all of it healthy', async t => {
  const { cluster, spec, record } = await running({});
  await cluster.apply(spec('2'));
  t.like(record().rollout, { stage: 'replacing', before: { release: 1 } });
  await cluster.until(() => cluster.events('rollout-settled').length > 1, 120_000);
  t.is(record().release, 2);
  t.is(record().rollout, undefined);
  t.deepEqual(
    cluster.events('rollout-settled').map(({ message }) => message),
    [1, 2].map(
      release =>
        `all instances of "blog" run release ${release}, and are healthy in the eyes of their observers`,
    ),
  );
});

test('what became of a release is told with the write that makes it so, lest nobody tells of it', async t => {
  const { cluster, spec, record } = await running({ strategy: 'blue-green' }, ({ release }) =>
    release === 3 ? { endsAfterMs: 10, code: 1 } : {},
  );
  const told = (kind: string) => cluster.events(kind).length;
  await cluster.apply(spec('2'));
  await cluster.until(() => record().rollout?.stage === 'replacing', 120_000, 1);
  t.is(told('rollout-promoted'), 1);
  await cluster.until(() => record().rollout === undefined, 120_000, 1);
  t.is(told('rollout-settled'), 2);
  await cluster.apply(spec('3'));
  await cluster.until(() => record().givenUp !== undefined, 120_000, 1);
  t.is(told('rollout-given-up'), 1);
});

test('a release that crashes is given up by itself, and what ran before never stops serving', async t => {
  const { cluster, spec, record, serving, releases } = await running({}, () => ({
    readyAfterMs: 1e9,
    endsAfterMs: 10,
    code: 1,
    prints: [{ stream: 'stderr', text: 'no database' }],
  }));
  await cluster.apply(spec('2'));
  let always = true;
  await cluster.until(() => {
    always &&= serving() === '1 1 1 1';
    return record().givenUp !== undefined;
  }, 120_000);
  await cluster.until(() => record().rollout === undefined, 120_000);
  await cluster.advance(5000);
  t.true(always);
  t.is(serving(), '1 1 1 1');
  t.deepEqual(releases(), [1, 1, 1, 1]);
  t.like(record(), { release: 1, spec: { env: { A: literal('1') } }, givenUp: { release: 2, to: 1 } });
  t.regex(record().givenUp!.reason, /^blog\/web\/0: .*given up after 5 failed starts[\s\S]*no database/);
  const view = cluster.node('node-1').agent.admin.app('blog');
  t.true(view.conditions.some(({ type, status }) => type === 'RolledBack' && status));
  t.is(cluster.events('rollout-given-up').length, 1);
});

test('a release that never answers is given up at the deadline', async t => {
  const { cluster, spec, record, serving } = await running({ healthyDeadlineSeconds: 20 }, () => ({
    readyAfterMs: 1e9,
  }));
  await cluster.apply(spec('2'));
  const sinceMs = cluster.clock.now();
  await cluster.until(() => record().givenUp !== undefined, 120_000);
  const afterMs = cluster.clock.now() - sinceMs;
  t.true(afterMs >= 19_000 && afterMs < 25_000, `${afterMs} ms`);
  t.regex(record().givenUp!.reason, /not healthy in the eyes of their observers within 20 s/);
  t.is(serving(), '1 1 1 1');
});

test('what its node finds ready and no observer reaches is not healthy', async t => {
  const { cluster, spec, record } = await running({ healthyDeadlineSeconds: 20 });
  for (const node of cluster.nodes.values())
    for (const other of cluster.nodes.keys()) if (other !== node.name) node.deafTo.add(other);
  await cluster.apply(spec('2'));
  await cluster.until(() => record().givenUp !== undefined, 120_000);
  t.is(record().release, 1);
});

test('what is deployed after that is another release, and forgets it', async t => {
  const { cluster, spec, record } = await running({}, launch =>
    launch.release === 2 ? { readyAfterMs: 1e9, endsAfterMs: 10, code: 1 } : {},
  );
  await cluster.apply(spec('2'));
  await cluster.until(() => record().givenUp !== undefined && record().rollout === undefined, 180_000);
  await cluster.apply(spec('3'));
  await cluster.until(() => record().rollout === undefined, 120_000);
  t.like(record(), { release: 3 });
  t.is(record().givenUp, undefined);
  t.is(cluster.etcd.contents('releases')['blog/000003']?.replaces, 1);
});

test('a better release may follow while a bad one is still being tried, and the last good one is kept in mind', async t => {
  const { cluster, spec, record } = await running({}, launch =>
    launch.release === 2 ? { readyAfterMs: 1e9 } : {},
  );
  await cluster.apply(spec('2'));
  await cluster.advance(3000);
  await cluster.apply(spec('3'));
  t.is(record().rollout?.before.release, 1);
  await cluster.until(() => record().rollout === undefined, 120_000);
  t.is(record().release, 3);
});

test('blue and green: the new copies stand ready beside the old, then all traffic is switched at once', async t => {
  const { cluster, spec, record, serving, releases } = await running({ strategy: 'blue-green' });
  await cluster.apply(spec('2'));
  const { mixed, fewest } = await mixes(cluster, () => {
    if (record().rollout?.stage === 'beside' && serving() !== '1 1 1 1') t.fail(serving());
    return record().rollout === undefined && releases().every(release => release === 2);
  });
  t.false(mixed);
  t.is(fewest, 4);
  t.deepEqual(
    cluster
      .events()
      .map(({ kind }) => kind)
      .filter(kind => kind.startsWith('rollout-')),
    ['rollout-settled', 'rollout-promoted', 'rollout-settled'],
  );
});

test('green that does not get ready is given up, and blue has all the traffic all the time', async t => {
  const { cluster, spec, record, serving, releases } = await running(
    { strategy: 'blue-green', healthyDeadlineSeconds: 15 },
    launch => (launch.instance === 'blog/web/2' ? { readyAfterMs: 1e9 } : {}),
  );
  await cluster.apply(spec('2'));
  const { mixed, fewest } = await mixes(cluster, () => record().givenUp !== undefined);
  await cluster.until(() => releases().join() === '1,1,1,1', 60_000);
  t.false(mixed);
  t.is(fewest, 4);
  t.is(serving(), '1 1 1 1');
  t.regex(record().givenUp!.reason, /blog\/web\/2/);
});

test('what stood ready beside and was not promoted gets no request when something newer takes its place', async t => {
  const { cluster, spec, record, admin, serving, releases } = await running({
    strategy: 'blue-green',
    promote: 'manual',
  });
  // One more than before, so that one stands beside nothing.
  const added = 'blog/web/4';
  const grown = (value: string) => ({ ...spec(value), processes: [processSpec({ scale: 5 })] });
  await cluster.apply(grown('2'));
  await cluster.until(
    () => INSTANCES.every(id => cluster.copies(id).length === 2) && cluster.copies(added).length === 1,
  );
  await cluster.advance(10_000);
  t.is(serving(), '1 1 1 1');
  t.deepEqual(
    admin
      .instances({ app: 'blog' })
      .items.map(({ state, ready, version }) => `${state} ${ready ? 'ready' : '-'} ${version ?? ''}`),
    [...INSTANCES.map(() => 'running ready 1'), 'standby - 2'],
  );
  t.like(admin.app('blog').conditions, [
    { type: 'Ready', status: true, message: 'all 4 instance(s) are ready' },
    { type: 'RollingOut', status: true },
  ]);
  const next = grown('3');
  await cluster.apply({ ...next, deploy: { ...next.deploy, strategy: 'rolling' } });
  const seen = new Set<string>();
  const { fewest } = await mixes(cluster, () => {
    for (const version of serving().split(' ')) seen.add(version);
    const said = cluster.said(cluster.owner(added)?.node ?? '', added);
    if (said?.ready === true) seen.add(said.version);
    return record().rollout === undefined && releases().every(release => release === 3);
  });
  t.deepEqual([...seen].sort(), ['1', '3']);
  t.true(fewest >= 4, String(fewest));
});

test('with blue and green a worker, which works as soon as it runs, waits for the switch', async t => {
  const worker = processSpec({ type: 'worker', routed: false });
  const processes = [processSpec({ scale: 4 }), worker];
  const { cluster, spec, record, admin } = await running({ strategy: 'blue-green', promote: 'manual' });
  await cluster.apply(spec('2', { processes }));
  await cluster.until(
    () => record().rollout === undefined || INSTANCES.every(id => cluster.copies(id).length === 2),
  );
  await cluster.advance(10_000);
  t.is(cluster.copies('blog/worker/0').length, 0);
  t.is(record().rollout?.stage, 'beside', 'an operator has the word');
  t.is(
    admin.app('blog').conditions.find(({ type }) => type === 'RollingOut')?.message,
    'release 2 takes the place of 1: copies of it get ready beside, until hop3-agent promote blog, or rollback blog',
  );
  await cluster.whileTimePasses(admin.promote('blog'));
  await cluster.until(() => record().rollout === undefined, 60_000);
  t.is(cluster.copies('blog/worker/0')[0]?.unit.release, 2);
  await t.throwsAsync(cluster.whileTimePasses(admin.promote('blog')), {
    message: /no release of "blog" waits/,
  });
});

test('a canary is a share of the instances, and the others follow when it was healthy for its time', async t => {
  const { cluster, spec, record, serving } = await running({
    strategy: 'canary',
    canaryShare: 0.5,
    bakeSeconds: 30,
  });
  await cluster.apply(spec('2'));
  await cluster.until(() => serving() === '2 2 1 1');
  const sinceMs = cluster.clock.now();
  await cluster.until(() => {
    if (record().rollout?.stage === 'canary' && !/^[12] [12] 1 1$/.test(serving())) t.fail(serving());
    return record().rollout?.stage === 'replacing';
  }, 120_000);
  t.true(cluster.clock.now() - sinceMs >= 29_000);
  await cluster.until(() => record().rollout === undefined, 120_000);
  t.is(serving(), '2 2 2 2');
});

test('a canary that falls ill while it is watched is given up', async t => {
  const { cluster, spec, record, serving } = await running({ strategy: 'canary', bakeSeconds: 60 });
  await cluster.apply(spec('2'));
  await cluster.until(() => serving() === '2 1 1 1');
  await cluster.advance(10_000);
  const { unit } = cluster.copies('blog/web/0')[0]!;
  cluster.replies.set(unit.unit, { kind: 'http', status: 500 });
  await cluster.until(() => record().givenUp !== undefined, 60_000);
  t.regex(record().givenUp!.reason, /^blog\/web\/0 fell ill while it was tried: /);
  await cluster.until(() => serving() === '1 1 1 1', 60_000);
});

test('a canary can be given up by hand, and whoever watches it may die', async t => {
  const { cluster, spec, record, admin, serving } = await running({ strategy: 'canary', bakeSeconds: 20 });
  await cluster.apply(spec('2'));
  await cluster.until(() => serving() === '2 1 1 1');
  await cluster.whileTimePasses(admin.rollback('blog', null));
  t.like(record(), { release: 1, rollout: { final: true } });
  await cluster.until(() => serving() === '1 1 1 1' && record().rollout === undefined, 60_000);
  await cluster.apply(spec('3'));
  await cluster.until(() => serving() === '3 1 1 1');
  await cluster.node('node-1').crash();
  await cluster.until(() => record().rollout === undefined && record().release === 3, 240_000);
  t.is(record().givenUp, undefined);
});

test('the names of both releases are held until it is settled, and the old ones then go', async t => {
  const { cluster, spec, record } = await running({ healthyDeadlineSeconds: 10 }, launch =>
    launch.release === 2 ? { readyAfterMs: 1e9 } : {},
  );
  const names = () => Object.keys(cluster.etcd.contents('hostnames'));
  await cluster.apply(spec('2', { hostnames: ['new.test'] }));
  t.deepEqual(names(), ['blog.example.com', 'new.test']);
  await cluster.until(() => record().givenUp !== undefined, 60_000);
  t.deepEqual(names(), ['blog.example.com']);
  await cluster.apply(spec('3', { hostnames: ['new.test'] }));
  await cluster.until(() => record().rollout === undefined, 60_000);
  t.deepEqual(names(), ['new.test']);
});
