import type { AppSpec } from '../model/app-spec.ts';
import type { NodeConfig } from '../model/node-config.ts';
import { EPOCH, type Capacity, type SessionRecord } from '../model/records.ts';
import { inCharge } from '../model/rollout.ts';
import type { AppName, Digest, InstanceId } from '../model/ids.ts';
import type { Admin } from '../ports/admin.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { Driver } from '../ports/driver.ts';
import type { Guard } from '../ports/guard.ts';
import type { Host } from '../ports/host.ts';
import type { LocalState } from '../ports/local-state.ts';
import type { Log } from '../ports/log.ts';
import type { Peers } from '../ports/peers.ts';
import type { Plans } from '../ports/plans.ts';
import type { Prober } from '../ports/prober.ts';
import type { Proxy } from '../ports/proxy.ts';
import type { Random } from '../ports/random.ts';
import type { StepAgents } from '../ports/step-agents.ts';
import type { Entry, Session, Store } from '../ports/store.ts';
import type { Doctor } from '../model/views.ts';
import { subjectOfInstance } from '../model/ids.ts';
import { notAdmitted } from '../ownership/admission.ts';
import { heldDownMs } from '../ownership/hold-down.ts';
import { placedOn } from '../placement/reservation.ts';
import { overcommitted } from '../promise/conflicts.ts';
import { Absences } from './absences.ts';
import { ReleasePlaces } from './app-places.ts';
import { adminService, type AdminServiceOptions } from './admin-service.ts';
import { assessLoop } from './assess-loop.ts';
import { Beats } from './beats.ts';
import { claimLoop } from './claim-loop.ts';
import { collectLoop } from './collect-loop.ts';
import { copiesLoop } from './copies-loop.ts';
import { Crowd } from './crowd.ts';
import { Audience } from './deploy/audience.ts';
import { deployAgent } from './deploy/deploy-agent.ts';
import { DEPLOY, isDeployment } from './deploy/deployment-plan.ts';
import { oldReleasesLoop } from './deploy/old-releases.ts';
import { Platforms } from './deploy/platforms.ts';
import { Preparing } from './deploy/preparing.ts';
import { Rolling } from './deploy/rolling.ts';
import { Turns } from './deploy/turns.ts';
import { Deployments } from './deploy/deployments.ts';
import { Drain } from './drain-loop.ts';
import { Exclusive } from './exclusive.ts';
import { recordExpiries } from './expiries.ts';
import { FixedPorts } from './fixed-ports.ts';
import { Holdings } from './holdings.ts';
import { InstanceLoop } from './instance-loop.ts';
import { Ledger } from './ledger.ts';
import { NamedAgents } from './names/named-agents.ts';
import type { CommandParts } from './names/named-commands.ts';
import { Lapsed } from './lapsed.ts';
import { lapsedLoop } from './lapsed-loop.ts';
import { LastRun } from './last-run.ts';
import { listensOf } from './listens.ts';
import { Loop } from './loop.ts';
import { MOVE, moveAgent } from './move-agent.ts';
import { withOwn } from './plans/own-agents.ts';
import { PlanEngine } from './plans/plan-engine.ts';
import type { PlanFigures } from './plans/plan-figures.ts';
import { PromiseLoop } from './promise-loop.ts';
import { ProxyLoop } from './proxy-loop.ts';
import { Refusals } from './refusals.ts';
import { requestLoop } from './request-loop.ts';
import { Rollbacks } from './deploy/rollbacks.ts';
import { rolloutLoop } from './deploy/rollout-loop.ts';
import { SessionKeeper } from './session-keeper.ts';
import { Shortcomings } from './shortcomings.ts';
import { StaleTokens, type StaleUse } from './stale-tokens.ts';
import { Starter } from './starter.ts';
import { Supplies } from './supplies.ts';
import { Supervisor } from './supervise-loop.ts';
import { alive } from './targets.ts';
import { wantedOrWhyNot, type WantedInstance } from './wanted.ts';
import { World } from './world.ts';

const RESUMED_AGAIN_MS = 200;
const UNSEEN_GRACE_SECONDS = 10;
/** How soon it is looked again whether a copy here that this node does not own any more is dead. */
const RUNS_HERE_MS = 300;

/** An etcd that is just starting, or electing, is heard by then. */
const ALONE_AFTER_MS = 5000;

/** What agents do steps by themselves, whatever else a node has to do steps by: nobody else may have these names. */
export const OWN_STEP_AGENTS: readonly string[] = [DEPLOY, MOVE];

export interface AgentParts {
  config: NodeConfig;
  /** The agent's own version. */
  version: string;
  user: string;
  /** Where its admin API is reached, and its peer listener. */
  adminUrl: string;
  peer: { host: string; port: number };
  clock: Clock;
  random: Random;
  log: Log;
  store: Store;
  state: LocalState;
  host: Host;
  driver: Driver;
  guard: Guard;
  /** Why this machine can't guard anything exclusive; null = it can. */
  guardMissing: string | null;
  /** What runs commands for named agents; absent = this node runs none. */
  commands?: CommandParts;
  /** What does the work of plans' steps, and where what is too large for the store lies; absent = this node works at no plan. */
  stepAgents?: StepAgents;
  blobs?: Blobs;
  /** Whom an app's commands run as, given the directories that are its own; absent = as the agent's own user. */
  userOf?: (app: AppName, own: string[], release: number) => Promise<string>;
  prober: Prober;
  artifacts: AdminServiceOptions['artifacts'];
  peers: Peers;
  /** Why this machine cannot run such an app whatever room it has, as for limits it can't enforce; or null. */
  unableTo: (spec: AppSpec) => string | null;
  /** null for a node without the `proxy` role. */
  proxy: Proxy | null;
  doctor: () => Promise<Doctor['checks']>;
  metrics: () => Promise<string>;
  /** Called each time this agent refused something because of a stale token. */
  onStaleToken: (use: StaleUse) => void;
  /** Called when the admin API asked this node to leave, after it has, with what went wrong or null. */
  onLeft: (failure: unknown) => void;
}

/** A decision takes moments, and its transactions have deadlines. Longer, and its loop will not go on by itself. */
const STUCK_AFTER_MS = 120_000;

/** What comes from the store comes in bursts, and every node decides on all of it: a burst is looked at as a whole. */
const GATHER_MS = 20;
/** What observers ask competes with what was just promised, an instance that is starting: that goes first. */
const JUDGE_MS = 100;
/** Artifacts are copied, and copies promised, behind what runs. */
const SHELF_MS = 1000;
/** A changed app may leave things over; those that were in use until now are not removed at once. */
const COLLECT_MS = 20 * 60_000;

/**
 * One node's agent: the loops, wired to each other by wakes alone, started in order and stopped in reverse. It is one file because
 * what wakes what, and what must be begun or ended before what, can only be judged where all of it is seen; what the loops
 * decide is in files of their own.
 */
export class Agent {
  readonly admin: Admin;
  readonly names: NamedAgents;
  readonly plans: Plans;
  /** For commands of apps. */
  readonly places: ReleasePlaces;
  readonly #parts: AgentParts;
  readonly #world: World;
  readonly #absences: Absences;
  readonly #ledger: Ledger;
  readonly #lastRun: LastRun;
  readonly #keeper: SessionKeeper;
  readonly #holdings: Holdings;
  readonly #planEngine: PlanEngine;
  readonly #instances: InstanceLoop;
  readonly #promises: PromiseLoop;
  readonly #claims: Loop;
  readonly #beats: Beats;
  readonly #supervisor: Supervisor;
  readonly #deployments: Deployments;
  readonly #drain: Drain;
  readonly #others: { start(): void; stop(): Promise<void> }[];
  readonly #deciding: Record<string, { busyMs(): number }>;
  readonly #stop = new AbortController();
  readonly #capacity: Capacity;
  readonly #startedAt: string;
  #artifacts: { digest: Digest; bytes: number }[] = [];
  #unlisten: (() => void)[] = [];

  constructor(parts: AgentParts) {
    const { config, store, clock, random, log, state, host, driver, prober, artifacts } = parts;
    const node = config.name;
    this.#parts = parts;
    this.#startedAt = clock.timestamp();
    const whole = host.capacity();
    this.#capacity = {
      memoryBytes: config.capacity.memoryBytes ?? whole.memoryBytes,
      cpu: config.capacity.cpu ?? whole.cpu,
    };
    const world = (this.#world = new World(store));
    const absences = (this.#absences = new Absences(world, clock));
    this.#lastRun = new LastRun({ state, log });
    const ledger = (this.#ledger = new Ledger({ node, store, clock, log }));
    const keeper = (this.#keeper = new SessionKeeper({
      store,
      state,
      clock,
      random,
      log,
      ledger,
      bootId: host.bootId,
      settlingMs: () => this.#longestTtlMs(),
      record: () => this.#sessionRecord(),
    }));
    const stale = new StaleTokens({ node, ledger, count: parts.onStaleToken });
    const holdings = (this.#holdings = new Holdings({
      node,
      store,
      clock,
      random,
      ledger,
      stale,
      epoch: () => world.cluster.get(EPOCH),
    }));
    const names = (this.names = new NamedAgents({
      node,
      world,
      store,
      state,
      keeper,
      ledger,
      stale,
      clock,
      random,
      log,
      epoch: () => world.cluster.get(EPOCH),
      untilFreeMs: (owner, ownDead) => this.#untilFreeMs(owner, ownDead),
      goneMs: ({ node, incarnation }) => {
        const sinceMs = absences.sinceMs(node, incarnation);
        return sinceMs === null ? 0 : clock.now() - sinceMs;
      },
      commands: parts.commands ?? null,
    }));
    const supplies = new Supplies({ node, world, artifacts, clock });
    const turns = new Turns({ node, store, keeper });
    const audience = new Audience();
    const onHeld = (): void => shelf.wake();
    const platforms = new Platforms({ platform: host.platform, world });
    const making = { node, user: parts.user, store, artifacts, supplies, turns, platforms, random, onHeld };
    const rollbacks = new Rollbacks({ world, store, supplies, platforms, ledger, clock });
    const deploys = deployAgent({
      node,
      preparing: new Preparing(making),
      platforms,
      rolling: new Rolling({ world, store, turns, rollbacks, ledger, clock }),
      audience,
      ledger,
      log,
    });
    const elected = (): string | null => this.#supervisor.electedAs;
    const planEngine = (this.#planEngine = new PlanEngine({
      node,
      limits: config.plans,
      world,
      store,
      keeper,
      ledger,
      agents: withOwn(parts.stepAgents ?? null, [moveAgent({ node, world, store, clock })], true),
      own: [deploys],
      blobs: parts.blobs ?? null,
      clock,
      random,
      log,
      elected,
    }));
    this.plans = planEngine.plans;
    const places = (this.places = new ReleasePlaces({
      node,
      platform: host.platform,
      user: parts.user,
      world,
      artifacts,
      supplies,
      ...(parts.userOf ? { userOf: parts.userOf } : {}),
    }));
    const starter = new Starter({
      node,
      bindAddress: config.peer.host,
      portRange: config.portRange,
      user: parts.user,
      world,
      artifacts,
      supplies,
      driver,
      host,
      random,
      signal: this.#stop.signal,
    });
    const crowd = new Crowd({ world, clock });
    const shortcomings = new Shortcomings(clock);
    const refusals = new Refusals({
      node,
      world,
      store,
      crowd,
      shortcomings,
      session: () => keeper.current(),
      unable: (wanted, session) => this.#unable(wanted, session),
    });
    const ports: FixedPorts = new FixedPorts({
      node,
      world,
      store,
      holdings,
      units: () => (instances.statuses() === null ? null : instances.units().filter(alive)),
      runs: instance => instances.runs(instance),
    });
    const instances = (this.#instances = new InstanceLoop({
      node,
      world,
      holdings,
      driver,
      prober,
      starter,
      shortcomings,
      refusals,
      ports,
      exclusive: copies =>
        new Exclusive({
          guard: parts.guard,
          session: () => keeper.current(),
          holdsAny: () => [...holdings.held().values()].some(({ exclusive }) => exclusive),
          clock,
          log,
          ...copies,
        }),
      movesAway: instance => this.#drain.whyStopped(instance),
      ledger,
      clock,
      log,
      onStatuses: onlyBegins => {
        this.#rememberRuns();
        if (onlyBegins) promises.wakeLater();
        else promises.wakeSoon();
        drain.loop.wake();
      },
    }));
    this.#deployments = new Deployments({
      node,
      world,
      store,
      supplies,
      platforms,
      engine: planEngine,
      turns,
      audience,
      ledger,
      keeper,
      clock,
      log,
      runsCommands: () => parts.stepAgents === undefined || parts.stepAgents.find('command') !== null,
      stopping: this.#stop.signal,
    });
    const promises = (this.#promises = new PromiseLoop({
      node,
      capacity: this.#capacity,
      world,
      store,
      keeper,
      ledger,
      clock,
      log,
      undertakings: () => {
        const statuses = instances.statuses();
        return statuses === null
          ? null
          : {
              statuses,
              artifacts: this.#artifacts,
              deploying: this.#deployments.deploying(),
              requests: [],
              draining: this.#drain.progress(),
              reasons: instances.reasons(),
            };
      },
    }));
    const drain = (this.#drain = new Drain({
      node,
      world,
      holdings,
      keeper,
      crowd,
      ledger,
      clock,
      log,
      runs: instance => instances.runs(instance),
      record: () => this.#sessionRecord(),
      onChange: () => {
        promises.wake();
        instances.wake();
      },
    }));
    const claims = (this.#claims = claimLoop({
      node,
      world,
      store,
      keeper,
      holdings,
      clock,
      log,
      refusals,
      ports,
      heldDown: (owner, instance) => this.#heldDown(owner, instance),
      crowd,
    }));
    this.#beats = new Beats({
      peers: parts.peers,
      clock,
      onChange: () => {
        assessments.wake();
        leftovers.wake();
      },
    });
    const lapsed = new Lapsed({ node, world });
    const assessments = assessLoop({
      node,
      intervalMs: config.probeIntervalSeconds * 1000,
      world,
      store,
      keeper,
      prober,
      beats: this.#beats,
      lapsed,
      ledger,
      random,
      clock,
      log,
    });
    const leftovers = lapsedLoop({
      node,
      world,
      store,
      keeper,
      prober,
      beats: this.#beats,
      lapsed,
      ledger,
      clock,
      log,
    });
    const shelf = new Loop({
      name: 'artifacts',
      clock,
      log,
      everyMs: 60_000,
      round: async () => {
        // What was released meanwhile does not count any more.
        this.#rememberRuns();
        if (await this.#refreshArtifacts()) promises.wake();
        return null;
      },
    });
    const deployments = this.#deployments;
    const collect = collectLoop({
      store,
      artifacts,
      instances,
      deployments,
      places,
      clock,
      log,
    });
    const oldReleases = oldReleasesLoop({ store, world, elected, clock, log });
    const copies = copiesLoop({
      node,
      world,
      artifacts,
      clock,
      log,
      onFetched: () => {
        shelf.wake();
        instances.tryAgain();
      },
    });
    const rollouts = rolloutLoop({ node, world, store, keeper, ledger, clock, log });
    const requests = requestLoop({
      node,
      world,
      store,
      holdings,
      instances,
      names,
      plans: planEngine,
      crowd,
      ledger,
      clock,
      log,
    });
    this.#supervisor = new Supervisor({
      node,
      world,
      store,
      keeper,
      ledger,
      heldDown: (owner, instance) => this.#heldDown(owner, instance),
      names,
      crowd,
      random,
      clock,
      log,
    });
    const proxyLoop = parts.proxy ? [new ProxyLoop({ world, proxy: parts.proxy, stale, clock, log })] : [];
    this.#others = [
      claims,
      promises,
      assessments,
      leftovers,
      requests,
      rollouts,
      drain.loop,
      this.#supervisor.loop,
      collect,
      copies,
      oldReleases,
      names,
      planEngine,
      shelf,
      ...proxyLoop,
    ];
    // Not those that carry artifacts: that takes as long as it takes.
    this.#deciding = {
      instances,
      claims,
      promises,
      assessments,
      leftovers,
      requests,
      rollouts,
      drain: drain.loop,
      supervision: this.#supervisor.loop,
      ...names.loops(),
      ...planEngine.loops(),
    };
    this.#unlisten = [
      world.onChange(['apps'], () => claims.wake()),
      artifacts.onChange(() => shelf.wakeWithin(SHELF_MS)),
      world.onChange(['owners'], () => shelf.wakeWithin(SHELF_MS)),
      world.onChange(['sessions', 'owners', 'ports', 'refusals', 'assessments'], () =>
        claims.wakeWithin(GATHER_MS),
      ),
      world.onChange(['owners'], () => holdings.noticeTaken(subject => world.owners.get(subject))),
      world.onChange(['apps', 'owners', 'ports', 'promises', 'sessions'], () => instances.wakeSoon()),
      world.onChange(['assessments'], () => instances.judged()),
      world.onChange(['promises', 'sessions'], () => assessments.wakeWithin(JUDGE_MS)),
      world.onChange(['apps', 'owners', 'promises', 'sessions'], () => leftovers.wakeWithin(GATHER_MS)),
      world.onChange(['apps'], () => promises.wake()),
      world.onChange(['apps', 'sessions', 'promises'], () => copies.wakeWithin(SHELF_MS)),
      world.onChange(['deploys'], () => copies.wake()),
      world.onChange(['apps'], () => collect.wakeWithin(COLLECT_MS)),
      world.onChange(['apps'], () => oldReleases.wakeWithin(COLLECT_MS)),
      // What this node promises of deployments: who works at them, and how far they are.
      world.onChange(['deploys'], () => promises.wakeLater()),
      // Whether they can do what is next of them, or other nodes have to.
      world.deploys.onChange(changes => {
        for (const { after } of changes) if (after) planEngine.lookAgain(after.value.plan);
      }),
      // Likewise of commands of an app, when its release is another platform's.
      world.apps.onChange(changes => {
        if (changes.some(({ before, after }) => builtFor(before) !== builtFor(after))) planEngine.lookAtAll();
      }),
      planEngine.onTouched(plan => {
        if (isDeployment(plan)) promises.wakeLater();
      }),
      world.onChange(['requests'], () => requests.wake()),
      world.onChange(['supervisor', 'sessions'], () => this.#supervisor.loop.wake()),
      world.onChange(['owners', 'sessions'], () => absences.look()),
      world.onChange(['sessions', 'assessments'], () => crowd.look()),
      world.onChange(['apps', 'promises', 'assessments'], () => rollouts.wakeWithin(JUDGE_MS)),
      world.onChange(['drains', 'sessions', 'apps', 'refusals'], () => drain.loop.wake()),
      holdings.onChange(() => drain.loop.wake()),
      () => crowd.stop(),
      holdings.onChange(() => instances.wake()),
      // Armed as soon as something exclusive is held, and again with every renewal.
      holdings.onChange(() => void instances.exclusive.renew()),
      keeper.onRenewed(() => void instances.exclusive.renew()),
      holdings.onChange(() => claims.wakeWithin(GATHER_MS)),
      keeper.onChange(() => void names.sessionChanged(this.#stop.signal)),
      keeper.onChange(() => planEngine.sessionChanged()),
      keeper.onChange(() => {
        void this.#sessionChanged().finally(() => {
          claims.wake();
          promises.wake();
          assessments.wake();
          this.#supervisor.loop.wake();
        });
      }),
      recordExpiries({ node, world, store, ledger, clock, log }),
    ];
    this.admin = adminService({
      node,
      world,
      store,
      keeper,
      supervisor: this.#supervisor,
      heldDown: (owner, instance) => this.#heldDown(owner, instance),
      crowd,
      names: {
        agent: name => names.agent(name),
        untilFreeMs: owner => this.#untilFreeMs(owner, false),
      },
      deployments: this.#deployments,
      rollbacks,
      planEngine,
      plans: this.plans,
      artifacts,
      driver,
      peers: parts.peers,
      ledger,
      clock,
      self: () => this.#selfView(),
      statuses: () => instances.statuses() ?? [],
      doctor: parts.doctor,
      metrics: parts.metrics,
      leave: async () => {
        let failure: unknown = null;
        await this.leave().catch((error: unknown) => (failure = error));
        parts.onLeft(failure);
        if (failure !== null) throw failure as Error;
      },
    });
  }

  /**
   * Resolves once it is known what runs here; what needs the store waits for it by itself. @throws Error when the driver or
   * the artifacts can't be looked at
   */
  async start(): Promise<void> {
    const { driver, log, clock } = this.#parts;
    await this.#refreshArtifacts();
    await this.names.restore();
    for (const unit of await driver.observe()) {
      if (unit.exit === null && unit.guarded !== true)
        this.#holdings.remember(unit.instance, subjectOfInstance(unit.instance));
    }
    const alone = clock.after(ALONE_AFTER_MS, () => {
      this.#startFromMemory().catch((error: unknown) => {
        log.error('what this node ran last could not be brought up', { error });
      });
    });
    this.#unlisten.push(alone);
    void this.#world.ready(this.#stop.signal).then(
      () => {
        alone();
        // Only with the whole picture: nothing is stopped for want of an app that had merely not arrived yet.
        this.#keeper.start();
        this.#instances.start();
        for (const loop of this.#others) loop.start();
      },
      () => log.info('stopped before the store was heard'),
    );
  }

  /** With no store in reach: what ran here last, if it may run twice, is brought up and looked after (rule 8). */
  async #startFromMemory(): Promise<void> {
    const { log } = this.#parts;
    const remembered = await this.#lastRun.load();
    if (this.#stop.signal.aborted || this.#world.synced()) return;
    const instances = remembered?.instances ?? [];
    log.error('this node is cut off: it has not heard the store since its agent started', {
      sinceMs: ALONE_AFTER_MS,
      runningFromMemory: instances,
    });
    if (!remembered) return;
    this.#world.memory.recall(remembered.apps);
    for (const instance of instances) this.#holdings.remember(instance, subjectOfInstance(instance));
    this.#instances.start();
  }

  /** The name of a loop that decides and is stuck in a round of it; null = all of them go on. */
  stuckLoop(): string | null {
    const stuck = Object.entries(this.#deciding).find(([, loop]) => loop.busyMs() > STUCK_AFTER_MS);
    return stuck?.[0] ?? null;
  }

  planFigures(): PlanFigures {
    return this.#planEngine.figures();
  }

  /** Events of this node that are not in the ledger. */
  eventBacklog(): { waiting: number; dropped: number } {
    return this.#ledger.backlog();
  }

  /** Hands over to the next agent of this node: what runs goes on running, the session is there to be resumed. */
  async stop(): Promise<void> {
    await this.#planEngine.handBack();
    await this.#stopLoops();
    await this.#keeper.stop({ leave: false });
    await this.#close();
  }

  /**
   * Goes for good: stops its instances, releases what it owns, takes back its promises, ends its session. What the store
   * can't be told any more ends with the lease.
   */
  async leave(): Promise<void> {
    const { config, clock, log } = this.#parts;
    const incarnation = this.#keeper.current()?.incarnation ?? null;
    const failures: unknown[] = [];
    // Whatever fails, the rest is done: nothing may run on here, and then nobody would be there to look after it.
    const inAnyCase = async (work: () => Promise<unknown>): Promise<void> => {
      await work().catch((error: unknown) => failures.push(error));
    };
    // First of all nothing new is taken: other nodes may be leaving at the same time.
    await this.#claims.stop();
    await inAnyCase(() => this.#planEngine.handBack());
    await inAnyCase(() => this.names.leave(this.#stop.signal));
    await inAnyCase(() => this.#instances.stopEverything(this.#stop.signal));
    await this.#stopLoops();
    await this.#promises.withdrawAll(`${config.name} left the cluster`).catch((error: unknown) => {
      log.warn('promises could not be taken back: they end with the session', { error });
    });
    this.#ledger.note({
      kind: 'node-left',
      subject: `node/${config.name}`,
      message: `${config.name} left the cluster`,
      details: { incarnation, at: clock.timestamp() },
    });
    await inAnyCase(() => this.#lastRun.clear());
    await inAnyCase(() => this.#ledger.flush());
    await inAnyCase(() => this.#stopUnseen());
    await inAnyCase(() => this.#parts.guard.disarm());
    await this.#keeper.stop({ leave: true }).catch((error: unknown) => {
      log.warn('the session could not be ended: it ends with its lease', { error });
    });
    await this.#close();
    if (failures.length > 0)
      throw new AggregateError(failures, `leaving did not go well: ${words(failures)}`);
  }

  /** What the loops never looked at, because the store was not heard: nothing may run on without its guard. */
  async #stopUnseen(): Promise<void> {
    const { driver } = this.#parts;
    const units = await driver.observe();
    const living = units.filter(unit => unit.exit === null);
    await Promise.all(living.map(({ unit }) => driver.stop(unit, UNSEEN_GRACE_SECONDS)));
  }

  async #stopLoops(): Promise<void> {
    for (const unlisten of this.#unlisten) unlisten();
    this.#unlisten = [];
    this.#stop.abort(new Error('the agent is stopping'));
    for (const loop of [...this.#others].reverse()) await loop.stop();
    await this.#instances.stop();
    this.#beats.stop();
  }

  async #close(): Promise<void> {
    await this.#ledger.close();
    this.#world.close();
    await this.#parts.driver.close();
    await this.#parts.store.close();
  }

  async #sessionChanged(): Promise<void> {
    const { exclusive } = this.#instances;
    if (this.#keeper.state === 'ConnectionLost') {
      this.#holdings.lose();
      exclusive.lose(
        `the session of this node is lost: ${this.#keeper.lostReason ?? 'for an unknown reason'}`,
      );
      return;
    }
    const session = this.#keeper.current();
    if (session?.resumed !== true) exclusive.settle();
    else if (await this.#resume(session)) exclusive.settle();
    await exclusive.renew();
  }

  /** What a resumed session owns; false when it ended before that could be read. */
  async #resume(session: Session): Promise<boolean> {
    const { clock, log } = this.#parts;
    while (session.valid()) {
      try {
        await this.#holdings.resume(session);
        return true;
      } catch (error) {
        // What this incarnation owns is free for nobody, and goes on as it is.
        log.warn('what this node owns could not be read yet and is asked for again', { error });
        await clock.sleep(RESUMED_AGAIN_MS, this.#stop.signal);
        if (this.#stop.signal.aborted) return false;
      }
    }
    return false;
  }

  /** Only what nobody runs any more is taken: neither its owner, nor this node before its session was lost. */
  #heldDown(owner: Entry<'owners'> | undefined, instance: InstanceId): number {
    const { config } = this.#parts;
    if (this.#instances.statuses() === null || this.#instances.runs(instance)) return RUNS_HERE_MS;
    const ownDead = owner?.value.node === config.name && this.#keeper.wasOwn(owner.value.incarnation);
    return this.#untilFreeMs(owner, ownDead);
  }

  /** Of anything exclusive. Whether its last owner's work is dead is for who asks to know. */
  #untilFreeMs(owner: Entry<'owners'> | undefined, ownDead: boolean): number {
    const settlingMs = this.#keeper.settlesInMs();
    if (settlingMs > 0) return settlingMs;
    if (!owner) return 0;
    const { node, incarnation } = owner.value;
    this.#absences.look();
    const absentSinceMs = this.#absences.sinceMs(node, incarnation);
    return heldDownMs(owner.value, absentSinceMs, this.#parts.clock.now(), ownDead);
  }

  /** After etcd was restored nobody knows who owned what last: all of them have stopped when the longest lease has ended. */
  #longestTtlMs(): number {
    const ttls = [...this.#world.owners.all(), ...this.#world.sessions.all()].map(
      ({ value }) => value.ttlSeconds,
    );
    return Math.max(this.#parts.config.leaseTtlSeconds, ...ttls) * 1000;
  }

  /** The authority on itself: what it holds by its own transactions, and what its machine can do. */
  #unable(asked: WantedInstance, session: Session): string | null {
    const { instance, spec, process } = asked;
    const unable =
      this.#parts.unableTo(spec) ??
      (process.exclusive
        ? (this.#parts.guardMissing ?? notAdmitted(session.ttlSeconds, process.stopTimeoutSeconds))
        : null);
    if (unable !== null) return unable;
    const node = this.#parts.config.name;
    const held = [...this.#holdings.held().values()].flatMap(holding => {
      const wanted = wantedOrWhyNot(this.#world, holding.instance);
      if ('notWanted' in wanted) return [];
      return [placedOn(node, wanted)];
    });
    const late = overcommitted({ node, capacity: this.#capacity }, [...held, placedOn(node, asked)]);
    return late.find(problem => problem.message.startsWith(`${instance} `))?.message ?? null;
  }

  async #refreshArtifacts(): Promise<boolean> {
    const artifacts: Artifacts = this.#parts.artifacts;
    const before = JSON.stringify(this.#artifacts);
    this.#artifacts = await artifacts.list();
    return JSON.stringify(this.#artifacts) !== before;
  }

  #rememberRuns(): void {
    const statuses = this.#instances.statuses() ?? [];
    this.#lastRun.note(
      this.#world,
      this.#parts.config.name,
      statuses.map(({ instance }) => instance),
    );
  }

  #sessionRecord(): Omit<SessionRecord, 'incarnation'> {
    const { config, host, version, adminUrl, peer } = this.#parts;
    return {
      v: 1,
      node: config.name,
      ttlSeconds: config.leaseTtlSeconds,
      pid: host.pid,
      version,
      startedAt: this.#startedAt,
      labels: config.labels,
      roles: config.roles,
      capacity: this.#capacity,
      platform: host.platform,
      peer,
      admin: adminUrl,
      draining: this.#drain.wished,
      listens: listensOf(config),
    };
  }

  #selfView(): ReturnType<AdminServiceOptions['self']> {
    const record = this.#sessionRecord();
    return {
      name: record.node,
      incarnation: this.#keeper.current()?.incarnation ?? '',
      pid: record.pid,
      version: record.version,
      platform: record.platform,
      labels: record.labels,
      roles: record.roles,
      capacity: record.capacity,
      leaseTtlSeconds: record.ttlSeconds,
      draining: record.draining,
      drain: null,
      admin: record.admin,
      peer: record.peer,
      startedAt: record.startedAt,
    };
  }
}

/** What runs where only one release can is built for; null = any platform, or nothing. */
function builtFor(app: Entry<'apps'> | null | undefined): string | null {
  return app ? (inCharge(app.value).artifact?.platform ?? null) : null;
}

function words(failures: readonly unknown[]): string {
  return failures.map(error => (error instanceof Error ? error.message : String(error))).join('; ');
}
