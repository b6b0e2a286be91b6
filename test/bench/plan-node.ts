/** A node that works at plans and does nothing else: within the bench, or as a process of its own (`ENDPOINT NAME`). */
import { Ledger } from '../../src/agent/ledger.ts';
import { PlanEngine } from '../../src/agent/plans/plan-engine.ts';
import { SessionKeeper } from '../../src/agent/session-keeper.ts';
import { Supervisor } from '../../src/agent/supervise-loop.ts';
import { Crowd } from '../../src/agent/crowd.ts';
import { World } from '../../src/agent/world.ts';
import { stepAgents } from '../../src/drivers/step-agents.ts';
import { noopAgent } from '../../src/drivers/step-noop.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { openStore } from '../../src/store/open-store.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeLocalState } from '../support/fake-local-state.ts';
import { FakeLog } from '../support/fake-log.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { until } from '../support/until.ts';

export async function startPlanNode(endpoint: string, node: string) {
  const clock = systemClock();
  const random = systemRandom();
  const log = new FakeLog();
  const store = openStore({ endpoints: [endpoint], cluster: 'bench', clock, random, log });
  const world = new World(store);
  const ledger = new Ledger({ node, store, clock, log });
  const record = () => sessionRecord({ node, roles: ['apps'], ttlSeconds: 10 });
  const state = new FakeLocalState();
  const settlingMs = () => 0;
  const keeper = new SessionKeeper({
    store,
    state,
    clock,
    random,
    log,
    ledger,
    bootId: 'b',
    settlingMs,
    record,
  });
  const parts = { node, world, store, keeper, ledger, clock, random, log };
  const supervisor = new Supervisor({ ...parts, heldDown: () => 0, crowd: new Crowd({ world, clock }) });
  const blobs = new FakeBlobs(clock);
  const agents = stepAgents([noopAgent({ clock, blobs })], { blobs });
  const engine = new PlanEngine({ ...parts, agents, blobs, elected: () => supervisor.electedAs });
  keeper.onChange(() => engine.sessionChanged());
  await world.ready(new AbortController().signal);
  keeper.start();
  supervisor.start();
  engine.start();
  await until('it has a session', () => keeper.current() !== null && world.nodes().has(node));
  return {
    engine,
    stop: async (): Promise<void> => {
      await engine.stop();
      await supervisor.stop();
      await keeper.stop({ leave: true });
      await store.close();
    },
  };
}

const [, self, endpoint, node] = process.argv;
if (self === import.meta.filename && endpoint !== undefined && node !== undefined) {
  await startPlanNode(endpoint, node);
  process.stdout.write('ready\n');
}
