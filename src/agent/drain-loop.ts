import { subjectOfInstance, type InstanceId, type InstantMs, type NodeName } from '../model/ids.ts';
import type { DrainRecord, SessionRecord } from '../model/records.ts';
import { drain, type DrainStep } from '../placement/drain.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Session } from '../ports/store.ts';
import type { Crowd } from './crowd.ts';
import type { Holding, Holdings } from './holdings.ts';
import type { Ledger } from './ledger.ts';
import { Loop } from './loop.ts';
import { rankedAnew } from './ranked-anew.ts';
import type { SessionKeeper } from './session-keeper.ts';
import { placementInputs, wantedOrWhyNot } from './wanted.ts';
import type { World } from './world.ts';

/** Beside its own time to start, which what is moved may take somewhere else before the next goes as well. */
const ARRIVES_WITHIN_MS = 30_000;
const LOOK_AGAIN_MS = 1000;

export interface DrainLoopOptions {
  node: NodeName;
  world: World;
  holdings: Holdings;
  keeper: SessionKeeper;
  crowd: Crowd;
  ledger: Ledger;
  clock: Clock;
  log: Log;
  /** Whether something of an instance lives here, or is about to. */
  runs: (instance: InstanceId) => boolean;
  /** This node's session record as it should be, `draining` included. */
  record: () => Omit<SessionRecord, 'incarnation'>;
  /** Called when what this node says of its drain, or what it wants to run, has changed. */
  onChange: () => void;
}

/**
 * Empties this node while somebody wishes it. First the others are told that it takes nothing; then one instance after the
 * other goes: a redundant one is handed over and runs on until its successor is ready, an exclusive one is stopped, and
 * released when it is dead.
 */
export class Drain {
  readonly #options: DrainLoopOptions;
  readonly loop: Loop;
  /** What is on its way, and when that has taken too long. */
  readonly #moving = new Map<InstanceId, InstantMs>();
  /** What is exclusive and on its way. */
  readonly #stopping = new Map<InstanceId, string>();
  #step: DrainStep | null = null;
  #told: 'no' | 'began' | 'emptied' = 'no';

  constructor(options: DrainLoopOptions) {
    this.#options = options;
    this.loop = new Loop({
      name: 'drain',
      clock: options.clock,
      log: options.log,
      everyMs: 5000,
      round: () => this.#round(),
    });
  }

  /** Whether this node takes nothing new. */
  get wished(): boolean {
    return this.#wish() !== undefined;
  }

  /** What this node says of it; null = it takes work. */
  progress(): { reason: string; left: number; stays: DrainStep['stays'] } | null {
    const wish = this.#wish();
    if (!wish || this.#step === null) return null;
    return { reason: wish.reason, left: this.#step.left, stays: this.#step.stays };
  }

  /** Why something exclusive is to be stopped here and released; null = it is not. */
  whyStopped(instance: InstanceId): string | null {
    return this.#stopping.get(instance) ?? null;
  }

  #wish(): DrainRecord | undefined {
    return this.#options.world.drains.get(this.#options.node)?.value;
  }

  async #round(): Promise<number | null> {
    const { keeper, world, node } = this.#options;
    const session = keeper.current();
    if (!session || !world.synced()) return LOOK_AGAIN_MS;
    const wish = this.#wish();
    const shown = world.sessions.get(`${node}/${session.incarnation}`)?.value.draining;
    if (shown !== (wish !== undefined)) {
      await this.#showOthers(session);
      // Until they are seen to know, what is let go of might come straight back.
      return LOOK_AGAIN_MS;
    }
    if (wish) await this.#drain(wish);
    else this.#end();
    return wish && this.#step !== null && this.#step.left > 0 ? LOOK_AGAIN_MS : null;
  }

  async #showOthers(session: Session): Promise<void> {
    const { incarnation } = session;
    await session.update({ ...this.#options.record(), incarnation });
  }

  async #drain(wish: DrainRecord): Promise<void> {
    const { node, clock, holdings, world } = this.#options;
    if (this.#told === 'no') {
      this.#told = 'began';
      this.#tell('node-draining', `${node} is being emptied: ${wish.reason}`);
    }
    for (const instance of this.#moving.keys()) if (this.#isGone(instance)) this.#arrived(instance);
    // What an earlier agent handed over, or another node took, is on its way as well.
    for (const { instance } of holdings.former().values()) this.#leaves(instance);
    const nowMs = clock.now();
    const step = drain({
      held: this.#held(),
      moving: [...this.#moving].map(([instance, overdueMs]) => ({
        instance,
        overdue: overdueMs <= nowMs,
      })),
    });
    if (step.next !== null) {
      const holding = holdings.held().get(subjectOfInstance(step.next.instance));
      if (holding) await this.#move(holding, `${node} is being emptied; ${step.next.to} is the best for it`);
    }
    this.#show(step);
    if (step.left === 0 && this.#told === 'began' && world.synced()) {
      this.#told = 'emptied';
      this.#tell('node-drained', `nothing runs on ${node} any more`);
    }
  }

  #held(): { instance: InstanceId; ranking: NonNullable<ReturnType<typeof rankedAnew>> }[] {
    const { world, holdings, crowd } = this.#options;
    const inputs = placementInputs(world, undefined, crowd.unsteady());
    return [...holdings.held().values()].flatMap(({ instance }) => {
      const wanted = wantedOrWhyNot(world, instance);
      if (this.#moving.has(instance) || 'notWanted' in wanted) return [];
      const ranking = rankedAnew(world, inputs, wanted, []);
      return ranking ? [{ instance, ranking }] : [];
    });
  }

  async #move(holding: Holding, reason: string): Promise<void> {
    const { holdings } = this.#options;
    const { instance, exclusive } = holding;
    this.#leaves(instance);
    if (exclusive) {
      this.#stopping.set(instance, reason);
      this.#options.onChange();
      return;
    }
    try {
      await holdings.handOver(holding, reason);
    } catch (error) {
      this.#moving.delete(instance);
      throw error;
    }
  }

  #leaves(instance: InstanceId): void {
    if (this.#moving.has(instance)) return;
    const { clock, world } = this.#options;
    const wanted = wantedOrWhyNot(world, instance);
    const startsWithinMs = 'notWanted' in wanted ? 0 : wanted.process.startTimeoutSeconds * 1000;
    this.#moving.set(instance, clock.now() + startsWithinMs + ARRIVES_WITHIN_MS);
  }

  #isGone(instance: InstanceId): boolean {
    const { holdings, runs } = this.#options;
    const subject = subjectOfInstance(instance);
    return !holdings.held().has(subject) && !holdings.former().has(subject) && !runs(instance);
  }

  #arrived(instance: InstanceId): void {
    this.#moving.delete(instance);
    this.#stopping.delete(instance);
  }

  #end(): void {
    if (this.#told !== 'no') this.#tell('node-undrained', `${this.#options.node} takes work again`);
    this.#told = 'no';
    this.#moving.clear();
    const stopped = this.#stopping.size > 0;
    this.#stopping.clear();
    if (this.#step !== null || stopped) this.#options.onChange();
    this.#step = null;
  }

  #show(step: DrainStep): void {
    const changed = JSON.stringify(step) !== JSON.stringify(this.#step);
    this.#step = step;
    if (changed) this.#options.onChange();
  }

  #tell(kind: string, message: string): void {
    this.#options.ledger.note({ kind, subject: `node/${this.#options.node}`, message });
  }
}
