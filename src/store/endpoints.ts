import type { CallOptions } from '@grpc/grpc-js';
import type { Etcd3 } from 'etcd3';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import { StoreError } from '../ports/store.ts';
import { isAuthOutdated, isHostTrouble, isTokenRefused } from './errors.ts';
import { toStoreError } from './from-etcd.ts';
import type { Member } from './member.ts';
import { SignsOfLife } from './signs-of-life.ts';

/** A lost reply is noticed after this long; longer than an ordinary etcd election. */
const CALL_TIMEOUT_MS = 2_000;
const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 250;

export interface CallKind {
  /** For messages, as in `commit` or `list sessions`. */
  what: string;
  /** Whether doing it twice is the same as doing it once. */
  idempotent: boolean;
  timeoutMs?: number;
}

/**
 * All endpoints of one etcd. It stays with one as long as that one works, and moves on when it does not, so that reads
 * of one agent do not jump between members. The only retries of the room are here.
 */
export class Endpoints {
  readonly members: Member[];
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly log: Log;
  private readonly signs: SignsOfLife;
  private readonly movedListeners = new Set<(silent: Member | null) => void>();
  private looking: Promise<void> | null = null;
  private index: number;
  private closed = false;

  constructor(members: Member[], parts: { clock: Clock; random: Random; log: Log }) {
    this.members = members;
    this.clock = parts.clock;
    this.random = parts.random;
    this.log = parts.log;
    this.signs = new SignsOfLife(parts.clock);
    this.index = Math.floor(parts.random.float() * members.length);
  }

  get current(): Member {
    const member = this.members[this.index];
    if (!member) throw new RangeError('there are no endpoints');
    return member;
  }

  /** To be called when the current endpoint was left; with it when it gave no sign of life while another did. */
  onMoved(listener: (silent: Member | null) => void): void {
    this.movedListeners.add(listener);
  }

  heard(member: Member): void {
    this.signs.heard(member);
  }

  /** Only the first to report the current member's trouble moves on: the others were using the same one. */
  failed(member: Member, error: StoreError): void {
    if (this.closed || member !== this.current || this.members.length === 1) return;
    this.moveTo(this.next(), error);
    // It may be gone too: that is found before something is to be sent to it.
    void this.lookAround();
  }

  /**
   * Sends a request until it is answered or `timeoutMs` has passed and every endpoint was tried. What may have been applied is
   * sent again only when it is idempotent. @throws StoreError
   */
  async call<T>(kind: CallKind, send: (client: Etcd3, options: CallOptions) => PromiseLike<T>): Promise<T> {
    const timeoutMs = kind.timeoutMs ?? CALL_TIMEOUT_MS;
    const startedMs = this.clock.now();
    let reauthenticated = false;
    for (let attempt = 1; ; attempt++) {
      await this.lookAround();
      const member = this.current;
      try {
        const reply = await send(member.client, await member.callOptions(timeoutMs));
        this.heard(member);
        return reply;
      } catch (cause) {
        const error = toStoreError(cause, kind.what, member.url);
        const isOutdated = isAuthOutdated(cause);
        const mayHaveToken = isTokenRefused(cause) && member.forgetToken();
        if (mayHaveToken && !isOutdated && !reauthenticated) {
          reauthenticated = true;
          continue;
        }
        if (isHostTrouble(error)) this.failed(member, error);
        const spent = this.clock.now() - startedMs >= timeoutMs && attempt > this.members.length;
        if (spent || this.closed || !(isOutdated || maySendAgain(error, kind))) throw error;
      }
      const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** attempt);
      await this.clock.sleep(pauseMs * (0.5 + this.random.float()));
    }
  }

  close(): void {
    this.closed = true;
    this.movedListeners.clear();
    for (const member of this.members) member.close();
  }

  /** Leaves the current member if it gives no sign of life while another does: before anything is sent to it. */
  private async lookAround(): Promise<void> {
    const { current } = this;
    if (this.closed || this.members.length === 1 || this.signs.heardLately(current)) return;
    await (this.looking ??= this.look(current).finally(() => (this.looking = null)));
  }

  private async look(current: Member): Promise<void> {
    const others = this.members.filter(other => other !== current);
    const better = await this.signs.better(current, others);
    if (better === null || this.closed || current !== this.current) return;
    const words = `no sign of life (etcd at ${current.url})`;
    const error = new StoreError(words, { outcome: 'not-sent', retryable: true });
    this.moveTo(better, error, current);
  }

  /** Around the ring, past those that are gone while there is another. */
  private next(): Member {
    const after = this.index + 1;
    const ring = [...this.members.slice(after), ...this.members.slice(0, this.index)];
    return ring.find(member => !this.signs.missedLately(member)) ?? ring[0] ?? this.current;
  }

  private moveTo(member: Member, error: StoreError, silent: Member | null = null): void {
    const { url: from } = this.current;
    this.index = this.members.indexOf(member);
    this.log.warn('leaving an etcd endpoint for the next', { from, to: member.url, error });
    for (const listener of this.movedListeners) listener(silent);
  }
}

function maySendAgain(error: StoreError, kind: CallKind): boolean {
  return (
    error.retryable && (error.outcome === 'not-sent' || (error.outcome === 'unknown' && kind.idempotent))
  );
}
