import type { NodeName } from '../../model/ids.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import type { Session } from '../../ports/store.ts';
import { dueChunks, inClaimOrder, type FreeChunk } from '../../workflow/claim-order.ts';
import type { Moment } from '../../workflow/history.ts';
import { neededOwner } from '../../workflow/next-moves.ts';
import type { World } from '../world.ts';
import { ChunkWork, type ChunkWorkParts } from './chunk-work.ts';
import type { KnownChunk, KnownPlan } from './known-plan.ts';
import { goesOnHere, outlookOf, type Turn } from './turn.ts';

/**
 * A node that is not a chunk's first choice leaves it to those before it for so long each, and while the store is slow, for as long
 * as so many transactions take: what one is writing already, the others would write in vain.
 */
const STAGGER_MS = 100;
const STAGGER_TRANSACTIONS = 5;
const LONGEST_STAGGER_MS = 1_000;
/** Not to be tried at once again when a claim could not be written. */
const HOLD_OFF_MS = 200;
/** Of what a node works at at once. */
const STARTED_WITH_ROOM_FOR = 1 / 8;
/** When the agent is told to end, what runs may come to its end within so long, and then has so long to stop. */
const ENDS_WITHIN_MS = 5_000;
const STOPS_WITHIN_MS = 5_000;
/** What agents that need no time have done is there after so many turns of the promise queue. */
const HOPS = 8;

export interface PlanWorkOptions extends Omit<ChunkWorkParts, 'moment' | 'onWake' | 'onGone' | 'onTurned'> {
  world: Pick<World, 'sessions' | 'nodes'>;
  random: Random;
  onTurned: (plan: KnownPlan, turn: Turn) => void;
}

interface Candidate extends FreeChunk {
  known: KnownPlan;
}

/**
 * The part of all plans that this node works at: looks after the chunks it owns and claims those that need an owner, the most
 * urgent first, as far as there is room. Level-triggered: what changed only says where to look again.
 */
export class PlanWork {
  readonly #options: PlanWorkOptions;
  readonly #parts: ChunkWorkParts;
  readonly #works = new Map<string, ChunkWork>();
  readonly #woken = new Set<ChunkWork>();
  /** Chunks that somebody else owns, or nobody, to be looked at. */
  readonly #consider = new Map<string, { plan: KnownPlan; chunk: number }>();
  readonly #free = new Map<string, Candidate>();
  /** By others that live, with work left. */
  readonly #ownedByOthers = new Set<string>();
  readonly #expected = new Set<string>();
  readonly #unlisten: (() => void)[] = [];
  #takers: NodeName[] | null = null;
  #soon = false;
  #stopped = true;
  /** Called when nothing is this node's any more; null = it takes chunks. */
  #whenEmpty: (() => void) | null = null;
  #cancelWake: (() => void) | null = null;

  constructor(options: PlanWorkOptions) {
    this.#options = options;
    this.#parts = {
      ...options,
      moment: moment(options.clock, options.random),
      onWake: work => this.#wake(work),
      onGone: work => this.#gone(work),
      onTurned: (plan, _chunk, turn) => options.onTurned(plan, turn),
    };
  }

  start(): void {
    const { book, world, attempts } = this.#options;
    this.#stopped = false;
    this.#unlisten.push(
      book.onTouched((plan, touched) => {
        const chunks = touched === 'all' ? plan.chunks.keys() : touched;
        for (const chunk of chunks) this.#touch(plan, chunk);
        this.#roundSoon();
      }),
      world.sessions.onChange(() => this.lookAtAll()),
      attempts.onRoom(() => this.#feed()),
    );
    this.lookAtAll();
  }

  /**
   * Takes and starts nothing more. What runs is waited for, and then told to stop; a chunk of which nothing runs any more is
   * released, so that whoever is first goes on with it. What does not stop is left to `stop`.
   */
  async handBack(reason: string): Promise<void> {
    if (this.#stopped || this.#options.session() === null) return;
    const empty = new Promise<void>(resolve => (this.#whenEmpty = resolve));
    for (const work of this.#works.values()) work.leave(reason);
    if (this.#works.size === 0) return;
    if (await this.#within(empty, ENDS_WITHIN_MS)) return;
    for (const work of this.#works.values()) work.cutShort(reason);
    await this.#within(empty, STOPS_WITHIN_MS);
  }

  /** What runs is told to stop, and nobody listens to it any more: the next agent of this node, or another, starts it anew. */
  stop(reason: string): void {
    this.#stopped = true;
    for (const unlisten of this.#unlisten.splice(0)) unlisten();
    this.#cancelWake?.();
    this.dropAll(reason);
  }

  /** After a loss of the session: nothing is this node's any more. */
  dropAll(reason: string): void {
    for (const work of [...this.#works.values()]) work.drop(reason);
  }

  lookAtAll(): void {
    this.#takers = null;
    for (const plan of this.#options.book.open()) {
      for (const chunk of plan.chunks.keys()) this.#touch(plan, chunk);
    }
    this.#roundSoon();
  }

  /** What this node can do of one plan may have changed. */
  lookAgain(plan: string): void {
    const known = this.#options.book.get(plan);
    if (known === undefined) return;
    for (const chunk of known.chunks.keys()) this.#touch(known, chunk);
    this.#roundSoon();
  }

  get running(): boolean {
    return !this.#stopped && this.#whenEmpty === null;
  }

  /** Chunks that this node owns. */
  get owned(): number {
    return this.#works.size;
  }

  /** Whether a plan that is just being submitted may be begun here at once: nothing is waiting that came before it. */
  mayBeginAt(slots: number): boolean {
    const { node, attempts, session } = this.#options;
    if (this.#stopped || this.#whenEmpty !== null) return false;
    if (this.#free.size > 0 || attempts.running > slots || session() === null) return false;
    return this.#nodes().includes(node);
  }

  /** A chunk that is being written with its plan as this node's own may be heard of before that is known. Returns how to end it. */
  expect(name: string): () => void {
    this.#expected.add(name);
    return () => {
      this.#expected.delete(name);
      const plan = this.#options.book.get(name.slice(0, name.indexOf('/')));
      if (plan === undefined || this.#works.has(name)) return;
      this.#consider.set(name, { plan, chunk: 0 });
      this.#roundSoon();
    };
  }

  /** Takes up a chunk that was written with its plan as this node's own. */
  adopt(plan: KnownPlan, chunk: number, turn: Turn, session: Session): void {
    if (this.#stopped || this.#works.has(plan.name(chunk))) return;
    const work = new ChunkWork(this.#parts, plan, chunk, session);
    this.#works.set(plan.name(chunk), work);
    work.begin(turn, session);
    if (this.#whenEmpty !== null) work.leave('this node takes nothing more');
  }

  /** A supervisor asks: whatever is late is ended by the next turn. Why not; null = it is done. */
  lookAt(plan: string, index: number): string | null {
    const known = this.#options.book.get(plan);
    const work = known && this.#works.get(known.name(known.chunkOf(index)));
    if (work === undefined) return `${this.#options.node} does not own that step`;
    this.#wake(work);
    return null;
  }

  #touch(plan: KnownPlan, chunk: number): void {
    const name = plan.name(chunk);
    const work = this.#works.get(name);
    if (work !== undefined) this.#woken.add(work);
    else this.#consider.set(name, { plan, chunk });
  }

  #wake(work: ChunkWork): void {
    this.#woken.add(work);
    this.#roundSoon();
  }

  /** Some agent came, or has more room: those that wanted it. */
  #feed(): void {
    for (const work of this.#works.values()) if (work.lacksRoom) this.#woken.add(work);
    for (const plan of this.#options.book.open()) {
      for (const chunk of plan.chunks.keys())
        if (!this.#works.has(plan.name(chunk))) this.#consider.set(plan.name(chunk), { plan, chunk });
    }
    this.#roundSoon();
  }

  #gone(work: ChunkWork): void {
    const { plan, chunk } = work;
    const name = plan.name(chunk);
    if (this.#works.get(name) === work) this.#works.delete(name);
    this.#woken.delete(work);
    if (this.#works.size === 0) this.#whenEmpty?.();
    if (this.#stopped) return;
    const known = plan.chunks[chunk];
    if (known) known.notBeforeMs = this.#options.clock.now() + (work.failed ? HOLD_OFF_MS : 0);
    this.#consider.set(name, { plan, chunk });
    this.#roundSoon();
  }

  #roundSoon(): void {
    if (this.#soon || this.#stopped) return;
    this.#soon = true;
    void this.#afterHops();
  }

  async #afterHops(): Promise<void> {
    for (let hop = 0; hop < HOPS; hop++) await Promise.resolve();
    this.#soon = false;
    if (!this.#stopped) this.#round();
  }

  #round(): void {
    const { session, clock } = this.#options;
    const current = session();
    if (current === null) return;
    const nowMs = clock.now();
    for (const [name, { plan, chunk }] of this.#consider) this.#look(name, plan, chunk, current, nowMs);
    this.#consider.clear();
    if (this.#room() > 0)
      for (const work of this.#works.values()) if (work.hungry && !work.busy) this.#woken.add(work);
    const woken = [...this.#woken];
    this.#woken.clear();
    if (woken.length === 0 && this.#free.size === 0) return;
    const claims = this.#whenEmpty === null ? this.#due(nowMs) : [];
    const jobs = [
      ...woken.map(work => ({ ...placeOf(work.plan, work.chunk), work, claim: null })),
      ...claims.map(claim => ({ ...placeOf(claim.known, claim.chunk), work: null, claim })),
    ];
    for (const { work, claim } of jobs.length > 1 ? inClaimOrder(jobs) : jobs) {
      if (work !== null) work.turn(this.#room());
      else if (claim.takeOver || this.#room() > 0) this.#claim(claim, current);
    }
  }

  /** Steps are started by the dozen, so that a chunk takes few transactions: not whenever there is room for one more. */
  #room(): number {
    const { slots, atOnce } = this.#options.attempts;
    return slots >= Math.ceil(atOnce * STARTED_WITH_ROOM_FOR) ? slots : 0;
  }

  #staggerMs(): number {
    const writingMs = STAGGER_TRANSACTIONS * this.#options.writes.tookMs;
    return Math.min(LONGEST_STAGGER_MS, Math.max(STAGGER_MS, writingMs));
  }

  #claim({ known: plan, chunk }: Candidate, session: Session): void {
    const name = plan.name(chunk);
    const work = new ChunkWork(this.#parts, plan, chunk, session);
    this.#free.delete(name);
    this.#works.set(name, work);
    work.turn(this.#room());
  }

  #due(nowMs: number): Candidate[] {
    if (this.#free.size === 0) return [];
    const { node, attempts, clock } = this.#options;
    let ownedHere = 0;
    for (const { plan, chunk } of this.#works.values()) if (plan.chunks[chunk]?.open !== 0) ownedHere += 1;
    const { now, wakeInMs } = dueChunks({
      free: [...this.#free.values()],
      self: node,
      nodes: this.#nodes(),
      ownedHere,
      ownedByAll: ownedHere + this.#ownedByOthers.size,
      slots: attempts.slots,
      nowMs,
      staggerMs: this.#staggerMs(),
    });
    this.#cancelWake?.();
    this.#cancelWake = wakeInMs === null ? null : clock.after(wakeInMs, () => this.#roundSoon());
    return now;
  }

  /** Whether a chunk that is not this node's is free and needs an owner that can do what this node can. */
  #look(name: string, plan: KnownPlan, chunk: number, session: Session, nowMs: number): void {
    const { book, node, world } = this.#options;
    this.#free.delete(name);
    this.#ownedByOthers.delete(name);
    const known = plan.chunks[chunk];
    const { shape } = plan;
    if (this.#works.has(name) || this.#expected.has(name)) return;
    if (book.get(plan.id) !== plan || plan.settled || !plan.whole) return;
    if (known === undefined || shape === null) return;
    const { owner } = known.entry.value;
    // Its work is not known here: it was an earlier process's, or the reply to a claim was lost.
    const ours = owner?.node === node && owner.incarnation === session.incarnation;
    const lives = owner !== null && world.sessions.get(`${owner.node}/${owner.incarnation}`) !== undefined;
    if (lives && !ours) {
      known.freeSinceMs = null;
      if (known.open > 0) this.#ownedByOthers.add(name);
      return;
    }
    known.freeSinceMs ??= nowMs;
    const needed = this.#needed(plan, chunk, known, nowMs);
    if (needed === null) return;
    const staggered = ours ? nowMs - this.#staggerMs() * 2 * this.#nodes().length : known.freeSinceMs;
    this.#free.set(name, {
      ...placeOf(plan, chunk),
      plan: plan.id,
      freeSinceMs: Math.max(staggered, known.notBeforeMs),
      takeOver: needed === 'take over',
      known: plan,
    });
  }

  #needed(plan: KnownPlan, chunk: number, known: KnownChunk, nowMs: number): ReturnType<typeof neededOwner> {
    const { attempts, book, node } = this.#options;
    const { shape } = plan;
    if (shape === null) return null;
    const name = plan.name(chunk);
    const outlook = outlookOf(
      {
        plan,
        shape,
        chunk: known,
        self: node,
        slots: 1,
        room: work => attempts.room(work),
        holders: key => book.holders.count(key, name),
        nowMs,
        moment: this.#parts.moment,
      },
      work => attempts.room(work) > 0,
    );
    const needed = neededOwner(outlook);
    const canGoOn =
      plan.entry.value.cancel !== null || goesOnHere(shape, plan.records, known, work => attempts.has(work));
    // What waits for an agent that is not here is for others to take over.
    return needed === 'take over' && !canGoOn ? null : needed;
  }

  /** Whether it is so by then. */
  async #within(empty: Promise<void>, limitMs: number): Promise<boolean> {
    const waited = new AbortController();
    const isSo = empty.then(() => true);
    const isLate = this.#options.clock.sleep(limitMs, waited.signal).then(() => false);
    const result = await Promise.race([isSo, isLate]);
    waited.abort();
    return result;
  }

  /** Those that take chunks: if all are to be emptied, these all the same, for nothing may be left lying. */
  #nodes(): NodeName[] {
    if (this.#takers !== null) return this.#takers;
    const able = [...this.#options.world.nodes().values()].filter(({ value }) =>
      value.roles.includes('apps'),
    );
    const staying = able.filter(({ value }) => !value.draining);
    this.#takers = (staying.length > 0 ? staying : able).map(({ value }) => value.node);
    return this.#takers;
  }
}

export function moment(clock: Clock, random: Random): Moment {
  return { random: () => random.float(), timestamp: inMs => clock.timestamp(inMs) };
}

function placeOf(plan: KnownPlan, chunk: number): Pick<FreeChunk, 'priority' | 'createRevision' | 'chunk'> {
  return { priority: plan.priority, createRevision: plan.entry.createRevision, chunk };
}
