import type { InstantMs } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Guard } from '../ports/guard.ts';
import type { Log } from '../ports/log.ts';
import type { Session } from '../ports/store.ts';

/** Beyond its stop timeout: what is started must be of some use before it has to stop. */
const LEAST_USE_MS = 500;

/** A guarded copy that lives here. */
export interface GuardedCopy {
  unit: string;
  stopTimeoutSeconds: number;
}

export interface ExclusiveOptions {
  guard: Guard;
  session: () => Session | null;
  clock: Clock;
  log: Log;
  /** The guarded copies that live here and are not being stopped. */
  copies: () => readonly GuardedCopy[];
  /** Whether this node owns anything exclusive. */
  holdsAny: () => boolean;
  /**
   * Whether a guarded copy lives here, be it on its way in or out, that this node does not own now. All copies share one guard: its
   * time must not be put off for such a one by the session that followed.
   */
  anyUnowned: () => boolean;
  stop: (copy: GuardedCopy, graceSeconds: number, reason: string) => void;
  /** What may be started may have changed. */
  onChange: () => void;
}

/**
 * Keeps the guard armed for as long as the session proves this node's right to run what is exclusive, and has it stopped
 * before the guard would kill it (ownership rules 5 and 6). The guard's time is never later than the session's.
 */
export class Exclusive {
  readonly #options: ExclusiveOptions;
  #cancel: () => void = () => undefined;
  #arming = false;
  #failing = false;
  #settled = false;
  #stopped = false;

  constructor(options: ExclusiveOptions) {
    this.#options = options;
  }

  /** Whether it is known what of the guarded copies found here this node still owns. */
  get settled(): boolean {
    return this.#settled;
  }

  settle(): void {
    this.#settled = true;
    this.#options.onChange();
  }

  /** Why nothing exclusive that takes so long to stop may be started at this moment; null = it may. */
  whyNotNow(stopTimeoutSeconds: number): string | null {
    const session = this.#options.session();
    if (!session) return 'this node has no valid session';
    if (this.#options.anyUnowned()) return 'what an earlier session ran here is not dead yet';
    const untilMs = this.#options.guard.armedUntilMs();
    if (untilMs === null || untilMs > session.deadlineMs()) return 'the guard is not armed yet';
    const leftMs = untilMs - this.#options.clock.now();
    return leftMs < stopTimeoutSeconds * 1000 + LEAST_USE_MS
      ? `the right of this node to run it ends in ${Math.max(0, Math.round(leftMs))} ms unless its session is renewed`
      : null;
  }

  /** To be called when something guarded may have started or been taken, and after every renewal. */
  async renew(): Promise<void> {
    const { session, guard, copies, holdsAny, log, onChange } = this.#options;
    if (this.#arming || this.#stopped || (!holdsAny() && copies().length === 0)) return;
    this.#arming = true;
    try {
      while (!this.#options.anyUnowned()) {
        const deadlineMs = session()?.deadlineMs() ?? null;
        if (deadlineMs === null || Math.floor(deadlineMs) === Math.floor(guard.armedUntilMs() ?? -1)) break;
        await guard.arm(Math.floor(deadlineMs));
        this.#failing = false;
      }
    } catch (error) {
      // What was in force still is: what runs is stopped before that time, unless the next renewal does better.
      if (!this.#failing) log.error('the guard of exclusive processes cannot be armed', { error });
      this.#failing = true;
    } finally {
      this.#arming = false;
    }
    this.watch();
    onChange();
  }

  /** The session is gone: nothing exclusive may go on, however much of the guard's time is left. */
  lose(reason: string): void {
    this.#settled = true;
    for (const copy of this.#options.copies()) this.#stop(copy, reason);
    this.watch();
  }

  /** Looks to it that each copy has its stop timeout before the guard kills it. */
  watch(): void {
    const { clock, guard, copies } = this.#options;
    this.#cancel();
    if (this.#stopped) return;
    const untilMs = guard.armedUntilMs() ?? -Infinity;
    let nextMs: InstantMs = Infinity;
    for (const copy of copies()) {
      const beginMs = untilMs - copy.stopTimeoutSeconds * 1000;
      if (beginMs <= clock.now())
        this.#stop(
          copy,
          'the session of this node could not be renewed in time, and it must never run twice',
        );
      else nextMs = Math.min(nextMs, beginMs);
    }
    if (nextMs < Infinity) this.#cancel = clock.after(nextMs - clock.now(), () => this.watch());
  }

  /** Ends the looking after. What runs goes on, until the guard's time. */
  stop(): void {
    this.#stopped = true;
    this.#cancel();
  }

  #stop(copy: GuardedCopy, reason: string): void {
    const { clock, guard, stop } = this.#options;
    const leftSeconds = ((guard.armedUntilMs() ?? -Infinity) - clock.now()) / 1000;
    stop(copy, Math.max(0, Math.min(copy.stopTimeoutSeconds, leftSeconds)), reason);
  }
}
