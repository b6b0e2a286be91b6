import type { StepOutput, StepResult } from '../model/plan.ts';
import type { Clock } from '../ports/clock.ts';
import type { StepTask } from '../ports/step-agents.ts';
import { assign, assignMessageOf, keyOf, type Assigned } from './assigned.ts';
import type { AttemptId, Hello, WorkerResult } from './read-work.ts';
import { enumName } from './words.ts';

/** The stream on which a worker is, as long as it lasts. */
export interface WorkerLink {
  /** Messages go out in this order. */
  send(message: object): void;
  /** Ends it: the worker is on another one. */
  close(reason: string): void;
}

export type ResultVerdict = 'accepted' | 'stale' | 'invalid' | 'not-kept';

export interface WorkTimes {
  /** A worker of which nothing was heard for so long is lost. */
  silenceMs: number;
  /** One that resumes is waited for so long after its stream broke. */
  resumeMs: number;
  /** What was told to stop and says nothing is given up after so long. */
  stopMs: number;
}

export interface WorkerParts {
  clock: Clock;
  times: WorkTimes;
  /** Puts what is too large for a step's record elsewhere. @throws ArtifactError */
  keepOutput: (content: { mimeType: string; bytes: Uint8Array }) => Promise<StepOutput | null>;
  onResult: (verdict: ResultVerdict) => void;
}

interface WorkerHooks {
  /** It has more room than it had. */
  changed: () => void;
  /** Nobody waits for it any more. */
  gone: () => void;
}

/**
 * A program that does steps, at the other end of a stream. It is
 *
 * - *here*: it takes as many attempts as it has slots for;
 * - *silent*: nothing was heard of it for a while. Its attempts have failed, since nobody knows what becomes of them, and it gets
 *   no others until it is heard again;
 * - *away*: its stream broke, and it said that it would come back. Its attempts go on, for a while;
 * - *gone*: that, and it did not.
 *
 * A result counts only while somebody waits for it: of an attempt that has failed here in the meantime it is refused.
 */
export class RemoteWorker {
  readonly session: string;
  readonly hello: Hello;
  readonly #parts: WorkerParts;
  readonly #hooks: WorkerHooks;
  #state: 'here' | 'silent' | 'away' | 'gone' = 'silent';
  #link: WorkerLink | null = null;
  #leaving = false;
  readonly #assigned = new Map<string, Assigned>();
  /** Nobody waits for these, but the worker has not said that it ended them: they keep their slots. */
  readonly #forsaken = new Map<string, AttemptId>();
  #cancelTimer: () => void = () => undefined;

  constructor(session: string, hello: Hello, parts: WorkerParts, hooks: WorkerHooks) {
    this.session = session;
    this.hello = hello;
    this.#parts = parts;
    this.#hooks = hooks;
  }

  /** How many more attempts it takes now. */
  get room(): number {
    if (this.#state !== 'here' || this.#leaving) return 0;
    return Math.max(0, this.hello.slots - this.#assigned.size - this.#forsaken.size);
  }

  isOn(link: WorkerLink): boolean {
    return this.#link === link;
  }

  /** It is on this stream from now on, and works at these attempts; whatever else was assigned to it has failed. */
  join(link: WorkerLink, running: readonly AttemptId[]): void {
    if (!this.isOn(link)) this.#link?.close('the worker goes on on another stream');
    this.#link = link;
    this.#state = 'silent';
    this.#forsaken.clear();
    const has = new Set(running.map(keyOf));
    for (const { id, stopping, settle } of [...this.#assigned.values()]) {
      if (!has.has(keyOf(id))) settle(this.#failed('came back without it'));
      else if (stopping !== null) this.#sendStop(id, stopping);
    }
    for (const id of running) if (!this.#assigned.has(keyOf(id))) this.#forsaken.set(keyOf(id), id);
    this.heard();
  }

  /** Anything it says shows that it is there. */
  heard(): void {
    if (this.#state === 'silent') {
      this.#state = 'here';
      for (const id of this.#forsaken.values()) this.#sendStop(id, 'nobody waits for this attempt here');
      this.#hooks.changed();
    }
    if (this.#state === 'here') this.#listen();
  }

  /** Has it make the attempt. Never rejects. */
  run(agent: string, task: StepTask, signal: AbortSignal): Promise<StepResult> {
    if (this.room === 0) return Promise.resolve(this.#failed('takes nothing now'));
    if (signal.aborted) return Promise.resolve({ kind: 'stopped' });
    const { clock, times } = this.#parts;
    const { assigned, result } = assign(
      task,
      { clock, stopMs: times.stopMs, signal },
      {
        stop: ({ id }, reason) => this.#sendStop(id, reason),
        unanswered: ({ id, settle }) => {
          this.#forsaken.set(keyOf(id), id);
          settle(this.#failed('was told to stop, and says nothing'));
        },
        settled: ({ id }) => {
          this.#assigned.delete(keyOf(id));
          this.#hooks.changed();
        },
      },
    );
    this.#assigned.set(keyOf(assigned.id), assigned);
    this.send({ assign: assignMessageOf(agent, assigned.id, task) });
    return result;
  }

  send(message: object): void {
    this.#link?.send(message);
  }

  /** What became of an attempt, in its words; answered on its stream. Never rejects. */
  async result(result: WorkerResult): Promise<void> {
    const { attempt: id, completed, failed, stopped } = result;
    const assigned = this.#assigned.get(keyOf(id));
    if (assigned === undefined || assigned.told) {
      if (this.#forsaken.delete(keyOf(id))) this.#hooks.changed();
      this.#answer(id, 'stale', 'nobody waits for this attempt here: it was given up, or is over');
    } else if (this.#parts.clock.now() > assigned.deadlineMs) {
      assigned.settle(this.#failed('was done after its time was over'));
      this.#answer(id, 'stale', 'its time was over');
    } else if (!completed && !failed && !stopped) {
      this.#answer(id, 'invalid', 'says neither completed nor failed nor stopped');
    } else {
      assigned.told = true;
      await this.#accept(assigned, result);
    }
  }

  /** Takes nothing more; what it has goes on. */
  leave(): void {
    this.#leaving = true;
  }

  /** Its stream is over. */
  lost(): void {
    this.#link = null;
    if (!this.hello.resumes || this.#assigned.size === 0) {
      this.end(`${this.#who} was lost`);
      return;
    }
    this.#state = 'away';
    this.#setTimer(this.#parts.times.resumeMs, () =>
      this.end(`${this.#who} was lost, and did not come back`),
    );
  }

  /** Whatever it was doing has failed. */
  end(reason: string): void {
    if (this.#state === 'gone') return;
    this.#state = 'gone';
    this.#link = null;
    this.#cancelTimer();
    this.#failAll(reason);
    this.#hooks.gone();
  }

  /**
   * In two stages: when this process itself stood still for a while, both are late, and what the worker has said meanwhile is read
   * in between.
   */
  #listen(): void {
    const half = this.#parts.times.silenceMs / 2;
    this.#setTimer(half, () => this.#setTimer(half, () => this.#fallSilent()));
  }

  #fallSilent(): void {
    this.#state = 'silent';
    for (const { id } of this.#assigned.values()) this.#forsaken.set(keyOf(id), id);
    this.#failAll(`nothing was heard of ${this.#who} for ${this.#parts.times.silenceMs} ms`);
  }

  #failAll(reason: string): void {
    const error = `${reason}: nobody knows what became of the attempt`;
    for (const { settle } of [...this.#assigned.values()])
      settle({ kind: 'failed', type: 'RETRYABLE', error });
  }

  async #accept({ id, settle }: Assigned, { completed, failed }: WorkerResult): Promise<void> {
    let outcome: StepResult = { kind: 'stopped' };
    if (failed) {
      outcome = {
        kind: 'failed',
        type: failed.type ?? 'RETRYABLE',
        error: failed.error || 'it says no more',
      };
    }
    if (completed) {
      const content = { mimeType: completed.mimeType, bytes: completed.output };
      try {
        outcome = { kind: 'completed', output: await this.#parts.keepOutput(content) };
      } catch (error) {
        const message = `its output can't be kept: ${error instanceof Error ? error.message : String(error)}`;
        settle({ kind: 'failed', type: 'RETRYABLE', error: message });
        this.#answer(id, 'not-kept', message);
        return;
      }
    }
    // Keeping it may have taken longer than it was waited for.
    const waitedFor = this.#assigned.has(keyOf(id));
    settle(outcome);
    this.#answer(id, waitedFor ? 'accepted' : 'stale', 'it was given up meanwhile');
  }

  #answer(attempt: AttemptId, verdict: ResultVerdict, message: string): void {
    this.#parts.onResult(verdict);
    if (verdict === 'accepted') this.send({ accepted: { attempt } });
    else this.send({ refused: { attempt, reason: enumName('REASON', verdict), message } });
  }

  #sendStop(attempt: AttemptId, reason: string): void {
    this.send({ stop: { attempt, reason } });
  }

  #failed(what: string): StepResult {
    return { kind: 'failed', type: 'RETRYABLE', error: `${this.#who} ${what}` };
  }

  get #who(): string {
    return `the worker "${this.hello.name}"`;
  }

  #setTimer(durationMs: number, callback: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#parts.clock.after(durationMs, callback);
  }
}
