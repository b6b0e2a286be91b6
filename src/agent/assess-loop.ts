import { judge } from '../assess/judge.ts';
import { observersOf } from '../assess/observers.ts';
import { probeIntervalMs, trustOf } from '../assess/trust.ts';
import type { InstantMs, NodeName } from '../model/ids.ts';
import type { Assessment, Endpoint, NodePromise } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { ProbeResult, Prober } from '../ports/prober.ts';
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

/** Of answers that come one after the other: they are judged, and written, together. */
const GATHER_MS = 20;
/** What could not be written is judged again with the next round, if it was asked no longer ago. */
const FRESH_MS = 5000;
/** A first bad answer is asked about again so soon: one lost packet breaks no promise. */
const AGAIN_MS = 1000;
/** Of an agent that is late: its host accepts a connection at once, or after one lost packet, or it is gone. */
const ACCEPTS_WITHIN_MS = 1500;

interface Observed {
  /** The promise as it was when it was last asked about; a changed one is asked about at once. */
  revision: bigint;
  askedMs: InstantMs;
  /** What was asked; another one is not held to what this one answered. */
  pid: number | null;
  /** null = the answer is awaited. */
  nextMs: InstantMs | null;
  consecutiveBad: number;
}

interface Answer {
  entry: PromiseEntry;
  observed: Observed;
  /** null = there was nothing to ask. */
  probe: ProbeResult | null;
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

/**
 * Checks the promises of the nodes this one observes, and publishes its own judgement when that changes. Rounds wait for no
 * answer: who is slow to answer keeps nobody from being judged.
 */
export function assessLoop(options: AssessLoopOptions): Loop {
  const { world, keeper, clock, log } = options;
  const observed = new Map<string, Observed>();
  const answers: Answer[] = [];

  const loop = new Loop({
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
      const heard = answers.splice(0);
      const answered = new Set(heard.map(answer => answer.observed));
      for (const entry of promises) {
        const known = observed.get(entry.name);
        if (isDue(options, entry, known, answered)) observed.set(entry.name, ask(entry, known, signal));
      }
      // What went meanwhile is not this loop's to judge any more, and what is asked anew says more.
      const current = [...heard, ...answers.splice(0)].filter(
        answer => observed.get(answer.entry.name) === answer.observed,
      );
      try {
        await publishAssessments(
          options,
          session,
          current.map(answer => judgementOf(options, answer)).filter(said => said !== null),
          new Set([...names, ...lapsed.map(({ name }) => name)]),
        );
      } catch (error) {
        answers.push(...current.filter(({ observed: { askedMs } }) => clock.now() - askedMs < FRESH_MS));
        throw error;
      }
      const next = Math.min(...[...observed.values()].map(({ nextMs }) => nextMs ?? Infinity));
      return Number.isFinite(next) ? Math.max(20, next - clock.now()) : null;
    },
  });
  return loop;

  function ask(entry: PromiseEntry, known: Observed | undefined, signal: AbortSignal): Observed {
    const { promise, revision } = entry;
    const { verify, body } = promise;
    const pid = body.kind === 'running' ? body.pid : null;
    const consecutiveBad = known?.pid === pid ? known.consecutiveBad : 0;
    const asked: Observed = { revision, askedMs: clock.now(), pid, nextMs: null, consecutiveBad };
    if (verify.method === 'lease' || (body.kind === 'running' && !body.ready)) {
      asked.consecutiveBad = 0;
      answers.push({ entry, observed: asked, probe: null });
      return asked;
    }
    const isLate = options.beats.lateSinceMs(promise.promiser) !== null;
    const how = { strict: body.kind === 'running', signal, ...(isLate && { acceptMs: ACCEPTS_WITHIN_MS }) };
    void options.prober.probe(verify, how).then(probe => {
      if (signal.aborted) return;
      if (!isOfLate(options, promise, probe))
        asked.consecutiveBad = probe.verdict === 'good' ? 0 : asked.consecutiveBad + 1;
      answers.push({ entry, observed: asked, probe });
      loop.wakeWithin(GATHER_MS);
    });
    return asked;
  }
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

/** `answered` = those of which an answer is here. */
function isDue(
  options: AssessLoopOptions,
  entry: PromiseEntry,
  known: Observed | undefined,
  answered: ReadonlySet<Observed>,
): boolean {
  if (!known || isNewlyLate(options, entry, known)) return true;
  if (known.nextMs === null) return false;
  const isPlanned = known.revision !== entry.revision || known.nextMs <= options.clock.now();
  return isPlanned || (!answered.has(known) && isNewlySilent(options, entry));
}

/**
 * What was promised by a node that is late is asked about before its turn: it takes time to find that nobody answers. Whoever
 * waits for an answer from before asks anew, as that may take longer.
 */
function isNewlyLate(
  { beats }: AssessLoopOptions,
  { promise }: PromiseEntry,
  { askedMs }: Observed,
): boolean {
  const lateSinceMs = promise.body.kind === 'running' ? beats.lateSinceMs(promise.promiser) : null;
  return lateSinceMs !== null && askedMs < lateSinceMs;
}

/** Silence is looked into at once, and so is its end. */
function isNewlySilent({ beats, world, node }: AssessLoopOptions, { promise, name }: PromiseEntry): boolean {
  if (promise.body.kind !== 'capacity' && promise.body.kind !== 'running') return false;
  const said = world.assessments.get(`${name}/${node}`)?.value.assessment;
  return (beats.silentMs(promise.promiser) !== null) !== (said?.unreachable ?? false);
}

/** No answer, and a beat is late: its host may be gone, and all with it. That is known when it has been silent for long enough. */
function isOfLate(
  { beats }: AssessLoopOptions,
  { promiser }: NodePromise,
  { verdict }: ProbeResult,
): boolean {
  const isLate = beats.lateSinceMs(promiser) !== null && beats.silentMs(promiser) === null;
  return isLate && verdict === 'unreachable';
}

/** What an answer says, by what is known when it is here; plans when to ask again. null = as before, or not to be said yet. */
function judgementOf(options: AssessLoopOptions, { entry, observed, probe }: Answer): Assessment | null {
  const { beats, world, clock, random, node, intervalMs } = options;
  const { promise } = entry;
  const trust = trustOf(
    promise.promiser,
    world.assessments.all().map(({ value }) => value.assessment),
  );
  const plainMs =
    promise.verify.method === 'lease' ? intervalMs * 4 : probeIntervalMs(intervalMs, trust, random.float());
  const isOpen = probe !== null && isOfLate(options, promise, probe);
  const isBad = probe !== null && probe.verdict !== 'good';
  const soon = isOpen || (isBad && observed.consecutiveBad < 2);
  observed.nextMs = clock.now() + (soon ? Math.min(AGAIN_MS, plainMs) : plainMs);
  if (isOpen) return null;
  return judge({
    assessor: node,
    promise,
    probe,
    previous: world.assessments.get(`${promise.promiser}/${promise.name}/${node}`)?.value.assessment,
    footing: footing(options, probe),
    consecutiveBad: observed.consecutiveBad,
    silentMs: beats.silentMs(promise.promiser),
    at: clock.timestamp(),
  });
}
