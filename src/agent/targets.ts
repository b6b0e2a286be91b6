import { portsOf, processOf } from '../model/app-spec.ts';
import { parseInstanceId, subjectOfInstance, type InstanceId, type NodeName } from '../model/ids.ts';
import type {
  DesiredInstance,
  InstanceStatus,
  RunningElsewhere,
  Unit,
  UnwantedInstance,
} from '../model/reconciliation.ts';
import { versionOfRelease } from '../model/records.ts';
import { surplusCopies, type SurplusCopy } from '../ownership/overlap.ts';
import { standing } from '../ownership/standing.ts';
import { mayReplace, oldBeforeNew } from '../reconcile/rollout.ts';
import { passedOver } from '../reconcile/wanted-release.ts';
import { unmetDependencies } from './dependencies.ts';
import type { LackingPort } from './fixed-ports.ts';
import type { Holding, Holdings } from './holdings.ts';
import { runningElsewhere, wantedOrWhyNot, type WantedInstance } from './wanted.ts';
import type { World } from './world.ts';

const DEFAULT_GRACE_SECONDS = 10;
const MOST_REASONS = 1000;
const NOBODY = { node: '', incarnation: '' };

export interface TargetsOptions {
  node: NodeName;
  world: World;
  holdings: Holdings;
  /** The copies that live here, or have. */
  units: () => Unit[];
  /** Whether nothing may be done about a copy yet. */
  undecided: (unit: Unit) => boolean;
  /** Whether something of an instance lives here, or is about to. */
  runs: (instance: InstanceId) => boolean;
  /** Whether a copy of an instance has ever been ready here at that version. */
  wasReady: (instance: InstanceId, version: string) => boolean;
  /** What this node said of its instances last. */
  statuses: () => readonly InstanceStatus[];
  /** Why an exclusive instance of this node is to go elsewhere; null = it stays. */
  movesAway: (instance: InstanceId) => string | null;
  /** Why an instance that could not be started here is left to another node; null = it is not. */
  leaves: (instance: InstanceId) => string | null;
  /** The first fixed port of this node that an instance should have and has not; null = it has all of them. */
  lacking: (wanted: WantedInstance) => LackingPort | null;
  /** Whether another node could take an instance. */
  othersCould: (wanted: WantedInstance) => boolean;
  /** Why nothing exclusive that takes so long to stop may be started now; null = it may. */
  whyNotNow: (stopTimeoutSeconds: number) => string | null;
}

/** What of all that this node holds, or has held, should run here: read afresh from the world each time it is asked. */
export class Targets {
  readonly #options: TargetsOptions;
  /** Why instances were given up, by the name of their promise. */
  readonly #reasons = new Map<string, string>();
  #waits = false;

  constructor(options: TargetsOptions) {
    this.#options = options;
  }

  /** Whether anything here waited for another app when it was last looked at. */
  get waitsForOthers(): boolean {
    return this.#waits;
  }

  /** Why promises of this node are taken back, by their names. */
  get reasons(): ReadonlyMap<string, string> {
    return this.#reasons;
  }

  /** What becomes of the copies that run here unowned (ownership rule 8). */
  surplus(): ReadonlyMap<InstanceId, SurplusCopy> {
    const { holdings, world, node } = this.#options;
    const unowned = new Set(
      [
        ...this.#options
          .units()
          .filter(unit => alive(unit) && !this.#options.undecided(unit))
          .map(unit => unit.instance),
        ...[...holdings.former().values()].map(holding => holding.instance),
      ].filter(instance => !holdings.held().has(subjectOfInstance(instance))),
    );
    const live = world.liveIncarnations();
    const copies = surplusCopies({
      self: node,
      runningHere: [...unowned],
      standings: new Map(
        [...unowned].map(subjectOfInstance).map(subject => {
          return [subject, standing(world.owners.get(subject), live, NOBODY)];
        }),
      ),
      elsewhere: runningElsewhere(world),
      wanted: new Set([...unowned].filter(instance => this.#mayBeWanted(instance))),
      exclusive: new Set([...unowned].filter(instance => this.#neverTwice(instance))),
    });
    return new Map(copies.map(copy => [copy.instance, copy]));
  }

  /** Before the store was heard nobody knows that something is not wanted. */
  #mayBeWanted(instance: InstanceId): boolean {
    const { world } = this.#options;
    return !world.synced() || !('notWanted' in wantedOrWhyNot(world, instance));
  }

  #neverTwice(instance: InstanceId): boolean {
    const wanted = wantedOrWhyNot(this.#options.world, instance);
    const guarded = this.#options
      .units()
      .some(unit => unit.instance === instance && unit.guarded === true && alive(unit));
    return guarded || (!('notWanted' in wanted) && wanted.process.exclusive);
  }

  /** `leaving` = nothing is wanted here any more. */
  wanted(
    surplus: ReadonlyMap<InstanceId, SurplusCopy>,
    leaving: boolean,
  ): {
    desired: DesiredInstance[];
    unwanted: UnwantedInstance[];
  } {
    const { holdings, world } = this.#options;
    const running = this.#runningAnywhere();
    this.#waits = false;
    const desired: DesiredInstance[] = [];
    const unwanted: UnwantedInstance[] = [];
    for (const holding of holdings.held().values()) {
      const given = leaving ? 'this node is leaving' : holding.releasing;
      const target = given !== null ? { notWanted: given } : this.#target(holding, true, running);
      if ('notWanted' in target) {
        this.#giveReason(holding.instance, target.notWanted);
        unwanted.push({ ...holding, reason: target.notWanted, ...this.#stopTimeout(holding.instance) });
      } else {
        this.#reasons.delete(`running:${holding.instance}`);
        desired.push(target);
      }
    }
    for (const holding of [...holdings.former().values()]) {
      const copy = surplus.get(holding.instance);
      const target =
        copy?.stopNow === true
          ? { notWanted: copy.reason }
          : this.#nothingLeft(holding.instance)
            ? { notWanted: 'another node has taken it, and nothing of it runs here' }
            : leaving
              ? { notWanted: 'this node is leaving' }
              : this.#target(holding, false, running);
      if (!('notWanted' in target)) {
        if (world.synced() || world.memory.fromMemory) desired.push(target);
      } else if (world.synced() || leaving) {
        this.#giveReason(holding.instance, target.notWanted);
        holdings.forget(holding.subject);
      }
    }
    return { desired, unwanted };
  }

  /** For the promise that is taken back by it; the latest are enough. */
  #giveReason(instance: InstanceId, reason: string): void {
    const name = `running:${instance}`;
    this.#reasons.delete(name);
    this.#reasons.set(name, reason);
    const [oldest] = this.#reasons.keys();
    if (oldest !== undefined && this.#reasons.size > MOST_REASONS) this.#reasons.delete(oldest);
  }

  /** Of what another node has taken: not even a copy that could go on until the other is ready. */
  #nothingLeft(instance: InstanceId): boolean {
    return !this.#options.runs(instance) && this.#ownedByAnother(instance);
  }

  #target(
    holding: Holding,
    owned: boolean,
    running: RunningElsewhere[],
  ): DesiredInstance | { notWanted: string } {
    const { world } = this.#options;
    const wanted = wantedOrWhyNot(world, holding.instance);
    if ('notWanted' in wanted) return wanted;
    const { record, process, index, spec, version } = wanted;
    const left = owned && !this.#lives(holding.instance) ? this.#options.leaves(holding.instance) : null;
    if (left !== null) return { notWanted: left };
    if (owned && holding.exclusive !== process.exclusive) {
      return {
        notWanted: `${process.type} has become ${process.exclusive ? 'exclusive' : 'redundant'}: it is taken anew`,
      };
    }
    const movesAway = owned && holding.exclusive ? this.#options.movesAway(holding.instance) : null;
    if (movesAway !== null) return { notWanted: movesAway };
    const turn = mayReplace(
      { instance: holding.instance, process: process.type, index, version },
      portsOf(spec, process.type).length > 0 ? oldBeforeNew(spec.deploy) : spec.deploy,
      process.scale,
      running,
    );
    // From memory nothing is known of ports; what is remembered had those that it needs, or nobody had them.
    const lacking = world.synced() ? this.#options.lacking(wanted) : null;
    const noPort = lacking && lackingText(lacking);
    const goesElsewhere = owned && lacking !== null && lacking.holder !== null && turn.allowed;
    if (noPort !== null && goesElsewhere && this.#options.othersCould(wanted)) return { notWanted: noPort };
    const waitingFor = noPort ?? this.#waitingFor(holding, wanted, owned);
    return {
      instance: holding.instance,
      subject: holding.subject,
      app: record.app,
      process,
      index,
      spec,
      release: wanted.release,
      version,
      artifact: wanted.artifact,
      serves: wanted.serves,
      ...(record.rollout ? { before: versionOfRelease(record.rollout.before, process.type) } : {}),
      passedOver: passedOver(record, process.type, index),
      stopFirst: turn.stopFirst,
      token: holding.token,
      mayStart: waitingFor === null,
      waitingFor,
      mayReplace: turn.allowed && owned && noPort === null,
      replaceWaitsFor: owned ? (turn.waitsFor ?? noPort) : 'this node does not own it now',
    };
  }

  #lives(instance: InstanceId): boolean {
    return this.#options.units().some(unit => unit.instance === instance && alive(unit));
  }

  /** What the other nodes promise, and what this one knows better than its own promises yet say. */
  #runningAnywhere(): RunningElsewhere[] {
    const { world, node } = this.#options;
    const own = this.#options.statuses().map(({ instance, version, ready }) => {
      const { process, index } = parseInstanceId(instance);
      return { node, instance, process, index, version, ready };
    });
    return [...runningElsewhere(world).filter(other => other.node !== node), ...own];
  }

  /** Why a copy that this node should run may not be started yet; null = it may. */
  #waitingFor(holding: Holding, { process, spec, version }: WantedInstance, owned: boolean): string | null {
    const { world } = this.#options;
    // From memory nothing is known of the others; when it ran last, what it depends on was there. What has been ready
    // once is started again whatever became of that: a break is not handed on.
    const mayWait = world.synced() && !this.#options.wasReady(holding.instance, version);
    const unmet = mayWait ? unmetDependencies(world, spec.dependsOn) : [];
    if (unmet.length > 0) {
      this.#waits = true;
      return `waits for ${unmet.map(({ app, why }) => `${app}: ${why}`).join('; ')}`;
    }
    if (!owned && this.#ownedByAnother(holding.instance)) return 'another node has taken it';
    return process.exclusive ? this.#mayNotRunYet(holding, process.stopTimeoutSeconds) : null;
  }

  /** Of what is exclusive: not while a copy from when it was redundant may live, and not without an armed guard. */
  #mayNotRunYet(holding: Holding, stopTimeoutSeconds: number): string | null {
    const owner = this.#options.world.owners.get(holding.subject);
    if (!owner || owner.revision < holding.takenAt) return 'waits to see its own claim';
    const others = owner.value.mayStillRun;
    if (others.length > 0) return `waits until ${others.join(', ')} has confirmed that its copy is stopped`;
    return this.#options.whyNotNow(stopTimeoutSeconds);
  }

  #ownedByAnother(instance: InstanceId): boolean {
    const { world, node } = this.#options;
    const owner = world.owners.get(subjectOfInstance(instance));
    return (
      owner !== undefined &&
      owner.value.released === null &&
      owner.value.node !== node &&
      world.sessionLives(owner)
    );
  }

  /** As the app's record still has it, also for what is not wanted any more; else a default. */
  graceSeconds(instance: InstanceId): number {
    return this.#stopTimeout(instance).stopTimeoutSeconds ?? DEFAULT_GRACE_SECONDS;
  }

  /** As the app's record still has it, also for what is not wanted any more. */
  #stopTimeout(instance: InstanceId): { stopTimeoutSeconds?: number } {
    const { app, process } = parseInstanceId(instance);
    const spec = this.#options.world.apps.get(app)?.value.spec;
    const known = spec ? processOf(spec, process) : null;
    return known ? { stopTimeoutSeconds: known.stopTimeoutSeconds } : {};
  }
}

function lackingText({ port, holder }: LackingPort): string {
  return holder === null
    ? `waits to be given port ${port} of this node`
    : `${holder} has port ${port} of this node`;
}

/** Whether a copy has not ended yet. */
export function alive(unit: Unit): boolean {
  return unit.phase.kind !== 'exited';
}
