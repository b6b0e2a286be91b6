import test from 'ava';
import { deploySteps } from '../../../src/agent/deploy/deployment-plan.ts';
import type { AppSpec } from '../../../src/model/app-spec.ts';
import { StoreError } from '../../../src/ports/store.ts';
import { SimCluster, webApp } from '../../support/sim-cluster.ts';
import { APP, begin, dyingAt, latest, record, type Commit } from './deploying.ts';

/** Deployments of one app: release 1 runs everywhere, and its deployment has ended. */
async function threeNodes(spec: AppSpec = webApp(2)) {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3'], { ttlSeconds: 3 });
  await cluster.start();
  await cluster.run(spec);
  await cluster.until(() => latest(cluster).settled !== null);
  return cluster;
}

for (const [index, step] of deploySteps.entries()) {
  for (const moment of ['begun', 'done'] as const) {
    for (const after of ['its machine is gone', 'it is started again'] as const) {
      test(`the node that drives a deployment dies when ${step} has ${moment === 'begun' ? 'begun' : 'been done'}, and ${after}: one release, and no turn left`, async t => {
        const cluster = await threeNodes();
        const node = cluster.node('node-1');
        const { dead } = dyingAt(node, index, moment);
        const { ended } = begin(cluster, webApp(2, { beforeRun: ['echo migrated'] }));
        await cluster.until(dead);
        if (after === 'its machine is gone') {
          cluster.network.delete(`${node.address}:7400`);
          await node.crash();
        } else {
          await cluster.whileTimePasses(node.stop());
          await node.start();
        }
        await ended;
        await cluster.until(() => latest(cluster).settled !== null, 300_000);
        // What was uploaded to a node that is gone with it, before it was copied, nobody can deploy.
        const lost = after === 'its machine is gone' && step === 'fetch' && moment === 'begun';
        t.is(latest(cluster).settled!.state, lost ? 'COMPENSATED' : 'COMPLETED');
        t.deepEqual(cluster.etcd.contents('deploys'), {});
        await cluster.until(() => cluster.settled(APP, 'node-2') && record(cluster)?.rollout === undefined);
        t.like(record(cluster), { release: lost ? 1 : 2, rollout: undefined });
        const ran = [...cluster.nodes.values()].flatMap(({ artifacts }) => artifacts.hooksRun).length;
        // Each attempt runs them once: that of a node which died over it may have, and nothing else is made again.
        t.true(lost ? ran === 0 : ran === 1 || (step === 'before-run' && ran === 2), `ran ${ran} times`);
        const next = await cluster.apply(webApp(2), { on: 'node-2', content: 'blog 3' });
        t.is(next.at(-1)?.kind, 'done');
      });
    }
  }
}

test('a node that was overtaken makes nothing wanted any more', async t => {
  const cluster = await threeNodes();
  const { store } = cluster.node('node-1');
  const commit: Commit = store.commit.bind(store);
  let overtaken = false;
  store.commit = async (compares, writes) => {
    if (!overtaken && writes.some(write => 'put' in write && write.put === 'apps')) {
      overtaken = true;
      const held = cluster.etcd.contents('deploys')[APP]!;
      await commit([], [{ put: 'deploys', name: APP, value: { ...held, token: '999999999' } }]);
    }
    return commit(compares, writes);
  };
  const { said, ended } = begin(cluster, webApp(2));
  await cluster.whileTimePasses(ended);
  t.true(overtaken);
  t.is(said.at(-1)?.kind, 'failed');
  t.is(record(cluster)?.release, 1);
  t.deepEqual(cluster.etcd.contents('deploys'), {});
});

test('a release that is wanted though nobody heard of it is found to be, and not made again', async t => {
  const cluster = await threeNodes();
  const { store } = cluster.node('node-1');
  const commit: Commit = store.commit.bind(store);
  let lost = 0;
  store.commit = async (compares, writes) => {
    const result = await commit(compares, writes);
    if (lost === 0 && writes.some(write => 'put' in write && write.put === 'apps')) {
      lost++;
      throw new StoreError('the reply was lost', { outcome: 'unknown', retryable: true });
    }
    return result;
  };
  const { said, ended } = begin(cluster, webApp(2));
  await cluster.whileTimePasses(ended);
  t.is(lost, 1);
  t.is(said.at(-1)?.kind, 'done', JSON.stringify(said));
  t.like(record(cluster), { release: 2, generation: 2 });
});

test('what was built before is known as soon as its source is there, and not built again', async t => {
  const cluster = await threeNodes();
  for (const node of cluster.nodes.values()) node.artifacts.platform = 'linux-x64-node20';
  const first = begin(cluster, webApp(2));
  await cluster.whileTimePasses(first.ended);
  await cluster.until(() => latest(cluster).settled !== null);
  await cluster.whileTimePasses(cluster.node('node-1').agent.admin.remove(APP));
  await cluster.until(() => record(cluster) === undefined);
  const second = begin(cluster, webApp(2));
  await cluster.whileTimePasses(second.ended);
  t.is(second.said.at(-1)?.kind, 'done', JSON.stringify(second.said));
  t.deepEqual(cluster.node('node-1').artifacts.built, [APP]);
  const told = second.said.flatMap(each => (each.kind === 'step' ? [`${each.step}: ${each.message}`] : []));
  t.true(
    told.some(words => /^fetch: the source is on node-1 .*; it was built before$/.test(words)),
    told.join('\n'),
  );
  t.false(
    told.some(words => words.startsWith('build: ')),
    told.join('\n'),
  );
});

/** Release 2 on its way, as far as one step, which takes until it is told to stop. */
async function held(step: 'build' | 'settle', cluster: SimCluster, signal?: AbortSignal) {
  const { artifacts } = cluster.node('node-1');
  if (step === 'build') {
    artifacts.build = async (_spec, _note, ending) => {
      await cluster.clock.sleep(3_600_000, ending);
      ending.throwIfAborted();
      throw new Error('nobody ended it');
    };
  } else {
    cluster.behaviour = () => ({ readyAfterMs: 3_600_000 });
  }
  const { said, ended } = begin(cluster, webApp(2), signal);
  const at = deploySteps.indexOf(step);
  const isAt = () =>
    Object.values(cluster.etcd.contents('steps')).some(
      ({ plan, steps }) =>
        plan === latest(cluster).plan &&
        steps.some(({ index, state }) => index === at && state === 'RUNNING'),
    );
  await cluster.until(isAt);
  return { said, ended, plan: latest(cluster).plan };
}

for (const { step, said: heard } of [
  { step: 'build', said: /^somebody cancelled it/ },
  // By then its release is wanted, and whoever asked has heard that.
  { step: 'settle', said: null },
] as const) {
  test(`a deployment that is cancelled in ${step} ends with the release before, and its turn is free`, async t => {
    const cluster = await threeNodes();
    const { said, ended, plan } = await held(step, cluster);
    t.is(
      cluster
        .node('node-2')
        .agent.admin.app(APP)
        .conditions.find(({ type }) => type === 'Deploying')?.message,
      `${step} on node-1, plan ${plan}`,
    );
    await cluster.node('node-3').agent.plans.cancel(plan, 'somebody');
    await cluster.until(() => latest(cluster).settled !== null);
    await cluster.whileTimePasses(ended);
    const last = said.at(-1);
    if (heard === null) t.is(last?.kind, 'done');
    else t.true(last?.kind === 'failed' && heard.test(last.message), JSON.stringify(last));
    cluster.behaviour = () => ({});
    await cluster.until(() => cluster.settled(APP) && record(cluster)?.rollout === undefined);
    t.like(record(cluster), { release: 1 });
    t.is(record(cluster)?.givenUp?.release, step === 'settle' ? 2 : undefined);
    t.deepEqual(cluster.etcd.contents('deploys'), {});
    t.is(latest(cluster).settled?.state, 'COMPENSATED');
  });
}

test('whoever asks for a deployment and leaves before its release is wanted cancels it', async t => {
  const cluster = await threeNodes();
  const leaving = new AbortController();
  await held('build', cluster, leaving.signal);
  leaving.abort(new Error('the client left'));
  await cluster.until(() => latest(cluster).settled !== null);
  t.like(latest(cluster), { settled: { state: 'COMPENSATED' }, cancel: { by: 'whoever asked for it' } });
  t.deepEqual(cluster.etcd.contents('deploys'), {});
  t.is(record(cluster)?.release, 1);
});

/** One node, on which a first release never gets healthy. */
async function firstOneSick(): Promise<SimCluster> {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  cluster.behaviour = () => ({ endsAfterMs: 10, code: 3, readyAfterMs: 3_600_000 });
  const spec = webApp(1);
  await cluster.apply({ ...spec, deploy: { ...spec.deploy, healthyDeadlineSeconds: 30 } });
  return cluster;
}

test('a first release that never gets healthy fails its deployment with its reason, and stays wanted, which is no alarm', async t => {
  const cluster = await firstOneSick();
  await cluster.until(() => latest(cluster).settled !== null);
  t.is(latest(cluster).settled?.state, 'COMPENSATED');
  await cluster.advance(1000);
  t.regex(cluster.events('deploy-failed')[0]!.message, /not healthy within 30 s, .*: blog\/web\/0: .*code 3/);
  t.regex(cluster.events('deploy-step-undone').at(0)!.message, /stays wanted: none before it was healthy/);
  t.deepEqual(cluster.events('undoing-given-up'), []);
  t.is(record(cluster)?.release, 1);
  t.deepEqual(cluster.etcd.contents('deploys'), {});
});

test('a first release that somebody cancels while it settles can’t be undone, and that is told', async t => {
  const cluster = await firstOneSick();
  const [plan] = Object.keys(cluster.etcd.contents('plans'));
  await cluster.node('node-1').agent.plans.cancel(plan!, 'somebody');
  await cluster.until(() => latest(cluster).settled !== null);
  t.is(latest(cluster).settled?.state, 'COMPENSATION_FAILED');
  await cluster.advance(1000);
  t.regex(cluster.events('undoing-given-up')[0]!.message, /stays wanted: none before it was healthy/);
  t.is(record(cluster)?.release, 1);
});

test('a release that is given up fails its deployment', async t => {
  const cluster = await threeNodes();
  cluster.behaviour = () => ({ endsAfterMs: 10, code: 1 });
  const spec = webApp(2);
  await cluster.apply({ ...spec, restart: { ...spec.restart, max: 1 } }, { content: 'blog 2' });
  await cluster.until(() => latest(cluster).settled !== null, 300_000);
  t.is(latest(cluster).settled?.state, 'COMPENSATED');
  await cluster.advance(1000);
  t.regex(cluster.events('deploy-failed')[0]!.message, /settle failed: release 2 was given up: blog\/web\/0/);
  t.is(record(cluster)?.release, 1);
});

test('a mended release follows on one that is given up while it is built', async t => {
  const cluster = await threeNodes();
  cluster.behaviour = () => ({ endsAfterMs: 10, code: 1 });
  const spec = webApp(2);
  const bad = { ...spec, restart: { ...spec.restart, max: 1 } };
  await cluster.apply(bad, { on: 'node-2', content: 'blog bad' });
  t.is(record(cluster)?.release, 2);
  const { artifacts } = cluster.node('node-1');
  const build = artifacts.build.bind(artifacts);
  artifacts.build = async (...args) => {
    while (record(cluster)?.release !== 1) await cluster.clock.sleep(100);
    cluster.behaviour = () => ({});
    return build(...args);
  };
  const { said, ended } = begin(cluster, spec);
  await cluster.whileTimePasses(ended, 400_000);
  t.is(said.at(-1)?.kind, 'done', JSON.stringify(said.at(-1)));
  await cluster.until(() => cluster.settled(APP) && record(cluster)?.rollout === undefined);
  t.is(record(cluster)?.release, 3);
});

test('nobody can submit a step of a deployment', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const { plans } = cluster.node('node-1').agent;
  const step = { agent: 'deploy', resource: APP, arguments: { step: 'roll' } };
  const spec = {
    title: null,
    steps: [{ agent: 'http', resource: 'http://127.0.0.1/', compensate: step }, step],
    priority: 5,
    sequential: false,
    onFailure: 'compensate',
    completeBySeconds: null,
  } as const;
  const fields = plans.check({ ...spec, steps: [...spec.steps] }).map(({ field }) => field);
  t.deepEqual(fields, ['steps[0].compensate.agent', 'steps[1].agent']);
  const request = {
    spec: { ...spec, steps: [...spec.steps] },
    idempotencyKey: null,
    digest: '',
    origin: 'x',
  };
  await t.throwsAsync(plans.submit(request), { message: /2 things are wrong with it/ });
  t.deepEqual(cluster.etcd.contents('plans'), {});
});
