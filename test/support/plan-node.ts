import { Crowd } from '../../src/agent/crowd.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import { PlanEngine } from '../../src/agent/plans/plan-engine.ts';
import { SessionKeeper } from '../../src/agent/session-keeper.ts';
import { Supervisor } from '../../src/agent/supervise-loop.ts';
import { World } from '../../src/agent/world.ts';
import { stepAgents } from '../../src/drivers/step-agents.ts';
import { defaultPlanLimits, type PlanLimits } from '../../src/model/node-config.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import type { StepAgent } from '../../src/ports/step-agents.ts';
import type { Store } from '../../src/ports/store.ts';
import { FakeBlobs } from './fake-blobs.ts';
import { FakeLocalState } from './fake-local-state.ts';
import { FakeLog } from './fake-log.ts';
import { sessionRecord } from './store-worlds.ts';
import { until } from './until.ts';

/** A node that works at plans and does nothing else, by the clock on the wall. It closes its store when it stops. */
export async function startPlanNode(
  store: Store,
  node: string,
  own: readonly StepAgent[],
  limits: PlanLimits = defaultPlanLimits,
) {
  const clock = systemClock();
  const random = systemRandom();
  const log = new FakeLog();
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
  const supervisor = new Supervisor({
    ...parts,
    heldDown: () => 0,
    names: { forget: async () => undefined },
    crowd: new Crowd({ world, clock }),
  });
  const blobs = new FakeBlobs(clock);
  const agents = stepAgents(own, { blobs });
  const engine = new PlanEngine({
    ...parts,
    limits,
    agents,
    blobs,
    elected: () => supervisor.electedAs,
  });
  keeper.onChange(() => engine.sessionChanged());
  await world.ready(new AbortController().signal);
  keeper.start();
  supervisor.loop.start();
  engine.start();
  await until('it has a session', () => keeper.current() !== null && world.nodes().has(node));
  return {
    engine,
    stop: async (): Promise<void> => {
      await engine.stop();
      await supervisor.loop.stop();
      await ledger.close();
      await keeper.stop({ leave: true });
      await store.close();
    },
  };
}
