import { setImmediate as macrotask } from 'node:timers/promises';
import type { InstantMs, Timestamp } from '../../src/model/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';

interface Timer {
  atMs: InstantMs;
  callback: () => void;
}

/**
 * A clock that only moves when told to. Timers fire in order of their time, then of their making, and everything
 * a timer set in motion (promises, not I/O) has settled before the next one fires.
 */
export class FakeClock implements Clock {
  private nowMs: InstantMs;
  private wallOffsetMs: number;
  private timers: Timer[] = [];
  private hasFired = false;

  constructor(options: { nowMs?: InstantMs; wallAtStart?: Timestamp } = {}) {
    this.nowMs = options.nowMs ?? 1_000_000;
    this.wallOffsetMs = Date.parse(options.wallAtStart ?? '2026-01-01T00:00:00.000Z') - this.nowMs;
  }

  now(): InstantMs {
    return this.nowMs;
  }

  timestamp(aheadMs = 0): Timestamp {
    return new Date(this.nowMs + this.wallOffsetMs + aheadMs).toISOString();
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      if (signal?.aborted) {
        resolve();
        return;
      }
      const done = () => {
        cancel();
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const cancel = this.after(durationMs, done);
      signal?.addEventListener('abort', done);
    });
  }

  after(durationMs: number, callback: () => void): () => void {
    const timer = { atMs: this.nowMs + Math.max(0, durationMs), callback };
    this.timers.push(timer);
    return () => {
      this.timers = this.timers.filter(other => other !== timer);
    };
  }

  /** How many timers are set: what has been stopped has none. */
  get pending(): number {
    return this.timers.length;
  }

  /** Lets `durationMs` pass, firing what comes due on the way. */
  async advance(durationMs: number): Promise<void> {
    const endMs = this.nowMs + durationMs;
    await this.settle();
    for (let timer = this.nextDue(endMs); timer; timer = this.nextDue(endMs)) {
      this.timers = this.timers.filter(other => other !== timer);
      this.nowMs = Math.max(this.nowMs, timer.atMs);
      this.hasFired = true;
      timer.callback();
      await this.settle();
    }
    this.nowMs = endMs;
  }

  /**
   * Advances in steps until the condition holds, which is asked after each in which a timer fired, and every 100 ms.
   * @throws Error after `limitMs` of fake time
   */
  async advanceUntil(condition: () => boolean, limitMs = 60_000, stepMs = 10): Promise<void> {
    await this.settle();
    let askedMs = 0;
    for (let passedMs = 0; ; passedMs += stepMs) {
      if (passedMs === 0 || this.hasFired || passedMs - askedMs >= 100 || passedMs >= limitMs) {
        if (condition()) return;
        askedMs = passedMs;
      }
      if (passedMs >= limitMs) throw new Error(`still not so after ${limitMs} ms of fake time`);
      this.hasFired = false;
      await this.advance(stepMs);
    }
  }

  /** As if the process was frozen: time passes and no timer fires until the next `advance`. */
  freeze(durationMs: number): void {
    this.nowMs += durationMs;
  }

  /** Sets the wall clock forward or back; no decision may notice. */
  stepWall(byMs: number): void {
    this.wallOffsetMs += byMs;
  }

  /** Lets everything that waits for promises only go as far as it can, without time passing. */
  async settle(): Promise<void> {
    await macrotask();
  }

  private nextDue(endMs: InstantMs): Timer | undefined {
    return this.timers
      .filter(timer => timer.atMs <= endMs)
      .reduce<Timer | undefined>(
        (first, timer) => (first && first.atMs <= timer.atMs ? first : timer),
        undefined,
      );
  }
}
