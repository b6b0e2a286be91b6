import type { InstantMs, Timestamp } from '../../src/model/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Chance } from './chance.ts';
import type { Timeline } from './timeline.ts';

const WALL_AT_START_MS = Date.parse('2026-01-01T00:00:00.000Z');

/** The clock of one kernel: it runs at a rate of its own. Agents come and go, it and what it wakes stay. */
export class KernelClock implements Clock {
  readonly rate: number;
  wallOffsetMs = 0;
  private readonly timeline: Timeline;
  private readonly baseMs: InstantMs;

  constructor(timeline: Timeline, rate: number, baseMs: InstantMs) {
    this.timeline = timeline;
    this.rate = rate;
    this.baseMs = baseMs - timeline.nowMs * rate;
  }

  now(): InstantMs {
    return this.baseMs + this.timeline.nowMs * this.rate;
  }

  timestamp(aheadMs = 0): Timestamp {
    return new Date(WALL_AT_START_MS + this.timeline.nowMs + this.wallOffsetMs + aheadMs).toISOString();
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return asleep(this, durationMs, signal);
  }

  after(durationMs: number, callback: () => void): () => void {
    return this.timeline.after(Math.max(0, durationMs) / this.rate, callback);
  }
}

/**
 * One agent process. Whatever comes to it from outside (a timer, a reply, an event, the return of a call) comes through here:
 * while it is frozen all of it waits, in order, and once it is killed nothing comes any more. What runs between two such arrivals
 * is one step, so a pause can come between any two awaits that let anything else happen.
 */
export class Life implements Clock {
  frozen = false;
  over = false;
  readonly startedMs: number;
  readonly kernel: KernelClock;
  private readonly timeline: Timeline;
  private readonly chance: Chance;
  /** Called when it is killed. */
  readonly onOver = new Set<() => void>();
  private waiting: (() => void)[] = [];
  private draining = false;

  constructor(timeline: Timeline, kernel: KernelClock, chance: Chance) {
    this.timeline = timeline;
    this.kernel = kernel;
    this.chance = chance;
    this.startedMs = timeline.nowMs;
  }

  now(): InstantMs {
    return this.kernel.now();
  }

  timestamp(aheadMs?: number): Timestamp {
    return this.kernel.timestamp(aheadMs);
  }

  sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    return asleep(this, durationMs, signal);
  }

  after(durationMs: number, callback: () => void): () => void {
    let wanted = true;
    const cancel = this.kernel.after(durationMs, () => this.deliver(() => wanted && callback()));
    return () => {
      wanted = false;
      cancel();
    };
  }

  deliver(arrival: () => void): void {
    if (this.over) return;
    if (this.frozen || this.waiting.length > 0) this.waiting.push(arrival);
    else arrival();
  }

  /** Something leaves the process: not before it is thawed, and never once it is over. */
  leave(act: () => void, afterMs = 0): void {
    this.timeline.after(afterMs, () => this.deliver(act));
  }

  /** A call to the machine that takes its time, on the way there and back. */
  call<T>(act: () => T | Promise<T>, longestMs: number): Promise<T> {
    return new Promise((resolve, reject) => {
      this.leave(
        () => {
          void Promise.resolve()
            .then(act)
            .then(
              value => this.leave(() => resolve(value), this.chance.between(0, longestMs)),
              (error: unknown) => this.leave(() => reject(asError(error)), this.chance.between(0, longestMs)),
            );
        },
        this.chance.between(0, longestMs),
      );
    });
  }

  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    this.frozen = false;
    this.drain();
  }

  kill(): void {
    this.over = true;
    this.waiting = [];
    for (const listener of this.onOver) listener();
  }

  /** One after the other, with time for promises in between. */
  private drain(): void {
    const [next] = this.waiting;
    if (this.draining || this.frozen || this.over || next === undefined) return;
    this.draining = true;
    next();
    this.timeline.after(0, () => {
      this.draining = false;
      this.waiting.shift();
      this.drain();
    });
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

function asleep(clock: Clock, durationMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      cancel();
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(durationMs, done);
    signal?.addEventListener('abort', done);
  });
}
