import test from 'ava';
import { spawn } from 'node:child_process';
import type { PlanSpec, StepSpec } from '../../src/model/plan.ts';
import { startCluster, type TestCluster } from '../support/cluster.ts';
import { drivenFromPython } from '../support/driven-from-python.ts';
import { pythonWithGrpc } from '../support/python-grpc.ts';
import { StepResource } from '../support/step-resource.ts';
import { until } from '../support/until.ts';

const LEASE_TTL_SECONDS = 3;
const STEPS = 1_000;
/** Steps of a layer wait for one each of the layer before. */
const LAYER = 250;

let cluster: TestCluster;
let url: string;
const resource = new StepResource({ takesMs: 100 });
test.before(async () => {
  url = await resource.listen();
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: LEASE_TTL_SECONDS });
});
test.after.always(async () => {
  await cluster.stop();
  resource.close();
});

function spec(steps: StepSpec[], more: Partial<PlanSpec> = {}): PlanSpec {
  return {
    title: null,
    steps,
    priority: 5,
    sequential: false,
    onFailure: 'stop',
    completeBySeconds: null,
    ...more,
  };
}

const work = (path: string): StepSpec => ({
  agent: 'http',
  resource: `${url}${path}`,
  arguments: { method: 'POST' },
});

test.serial(
  'a client in Python at one node has what it wants done by a worker in Python at another',
  async t => {
    t.timeout(240_000);
    const python = await pythonWithGrpc();
    const { rpcAddress } = cluster.node('node-2');
    const worker = spawn(python.program, ['manifests/worker/worker.py', rpcAddress], { env: python.env });
    t.teardown(() => worker.kill('SIGKILL'));
    await drivenFromPython(t, python, cluster.node('node-1').rpcAddress);
  },
);

test.serial(
  'a thousand steps end once each and in order, while one node dies and another freezes',
  async t => {
    const steps = Array.from({ length: STEPS }, (_, index) => ({
      ...work('/work'),
      ...(index >= LAYER ? { dependsOn: [index - LAYER] } : {}),
      retry: { attempts: 10, firstWaitSeconds: 0.1, factor: 1, longestWaitSeconds: 0.1, jitter: 0 },
      timeoutSeconds: 10,
    }));
    const [first, second, third] = cluster.nodes;
    const { plan } = await first!.api.submitPlan(spec(steps), 'a-thousand');
    await until('each node works at it', async () => {
      const { items } = await first!.api.stepsOf(plan, { states: ['RUNNING'] });
      const at = new Set(items.map(({ lockedBy }) => lockedBy));
      return resource.effects.length > STEPS / 10 && at.has(second!.name) && at.has(third!.name);
    });
    await second!.end('SIGKILL');
    third!.signal('SIGSTOP');
    const frozenAt = resource.effects.length;
    t.true(frozenAt < STEPS, 'it was not over yet');
    await until('another part of it is done', () => Promise.resolve(resource.effects.length > frozenAt));
    await until('the session of the frozen one is over', async () => {
      const { items } = await first!.api.nodes();
      return items.find(({ name }) => name === third!.name)?.state !== 'Active';
    });
    third!.signal('SIGCONT');
    const view = await until(
      'it has ended',
      async () => {
        const now = await first!.api.planOf(plan);
        return now.endedAt === null ? null : now;
      },
      60_000,
    );
    t.is(view.state, 'COMPLETED', JSON.stringify(view));
    t.deepEqual(view.counts, { COMPLETED: STEPS });
    t.is(resource.effects.length, STEPS);
    const placeOf = new Map(resource.effects.map((key, place) => [key, place]));
    for (let index = LAYER; index < STEPS; index++) {
      t.true(placeOf.get(`${plan}/${index}`)! > placeOf.get(`${plan}/${index - LAYER}`)!, `step ${index}`);
    }
    await until('the frozen node knows it too', async () => {
      const now = await third!.api.planOf(plan).catch(() => null);
      return now?.state === 'COMPLETED' && now.counts.COMPLETED === STEPS;
    });
    t.log(`effects asked for again: ${resource.repeated}, refused for their token: ${resource.refused}`);
    const again = await first!.api.submitPlan(spec(steps), 'a-thousand');
    t.is(again.plan, plan);
  },
);

test.serial('whichever step of a saga fails, what was done is undone in reverse', async t => {
  const length = 4;
  const runs = Array.from({ length }, (_, bad) => {
    const steps = Array.from({ length }, (_unused, index): StepSpec => {
      const path = `/saga/${bad}/${index}`;
      if (index === bad) resource.broken.add(path);
      const { agent, resource: to, arguments: how } = work(`/undo/${bad}/${index}`);
      const compensate = { agent, resource: to, arguments: how ?? {} };
      return { ...work(path), compensate };
    });
    return spec(steps, { sequential: true, onFailure: 'compensate' });
  });
  const api = cluster.nodes[0]!.api;
  const plans = await Promise.all(runs.map(run => api.submitPlan(run, null)));
  for (const [bad, { plan }] of plans.entries()) {
    const view = await until('it has ended', async () => {
      const now = await api.planOf(plan);
      return now.endedAt === null ? null : now;
    });
    t.is(view.state, 'COMPENSATED', JSON.stringify(view));
    const effects = resource.effects
      .filter(key => key.startsWith(plan))
      .map(key => key.slice(plan.length + 1));
    const done = Array.from({ length: bad }, (_, index) => String(index));
    const undone = Array.from({ length: bad + 1 }, (_, place) => `${bad - place}/undo`);
    t.deepEqual(effects, [...done, ...undone]);
  }
});
