import type { InstanceId, InstantMs } from '../model/ids.ts';
import type { StartHistory } from '../model/reconciliation.ts';
import type { Clock } from '../ports/clock.ts';

/** The first try, the one at once after it, and the one a second later. */
const TRIES = 3;
/** How long an instance is left to others, the first time and the longest. */
const FIRST_MS = 10_000;
const LONGEST_MS = 300_000;
const MOST_REMEMBERED = 1000;

interface Shortcoming {
  reason: string;
  untilMs: InstantMs;
  /** In a row: it has not been started here since the first. */
  times: number;
}

/** What this node lately could not start for want of something of its own (a full disk), and for how long others may try. */
export class Shortcomings {
  readonly #clock: Clock;
  readonly #known = new Map<InstanceId, Shortcoming>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes in how starts have gone. True = it has been tried in vain for long enough to leave it to whoever can. */
  failed({ instance, failures, passing, lastTrouble }: StartHistory): boolean {
    if (passing !== true || failures < TRIES) return false;
    const times = (this.#known.get(instance)?.times ?? 0) + 1;
    const forMs = Math.min(LONGEST_MS, FIRST_MS * 2 ** (times - 1));
    const reason = `it could not be started here: ${lastTrouble ?? 'for an unknown reason'}`;
    this.#known.delete(instance);
    this.#known.set(instance, { reason, untilMs: this.#clock.now() + forMs, times });
    const [oldest] = this.#known.keys();
    if (oldest !== undefined && this.#known.size > MOST_REMEMBERED) this.#known.delete(oldest);
    return true;
  }

  started(instance: InstanceId): void {
    this.#known.delete(instance);
  }

  /** Why it is left to others at this moment; null = it is not. */
  why(instance: InstanceId): string | null {
    const known = this.#known.get(instance);
    return known !== undefined && known.untilMs > this.#clock.now() ? known.reason : null;
  }

  /** When something may be tried here again; null = there is nothing that waits for that. */
  nextInMs(): number | null {
    const nowMs = this.#clock.now();
    const dueMs = [...this.#known.values()].flatMap(({ untilMs }) =>
      untilMs > nowMs ? [untilMs - nowMs] : [],
    );
    return dueMs.length === 0 ? null : Math.min(...dueMs);
  }
}
