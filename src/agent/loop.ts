import type { InstantMs } from '../model/ids.ts';
import { isAborted, type Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

export interface LoopOptions {
  name: string;
  clock: Clock;
  log: Log;
  /** One look at everything. Gives how long until it wants to look again by itself; null = only when woken. */
  round: (signal: AbortSignal) => Promise<number | null>;
  /** A round at least this often, whatever it asked for. */
  everyMs: number;
}

/**
 * A level-triggered loop: waking says only that something may have changed, and the round re-reads all of it. Wakes
 * during a round cause exactly one more. A round that fails is logged with its error and tried again, later each time.
 */
export class Loop {
  readonly #options: LoopOptions;
  readonly #stop = new AbortController();
  #woken = false;
  #wakeUp: (() => void) | null = null;
  /** When what can wait is looked at, if nothing else makes a round begin before. */
  #gathering: { atMs: InstantMs; delayMs: number; cancel: () => void } | null = null;
  #running: Promise<void> | null = null;
  #roundSinceMs: number | null = null;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  wake(): void {
    this.#woken = true;
    this.#wakeUp?.();
  }

  /** For what can wait to be looked at together with what comes right after it: a round begins within so long. */
  wakeWithin(delayMs: number): void {
    const { clock } = this.#options;
    // Most wakes come when a round is about to begin: those cost nothing, not even a look at the clock.
    if (this.#stop.signal.aborted || this.#woken || (this.#gathering?.delayMs ?? Infinity) <= delayMs) return;
    const atMs = clock.now() + delayMs;
    if (this.#gathering !== null && this.#gathering.atMs <= atMs) return;
    this.#gathered();
    this.#gathering = { atMs, delayMs, cancel: clock.after(delayMs, () => this.wake()) };
  }

  /** How long the round under way has taken so far; 0 between rounds. */
  busyMs(): number {
    return this.#roundSinceMs === null ? 0 : this.#options.clock.now() - this.#roundSinceMs;
  }

  /** Aborts the round under way and resolves when it has ended. */
  async stop(): Promise<void> {
    this.#stop.abort(new Error(`the ${this.#options.name} loop is stopping`));
    this.#gathered();
    this.#wakeUp?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { name, clock, log, round, everyMs } = this.#options;
    const signal = this.#stop.signal;
    let failures = 0;
    while (!signal.aborted) {
      this.#woken = false;
      this.#gathered();
      let waitMs = everyMs;
      this.#roundSinceMs = clock.now();
      try {
        const wanted = await round(signal);
        if (wanted !== null) waitMs = Math.min(everyMs, Math.max(0, wanted));
        failures = 0;
      } catch (error) {
        if (isAborted(signal)) break;
        failures++;
        waitMs = Math.min(5000, 100 * 2 ** Math.min(failures, 6));
        log.warn('a round failed and will be tried again', { loop: name, failures, waitMs, error });
        await clock.sleep(Math.min(waitMs, 500), signal);
      } finally {
        this.#roundSinceMs = null;
      }
      await this.#wait(waitMs);
    }
  }

  #gathered(): void {
    this.#gathering?.cancel();
    this.#gathering = null;
  }

  #wait(waitMs: number): Promise<void> {
    return new Promise(resolve => {
      const done = (): void => {
        cancel();
        this.#wakeUp = null;
        resolve();
      };
      const cancel = this.#options.clock.after(waitMs, done);
      this.#wakeUp = done;
      if (this.#woken || this.#stop.signal.aborted) done();
    });
  }
}
