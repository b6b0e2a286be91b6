import test from 'ava';
import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { pythonWithGrpc } from '../support/python-grpc.ts';
import { stepTask } from '../support/step-task.ts';
import { until } from '../support/until.ts';
import { rpcWorld } from './helpers.ts';

const run = promisify(execFile);

test('a client and a worker in Python do all that can be done', async t => {
  t.timeout(240_000);
  const { program, env } = await pythonWithGrpc();
  const world = await rpcWorld(t);
  const worker = spawn(program, ['manifests/worker/worker.py', world.server.address], { env });
  t.teardown(() => worker.kill('SIGKILL'));
  await until('the worker is connected', () => world.server.workers() === 1);
  const owning = new AbortController();
  t.teardown(() => owning.abort());
  const owner = ownSteps(world, owning.signal);

  const drive = join(import.meta.dirname, 'drive.py');
  const { stdout } = await run(program, [drive, world.server.address], { env, timeout: 60_000 });
  const found = JSON.parse(stdout) as Record<string, unknown>;
  t.is(found['health'], 'SERVING');
  t.deepEqual(found['services'], [
    'grpc.health.v1.Health',
    'grpc.reflection.v1.ServerReflection',
    'hop3.agent.v1.Scheduler',
    'hop3.agent.v1.Work',
  ]);
  t.deepEqual(found['reflected'], [true, ['plan', 'idempotency_key', 'client_ref']]);
  t.deepEqual(found['refused'], ['INVALID_ARGUMENT', ['plan.priority', 'plan.steps[0].task.resource']]);
  const done = 'STEP_STATE_COMPLETED';
  t.deepEqual(found['watched'], [done, { 0: done, 1: done, 2: done }, 'PLAN_STATE_COMPLETED']);
  t.deepEqual(found['outputs'], [{ words: 3 }, { words: 2 }, { words: 1 }]);
  t.deepEqual(found['stream'], [50, 3, true]);
  t.deepEqual(found['done'], { PLAN_STATE_COMPLETED: 49 });
  t.deepEqual(found['cancelled'], [{ 0: 'STEP_STATE_CANCELLED' }, 'PLAN_STATE_CANCELLED']);
  owning.abort();
  await owner;
});

type World = Awaited<ReturnType<typeof rpcWorld>>;

/** Does what the owner of all steps would: what is ready runs, at whoever is offered for it, and what is cancelled is told to stop. */
async function ownSteps({ plans, roster }: World, signal: AbortSignal): Promise<void> {
  const running = new Map<string, AbortController>();
  while (!signal.aborted) {
    const { items } = await plans.list({ limit: 1000 });
    for (const { plan, state } of items) {
      if (state === 'PENDING') plans.begin(plan);
      const { cancel } = await plans.plan(plan);
      const { items: steps } = await plans.steps(plan, { states: ['RUNNING'] });
      for (const { index, agent } of steps) {
        const known = running.get(`${plan}/${index}`);
        if (cancel) known?.abort(new Error(`${cancel.by} cancelled it`));
        if (known === undefined && roster.room(agent) > 0) start(plan, index, agent);
      }
    }
    await sleep(10);
  }

  function start(plan: string, index: number, agent: string): void {
    const stopping = new AbortController();
    running.set(`${plan}/${index}`, stopping);
    const { spec } = plans.submissions[Number(plan.split('-')[1]) - 1]!;
    const work = spec.steps[index]!;
    const { payload } = work;
    const bytes = Buffer.from(payload && 'text' in payload ? payload.text : '');
    const task = stepTask({
      plan,
      index,
      work,
      payload: payload ? { mimeType: payload.mimeType, bytes } : null,
    });
    void roster
      .find(agent)!
      .run(task, stopping.signal)
      .then(result => plans.finish(plan, index, result));
  }
}
