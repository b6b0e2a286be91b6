import test from 'ava';
import type { AppSpec, EnvValue } from '../../../src/model/app-spec.ts';
import type { ApplyResult, DeployProgress } from '../../../src/model/views.ts';
import { AdminError } from '../../../src/ports/admin.ts';
import { ArtifactError } from '../../../src/ports/artifacts.ts';
import { StoreError } from '../../../src/ports/store.ts';
import { processSpec } from '../../support/nouns.ts';
import { SimCluster, webApp } from '../../support/sim-cluster.ts';

async function oneNode() {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  await cluster.advance(2000);
  const node = cluster.node('node-1');
  return {
    cluster,
    node,
    record: (app = 'blog') => cluster.etcd.contents('apps')[app],
    plan: (...specs: AppSpec[]) => node.agent.admin.plan({ specs, ifGeneration: null }),
  };
}

function result(said: DeployProgress[]): ApplyResult | DeployProgress | undefined {
  const last = said.at(-1);
  return last?.kind === 'done' ? last.result : last;
}

const literal = (value: string): EnvValue => ({ kind: 'literal', value });

test('an app that is new is built, and wanted at release 1, generation 1', async t => {
  const { cluster, record } = await oneNode();
  const said = await cluster.apply(webApp(2));
  t.deepEqual(result(said), {
    kind: 'applied',
    apps: [{ app: 'blog', release: 1, generation: 1, change: 'create' }],
  });
  t.deepEqual(
    said.flatMap(progress => (progress.kind === 'step' ? [progress.step] : [])),
    ['fetch', 'build', 'build', 'publish', 'roll'],
  );
  const [plan] = Object.keys(cluster.etcd.contents('plans'));
  t.true(said.some(progress => progress.kind === 'begun' && progress.plan === plan));
  t.like(record(), { release: 1, generation: 1, removing: false, restarts: {} });
  t.truthy(record()?.artifact?.digest);
  t.deepEqual(Object.keys(cluster.etcd.contents('releases')), ['blog/000001']);
  t.deepEqual(cluster.etcd.contents('hostnames'), { 'blog.example.com': { v: 1, app: 'blog' } });
});

test('what was uploaded to one node can be deployed through another a moment later', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], {});
  await cluster.start();
  await cluster.advance(2000);
  const digest = cluster.node('node-1').artifacts.hold('blog 1');
  await cluster.advance(2000);
  const spec: AppSpec = { ...webApp(1), source: { kind: 'uploaded', digest } };
  t.like(result(await cluster.applyAsItIs(spec, 'node-2')), { kind: 'applied' });
});

for (const { title, parts, impact, release, generation } of [
  { title: 'nothing', parts: {}, impact: 'none', release: 1, generation: 1 },
  { title: 'a title', parts: { title: 'A blog' }, impact: 'in-place', release: 1, generation: 2 },
  {
    title: 'a health check',
    parts: { healthcheck: { ...webApp(1).healthcheck, path: '/alive' } },
    impact: 'in-place',
    release: 1,
    generation: 2,
  },
  {
    title: 'the environment',
    parts: { env: { A: literal('1') } },
    impact: 'restart',
    release: 2,
    generation: 2,
  },
  {
    title: 'the command',
    parts: { processes: [processSpec({ command: 'node other.js' })] },
    impact: 'restart',
    release: 2,
    generation: 2,
  },
  {
    title: 'the build',
    parts: { build: { ...webApp(1).build, build: ['npm ci'] } },
    impact: 'rebuild',
    release: 2,
    generation: 2,
  },
] as const) {
  test(`changing ${title} is ${impact}: release ${release}, generation ${generation}`, async t => {
    const { cluster, node, record, plan } = await oneNode();
    await cluster.run(webApp(1));
    const before = cluster.copies('blog/web/0')[0]!.unit.pid;
    const spec = { ...webApp(1, parts as Partial<AppSpec>), source: record()!.spec.source };
    const planned = await plan(spec);
    t.deepEqual(planned.problems, []);
    t.is(planned.plans[0]?.impact, impact);
    await cluster.applyAsItIs(spec, 'node-1');
    t.like(record(), { release, generation });
    await cluster.until(() => cluster.settled('blog'));
    await cluster.advance(3000);
    t.is(
      cluster.copies('blog/web/0')[0]!.unit.pid === before,
      release === 1,
      'a restart only where it must be',
    );
    t.is(node.driver.launches.length, release);
  });
}

test('another source is another release, and its artifact is another', async t => {
  const { cluster, record } = await oneNode();
  await cluster.run(webApp(1));
  const before = record()!.artifact!.digest;
  await cluster.run(webApp(1), { content: 'blog 2' });
  t.is(record()?.release, 2);
  t.not(record()?.artifact?.digest, before);
});

test('release numbers are never used again: not after a failure, a removal, or by another node', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(1));
  await cluster.run(webApp(1, { env: { A: literal('2') } }), { on: 'node-2' });
  t.is(cluster.etcd.contents('apps')['blog']?.release, 2);
  await cluster.node('node-1').agent.admin.remove('blog');
  await cluster.until(() => cluster.etcd.contents('apps')['blog'] === undefined);
  await cluster.run(webApp(1), { on: 'node-3' });
  t.is(cluster.etcd.contents('apps')['blog']?.release, 3);
  t.is(cluster.etcd.contents('apps')['blog']?.generation, 1);
});

test('a build that fails changes nothing, and its last words are told', async t => {
  const { cluster, node, record } = await oneNode();
  await cluster.run(webApp(1));
  const before = { record: record(), pid: cluster.copies('blog/web/0')[0]!.unit.pid };
  node.artifacts.failingBuilds.set(
    'blog',
    new ArtifactError('`npm ci` failed with exit code 1', { retryable: false, output: ['no such package'] }),
  );
  const said = await cluster.apply(webApp(1), { content: 'blog 2' });
  t.deepEqual(said.at(-1), {
    kind: 'failed',
    app: 'blog',
    step: 'build',
    message: '`npm ci` failed with exit code 1',
    output: ['no such package'],
  });
  t.deepEqual(record(), before.record);
  t.is(Object.keys(cluster.etcd.contents('releases')).length, 1);
  await cluster.advance(10_000);
  t.is(cluster.copies('blog/web/0')[0]?.unit.pid, before.pid);
  t.is(cluster.events('deploy-failed').length, 1);
  t.false(
    Object.keys(cluster.etcd.contents('promises')).some(name => name.includes('deploying')),
    'nobody promises to deploy it any more',
  );
});

test('commands before the run are run once per release; one that fails changes nothing', async t => {
  const { cluster, node, record } = await oneNode();
  const said = await cluster.apply(webApp(1, { beforeRun: ['echo migrated'] }));
  t.true(said.some(progress => progress.kind === 'output' && progress.text === 'migrated'));
  t.deepEqual(node.artifacts.hooksRun, ['echo migrated']);
  await cluster.apply({ ...webApp(1, { beforeRun: ['echo migrated'] }), title: 'in place' });
  t.deepEqual(node.artifacts.hooksRun, ['echo migrated']);
  const before = record();
  const failed = await cluster.apply(webApp(1, { beforeRun: ['echo migrated', 'exit 3'] }));
  t.like(failed.at(-1), { kind: 'failed', step: 'before-run', output: ['migrated'] });
  t.deepEqual(record(), before);
});

test('generated variables are made once, and outlive every later apply', async t => {
  const { cluster, node, record } = await oneNode();
  const generated: EnvValue = { kind: 'generated', format: 'hex', length: 32, prefix: 'k-' };
  await cluster.run(webApp(1, { env: { KEY: generated } }));
  const { KEY } = record()!.secrets;
  t.regex(KEY!, /^k-[0-9a-f]{32,}$/);
  t.is(node.driver.launches[0]?.env['KEY'], KEY);
  await cluster.run(webApp(1, { env: { KEY: generated, OTHER: generated } }));
  t.is(record()?.secrets['KEY'], KEY);
  t.truthy(record()?.secrets['OTHER']);
  t.not(record()?.secrets['OTHER'], KEY);
  await cluster.run(webApp(1, { env: {} }));
  await cluster.run(webApp(1, { env: { KEY: generated } }));
  t.is(record()?.secrets['KEY'], KEY, 'also when it was away for a release');
});

test('a host name belongs to one app: the second is refused with the name of the first, and nothing changes', async t => {
  const { cluster, plan } = await oneNode();
  await cluster.run(webApp(1));
  const before = { apps: cluster.etcd.contents('apps'), hostnames: cluster.etcd.contents('hostnames') };
  const shop = webApp(1, { app: 'shop' });
  const refused = result(await cluster.apply(shop));
  t.like(refused, { kind: 'refused' });
  const { problems } = await plan({ ...shop, source: { kind: 'git', url: 'https://x', ref: 'main' } });
  t.deepEqual(
    problems.map(problem => problem.message),
    ['host name "blog.example.com" is held by app "blog"'],
  );
  t.deepEqual({ apps: cluster.etcd.contents('apps'), hostnames: cluster.etcd.contents('hostnames') }, before);
  await cluster.run({ ...webApp(1), hostnames: ['other.example.com'] });
  t.deepEqual(
    Object.keys(cluster.etcd.contents('hostnames')),
    ['other.example.com'],
    'what is given up is free',
  );
  await cluster.run(shop);
  t.pass();
});

test('two apps in one request with one host name are refused before the first is deployed', async t => {
  const { cluster, node } = await oneNode();
  const source = { kind: 'uploaded', digest: node.artifacts.hold('both') } as const;
  const specs = [webApp(1, { source }), webApp(1, { app: 'shop', source })];
  const said: DeployProgress[] = [];
  for await (const progress of node.agent.admin.apply(
    { specs, ifGeneration: null },
    new AbortController().signal,
  ))
    said.push(progress);
  t.like(result(said), { kind: 'refused' });
  t.deepEqual(cluster.etcd.contents('apps'), {});
});

test('apps that wait for each other in a circle are refused, also when one is there already', async t => {
  const { cluster, plan } = await oneNode();
  await cluster.apply(webApp(1, { app: 'auth', hostnames: [], dependsOn: ['blog'] }));
  const { problems } = await plan(
    webApp(1, { source: { kind: 'git', url: 'https://x', ref: 'main' }, dependsOn: ['auth'] }),
  );
  t.is(problems.length, 1);
  t.regex(problems[0]!.message, /auth.*blog|blog.*auth/);
});

test('apps in one request are deployed in the order of their dependencies', async t => {
  const { cluster, node } = await oneNode();
  const source = { kind: 'uploaded', digest: node.artifacts.hold('all') } as const;
  const specs = [
    webApp(1, { source, dependsOn: ['auth'] }),
    webApp(1, { app: 'auth', hostnames: [], source, dependsOn: ['db'] }),
    webApp(1, { app: 'db', hostnames: [], source }),
  ];
  const said: DeployProgress[] = [];
  for await (const progress of node.agent.admin.apply(
    { specs, ifGeneration: null },
    new AbortController().signal,
  ))
    said.push(progress);
  const last = result(said);
  t.deepEqual(last && last.kind === 'applied' ? last.apps.map(({ app }) => app) : last, [
    'db',
    'auth',
    'blog',
  ]);
  await cluster.until(() => cluster.settled('blog'));
});

for (const { title, parts, message } of [
  {
    title: 'a directory on another machine',
    parts: { source: { kind: 'path', path: '/x' } },
    message: /uploaded first/,
  },
  { title: 'no source', parts: {}, message: /nothing says where the app is/ },
  {
    title: 'a source tree nobody holds',
    parts: { source: { kind: 'uploaded', digest: 'sha256:none' } },
    message: /no node holds the source tree sha256:none/,
  },
  {
    title: 'a builder that is not there',
    parts: { source: { kind: 'git', url: 'x', ref: 'y' }, build: { ...webApp(1).build, builder: 'docker' } },
    message: /not built with docker/,
  },
] as const) {
  test(`${title} is refused, and nothing changes`, async t => {
    const { cluster } = await oneNode();
    const { revision } = cluster.etcd;
    const said = await cluster.applyAsItIs(webApp(1, parts), 'node-1');
    const last = result(said);
    t.true(last?.kind === 'refused' && last.problems.some(problem => message.test(problem.message)));
    t.is(cluster.etcd.revision, revision);
  });
}

test('a generation that is not the one expected is refused', async t => {
  const { cluster, node, record } = await oneNode();
  await cluster.run(webApp(1));
  const specs = [{ ...webApp(1), source: record()!.spec.source, title: 'newer' }];
  for (const { ifGeneration, applied } of [
    { ifGeneration: 7, applied: false },
    { ifGeneration: 1, applied: true },
  ]) {
    const said: DeployProgress[] = [];
    for await (const progress of node.agent.admin.apply(
      { specs, ifGeneration },
      new AbortController().signal,
    ))
      said.push(progress);
    t.is(result(said)?.kind, applied ? 'applied' : 'refused');
  }
});

test('what somebody else changed meanwhile is not overwritten: it says so, and to try again', async t => {
  const { cluster, node, record } = await oneNode();
  await cluster.run(webApp(1));
  const build = node.artifacts.build.bind(node.artifacts);
  node.artifacts.build = async (...args) => {
    await node.agent.admin.scale('blog', { web: 3 });
    return build(...args);
  };
  const said = await cluster.apply(webApp(1), { content: 'blog 2' });
  t.like(said.at(-1), { kind: 'failed', app: 'blog' });
  t.regex(
    JSON.stringify(said.at(-1)),
    /was changed by somebody else meanwhile: nothing was changed; try again/,
  );
  t.like(record(), { release: 1, generation: 2 });
  t.is(record()?.spec.processes[0]?.scale, 3);
});

test('while it deploys, the node promises that, with a time to be complete by', async t => {
  const { cluster, node } = await oneNode();
  const build = node.artifacts.build.bind(node.artifacts);
  node.artifacts.build = async (...args) => {
    await cluster.clock.sleep(2000);
    return build(...args);
  };
  const applying = cluster.apply(webApp(1));
  await cluster.advance(1000);
  const promise = cluster.etcd.contents('promises')['node-1/deploying:blog/1']?.promise;
  t.like(promise, {
    kind: 'action',
    promisee: 'blog',
    body: { kind: 'deploying', app: 'blog', release: 1, step: 'build' },
  });
  t.truthy(promise?.completeBy);
  await applying;
});

test('removing an app and applying it again before it is gone is an update, not a mess', async t => {
  const { cluster, node, record } = await oneNode();
  await cluster.run(webApp(1));
  await node.agent.admin.remove('blog');
  await cluster.apply(webApp(1));
  t.like(record(), { release: 2, removing: false });
  await cluster.until(() => cluster.settled('blog'));
  await cluster.advance(3000);
  t.is(cluster.copies('blog/web/0').length, 1);
});

test('without a store a deployment fails in words, and a plan says unavailable', async t => {
  const { cluster, node, plan } = await oneNode();
  node.store.setLink('refused');
  const said = await cluster.apply(webApp(1));
  t.like(said.at(-1), { kind: 'failed', step: 'plan', message: 'cannot be reached' });
  const error = await t.throwsAsync(plan(webApp(1)), { instanceOf: AdminError });
  t.is(error.kind, 'unavailable');
});

test('two deployments of one app go one after the other, and the second says for whom it waits', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: 10 });
  await cluster.start();
  const [first, second] = await Promise.all([
    cluster.apply(webApp(1, { env: { A: literal('1') } }), { on: 'node-1' }),
    cluster.apply(webApp(1, { env: { A: literal('2') } }), { on: 'node-2', content: 'other' }),
  ]);
  const releases = [first, second].map(said => {
    const last = result(said);
    return last?.kind === 'applied' ? last.apps[0]?.release : last;
  });
  t.deepEqual(releases.toSorted(), [1, 2]);
  const waited = [...first, ...second].flatMap(each =>
    each.kind === 'step' && each.step === 'lock' ? [each] : [],
  );
  t.is(waited.length, 1);
  t.regex(waited[0]!.message, /^waits for node-[12], which deploys it since 2/);
  t.deepEqual(cluster.etcd.contents('deploys'), {});
});

test('a turn whose plan has ended, or is gone, is in nobody’s way', async t => {
  const { cluster, node, record } = await oneNode();
  await cluster.run(webApp(1));
  const [ended] = Object.values(cluster.etcd.contents('plans'));
  await cluster.until(() => cluster.etcd.contents('plans')[ended!.plan]?.settled?.state === 'COMPLETED');
  for (const [n, plan] of [ended!.plan, 'gone'].entries()) {
    const since = cluster.clock.timestamp();
    const value = { v: 1, app: 'blog', plan, node: 'node-9', since, token: '0', draft: null } as const;
    const asked = webApp(1);
    await node.store.commit([], [{ put: 'deploys', name: 'blog', value: { ...value, asked } }]);
    t.is(result(await cluster.apply(webApp(1), { content: `blog ${n + 2}` }))?.kind, 'applied');
    t.is(record()?.release, n + 2);
    t.deepEqual(cluster.etcd.contents('deploys'), {});
  }
});

test('what is deployed under a turn that was lost meanwhile is not written', async t => {
  const { cluster, node, record } = await oneNode();
  const build = node.artifacts.build.bind(node.artifacts);
  node.artifacts.build = async (...args) => {
    cluster.etcd.delete('deploys', 'blog');
    return build(...args);
  };
  t.like(result(await cluster.apply(webApp(1))), { kind: 'failed', app: 'blog' });
  t.is(record(), undefined);
});

for (const { title, lost } of [
  { title: 'taken', lost: 'put' },
  { title: 'let go of', lost: 'delete' },
] as const) {
  test(`a turn that was ${title} with the reply lost is in nobody's way for long`, async t => {
    const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: 10 });
    await cluster.start();
    const { store } = cluster.node('node-2');
    const commit = store.commit.bind(store);
    let losses = 0;
    store.commit = async (compares, writes) => {
      const isMeant = writes.some(write => lost in write && Object.values(write).includes('deploys'));
      if (!isMeant || losses > 0) return commit(compares, writes);
      losses++;
      if (lost === 'put') await commit(compares, writes);
      throw new StoreError('no answer in time', { outcome: 'unknown', retryable: true });
    };
    const first = await cluster.apply(webApp(1), { on: 'node-2' });
    t.is(result(first)?.kind, 'applied');
    t.is(losses, 1);
    const second = await cluster.apply(webApp(1, { env: { A: literal('2') } }), { on: 'node-1' });
    t.is(result(second)?.kind, 'applied');
    t.deepEqual(cluster.etcd.contents('deploys'), {});
  });
}
