import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { OWN_STEP_AGENTS } from '../../src/agent/agent.ts';
import { defaultPlanLimits } from '../../src/model/node-config.ts';
import { nodeStepAgents } from '../../src/main/node-step-agents.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';

test("no worker gets the name of an agent of steps that is the node's or its agent's own", async t => {
  const stateDir = await mkdtemp(join(tmpdir(), 'hop3-step-agents-'));
  const clock = new FakeClock();
  const agents = await nodeStepAgents({
    config: { stateDir, plans: { commands: 'apps', ...defaultPlanLimits } },
    namespaces: false,
    apps: { enter: () => Promise.reject(new Error('no app is entered here')), isForOthers: () => false },
    blobs: new FakeBlobs(clock),
    clock,
    log: new FakeLog(),
  });
  t.teardown(async () => {
    await agents.close();
    await rm(stateDir, { recursive: true, force: true });
  });
  const { roster } = agents;
  const worker = (name: string) => ({ name, check: () => [], run: () => Promise.reject(new Error('asked')) });
  t.deepEqual([...OWN_STEP_AGENTS].sort(), ['deploy', 'move']);
  for (const name of [...OWN_STEP_AGENTS, 'http', 'noop', 'command']) {
    t.is(
      roster.add(worker(name), () => 1),
      null,
      name,
    );
  }
  t.not(
    roster.add(worker('pdf'), () => 1),
    null,
  );
});
