import type { HealthcheckSpec } from '../model/app-spec.ts';
import type { InstanceId, Token } from '../model/ids.ts';
import { instanceOfSubject, parseInstanceId, subjectOfInstance } from '../model/ids.ts';
import type { Action, DesiredInstance, InstanceStatus, StartHistory, Unit } from '../model/reconciliation.ts';
import { specOfRelease } from '../model/rollout.ts';
import type { SurplusCopy } from '../ownership/overlap.ts';
import { afterProbe } from '../reconcile/health.ts';
import { afterExit, afterReady, forVersion } from '../reconcile/histories.ts';
import { reconcile } from '../reconcile/reconcile.ts';
import type { Clock } from '../ports/clock.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import { DriverError, type Driver, type DriverUnit } from '../ports/driver.ts';
import type { Log } from '../ports/log.ts';
import type { Prober } from '../ports/prober.ts';
import type { Exclusive, ExclusiveOptions } from './exclusive.ts';
import type { FixedPorts } from './fixed-ports.ts';
import { HealthChecks, type Told, type Watched } from './health.ts';
import type { Holdings } from './holdings.ts';
import type { Ledger } from './ledger.ts';
import { Loop } from './loop.ts';
import type { Refusals } from './refusals.ts';
import type { Shortcomings } from './shortcomings.ts';
import type { Starter } from './starter.ts';
import { alive, Targets } from './targets.ts';
import type { World } from './world.ts';

/** How long a copy that was taken out of traffic finishes what it has, before it is asked to stop. */
const DRAIN_MS = 1000;
/** Before an action that failed is tried again; starts have a backoff of their own. */
const RETRY_MS = 500;
/** What follows from a round, or comes from the other nodes, is looked at together. */
const GATHER_MS = 10;

export interface InstanceLoopOptions {
  node: string;
  world: World;
  holdings: Holdings;
  driver: Driver;
  prober: Prober;
  starter: Starter;
  shortcomings: Shortcomings;
  refusals: Refusals;
  ports: FixedPorts;
  /** The right to run what is exclusive, made with this loop's own copies. */
  exclusive: (copies: Pick<ExclusiveOptions, 'anyUnowned' | 'copies' | 'stop' | 'onChange'>) => Exclusive;
  /** Why an exclusive instance of this node is to go elsewhere; null = it stays. */
  movesAway: (instance: InstanceId) => string | null;
  ledger: Ledger;
  clock: Clock;
  log: Log;
  /** Called after each round in which what this node says of its instances changed. `onlyBegins`: nobody acts upon that yet. */
  onStatuses: (onlyBegins: boolean) => void;
}

/**
 * Makes what runs here what this node owns. It is the one place that holds the local actual state: the driver's units
 * with what health checks and this node's own requests have added, and the histories of their starts. All that changes that state is in
 * this one file; what should run is in `targets.ts`, and what to do about the difference in `reconcile/`.
 */
export class InstanceLoop {
  readonly #options: InstanceLoopOptions;
  readonly #units = new Map<string, Unit>();
  #histories = new Map<InstanceId, StartHistory>();
  /** Actions under way, by unit or instance: each is done once. */
  readonly #busy = new Set<string>();
  /** Since the driver last began to look. */
  readonly #forgotten = new Set<string>();
  /** Owner keys in which this node's stop is being confirmed. */
  readonly #confirming = new Set<string>();
  /** The version at which an instance was given up, as people have been told. */
  readonly #givenUp = new Map<InstanceId, string>();
  readonly #ending = new AbortController();
  readonly #health: HealthChecks;
  readonly #exclusive: Exclusive;
  readonly #targets: Targets;
  /** Whose start under the guard is under way: it may outlast the right to it. */
  readonly #startingGuarded = new Set<InstanceId>();
  /** The token that each copy's file holds. */
  readonly #fenced = new Map<string, Token>();
  readonly #loop: Loop;
  #statuses: InstanceStatus[] | null = null;
  #leaving = false;
  #stopListening: (() => void) | null = null;

  constructor(options: InstanceLoopOptions) {
    this.#options = options;
    this.#health = new HealthChecks({
      clock: options.clock,
      prober: options.prober,
      tell: (unit, result) => this.#probed(unit, result),
    });
    this.#exclusive = options.exclusive({
      copies: () =>
        this.units()
          .filter(unit => unit.guarded === true && alive(unit) && unit.phase.kind !== 'stopping')
          .map(({ unit, instance }) => ({ unit, stopTimeoutSeconds: this.#targets.graceSeconds(instance) })),
      anyUnowned: () =>
        this.units().some(unit => unit.guarded === true && alive(unit) && !this.#holds(unit.instance)) ||
        [...this.#startingGuarded].some(instance => !this.#holds(instance)),
      stop: ({ unit }, graceSeconds, reason) => this.#stopGuarded(unit, graceSeconds, reason),
      onChange: () => this.#loop.wake(),
    });
    this.#targets = new Targets({
      ...options,
      units: () => this.units(),
      undecided: unit => this.#undecided(unit),
      runs: instance => this.runs(instance),
      wasReady: (instance, version) => {
        const history = this.#histories.get(instance);
        return history?.version === version && history.everReady;
      },
      statuses: () => this.#statuses ?? [],
      leaves: instance => options.refusals.leaves(instance),
      lacking: wanted => options.ports.lacking(wanted),
      othersCould: wanted => options.refusals.othersCould(wanted),
      whyNotNow: stopTimeoutSeconds => this.#exclusive.whyNotNow(stopTimeoutSeconds),
    });
    this.#loop = new Loop({
      name: 'instances',
      clock: options.clock,
      log: options.log,
      everyMs: 5000,
      round: () => this.#round(),
    });
  }

  /** null before the first look. */
  statuses(): readonly InstanceStatus[] | null {
    return this.#statuses;
  }

  /** Why promises of this node are taken back, by their names. */
  reasons(): ReadonlyMap<string, string> {
    return this.#targets.reasons;
  }

  units(): Unit[] {
    return [...this.#units.values()];
  }

  start(): void {
    this.#stopListening ??= this.#options.driver.onExit(() => this.#loop.wake());
    this.#loop.start();
  }

  wake(): void {
    this.#loop.wake();
  }

  /** For how promises are judged: it concerns only what waits for another app. */
  judged(): void {
    if (this.#targets.waitsForOthers) this.wakeSoon();
  }

  /** For what the cluster says: much of it comes at once, and a start under way goes first. */
  wakeSoon(): void {
    this.#loop.wakeWithin(GATHER_MS);
  }

  /** How long the round under way has taken so far; 0 between rounds. */
  busyMs(): number {
    return this.#loop.busyMs();
  }

  /** Something that starts lacked may be there now: those that failed for such a reason are tried at once. */
  tryAgain(): void {
    for (const history of this.#histories.values())
      if (history.passing === true)
        this.#histories.set(history.instance, { ...history, lastFailureMs: null });
    this.#loop.wake();
  }

  /** Stops every copy, and releases what was held, before it resolves. */
  async stopEverything(signal: AbortSignal): Promise<void> {
    this.#leaving = true;
    const unfinished = (): boolean =>
      this.#options.holdings.held().size > 0 || this.#busy.size > 0 || this.units().some(alive);
    while (!signal.aborted && unfinished()) {
      this.#loop.wake();
      await this.#options.clock.sleep(50, signal);
    }
  }

  /** Ends the looking after; what runs goes on running. */
  async stop(): Promise<void> {
    this.#stopListening?.();
    this.#ending.abort(new Error('the instance loop is stopping'));
    await this.#loop.stop();
    this.#exclusive.stop();
    this.#health.stop();
  }

  /** Whether something of an instance lives here, or is about to. */
  runs(instance: InstanceId): boolean {
    return this.#busy.has(instance) || this.units().some(unit => unit.instance === instance && alive(unit));
  }

  get exclusive(): Exclusive {
    return this.#exclusive;
  }

  /**
   * Asked by the supervisor: the copies of an instance that are there now, or of them the one that is this process, are
   * replaced, old before new. False = there is none.
   */
  async restart(instance: InstanceId, pid: number | null, reason: string): Promise<boolean> {
    const copies = this.units().filter(
      unit => unit.instance === instance && alive(unit) && (pid === null || unit.pid === pid),
    );
    await Promise.all(copies.map(unit => this.#stopUnit(unit, this.#targets.graceSeconds(instance), reason)));
    return copies.length > 0;
  }

  /** Reads the units anew, decides, and sets the actions going. */
  async #round(): Promise<number | null> {
    const { clock } = this.#options;
    await this.#observe();
    const surplus = this.#targets.surplus();
    this.#rememberUnowned(surplus);
    const { desired, unwanted } = this.#targets.wanted(surplus, this.#leaving);
    const { actions, statuses, histories, wakeInMs } = reconcile({
      desired,
      unwanted,
      units: this.#decidable(desired),
      histories: [...this.#histories.values()],
      nowMs: clock.now(),
      drainMs: DRAIN_MS,
    });
    this.#histories = new Map(histories.map(history => [history.instance, history]));
    for (const action of actions) this.#begin(action, desired);
    this.#fence();
    this.#confirmStopped();
    this.#watchHealth(desired);
    this.#tellStatuses(statuses);
    return wakeInMs;
  }

  /** The copies that something may be done about: before the store was heard, none of which nothing is remembered. */
  #decidable(desired: readonly DesiredInstance[]): Unit[] {
    const known = new Set(desired.map(({ instance }) => instance));
    const heard = this.#leaving || this.#options.world.synced();
    return this.units().filter(unit => !this.#undecided(unit) && (heard || known.has(unit.instance)));
  }

  async #observe(): Promise<void> {
    const { driver, clock } = this.#options;
    // What is started or forgotten while the driver looks is not in what it saw, or is still.
    const before = new Set(this.#units.keys());
    this.#forgotten.clear();
    const seen = new Set<string>();
    const found: Unit[] = [];
    for (const observed of await driver.observe()) {
      if (this.#forgotten.has(observed.unit)) continue;
      seen.add(observed.unit);
      const known = this.#units.get(observed.unit);
      const unit = known ?? adopted(observed, clock.now());
      if (observed.exit !== null) {
        if (unit.phase.kind !== 'exited') this.#exited(unit, observed.exit);
      } else if (!known && !this.#busy.has(observed.instance)) found.push(unit);
    }
    await Promise.all(found.map(unit => this.#adopt(unit)));
    for (const unit of before) if (!seen.has(unit) && !this.#busy.has(unit)) this.#units.delete(unit);
    this.#exclusive.watch();
  }

  /** A guarded copy that was found here: until it is known whether this node still owns it, its guard alone decides. */
  #undecided(unit: Unit): boolean {
    return unit.guarded === true && !this.#exclusive.settled && !this.#holds(unit.instance);
  }

  #holds(instance: InstanceId): boolean {
    return this.#options.holdings.held().has(subjectOfInstance(instance));
  }

  /** What was found running is asked before anything is said of it: nobody shall take it out of traffic meanwhile. */
  async #adopt(unit: Unit): Promise<void> {
    const { clock, ledger, world } = this.#options;
    const record = world.apps.get(parseInstanceId(unit.instance).app)?.value;
    const answer = record
      ? await this.#health.once({ unit, healthcheck: specOfRelease(record, unit.release).healthcheck })
      : null;
    const ready = answer?.good === true;
    if (ready) {
      this.#histories.set(unit.instance, afterReady(this.#histories.get(unit.instance), unit, clock.now()));
    }
    this.#units.set(unit.unit, ready ? { ...unit, phase: { kind: 'ready', sinceMs: clock.now() } } : unit);
    ledger.note({
      kind: 'instance-adopted',
      subject: unit.instance,
      message: `${unit.instance} runs on as pid ${unit.pid ?? 'none'}`,
      details: { unit: unit.unit, pid: unit.pid },
    });
  }

  #exited(unit: Unit, exit: NonNullable<DriverUnit['exit']>): void {
    const { clock, ledger } = this.#options;
    this.#histories.set(
      unit.instance,
      afterExit(this.#histories.get(unit.instance), unit, exit, clock.now()),
    );
    this.#units.set(unit.unit, { ...unit, phase: { kind: 'exited', sinceMs: clock.now(), exit } });
    const how =
      exit.signal !== null ? `by ${exit.signal}` : exit.code !== null ? `with code ${exit.code}` : 'unseen';
    ledger.note({
      kind: exit.requested ? 'instance-stopped' : 'instance-exited',
      subject: unit.instance,
      message: `${unit.instance} ${exit.requested ? 'stopped' : 'ended'} ${how}`,
      details: {
        unit: unit.unit,
        pid: unit.pid,
        version: unit.version,
        code: exit.code,
        signal: exit.signal,
        lastOutput: exit.lastOutput,
      },
    });
  }

  /** What runs here without being owned, as after a restart, goes on for as long as it may. */
  #rememberUnowned(surplus: ReadonlyMap<InstanceId, SurplusCopy>): void {
    for (const { instance, phase, guarded } of this.#units.values()) {
      if (
        guarded === true ||
        phase.kind === 'exited' ||
        phase.kind === 'stopping' ||
        phase.kind === 'draining'
      )
        continue;
      if (surplus.get(instance)?.stopNow === false)
        this.#options.holdings.remember(instance, subjectOfInstance(instance));
    }
  }

  /** Nodes that took something from this one are told when its own copy is dead. */
  #confirmStopped(): void {
    const { world, holdings, node, log, clock } = this.#options;
    for (const entry of world.owners.all()) {
      if (!entry.value.mayStillRun.includes(node) || this.#confirming.has(entry.name)) continue;
      const instance = instanceOfSubject(entry.name);
      if (instance === null || this.runs(instance) || holdings.former().has(entry.name)) continue;
      this.#confirming.add(entry.name);
      void holdings
        .confirmStopped(entry)
        .catch(async (error: unknown) => {
          log.warn('a stop could not be confirmed and will be told again', { subject: entry.name, error });
          await clock.sleep(RETRY_MS, this.#ending.signal);
          this.#loop.wake();
        })
        .finally(() => this.#confirming.delete(entry.name));
    }
  }

  #begin(action: Action, desired: DesiredInstance[]): void {
    const key = action.kind === 'start' || action.kind === 'release' ? action.instance : action.unit;
    if (this.#busy.has(key)) return;
    this.#busy.add(key);
    void this.#perform(action, desired)
      .catch(async (error: unknown) => {
        this.#failed(action, error);
        if (action.kind !== 'start') await this.#options.clock.sleep(RETRY_MS, this.#ending.signal);
      })
      .finally(() => {
        this.#busy.delete(key);
        this.#loop.wakeWithin(GATHER_MS);
      });
  }

  async #perform(action: Action, desired: DesiredInstance[]): Promise<void> {
    const { log, driver, holdings, refusals, ports, clock } = this.#options;
    log.info('acting', {
      action: action.kind,
      on: 'unit' in action ? action.unit : action.instance,
      reason: action.reason,
    });
    switch (action.kind) {
      case 'start': {
        const target = desired.find(candidate => candidate.instance === action.instance);
        if (target?.process.exclusive === true) this.#startingGuarded.add(target.instance);
        if (target) {
          await this.#start(target, action.reason).finally(() =>
            this.#startingGuarded.delete(target.instance),
          );
        }
        return;
      }
      case 'drain': {
        const unit = this.#units.get(action.unit);
        if (unit) this.#units.set(unit.unit, { ...unit, phase: { kind: 'draining', sinceMs: clock.now() } });
        return;
      }
      case 'stop': {
        const unit = this.#units.get(action.unit);
        if (unit) await this.#stopUnit(unit, action.graceSeconds, action.reason);
        return;
      }
      case 'forget':
        await driver.forget(action.unit);
        this.#units.delete(action.unit);
        this.#forgotten.add(action.unit);
        return;
      case 'release': {
        const { subject, token, instance, reason } = action;
        const { compares, writes } = ports.leaving(instance);
        writes.push(...refusals.withRelease(instance, reason));
        await holdings.release(subject, token, reason, writes, compares);
        return;
      }
    }
  }

  async #start(target: DesiredInstance, reason: string): Promise<void> {
    const { starter, clock, ledger, shortcomings } = this.#options;
    const previous = this.units().findLast(unit => unit.instance === target.instance && !alive(unit));
    const { exclusive, stopTimeoutSeconds } = target.process;
    const started = await starter.start(
      target,
      {
        takenPorts: () =>
          new Set(this.units().flatMap(unit => (unit.endpoint && alive(unit) ? [unit.endpoint.port] : []))),
        preferPort: previous?.endpoint?.port ?? null,
      },
      // What it took to fetch and unpack may have outlived the right to run it.
      () =>
        !exclusive ||
        (this.#holds(target.instance) && this.#exclusive.whyNotNow(stopTimeoutSeconds) === null),
    );
    if (started === null) return;
    this.#units.set(started.unit, adopted(started, clock.now()));
    this.#fenced.set(started.unit, target.token);
    shortcomings.started(target.instance);
    if (exclusive) this.#exclusive.watch();
    ledger.note({
      kind: 'instance-started',
      subject: target.instance,
      message: `${target.instance} started as pid ${started.pid ?? 'none'}: ${reason}`,
      details: { unit: started.unit, pid: started.pid, version: started.version, endpoint: started.endpoint },
    });
  }

  /** Not a move of the reconciliation: it cannot wait for a round, nor for a drain. */
  #stopGuarded(name: string, graceSeconds: number, reason: string): void {
    const { ledger, log } = this.#options;
    const unit = this.#units.get(name);
    if (!unit) return;
    ledger.note({
      kind: 'exclusive-stopped',
      subject: unit.instance,
      message: `${unit.instance} is stopped: ${reason}`,
      details: { unit: name, graceSeconds },
    });
    this.#stopUnit(unit, graceSeconds, reason).catch((error: unknown) => {
      log.error('an exclusive copy could not be stopped; its guard will kill it', { unit: name, error });
    });
  }

  async #stopUnit(unit: Unit, graceSeconds: number, reason: string): Promise<void> {
    this.#units.set(unit.unit, { ...unit, phase: { kind: 'stopping', sinceMs: this.#options.clock.now() } });
    this.#options.log.info('stopping', { unit: unit.unit, graceSeconds, reason });
    try {
      await this.#options.driver.stop(unit.unit, graceSeconds);
    } catch (error) {
      // What could not be stopped is as it was, so that it is stopped again.
      if (this.#units.get(unit.unit)?.phase.kind === 'stopping') this.#units.set(unit.unit, unit);
      throw error;
    }
  }

  /** A start that could not even be tried counts like a crash: the same backoff, and the words where a person looks. */
  #failed(action: Action, error: unknown): void {
    const { log, ledger, clock, shortcomings } = this.#options;
    const message = error instanceof Error ? error.message : String(error);
    log.warn('an action failed', { action: action.kind, reason: action.reason, error });
    if (action.kind !== 'start') return;
    const history = forVersion(this.#histories.get(action.instance), action.instance, action.version);
    const after = {
      ...history,
      failures: history.failures + 1,
      lastFailureMs: clock.now(),
      lastTrouble: message,
      passing: (error instanceof DriverError || error instanceof ArtifactError) && error.retryable,
    };
    this.#histories.set(action.instance, after);
    shortcomings.failed(after);
    ledger.note({
      kind: 'instance-start-failed',
      subject: action.instance,
      message: `${action.instance} could not be started: ${message}`,
    });
  }

  /** A copy's token file follows the owner key: its subject may have been taken anew while it ran on. */
  #fence(): void {
    const { holdings, driver, log } = this.#options;
    for (const unit of this.#fenced.keys()) if (!this.#units.has(unit)) this.#fenced.delete(unit);
    for (const unit of this.units().filter(alive)) {
      const token = holdings.held().get(subjectOfInstance(unit.instance))?.token;
      if (token === undefined || this.#fenced.get(unit.unit) === token) continue;
      this.#fenced.set(unit.unit, token);
      driver.fence(unit.unit, token).catch((error: unknown) => {
        this.#fenced.delete(unit.unit);
        log.warn('a fencing token could not be handed over and will be tried again', {
          unit: unit.unit,
          error,
        });
      });
    }
  }

  #watchHealth(desired: DesiredInstance[]): void {
    const specs = new Map(desired.map(target => [target.instance, target]));
    const watched = new Map<string, Watched>();
    for (const unit of this.#units.values()) {
      const target = specs.get(unit.instance);
      const asked =
        unit.phase.kind === 'starting' || unit.phase.kind === 'ready' || unit.phase.kind === 'unhealthy';
      if (!target || !asked) continue;
      if (unit.endpoint) watched.set(unit.unit, { unit, healthcheck: this.#healthcheck(unit, target) });
      else if (unit.phase.kind === 'starting')
        this.#probed(unit.unit, {
          good: true,
          answered: false,
          evidence: 'it lives; it has no endpoint to ask',
        });
    }
    this.#health.watch(watched, unit => this.#units.get(unit)?.phase.kind === 'starting');
  }

  /** By what its own release says, while that is still known: a copy need not answer what only the next one does. */
  #healthcheck(unit: Unit, target: DesiredInstance): HealthcheckSpec {
    const record = this.#options.world.apps.get(target.app)?.value;
    const ofOther = record !== undefined && unit.release !== target.release;
    return (ofOther ? specOfRelease(record, unit.release) : target.spec).healthcheck;
  }

  #probed(name: string, result: Told): void {
    const { world, clock, ledger } = this.#options;
    const unit = this.#units.get(name);
    if (!unit || !['starting', 'ready', 'unhealthy'].includes(unit.phase.kind)) return;
    const app = world.apps.get(parseInstanceId(unit.instance).app)?.value;
    const threshold = app?.spec.healthcheck.failureThreshold ?? 3;
    const phase = afterProbe(unit, result, threshold, clock.now());
    if (JSON.stringify(phase) === JSON.stringify(unit.phase)) return;
    this.#units.set(name, { ...unit, phase });
    if (phase.kind === 'ready') {
      if (unit.phase.kind === 'starting') {
        this.#histories.set(unit.instance, afterReady(this.#histories.get(unit.instance), unit, clock.now()));
      }
      ledger.note({
        kind: 'instance-ready',
        subject: unit.instance,
        message: `${unit.instance} is ready: ${result.evidence}`,
        details: { unit: name, afterMs: Math.round(clock.now() - unit.startedMs) },
      });
    } else if (phase.kind === 'unhealthy' && phase.failures === threshold) {
      ledger.note({
        kind: 'instance-unhealthy',
        subject: unit.instance,
        message: `${unit.instance}: ${result.evidence}`,
        details: { unit: name },
      });
    }
    this.#loop.wake();
  }

  #tellStatuses(statuses: InstanceStatus[]): void {
    const known = new Map(statuses.map(status => [status.instance, status]));
    for (const [instance, version] of this.#givenUp) {
      const status = known.get(instance);
      if (status?.version !== version || status.state === 'running') this.#givenUp.delete(instance);
    }
    for (const status of statuses) {
      if (status.state === 'failed' && !this.#givenUp.has(status.instance)) {
        this.#givenUp.set(status.instance, status.version);
        this.#options.ledger.note({
          kind: 'instance-given-up',
          subject: status.instance,
          message: `${status.instance} is given up: ${status.trouble ?? 'it failed too often'}`,
        });
      }
    }
    const before = this.#statuses ?? [];
    const changed = JSON.stringify(statuses) !== JSON.stringify(this.#statuses);
    this.#statuses = statuses;
    if (changed) {
      this.#options.onStatuses(onlyBegins(before, statuses));
      // The rollout of the next index may depend on this one's readiness.
      this.#loop.wakeWithin(GATHER_MS);
    }
  }
}

/** Copies are about to start, or have just been started, and all else is as before. */
function onlyBegins(before: readonly InstanceStatus[], after: readonly InstanceStatus[]): boolean {
  const others = (statuses: readonly InstanceStatus[]): string =>
    JSON.stringify(statuses.filter(({ state, standby }) => state !== 'starting' || standby !== undefined));
  return others(before) === others(after);
}

function adopted(observed: DriverUnit, nowMs: number): Unit {
  return {
    unit: observed.unit,
    instance: observed.instance,
    release: observed.release,
    version: observed.version,
    pid: observed.pid,
    endpoint: observed.endpoint,
    phase: { kind: 'starting' },
    startedMs: nowMs,
    guarded: observed.guarded === true,
  };
}
