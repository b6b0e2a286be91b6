import type { InstantMs, Timestamp, Token } from '../../model/ids.ts';
import type { AgentName, RequestStanding } from '../../model/named-agents.ts';
import { next, type Machines } from '../../ownership/machines.ts';
import type { Entry } from '../../ports/store.ts';
import type { TakenName } from './name-keys.ts';

/** One holder's request for one name, as this node sees it: the request machine, and what goes with its states. */
export class Claim {
  readonly name: AgentName;
  readonly holder: string;
  state: Machines['request']['state'] = 'Unassigned';
  since: Timestamp;
  changedMs: InstantMs;
  reason = 'not asked for yet';
  /** Stands in line until it is had; else there is one try. */
  waits = false;
  waitUntilMs: InstantMs = Infinity;
  /** Its key in the line, and the lease that is on. */
  waiter: { name: string; lease: string } | null = null;
  /** Its holder's silence after which it counts as gone. */
  ttlSeconds: number;
  heardMs: InstantMs;
  /** Requests and streams of its holder that are open at this moment. */
  listening = 0;
  /** While Assigned. */
  taken: TakenName | null = null;
  /** The last it was had under; empty = it never was. */
  lastToken: Token = '';
  /** Why it is to be released, once nothing of it can be at work any more; its holder has it no longer. */
  ending: { reason: string; notBeforeMs: InstantMs } | null = null;
  /** The state as only this claim can change it now; undefined = not known. */
  kept: Entry<'agents'> | null | undefined = undefined;
  /** The revision of the state that a write without an answer compares: as long as it has that one, the write may come in. */
  unansweredAfter: bigint | null = null;
  /** A transaction of it is under way. */
  busy = false;
  readonly #listeners = new Set<() => void>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    name: AgentName,
    holder: string,
    ttlSeconds: number,
    at: { nowMs: InstantMs; since: Timestamp },
  ) {
    this.name = name;
    this.holder = holder;
    this.ttlSeconds = ttlSeconds;
    this.heardMs = at.nowMs;
    this.changedMs = at.nowMs;
    this.since = at.since;
  }

  /** @throws Error when that cannot happen in its state */
  move(
    event: Machines['request']['event'],
    reason: string,
    at: { nowMs: InstantMs; since: Timestamp },
  ): void {
    this.state = next('request', this.state, event);
    this.reason = reason;
    this.since = at.since;
    this.changedMs = at.nowMs;
    if (this.state !== 'Assigned') {
      this.taken = null;
      this.ending = null;
      this.kept = undefined;
      this.unansweredAfter = null;
    }
    if (this.state !== 'Pending') this.waiter = null;
    this.changed();
  }

  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  /** One after the other: writes of its state do not overtake each other. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves at its next change, or when the signal aborts. */
  async untilChange(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>(resolve => {
      const done = (): void => {
        stop();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const stop = this.onChange(done);
      signal.addEventListener('abort', done, { once: true });
    });
  }

  standing(): RequestStanding {
    const { holder, state, since, reason } = this;
    return { holder, state, since, reason };
  }
}
