import type { NodeName, Token } from '../../model/ids.ts';
import { chunkToken, type StepResult } from '../../model/plan.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Session } from '../../ports/store.ts';
import type { AttemptEnd, Moment } from '../../workflow/history.ts';
import { neededOwner } from '../../workflow/next-moves.ts';
import { outputsFor } from '../../workflow/outputs.ts';
import { effectKey, stepSpec, type PlanShape } from '../../workflow/shape.ts';
import { hasEnded } from '../../workflow/step-machine.ts';
import type { Attempts, RunningAttempt } from './attempts.ts';
import type { ChunkWrite, ChunkWrites } from './chunk-writes.ts';
import type { KnownChunk, KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';
import { goesOnHere, outlookOf, takeTurn, workOf, type Arrived, type Turn } from './turn.ts';

/** With more than so many still at work, other results are about to come: they are written together. */
const GATHER_MS = 5;
const SEVERAL = 2;
const FAILED_AGAIN_MS = 200;

export interface ChunkWorkParts {
  node: NodeName;
  book: PlanBook;
  writes: ChunkWrites;
  attempts: Attempts;
  moment: Moment;
  clock: Clock;
  log: Log;
  /** The session in force, if it is valid this very moment. */
  session: () => Session | null;
  /** It wants a turn. */
  onWake: (work: ChunkWork) => void;
  /** It is this node's no more. */
  onGone: (work: ChunkWork) => void;
  /** What a turn has brought about is in the store. */
  onTurned: (plan: KnownPlan, chunk: number, turn: Turn) => void;
}

/**
 * A chunk that this node owns, or is claiming: one transaction at a time, and what arrives meanwhile goes with the next. Nothing
 * is started before the record that says so is in the store, and nothing once the session is not in force any more.
 */
export class ChunkWork {
  readonly plan: KnownPlan;
  readonly chunk: number;
  /** It would start more if there were room. */
  hungry = false;
  /** It would start more if its agents had more room, or were here. */
  lacksRoom = false;
  /** It could not be claimed, or needed no owner after all: not to be tried again at once. */
  failed = false;
  readonly #parts: ChunkWorkParts;
  readonly #incarnation: string;
  readonly #attempts = new Map<number, RunningAttempt>();
  #results: Arrived[] = [];
  #token: Token | null = null;
  #busy = false;
  #again = false;
  #gone = false;
  /** Nothing more is started, and the chunk is released when nothing of it runs. */
  #leaving = false;
  /** Why what runs was told to stop, though it had time left. */
  #cut: string | null = null;
  #cancelWake: (() => void) | null = null;
  #cancelGather: (() => void) | null = null;

  constructor(parts: ChunkWorkParts, plan: KnownPlan, chunk: number, session: Session) {
    this.#parts = parts;
    this.plan = plan;
    this.chunk = chunk;
    this.#incarnation = session.incarnation;
  }

  get busy(): boolean {
    return this.#busy;
  }

  /** Looks at everything, and writes what follows: at most one transaction at a time, which starts at most so many attempts. */
  turn(slots: number): void {
    const session = this.#session();
    const { shape, settled } = this.plan;
    if (this.#gone || session === null) return;
    if (this.#busy) {
      this.#again = true;
      return;
    }
    if (shape === null || settled) {
      this.drop('its plan has come to its end');
      return;
    }
    const claiming = this.#token === null;
    if (!claiming && !this.#owns()) {
      this.drop('somebody else has it now');
      return;
    }
    if (claiming && this.#leaving) {
      this.drop('this node takes nothing more');
      return;
    }
    // A copy: what arrives while this is written is for the next turn.
    const results = [...this.#results];
    const turn = this.#take(shape, results, this.#leaving ? 0 : slots);
    this.hungry = turn.hungry;
    this.lacksRoom = turn.lacksRoom;
    const nothing = turn.records.length === 0 && !turn.expire && turn.settle === null;
    if (nothing && claiming && !this.#goesOn(shape)) {
      this.failed = true;
      this.drop('nothing of it needs this owner');
      return;
    }
    if (nothing && !claiming) {
      // What has arrived counts no more.
      this.#results = [];
      this.#forget(results);
      this.#rest(shape, turn, session);
      return;
    }
    const { writes } = this.#parts;
    const write =
      this.#token === null
        ? writes.claim(this.plan, this.chunk, turn, session)
        : writes.ofOwner(this.plan, this.chunk, turn, session, this.#token);
    if (write === null) {
      // A guard is known of that the chunks don't tell of yet.
      this.#wakeIn(GATHER_MS);
      return;
    }
    this.#write(write, turn, results, session);
  }

  /** Starts nothing more, and releases the chunk when what runs has ended; what only watches is not waited for. */
  leave(reason: string): void {
    this.#leaving = true;
    if (this.#onlyWatches()) this.cutShort(reason);
    this.#parts.onWake(this);
  }

  /** What runs is told to stop; where it does, it is tried again by whoever has the chunk then, and has lost no attempt. */
  cutShort(reason: string): void {
    this.#cut = reason;
    for (const attempt of this.#attempts.values()) attempt.stop(reason);
  }

  /** Its attempts are told to stop, and what they still say is refused. */
  drop(reason: string): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#cancelWake?.();
    this.#cancelGather?.();
    for (const attempt of this.#attempts.values()) attempt.drop(reason);
    this.#attempts.clear();
    this.#parts.attempts.countLate(this.#results.length);
    this.#results = [];
    this.#parts.onGone(this);
  }

  /** Of a chunk whose claim was written with its plan. */
  begin(turn: Turn, session: Session): void {
    const { shape } = this.plan;
    this.#token = this.#tokenNow();
    if (shape !== null) this.#start(turn, shape, session);
    this.#parts.onWake(this);
  }

  #take(shape: PlanShape, results: readonly Arrived[], slots: number): Turn {
    const { node, attempts, book, clock, moment } = this.#parts;
    const name = this.plan.name(this.chunk);
    return takeTurn({
      plan: this.plan,
      shape,
      chunk: this.#known(),
      self: node,
      token: this.#token,
      attempts: this.#attempts,
      results,
      slots,
      room: work => attempts.room(work),
      holders: key => book.holders.count(key, name),
      nowMs: clock.now(),
      moment,
    });
  }

  #write(write: ChunkWrite, turn: Turn, results: readonly Arrived[], session: Session): void {
    const { writes, log } = this.#parts;
    const claiming = this.#token === null;
    const { newest } = this.plan;
    const done = this.#begun(this.#agentsOf(turn));
    writes.commit(write, claiming ? 'claim' : 'steps').then(
      outcome => {
        done();
        // With no key in it, and nothing newer heard, it would be refused again: the store has gone back, or is ahead of this node.
        if (outcome.kind === 'refused')
          this.#refused(claiming, write.keys.length === 0 && this.plan.newest === newest);
        else this.#written(turn, results, session, chunkToken(outcome.entry));
      },
      (error: unknown) => {
        done();
        log.warn('what became of steps could not be written and is tried again', {
          plan: this.plan.id,
          chunk: this.chunk,
          error,
        });
        this.failed = claiming;
        if (claiming) this.drop('it could not be claimed');
        else this.#wakeIn(FAILED_AGAIN_MS);
      },
    );
  }

  /** Gives what is to be called when the transaction has ended. */
  #begun(agents: readonly string[]): () => void {
    const giveBack = this.#parts.attempts.reserve(agents);
    this.#busy = true;
    this.#again = false;
    return () => {
      this.#busy = false;
      giveBack();
    };
  }

  #agentsOf({ starts }: Turn): string[] {
    const { shape } = this.plan;
    if (shape === null) return [];
    return starts.map(({ index, kind }) => {
      const step = stepSpec(shape, index);
      return (kind === 'undo' ? (step.compensate ?? step) : step).agent;
    });
  }

  #refused(claiming: boolean, again: boolean): void {
    this.failed = claiming && again;
    if (claiming || !this.#owns()) this.drop('somebody else was faster');
    else if (again) this.#wakeIn(FAILED_AGAIN_MS);
    else this.#parts.onWake(this);
  }

  #written(turn: Turn, results: readonly Arrived[], session: Session, token: Token | null): void {
    const { shape } = this.plan;
    this.#results = this.#results.filter(arrived => !results.includes(arrived));
    this.#forget(results);
    for (const index of turn.over) {
      this.#attempts.get(index)?.drop('its time is over');
      this.#attempts.delete(index);
    }
    if (this.#gone) return;
    this.#token ??= token;
    this.#parts.onTurned(this.plan, this.chunk, turn);
    if (shape === null || this.plan.settled) {
      this.drop('its plan has come to its end');
      return;
    }
    this.#stopWhatShould(turn);
    this.#start(turn, shape, session);
    this.#wakeIn(turn.wakeInMs);
    if (this.#again || this.#leaving || this.#results.length > 0) this.#wakeSoon();
  }

  #start(turn: Turn, shape: PlanShape, session: Session): void {
    const { attempts, clock } = this.#parts;
    const token = this.#token;
    if (token === null || turn.starts.length === 0) return;
    // The wait may have outlived the session: whoever comes next finds them running, and starts them anew.
    if (!session.valid()) {
      this.drop('the session of this node is lost');
      return;
    }
    const nowMs = clock.now();
    for (const { index, record, limitMs, kind } of turn.starts) {
      const inputs = outputsFor(shape, this.plan.records, index);
      const effect = kind === 'undo' ? 'undo' : 'work';
      if (effect === 'undo' && record.output) inputs.set(index, record.output);
      const order = {
        plan: this.plan.id,
        index,
        attempt: record.attempt,
        token,
        idempotencyKey: effectKey(this.plan.id, index, effect),
        kind: effect,
        work: workOf(shape, this.plan.records, index),
        inputs,
        limitMs,
      } as const;
      this.#attempts.set(
        index,
        attempts.start(order, nowMs, (attempt, result) => this.#arrived(attempt, result)),
      );
    }
    if (this.#cut !== null) this.cutShort(this.#cut);
  }

  #arrived(attempt: RunningAttempt, result: StepResult): void {
    if (this.#gone) return;
    const elapsedMs = this.#parts.clock.now() - attempt.startedMs;
    this.#results.push({ attempt, result: this.#endOf(result), elapsedMs });
    if (!this.#busy) this.#wakeSoon();
  }

  /** Whatever it says after it was told to stop but that it is done: it was cut short. Of a cancelled plan it was to end. */
  #endOf(result: StepResult): AttemptEnd {
    if (this.#cut === null || result.kind === 'completed' || this.plan.entry.value.cancel !== null)
      return result;
    return { kind: 'cut-short', error: `${this.#cut}: it may have done its work` };
  }

  #wakeSoon(): void {
    const working = this.#attempts.size - this.#results.length;
    if (working <= SEVERAL) {
      this.#parts.onWake(this);
      return;
    }
    this.#cancelGather ??= this.#parts.clock.after(GATHER_MS, () => {
      this.#cancelGather = null;
      this.#parts.onWake(this);
    });
  }

  /** With nothing to write. */
  #rest(shape: PlanShape, turn: Turn, session: Session): void {
    this.#stopWhatShould(turn);
    this.#wakeIn(turn.wakeInMs);
    if (this.#attempts.size > 0) return;
    if (this.#leaving) this.#release(session, 'it is for others to take');
    else if (turn.lacksRoom && !this.#goesOn(shape) && this.#othersCould(shape))
      this.#release(session, 'this node has no agent for what is left of it');
  }

  /** Something of it could be started by a node that has the agents for it. */
  #othersCould(shape: PlanShape): boolean {
    const { node, book, clock, moment } = this.#parts;
    const name = this.plan.name(this.chunk);
    const input = {
      plan: this.plan,
      shape,
      chunk: this.#known(),
      self: node,
      slots: 1,
      room: () => 1,
      holders: (key: string) => book.holders.count(key, name),
      nowMs: clock.now(),
      moment,
    };
    return !this.#agentsHere(shape) && neededOwner(outlookOf(input)) !== null;
  }

  /** Whether whatever lacks room can be done here at least. */
  #agentsHere(shape: PlanShape): boolean {
    const { attempts } = this.#parts;
    const { first, count } = this.#known().entry.value;
    for (let index = first; index < first + count; index++) {
      const state = this.plan.records[index]?.state ?? 'PENDING';
      const open = !hasEnded(state) || state === 'COMPENSATING' || this.plan.undoing;
      if (open && !attempts.has(workOf(shape, this.plan.records, index))) return false;
    }
    return true;
  }

  #goesOn(shape: PlanShape): boolean {
    const { attempts } = this.#parts;
    return goesOnHere(shape, this.plan.records, this.#known(), work => attempts.has(work));
  }

  #onlyWatches(): boolean {
    const { attempts } = this.#parts;
    const { shape, records } = this.plan;
    if (shape === null) return false;
    return [...this.#attempts.keys()].every(index => attempts.onlyWatches(workOf(shape, records, index)));
  }

  #release(session: Session, why: string): void {
    const { writes, log } = this.#parts;
    const done = this.#begun([]);
    writes
      .commit(writes.release(this.plan, this.chunk, session), 'steps')
      .catch((error: unknown) => {
        log.warn('a chunk could not be released', { plan: this.plan.id, chunk: this.chunk, error });
      })
      .finally(() => {
        done();
        if (this.#owns()) this.#wakeIn(FAILED_AGAIN_MS);
        else this.drop(why);
      });
  }

  #stopWhatShould({ stops }: Turn): void {
    for (const { index, reason } of stops) this.#attempts.get(index)?.stop(reason);
  }

  #forget(results: readonly Arrived[]): void {
    for (const { attempt } of results)
      if (this.#attempts.get(attempt.index) === attempt) this.#attempts.delete(attempt.index);
  }

  /** Whether the chunk, as this node last saw it, is this session's under the token it was claimed with. */
  #owns(): boolean {
    const { node } = this.#parts;
    const owner = this.#known().entry.value.owner;
    return (
      owner?.node === node && owner.incarnation === this.#incarnation && this.#tokenNow() === this.#token
    );
  }

  #session(): Session | null {
    const session = this.#parts.session();
    return session?.incarnation === this.#incarnation ? session : null;
  }

  #tokenNow(): Token | null {
    return chunkToken(this.#known().entry);
  }

  #known(): KnownChunk {
    const known = this.plan.chunks[this.chunk];
    if (known === undefined) throw new Error(`chunk ${this.chunk} of plan ${this.plan.id} is not known here`);
    return known;
  }

  #wakeIn(inMs: number | null): void {
    this.#cancelWake?.();
    this.#cancelWake = inMs === null ? null : this.#parts.clock.after(inMs, () => this.#parts.onWake(this));
  }
}
