import { judge } from '../assess/judge.ts';
import { observersOf } from '../assess/observers.ts';
import { probeIntervalMs, trustOf } from '../assess/trust.ts';
import type { InstantMs, NodeName } from '../model/ids.ts';
import type { Assessment, Endpoint, NodePromise } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Prober } from '../ports/prober.ts';
import type { Random } from '../ports/random.ts';
import type { Store } from '../ports/store.ts';
import type { Beats } from './beats.ts';
import { footing } from './footing.ts';
import type { Ledger } from './ledger.ts';
import type { Lapsed } from './lapsed.ts';
import { Loop } from './loop.ts';
import { publishAssessments } from './publish-assessments.ts';
import type { SessionKeeper } from './session-keeper.ts';
import type { World } from './world.ts';

interface Observed {
  /** The promise as it was when the next check was planned; a changed one is checked at once. */
  revision: bigint;
  nextMs: InstantMs;
  /** What was asked; another one is not held to what this one answered. */
  pid: number | null;
  consecutiveBad: number;
}

export interface AssessLoopOptions {
  node: NodeName;
  intervalMs: number;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  prober: Prober;
  beats: Beats;
  lapsed: Lapsed;
  ledger: Ledger;
  random: Random;
  clock: Clock;
  log: Log;
}

/** Checks the promises of the nodes this one observes, and publishes its own judgement when that changes. */
export function assessLoop(options: AssessLoopOptions): Loop {
  const { world, keeper, clock, log } = options;
  const observed = new Map<string, Observed>();

  return new Loop({
    name: 'assess',
    clock,
    log,
    everyMs: options.intervalMs,
    round: async signal => {
      const session = keeper.current();
      if (!session || !world.synced()) return 500;
      const lapsed = options.lapsed.look();
      options.beats.listenTo(new Map([...options.lapsed.peers(lapsed), ...peersToHear(options)]));
      const promises = promisesToObserve(options);
      const names = new Set(promises.map(entry => entry.name));
      for (const name of observed.keys()) if (!names.has(name)) observed.delete(name);
      const due = promises.filter(entry => {
        const plan = observed.get(entry.name);
        const planned = !plan || plan.revision !== entry.revision || plan.nextMs <= clock.now();
        return planned || isNewlySilent(options, entry);
      });
      const judged = await Promise.all(due.map(entry => check(options, entry, observed, signal)));
      if (signal.aborted) return null;
      await publishAssessments(
        options,
        session,
        // What went meanwhile is not this loop's to judge any more.
        judged
          .filter(said => said !== null)
          .filter(said => world.promises.get(`${said.promiser}/${said.promise}`) !== undefined),
        new Set([...names, ...lapsed.map(({ name }) => name)]),
      );
      const next = Math.min(...[...observed.values()].map(plan => plan.nextMs));
      return Number.isFinite(next) ? Math.max(20, next - clock.now()) : null;
    },
  });
}

interface PromiseEntry {
  name: string;
  revision: bigint;
  promise: NodePromise;
}

function promisesToObserve({ world, node }: AssessLoopOptions): PromiseEntry[] {
  const nodes = [...world.nodes().keys()];
  const mine = new Set(nodes.filter(promiser => observersOf(promiser, nodes).includes(node)));
  return world.promises
    .all()
    .filter(entry => mine.has(entry.value.promise.promiser))
    .map(entry => ({ name: entry.name, revision: entry.revision, promise: entry.value.promise }));
}

/** The agents of the nodes this one observes, by where they are reached. */
function peersToHear({ world, node }: AssessLoopOptions): Map<NodeName, Endpoint> {
  const nodes = world.nodes();
  const names = [...nodes.keys()];
  return new Map(
    [...nodes].flatMap(([name, { value }]) =>
      value.peer && observersOf(name, names).includes(node) ? [[name, value.peer] as const] : [],
    ),
  );
}

/** Silence is looked into at once: what was promised by a silent node is asked before its turn. */
function isNewlySilent({ beats, world, node }: AssessLoopOptions, { promise, name }: PromiseEntry): boolean {
  if (promise.body.kind !== 'capacity' && promise.body.kind !== 'running') return false;
  const said = world.assessments.get(`${name}/${node}`)?.value.assessment;
  return (beats.silentMs(promise.promiser) !== null) !== (said?.unreachable ?? false);
}

async function check(
  { prober, beats, world, clock, random, node, intervalMs, keeper }: AssessLoopOptions,
  entry: PromiseEntry,
  observed: Map<string, Observed>,
  signal: AbortSignal,
): Promise<Assessment | null> {
  const { promise } = entry;
  const previous = world.assessments.get(`${promise.promiser}/${promise.name}/${node}`)?.value.assessment;
  const asked =
    promise.verify.method === 'lease' || (promise.body.kind === 'running' && !promise.body.ready)
      ? null
      : promise.verify;
  const probe = asked ? await prober.probe(asked, { strict: promise.body.kind === 'running', signal }) : null;
  const bad = probe !== null && probe.verdict !== 'good';
  const pid = promise.body.kind === 'running' ? promise.body.pid : null;
  const before = observed.get(entry.name);
  const consecutiveBad = bad ? (before?.pid === pid ? before.consecutiveBad : 0) + 1 : 0;
  const trust = trustOf(
    promise.promiser,
    world.assessments.all().map(({ value }) => value.assessment),
  );
  const plainMs =
    promise.verify.method === 'lease' ? intervalMs * 4 : probeIntervalMs(intervalMs, trust, random.float());
  // A first bad answer is asked about again soon: one lost packet breaks no promise.
  const waitMs = bad && consecutiveBad < 2 ? Math.min(1000, plainMs) : plainMs;
  observed.set(entry.name, { revision: entry.revision, nextMs: clock.now() + waitMs, pid, consecutiveBad });
  return judge({
    assessor: node,
    promise,
    probe,
    previous,
    footing: footing({ keeper, world, beats }, probe),
    consecutiveBad,
    silentMs: beats.silentMs(promise.promiser),
    at: clock.timestamp(),
  });
}
