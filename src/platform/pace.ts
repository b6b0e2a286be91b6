import { setImmediate as macrotask } from 'node:timers/promises';
import type { Clock } from '../ports/clock.ts';
import type { Pace, Turn } from '../ports/pace.ts';

/** So long turns are taken in a row. */
const SLICE_MS = 3;
/** For how many times as long as a slice and its consequences took, others come first: it is told within a fifth of the time. */
const REST_FACTOR = 4;

export class SharedPace implements Pace {
  readonly #clock: Clock;
  readonly #waiting = new Set<Turn>();
  #running = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  ask(turn: Turn): void {
    this.#waiting.add(turn);
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    // What happens at once is told at once.
    await macrotask();
    while (this.#waiting.size > 0) {
      const beganMs = this.#clock.now();
      this.#slice(beganMs + SLICE_MS);
      // What was written goes out, and is acknowledged, in the event loop's next rounds.
      await macrotask();
      await macrotask();
      await this.#clock.sleep((this.#clock.now() - beganMs) * REST_FACTOR);
    }
    this.#running = false;
  }

  #slice(untilMs: number): void {
    for (const turn of this.#waiting) {
      this.#waiting.delete(turn);
      turn.take();
      if (this.#clock.now() >= untilMs) return;
    }
  }
}
