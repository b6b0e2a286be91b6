import type { NodeName } from '../../model/ids.ts';
import type { PlanLimits } from '../../model/node-config.ts';
import { EPOCH } from '../../model/records.ts';
import type { Blobs } from '../../ports/blobs.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Plans, PlanSubmission } from '../../ports/plans.ts';
import type { Random } from '../../ports/random.ts';
import type { StepAgent, StepAgents } from '../../ports/step-agents.ts';
import type { Store } from '../../ports/store.ts';
import { hasEnded } from '../../workflow/step-machine.ts';
import type { Ledger } from '../ledger.ts';
import { Loop } from '../loop.ts';
import type { SessionKeeper } from '../session-keeper.ts';
import type { World } from '../world.ts';
import { AppSchedules } from './app-schedules.ts';
import { Attempts } from './attempts.ts';
import { ChunkWrites } from './chunk-writes.ts';
import { Keeping } from './keeping.ts';
import type { KnownPlan } from './known-plan.ts';
import { Overdue } from './overdue.ts';
import { withOwn } from './own-agents.ts';
import { PlanBook } from './plan-book.ts';
import { planFigures, type PlanFigures } from './plan-figures.ts';
import { notePlan } from './plan-notes.ts';
import { PlanService } from './plan-service.ts';
import { moment, PlanWork } from './plan-work.ts';
import { Schedules } from './schedules.ts';
import { Submit, type AlongWith, type Submitted } from './submit.ts';
import type { Here } from './unmanned.ts';

const OVERDUE_EVERY_MS = 1_000;
const KEEPING_EVERY_MS = 60_000;
const SCHEDULES_EVERY_MS = 60_000;

export interface PlanEngineOptions {
  node: NodeName;
  limits: PlanLimits;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  ledger: Ledger;
  /** null = with none of its own either, this node works at no plan, and still answers for all. */
  agents: StepAgents | null;
  /** Of steps that only the agent itself makes plans of. */
  own?: readonly StepAgent[];
  blobs: Blobs | null;
  clock: Clock;
  random: Random;
  log: Log;
  /** The name of this node's candidate key, while it is elected supervisor. */
  elected: () => string | null;
}

/** All that a node does about plans: serves them, works at its part, and while elected looks after the rest. */
export class PlanEngine {
  readonly plans: Plans;
  readonly #options: PlanEngineOptions;
  readonly #book: PlanBook;
  readonly #attempts: Attempts;
  readonly #work: PlanWork;
  readonly #submit: Submit;
  readonly #loops: Record<'overdue' | 'keeping' | 'schedules', Loop>;
  readonly #counted = { claims: 0, writes: 0, refused: 0, ended: 0 };
  readonly #unlisten: () => void;
  #incarnation: string | null = null;

  constructor(options: PlanEngineOptions) {
    const { node, limits, world, store, keeper, ledger, blobs, clock, random, log, elected } = options;
    this.#options = options;
    const own = options.own ?? [];
    const agents = withOwn(options.agents, own, false);
    const session = (): ReturnType<SessionKeeper['current']> => keeper.current();
    const book = (this.#book = new PlanBook({ world, store, clock, log }));
    const attempts = (this.#attempts = new Attempts({ node, atOnce: limits.atOnce, agents, blobs, clock }));
    const writes = new ChunkWrites({
      node,
      store,
      book,
      clock,
      random,
      epoch: () => world.cluster.get(EPOCH),
      onCommitted: kind => {
        if (kind === 'claim') this.#counted.claims += 1;
        else this.#counted.writes += 1;
      },
    });
    this.#work = new PlanWork({
      node,
      world,
      book,
      writes,
      attempts,
      session,
      clock,
      random,
      log,
      onTurned: (plan, turn) => {
        this.#counted.refused += turn.refused.length;
        this.#counted.ended += turn.records.filter(({ state }) => hasEnded(state)).length;
        notePlan(ledger, node, plan, turn);
      },
    });
    const shared = { node, store, book, clock, log, ledger, session, elected, moment: moment(clock, random) };
    const parts = { ...shared, open: limits.open, work: this.#work, writes, attempts, agents, blobs, random };
    const submit = (this.#submit = new Submit({ ...parts, reserved: own.map(({ name }) => name) }));
    const here: Here = {
      node,
      has: agent => agents.find(agent) !== null,
      does: work => attempts.has(work),
    };
    const schedules = new Schedules({
      ...shared,
      random,
      here,
      schedules: world.schedules,
      submit,
      cancel: (plan, by) => this.plans.cancel(plan, by).catch(() => null),
    });
    this.plans = new PlanService({
      ...shared,
      submit,
      schedules,
      blobs,
      here,
      revision: () => world.revision(),
      caughtUp: () => world.steps.revision,
    });
    const ofApps = new AppSchedules({ world, schedules, log });
    const overdue = new Overdue({ ...shared, world, random });
    const keeping = new Keeping({ ...shared, keep: limits, world, blobs });
    const loop = (name: string, everyMs: number, round: (signal: AbortSignal) => Promise<number | null>) =>
      new Loop({ name, clock, log, everyMs, round });
    this.#loops = {
      overdue: loop('overdue steps', OVERDUE_EVERY_MS, async () => {
        await overdue.look();
        return null;
      }),
      keeping: loop('plan keeping', KEEPING_EVERY_MS, async signal => {
        await keeping.round(signal);
        return null;
      }),
      schedules: loop('schedules', SCHEDULES_EVERY_MS, async signal => {
        if (elected() === null) return 1000;
        await ofApps.round(signal);
        return schedules.fire(signal);
      }),
    };
    this.#unlisten = world.onChange(['schedules', 'apps'], () => this.#loops.schedules.wake());
  }

  start(): void {
    this.sessionChanged();
    const { agents, own = [] } = this.#options;
    if (agents !== null || own.length > 0) this.#work.start();
    for (const loop of Object.values(this.#loops)) loop.start();
  }

  /** Before a stop that can wait a while: what runs comes to its end, or is stopped and loses no attempt by that. */
  async handBack(): Promise<void> {
    await this.#work.handBack(`the agent of ${this.#options.node} ended`);
  }

  /** What still runs is told to stop, as after a crash: the next agent of this node, or another node, tries it again. */
  async stop(): Promise<void> {
    this.#unlisten();
    for (const loop of Object.values(this.#loops)) await loop.stop();
    this.#work.stop('the agent is stopping');
    this.#book.close();
  }

  /** Those that decide, to be watched for being stuck. */
  loops(): Record<string, Loop> {
    return this.#loops;
  }

  sessionChanged(): void {
    const incarnation = this.#options.keeper.current()?.incarnation ?? null;
    if (incarnation !== null && incarnation === this.#incarnation) return;
    this.#work.dropAll('the session of this node is lost');
    if (this.#incarnation !== null) this.#book.reset();
    this.#incarnation = incarnation;
    this.#work.lookAtAll();
  }

  /** A plan of the agent's own making, with what stands or falls with it; begun by this node, if it can. @throws AdminError, StoreError */
  submitOwn(request: PlanSubmission, alongWith: AlongWith): Promise<Submitted> {
    return this.#submit.submitOwn(request, alongWith);
  }

  /** Those that have not ended, as this node knows them. */
  open(): Iterable<KnownPlan> {
    return this.#book.open();
  }

  /** Called after a plan changed. Returns how to stop. */
  onTouched(listener: (plan: KnownPlan) => void): () => void {
    return this.#book.onTouched(listener);
  }

  /** What this node can do of a plan may have changed. */
  lookAgain(plan: string): void {
    this.#work.lookAgain(plan);
  }

  /** What this node can do of any plan may have changed. */
  lookAtAll(): void {
    this.#work.lookAtAll();
  }

  /** As the supervisor asks: what is late of it is ended. Why not; null = it is done. */
  endLateStep({ plan, index }: { plan: string; index: number }): string | null {
    return this.#work.lookAt(plan, index);
  }

  figures(): PlanFigures {
    return planFigures(this.#book, this.#attempts, this.#work.owned, this.#counted);
  }
}
