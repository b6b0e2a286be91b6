import { deadlineMs, renewalMs } from '../model/deadline.ts';
import type { InstantMs } from '../model/ids.ts';
import type { SessionRecord } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { StoreError, type Mirror, type Session } from '../ports/store.ts';
import type { LostLeases } from './lost-leases.ts';
import type { SessionKey } from './session-key.ts';
import { GoneBackError } from './timeline.ts';
import type { KeepAlive, Wire } from './wire.ts';

const FIRST_PAUSE_MS = 50;
const KEY_GONE = 'its session key is gone from its lease';

export interface SessionParts {
  wire: Wire;
  clock: Clock;
  log: Log;
  lostLeases: LostLeases;
  key: SessionKey;
  /** Of the session's own key: a deletion ends the session at once. */
  mirror: Mirror<'sessions'>;
  stale: boolean;
}

export interface SessionFacts {
  node: string;
  incarnation: string;
  lease: string;
  ttlSeconds: number;
  resumed: boolean;
  grantSentAtMs: InstantMs;
}

/**
 * A lease, a key on it, and a deadline of our own (ownership rule 2). A renewal counts from the moment its keepalive was sent,
 * and only once a transaction sent after that reply has found the key on the lease; etcd may still delete the key early,
 * so a valid session alone is not ownership. On etcd versions with stale reads the check goes through etcd's log.
 */
export class WireSession implements Session {
  readonly incarnation: string;
  readonly lease: string;
  readonly ttlSeconds: number;
  readonly resumed: boolean;
  private readonly parts: SessionParts;
  private readonly node: string;
  private readonly keepAlive: KeepAlive;
  private readonly ending = new AbortController();
  private readonly lostListeners = new Set<(reason: string) => void>();
  private readonly renewedListeners = new Set<() => void>();
  private readonly renewing: Promise<void>;
  private state: { is: 'held' } | { is: 'lost'; reason: string } | { is: 'ended' } = { is: 'held' };
  private provenAtMs: InstantMs;
  private stopTimer: () => void = () => undefined;
  private updating: Promise<unknown> = Promise.resolve();

  constructor(parts: SessionParts, facts: SessionFacts) {
    this.parts = parts;
    this.node = facts.node;
    this.incarnation = facts.incarnation;
    this.lease = facts.lease;
    this.ttlSeconds = facts.ttlSeconds;
    this.resumed = facts.resumed;
    this.provenAtMs = facts.grantSentAtMs;
    this.keepAlive = parts.wire.keepAlive(facts.lease);
    parts.mirror.onChange(() => this.look());
    this.arm();
    this.renewing = this.renew();
  }

  valid(): boolean {
    if (this.state.is === 'held' && this.parts.clock.now() >= this.deadlineMs()) this.lose(this.overdue());
    return this.state.is === 'held';
  }

  deadlineMs(): InstantMs {
    return deadlineMs(this.provenAtMs, this.ttlSeconds);
  }

  onLost(listener: (reason: string) => void): void {
    if (this.state.is === 'lost') listener(this.state.reason);
    else this.lostListeners.add(listener);
  }

  onRenewed(listener: () => void): void {
    this.renewedListeners.add(listener);
  }

  update(record: SessionRecord): Promise<void> {
    const next = this.updating.then(() => this.put(record));
    this.updating = next.catch(() => undefined);
    return next;
  }

  async detach(): Promise<void> {
    this.end({ is: 'ended' });
    await this.renewing;
  }

  async revoke(): Promise<void> {
    await this.detach();
    await this.parts.wire.revoke(this.lease);
  }

  private async renew(): Promise<void> {
    const { clock, log } = this.parts;
    const everyMs = renewalMs(this.ttlSeconds);
    const timeoutMs = Math.max(400, this.ttlSeconds * 100);
    const { signal } = this.ending;
    let failures = 0;
    await clock.sleep(everyMs, signal);
    while (!signal.aborted) {
      const sentAtMs = clock.now();
      try {
        await this.renewOnce(sentAtMs, timeoutMs);
        failures = 0;
        await clock.sleep(sentAtMs + everyMs - clock.now(), signal);
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        if (error instanceof GoneBackError) this.lose(error.message);
        else if (failures === 0) log.warn('the session could not be renewed and is tried again', { error });
        await clock.sleep(Math.min(timeoutMs, FIRST_PAUSE_MS * 2 ** failures++), signal);
      }
    }
  }

  private async renewOnce(sentAtMs: InstantMs, timeoutMs: number): Promise<void> {
    const { ttlSeconds } = await this.keepAlive.beat(timeoutMs);
    const alive = ttlSeconds > 0;
    if (!alive) this.lose('its lease has expired or was revoked');
    else if (!(await this.parts.key.check(this.parts.stale, timeoutMs))) this.lose(KEY_GONE);
    // A reply that comes after the deadline extends nothing: what was owned has been given up by then.
    if (!this.valid()) return;
    this.provenAtMs = sentAtMs;
    this.arm();
    for (const listener of [...this.renewedListeners]) listener();
  }

  private async put(record: SessionRecord): Promise<void> {
    const { incarnation, ttlSeconds } = this;
    if (this.valid() && (await this.parts.key.update({ ...record, incarnation, ttlSeconds }))) return;
    this.lose(KEY_GONE);
    throw new StoreError(`the session of ${this.node} is no longer held; its record was not updated`, {
      outcome: 'refused',
      retryable: false,
    });
  }

  /** A list or an event from before the key came onto this lease proves nothing. */
  private look(): void {
    const { mirror, key } = this.parts;
    if (mirror.revision < key.sinceRevision) return;
    const entry = mirror.get(key.name);
    if (!entry) this.lose('its session key was deleted');
    else if (entry.lease !== this.lease && entry.revision >= key.sinceRevision) {
      this.lose('its session key was taken over by another process');
    }
  }

  private arm(): void {
    this.stopTimer();
    const leftMs = this.deadlineMs() - this.parts.clock.now();
    this.stopTimer = this.parts.clock.after(Math.max(0, leftMs), () => {
      if (this.valid()) this.arm();
    });
  }

  private lose(reason: string): void {
    if (this.state.is !== 'held') return;
    this.parts.log.warn('the session is lost', { incarnation: this.incarnation, reason });
    this.end({ is: 'lost', reason });
    this.parts.lostLeases.add(this.lease);
    for (const listener of this.lostListeners) listener(reason);
  }

  private end(state: { is: 'lost'; reason: string } | { is: 'ended' }): void {
    if (this.state.is !== 'held') return;
    this.state = state;
    this.stopTimer();
    this.ending.abort();
    this.keepAlive.close();
    this.parts.mirror.close();
  }

  private overdue(): string {
    const silentMs = Math.round(this.parts.clock.now() - this.provenAtMs);
    return `it could not be renewed for ${silentMs} ms, its TTL is ${this.ttlSeconds} s`;
  }
}
