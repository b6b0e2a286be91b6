import test from 'ava';
import { deploySteps } from '../../../src/agent/deploy/deployment-plan.ts';
import { stepAgents as dispatcher } from '../../../src/drivers/step-agents.ts';
import type { StepAgent } from '../../../src/ports/step-agents.ts';
import { FakeBlobs } from '../../support/fake-blobs.ts';
import { SimCluster, webApp, type SimNode } from '../../support/sim-cluster.ts';
import { sessionRecord } from '../../support/store-worlds.ts';
import { APP, begin, dyingAt, latest, record } from './deploying.ts';

const X64 = 'linux-x64-node20';
const ARM = 'linux-arm64-node20';

/** Release 1 of an app runs on the nodes of the first one's platform, and its deployment has ended. */
async function mixed(...platforms: string[]) {
  const cluster = new SimCluster([], {});
  for (const [index, platform] of platforms.entries())
    cluster.add(`node-${index + 1}`, { ttlSeconds: 3, platform });
  await cluster.start();
  await cluster.run(webApp(2));
  await cluster.until(() => latest(cluster).settled !== null);
  return cluster;
}

const nodes = (cluster: SimCluster): SimNode[] => [...cluster.nodes.values()];
const running = (cluster: SimCluster): string[] =>
  nodes(cluster)
    .filter(({ name }) => cluster.said(name, `${APP}/web/0`) ?? cluster.said(name, `${APP}/web/1`))
    .map(({ settings }) => settings.platform ?? '');

for (const { left, platforms } of [
  { left: 'another of its platform', platforms: [X64, ARM, X64] },
  { left: 'none of its platform', platforms: [X64, ARM, ARM] },
]) {
  for (const { step, moment } of [
    { step: 'build', moment: 'begun' },
    { step: 'build', moment: 'done' },
    { step: 'before-run', moment: 'begun' },
    { step: 'before-run', moment: 'done' },
    { step: 'roll', moment: 'begun' },
  ] as const) {
    test(`a node is lost when ${step} has ${moment === 'begun' ? 'begun' : 'been done'}, and ${left} is left: what is built and run there is for the nodes that are`, async t => {
      const cluster = await mixed(...platforms);
      const node = cluster.node('node-1');
      const { dead } = dyingAt(node, deploySteps.indexOf(step), moment);
      const { ended } = begin(cluster, webApp(2, { beforeRun: ['echo migrated'] }));
      await cluster.until(dead);
      cluster.network.delete(`${node.address}:7400`);
      await node.crash();
      await ended;
      await cluster.until(() => latest(cluster).settled !== null, 300_000);
      t.is(latest(cluster).settled?.state, 'COMPLETED');
      await cluster.until(() => cluster.settled(APP, 'node-2') && record(cluster)?.rollout === undefined);
      const expected = left === 'another of its platform' ? X64 : ARM;
      t.like(record(cluster), { release: 2, artifact: { platform: expected } });
      t.deepEqual([...new Set(running(cluster))], [expected]);
      t.deepEqual(cluster.events('deploy-failed'), []);
      const done = cluster.events('deploy-step-done').map(({ message }) => message);
      const wasBuilt = step !== 'build' || moment === 'done';
      t.is(
        done.some(message => message.includes(`built 1 KiB anew: no node of ${X64} is left`)),
        expected === ARM && wasBuilt,
        done.join('; '),
      );
      const built = nodes(cluster).flatMap(({ artifacts }) => artifacts.built).length;
      // Both releases once, and once more for another platform, or because the node was lost over it.
      t.true(built === 2 || (built === 3 && (expected === ARM || step === 'build')), `built ${built} times`);
    });
  }
}

test('a scheduled command is left to nodes that can run the release of its app, and fails when there is none', async t => {
  const cluster = new SimCluster([]);
  const ran: string[] = [];
  const command = (node: SimNode): StepAgent => ({
    name: 'command',
    check: () => [],
    isForOthers: () => node.agent.places.isForOthers(APP),
    run: async (_task, signal) => {
      const place = await node.agent.places.enter(APP, signal);
      ran.push(node.name);
      place.leave();
      return { kind: 'completed', output: null };
    },
  });
  const blobs = new FakeBlobs(cluster.clock);
  const stepAgents = (node: SimNode) => dispatcher([command(node)], { blobs });
  cluster.add('node-1', { platform: ARM, stepAgents });
  await cluster.start();
  const schedule = {
    expression: '* * * * *',
    timeZone: 'UTC',
    overlap: 'forbid' as const,
    catchUp: { kind: 'latest' as const },
  };
  const cron = { name: 'tidy', command: './tidy', schedule, timeoutSeconds: 60, attempts: 1 };
  await cluster.run(webApp(1, { crons: [cron] }));
  await cluster.until(() => latest(cluster).settled !== null);
  const other = sessionRecord({ node: 'node-9', incarnation: 'i', platform: X64, roles: ['apps'] });
  cluster.etcd.put('sessions', 'node-9/i', other);
  const wanted = record(cluster)!;
  const builtFor = (platform: string): void => {
    cluster.etcd.put('apps', APP, { ...wanted, artifact: { ...wanted.artifact!, platform } });
  };
  builtFor(X64);
  await cluster.advance(120_000);
  t.is(latest(cluster).settled, null, 'it is for a node that does not take it');
  t.deepEqual(ran, []);
  const { plans } = cluster.node('node-1').agent;
  const why =
    'step 0 waits for the agent "command": node-1 leaves this one to those that can do it, and no other node has begun the step';
  t.deepEqual((await plans.plan(latest(cluster).plan)).troubles, [why]);
  const [left] = cluster.events('firing-left-out').map(({ message }) => message);
  t.true(left?.endsWith(`: left out: ${latest(cluster).plan} of this schedule has not ended; ${why}`), left);
  builtFor(ARM);
  await cluster.advance(1000);
  t.deepEqual(ran, ['node-1'], 'now it is for this one');
  t.is(latest(cluster).settled?.state, 'COMPLETED');
  builtFor(X64);
  await cluster.advance(120_000);
  cluster.etcd.delete('sessions', 'node-9/i');
  await cluster.advance(1000);
  t.is(latest(cluster).settled?.state, 'FAILED');
  const { error } = await plans.step(latest(cluster).plan, 0);
  t.is(
    error,
    `release 1 of blog was built for ${X64}; node-1 is ${ARM}, and no other node that takes work can run it`,
  );
  t.deepEqual(ran, ['node-1']);
});

test('a new release is built for the platform of the one before, whichever node is asked for it', async t => {
  const cluster = await mixed(X64, ARM, X64);
  await cluster.run(webApp(2, { beforeRun: ['echo migrated'] }), { on: 'node-2', content: 'blog 2' });
  t.like(record(cluster), { release: 2, artifact: { platform: X64 } });
  const { artifacts } = cluster.node('node-2');
  t.deepEqual([artifacts.built, artifacts.hooksRun], [[], []]);
});

test('a first release is built for a node that can be given the app', async t => {
  const cluster = new SimCluster([]);
  cluster.add('node-1', { platform: X64, labels: { zone: 'a' } });
  cluster.add('node-2', { platform: ARM, labels: { zone: 'b' } });
  await cluster.start();
  const spec = webApp(1);
  await cluster.run({ ...spec, placement: { ...spec.placement, requires: { zone: 'b' } } });
  t.like(record(cluster), { release: 1, artifact: { platform: ARM } });
});

test('once no node is left of the platform it was built for, a manifest that has not changed is built anew', async t => {
  const cluster = await mixed(X64);
  await cluster.node('node-1').restart({ platform: ARM });
  await cluster.until(() => cluster.settled(APP));
  const { source } = record(cluster)!.spec;
  const request = { specs: [{ ...webApp(2), source }], ifGeneration: null };
  const { plans } = await cluster.node('node-1').agent.admin.plan(request);
  t.like(plans, [{ change: 'update', impact: 'rebuild' }]);
  await cluster.run(webApp(2));
  t.like(record(cluster), { release: 2, artifact: { platform: ARM } });
  await cluster.run(webApp(2));
  t.is(record(cluster)?.release, 2);
  const { admin } = cluster.node('node-1').agent;
  await t.throwsAsync(admin.rollback(APP, 1), {
    message: `what release 1 of "blog" runs was built for ${X64}, and no node of that is left: apply its manifest again`,
  });
  const { items } = await admin.releases(APP);
  t.deepEqual(
    items.map(({ release, kept }) => [release, kept]),
    [
      [2, true],
      [1, false],
    ],
  );
});

test('what was built on a node that is lost before another had it is built anew', async t => {
  const cluster = await mixed(X64, X64, X64);
  const node = cluster.node('node-1');
  const { artifacts } = node;
  const build = artifacts.build.bind(artifacts);
  artifacts.build = (...asked) => {
    cluster.network.delete(`${node.address}:7400`);
    return build(...asked);
  };
  const { dead } = dyingAt(node, deploySteps.indexOf('publish'), 'begun');
  const { ended } = begin(cluster, webApp(2, { beforeRun: ['echo migrated'] }));
  await cluster.until(dead);
  await node.crash();
  await ended;
  await cluster.until(() => latest(cluster).settled !== null, 300_000);
  t.is(latest(cluster).settled?.state, 'COMPLETED');
  const said = cluster.events('deploy-step-done').map(({ message }) => message);
  t.true(said.some(message => message.includes('built 1 KiB anew: nobody has what was built')));
  await cluster.until(() => cluster.settled(APP, 'node-2') && record(cluster)?.rollout === undefined);
  t.is(record(cluster)?.release, 2);
});

test('a node that left a step to others looks again when what is to be done is for it', async t => {
  const cluster = await mixed(X64, ARM);
  const other = sessionRecord({ node: 'node-9', incarnation: 'i', platform: X64, roles: ['apps'] });
  cluster.etcd.put('sessions', 'node-9/i', other);
  const node = cluster.node('node-1');
  const { dead } = dyingAt(node, deploySteps.indexOf('before-run'), 'begun');
  const { ended } = begin(cluster, webApp(2, { beforeRun: ['echo migrated'] }));
  await cluster.until(dead);
  await node.crash();
  await ended;
  await cluster.advance(30_000);
  const { artifacts } = cluster.node('node-2');
  t.deepEqual(artifacts.built, []);
  const { draft, ...held } = cluster.etcd.contents('deploys')[APP]!;
  const { artifact, ...rest } = draft!;
  t.is(artifact?.platform, X64);
  cluster.etcd.put('deploys', APP, { ...held, draft: { ...rest, platform: ARM } });
  await cluster.until(() => record(cluster)?.release === 2);
  t.like(record(cluster), { artifact: { platform: ARM } });
  t.deepEqual(artifacts.hooksRun, ['echo migrated']);
});
