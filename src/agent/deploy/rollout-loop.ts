import { outcomeOf } from '../../assess/outcome.ts';
import { observersOf } from '../../assess/observers.ts';
import type { AppName, InstantMs, NodeName } from '../../model/ids.ts';
import type { NodePromise, RunningBody } from '../../model/node-promise.ts';
import type { AppRecord, Rollout } from '../../model/records.ts';
import { rendezvousOrder } from '../../model/rendezvous.ts';
import { releaseState } from '../../model/rollout.ts';
import { rolloutStep, type RolledInstance, type RolloutStep } from '../../reconcile/rollout-step.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Entry, Store } from '../../ports/store.ts';
import { givenUpRecord, hostnameWrites, promotedRecord, settledRecord } from './change-release.ts';
import type { Ledger } from '../ledger.ts';
import { Loop } from '../loop.ts';
import type { SessionKeeper } from '../session-keeper.ts';
import { wantedOf, type WantedInstance } from '../wanted.ts';
import type { World } from '../world.ts';

const LOOK_EVERY_MS = 1000;

export interface RolloutLoopOptions {
  node: NodeName;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  ledger: Ledger;
  clock: Clock;
  log: Log;
}

/** What this node has seen of one stage of one rollout. */
interface Watched {
  stage: string;
  mostHealthy: number;
  /** All of them, at some time. */
  wereHealthy: boolean;
  progressMs: InstantMs;
  allHealthySinceMs: InstantMs | null;
}

/**
 * Lets releases go on taking the place of others, or gives them up. Every node watches all of them; the first in rendezvous
 * order of those that are there acts, and two that both take themselves for it do no harm, since each step is one
 * transaction over the app as it was read. So a rollout goes on whoever dies.
 */
export function rolloutLoop(options: RolloutLoopOptions): Loop {
  const { world, clock, log, keeper } = options;
  const watched = new Map<AppName, Watched>();
  return new Loop({
    name: 'rollout',
    clock,
    log,
    everyMs: 5000,
    round: async () => {
      if (keeper.current() === null || !world.synced()) return LOOK_EVERY_MS;
      const rolling = world.apps
        .all()
        .filter(({ value }) => (value.rollout || value.unproven) && !value.removing);
      const names = new Set(rolling.map(({ name }) => name));
      for (const app of watched.keys()) if (!names.has(app)) watched.delete(app);
      for (const entry of rolling) await advance(options, entry, watched);
      return rolling.length > 0 ? LOOK_EVERY_MS : null;
    },
  });
}

async function advance(
  options: RolloutLoopOptions,
  entry: Entry<'apps'>,
  watched: Map<AppName, Watched>,
): Promise<void> {
  const { node, world, clock } = options;
  const record = entry.value;
  const rollout = record.rollout ?? firstRelease(record);
  const nowMs = clock.now();
  const known = watched.get(record.app);
  const stage = stageOf(record, rollout);
  const instances = rolledInstances(world, record, known?.stage === stage && known.wereHealthy);
  const now = seen(known, stage, instances, nowMs);
  watched.set(record.app, now);
  const step = rolloutStep({
    rollout,
    deploy: record.spec.deploy,
    instances,
    sinceProgressMs: nowMs - now.progressMs,
    allHealthyMs: now.allHealthySinceMs === null ? null : nowMs - now.allHealthySinceMs,
  });
  const nodes = [...world.nodes().keys()];
  if (rendezvousOrder(`rollout/${record.app}`, nodes)[0] === node)
    await perform(options, entry, rollout, step);
}

/** With nothing to go back to, it is only watched until it is healthy. */
function firstRelease(record: AppRecord): Rollout {
  return { before: releaseState(record), stage: 'replacing', final: true };
}

/** Another generation of the same stage is judged by what it is now: an operator may have changed the scale. */
function stageOf({ release }: AppRecord, { stage }: Rollout): string {
  return `${release} ${stage}`;
}

function seen(
  known: Watched | undefined,
  stage: string,
  instances: RolledInstance[],
  nowMs: InstantMs,
): Watched {
  const healthy = instances.filter(each => each.healthy).length;
  const all = healthy === instances.length;
  if (known?.stage !== stage) {
    const allHealthySinceMs = all ? nowMs : null;
    return { stage, mostHealthy: healthy, wereHealthy: all, progressMs: nowMs, allHealthySinceMs };
  }
  return {
    stage,
    mostHealthy: Math.max(known.mostHealthy, healthy),
    wereHealthy: known.wereHealthy || all,
    progressMs: all || healthy > known.mostHealthy ? nowMs : known.progressMs,
    allHealthySinceMs: all ? (known.allHealthySinceMs ?? nowMs) : null,
  };
}

/** Those that should have the new release by now, or a copy of it beside. */
function rolledInstances(world: World, record: AppRecord, tried: boolean): RolledInstance[] {
  const nodes = [...world.nodes().keys()];
  const promises = world.promises.all().map(({ value }) => value.promise);
  return wantedOf(record)
    .filter(({ release }) => release === record.release)
    .map(wanted => rolledInstance(world, nodes, promises, wanted, tried));
}

function rolledInstance(
  world: World,
  nodes: NodeName[],
  promises: NodePromise[],
  { instance, version }: WantedInstance,
  tried: boolean,
): RolledInstance {
  const own = promises.filter(
    ({ body }) => (body.kind === 'running' || body.kind === 'standby') && body.instance === instance,
  );
  const ready = own.filter(
    ({ body }) =>
      ((body.kind === 'running' && body.ready) || body.kind === 'standby') && body.version === version,
  );
  const outcomes = ready.map(promise => ({ promise, outcome: judged(world, nodes, promise) }));
  const healthy = outcomes.some(({ outcome }) => outcome === 'kept' || outcome === 'repaired');
  const running = own.flatMap(({ body }) => (body.kind === 'running' ? [body] : []));
  const givenUp = running.find(body => body.givenUp === version);
  const ill = tried ? running.find(body => body.version === version && isIll(body)) : undefined;
  const broken = outcomes.find(({ outcome }) => outcome === 'broken');
  return {
    instance,
    healthy,
    failed: givenUp && !healthy ? (givenUp.trouble ?? 'given up') : null,
    sick:
      healthy || !tried
        ? null
        : ill
          ? `${ill.state}${ill.trouble === null ? '' : `: ${ill.trouble}`}`
          : broken
            ? `broken in the eyes of the observers of ${broken.promise.promiser}`
            : null,
  };
}

function isIll({ state }: RunningBody): boolean {
  return state === 'unhealthy' || state === 'backoff' || state === 'failed';
}

/** Where there is nobody else, a node's own word has to do. */
function judged(world: World, nodes: NodeName[], { promiser, name }: NodePromise): string {
  const observers = observersOf(promiser, nodes);
  if (observers.length === 0) return 'kept';
  const assessments = observers.flatMap(observer => {
    const entry = world.assessments.get(`${promiser}/${name}/${observer}`);
    return entry ? [entry.value.assessment] : [];
  });
  return outcomeOf(assessments, observers);
}

async function perform(
  options: RolloutLoopOptions,
  entry: Entry<'apps'>,
  rollout: Rollout,
  step: RolloutStep,
): Promise<void> {
  const record = entry.value;
  const { app, release } = record;
  const { before } = rollout;
  switch (step.kind) {
    case 'wait':
      return;
    case 'promote':
      return write(options, entry, promotedRecord(record), {
        kind: 'rollout-promoted',
        message: `release ${release} of "${app}" takes the place of ${before.release} everywhere: ${step.reason}`,
        details: { release, from: before.release },
      });
    case 'settle':
      return write(options, entry, settledRecord(record), {
        kind: 'rollout-settled',
        message: `all instances of "${app}" run release ${release}, and are healthy in the eyes of their observers`,
        details: { release },
      });
    case 'give-up':
      return write(options, entry, givenUpRecord(record, rollout, step.reason, options.clock.timestamp()), {
        kind: 'rollout-given-up',
        message: `release ${release} of "${app}" is given up, ${before.release} is wanted again: ${step.reason}`,
        details: { release, to: before.release, reason: step.reason },
      });
  }
}

async function write(
  { store, ledger }: RolloutLoopOptions,
  entry: Entry<'apps'>,
  record: AppRecord,
  event: { kind: string; message: string; details: Record<string, unknown> },
): Promise<void> {
  // Told with the same write: whoever waits to hear of it hears of it, though this node goes, or never hears that it is done. When
  // somebody else was faster, what is there now is looked at next.
  await store.commit(
    [{ kind: 'apps', name: entry.name, revision: entry.revision }],
    [
      { put: 'apps', name: entry.name, value: record },
      ...hostnameWrites(entry.value, record),
      ledger.draft({ ...event, subject: `app/${entry.name}` }),
    ],
  );
}
