import test from 'ava';
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { drivenFromPython } from '../support/driven-from-python.ts';
import { pythonWithGrpc } from '../support/python-grpc.ts';
import { stepTask } from '../support/step-task.ts';
import { until } from '../support/until.ts';
import { rpcWorld } from './helpers.ts';

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

  await drivenFromPython(t, { program, env }, world.server.address);
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
