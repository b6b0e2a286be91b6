import { StoreError } from '../../src/ports/store.ts';
import type {
  Condition,
  KeepAlive,
  MemberStatus,
  RangeReply,
  RangeRequest,
  TxnOptions,
  TxnReply,
  TxnRequest,
  WatchEnd,
  WatchEvent,
  WatchReply,
  WatchRequest,
  Wire,
} from '../../src/store/wire.ts';
import type { Chance } from './chance.ts';
import type { SimEtcd } from './etcd.ts';
import type { Life } from './life.ts';
import type { Timeline } from './timeline.ts';

/** `silent` = what is sent is lost; `replies-lost` = it arrives, and nothing comes back; `refused` = known not to be sent. */
export type Link = 'up' | 'refused' | 'silent' | 'replies-lost';

/** How the way from one machine to etcd is. It outlives the agents of that machine. */
export interface Way {
  link: Link;
  /** Streams notice that they are cut only by what does not come. */
  cutMs: number;
  lossProbability: number;
  replyLossProbability: number;
  /** Requests that take longer than anybody waits, and are done all the same. */
  lateProbability: number;
  /** How far behind this machine's watches may fall. */
  longestLagMs: number;
  lagProbability: number;
  /** Reads that ought to be of the present are of then (3.4.23, just after a pause of the member asked). */
  staleAsOf: bigint | null;
  /** Renewals of a lease that is gone are answered as if it was not (3.4.23). */
  acceptsGoneLeases: boolean;
  /** The member asked neither answers nor is found to be away. */
  paused: boolean;
  listeners: Set<() => void>;
}

export function soundWay(): Way {
  return {
    link: 'up',
    cutMs: 0,
    lossProbability: 0,
    replyLossProbability: 0,
    lateProbability: 0,
    longestLagMs: 0,
    lagProbability: 0,
    staleAsOf: null,
    acceptsGoneLeases: false,
    paused: false,
    listeners: new Set(),
  };
}

const TIMEOUT_MS = 2000;
const USUAL_MS = 2;
const LATEST_MS = 7000;
/** Silence after which a watch stream is given up, as in the real one: asked after 4 s, and 2 s of patience. */
const GIVEN_UP_MS = 6000;

export interface WireParts {
  node: string;
  etcd: SimEtcd;
  way: Way;
  life: Life;
  chance: Chance;
  timeline: Timeline;
  /** Whether the servers are of a version with the stale-read defect. */
  mayReadStale: boolean;
}

/** One agent's way to etcd, with whatever the seed does to it. */
export class SimWire implements Wire {
  private readonly parts: WireParts;
  private closed = false;

  constructor(parts: WireParts) {
    this.parts = parts;
  }

  range(request: RangeRequest): Promise<RangeReply> {
    const { etcd } = this.parts;
    return this.again(true, () =>
      this.send(() => etcd.range(request, request.atRevision === undefined ? this.staleAsOf() : null)),
    );
  }

  txn(request: TxnRequest, { idempotent, timeoutMs }: TxnOptions): Promise<TxnReply> {
    const { etcd, node, life, timeline } = this.parts;
    const by = { node, bornMs: life.startedMs, sentMs: timeline.nowMs };
    const act = (): TxnReply => this.staleTxn(request) ?? etcd.txn(by, request);
    return this.again(idempotent, () => this.send(act, timeoutMs));
  }

  grant(ttlSeconds: number): Promise<{ lease: string; ttlSeconds: number; sentAtMs: number }> {
    const { etcd, life } = this.parts;
    return this.again(true, async () => {
      const sentAtMs = life.now();
      return { ...(await this.send(() => etcd.grant(ttlSeconds))), sentAtMs };
    });
  }

  revoke(lease: string): Promise<void> {
    return this.again(true, () => this.send(() => this.parts.etcd.revoke(lease)));
  }

  keepAlive(lease: string): KeepAlive {
    const { etcd, way } = this.parts;
    const renewed = (): { ttlSeconds: number } => {
      const ttlSeconds = etcd.renew(lease);
      return { ttlSeconds: ttlSeconds === 0 && way.acceptsGoneLeases ? 10 : ttlSeconds };
    };
    return { beat: timeoutMs => this.send(renewed, timeoutMs), close: () => undefined };
  }

  watch(request: WatchRequest, onReply: (reply: WatchReply) => void, signal: AbortSignal): Promise<WatchEnd> {
    return new Promise(resolve => new SimWatch(this.parts, request, onReply, signal, resolve));
  }

  watchHeardAtMs(): number {
    const { way, life, timeline } = this.parts;
    const silentMs = way.link === 'up' && !way.paused ? 0 : timeline.nowMs - way.cutMs;
    return life.now() - silentMs * life.kernel.rate;
  }

  mayReadStale(): Promise<boolean> {
    return Promise.resolve(this.parts.mayReadStale);
  }

  members(): Promise<MemberStatus[]> {
    const version = this.parts.mayReadStale ? '3.4.23' : '3.6.9';
    return Promise.resolve([{ url: 'sim://etcd', reachable: true, version, isLeader: true, error: null }]);
  }

  close(): void {
    this.closed = true;
  }

  private staleAsOf(): bigint | null {
    const { etcd, way } = this.parts;
    return way.staleAsOf !== null && way.staleAsOf >= etcd.compacted ? way.staleAsOf : null;
  }

  /** Answered from where it was asked, as a transaction without a write is. */
  private staleTxn(request: TxnRequest): TxnReply | null {
    const { etcd } = this.parts;
    const asOf = this.staleAsOf();
    const reads = [...request.success, ...request.failure].every(operation => 'read' in operation);
    if (asOf === null || !reads) return null;
    const found = (key: string) => etcd.range({ range: { key }, atRevision: asOf }).entries[0];
    const succeeded = request.conditions.every(condition => holds(condition, found(condition.key)));
    const read = (succeeded ? request.success : request.failure).flatMap(operation => {
      const entry = 'read' in operation ? found(operation.read) : undefined;
      return entry ? [entry] : [];
    });
    return { head: { clusterId: 'sim', revision: asOf }, succeeded, read };
  }

  private async again<T>(idempotent: boolean, send: () => Promise<T>): Promise<T> {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof StoreError) || !error.retryable || this.closed) throw error;
      if (!idempotent && error.outcome !== 'not-sent') throw error;
      return send();
    }
  }

  private send<T>(act: () => T, timeoutMs = TIMEOUT_MS): Promise<T> {
    const { way, life, chance, timeline } = this.parts;
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(failure('the store has been closed', 'not-sent', false));
        return;
      }
      let left = false;
      const cancel = life.after(timeoutMs, () =>
        reject(failure('no answer in time', left ? 'unknown' : 'not-sent', true)),
      );
      const answer = (settle: () => void): void => {
        const backMs = chance.delayMs(USUAL_MS, timeoutMs * 1.2, way.lateProbability);
        if (way.link !== 'up' || chance.happens(way.replyLossProbability)) return;
        life.leave(() => {
          cancel();
          settle();
        }, backMs);
      };
      const arrive = (): void => {
        if (way.link === 'silent') return;
        if (way.paused) {
          waitFor(way, () => !way.paused, arrive);
          return;
        }
        try {
          const reply = act();
          answer(() => resolve(reply));
        } catch (error) {
          if (!(error instanceof StoreError)) throw error;
          answer(() => reject(error));
        }
      };
      life.leave(() => {
        if (way.link === 'refused') {
          cancel();
          reject(failure('cannot be reached', 'not-sent', true));
          return;
        }
        left = true;
        if (chance.happens(way.lossProbability)) return;
        timeline.after(chance.delayMs(USUAL_MS, LATEST_MS, way.lateProbability), arrive);
      }, chance.float());
    });
  }
}

/** One watch, which may lag behind the others. */
class SimWatch {
  private readonly parts: WireParts;
  private readonly onReply: (reply: WatchReply) => void;
  private readonly resolve: (end: WatchEnd) => void;
  private readonly signal: AbortSignal;
  private events: WatchEvent[] = [];
  private upTo = 0n;
  private created = false;
  private flushing = false;
  private ended = false;
  private unfollow: () => void = () => undefined;

  constructor(
    parts: WireParts,
    request: WatchRequest,
    onReply: (reply: WatchReply) => void,
    signal: AbortSignal,
    resolve: (end: WatchEnd) => void,
  ) {
    this.parts = parts;
    this.onReply = onReply;
    this.signal = signal;
    this.resolve = resolve;
    if (signal.aborted || parts.way.link === 'refused') {
      parts.life.leave(() => this.end({ next: 'rewatch', reason: 'cannot be reached' }), 1);
      return;
    }
    signal.addEventListener('abort', this.stop);
    parts.way.listeners.add(this.look);
    parts.life.onOver.add(this.stop);
    parts.life.leave(() => this.open(request), parts.chance.float());
    this.look();
  }

  private readonly stop = (): void => this.end({ next: 'rewatch', reason: 'stopped' });

  /** The way has changed, or may have. */
  private readonly look = (): void => {
    const { way, timeline, life } = this.parts;
    if (this.ended) return;
    if (way.link === 'refused') {
      life.deliver(() => this.end({ next: 'rewatch', reason: 'the stream ended' }));
    } else if (way.link !== 'up' || way.paused) {
      const sinceMs = way.cutMs;
      timeline.after(GIVEN_UP_MS, () => {
        const still = (way.link !== 'up' || way.paused) && way.cutMs === sinceMs;
        if (still) life.deliver(() => this.end({ next: 'rewatch', reason: 'silence' }));
      });
    } else this.flush(0);
  };

  private open(request: WatchRequest): void {
    if (this.ended) return;
    const { etcd } = this.parts;
    const unfollow = etcd.follow(request.fromRevision, {
      prefix: request.prefix,
      tell: events => {
        this.events.push(...events);
        this.upTo = etcd.revision;
        this.flush(this.lagMs());
      },
    });
    if (unfollow === null) {
      this.end({ next: 'list', reason: 'compacted' });
      return;
    }
    this.unfollow = unfollow;
    this.flush(0);
  }

  private lagMs(): number {
    const { way, chance } = this.parts;
    return chance.happens(way.lagProbability)
      ? chance.between(0, way.longestLagMs)
      : chance.float() * USUAL_MS;
  }

  private flush(inMs: number): void {
    if (this.flushing || this.ended) return;
    this.flushing = true;
    const { life, etcd, way } = this.parts;
    life.leave(() => {
      this.flushing = false;
      if (this.ended || way.link !== 'up' || way.paused) return;
      const head = { clusterId: 'sim', revision: this.upTo > 0n ? this.upTo : etcd.revision };
      if (!this.created) {
        this.created = true;
        this.onReply({ head: { ...head, revision: etcd.revision }, created: true, events: [] });
      }
      const events = this.events;
      this.events = [];
      if (events.length > 0) this.onReply({ head, created: false, events });
    }, inMs);
  }

  private end(result: WatchEnd): void {
    if (this.ended) return;
    this.ended = true;
    this.unfollow();
    this.parts.way.listeners.delete(this.look);
    this.parts.life.onOver.delete(this.stop);
    this.signal.removeEventListener('abort', this.stop);
    this.resolve(result);
  }
}

function waitFor(way: Way, ready: () => boolean, act: () => void): void {
  const listener = (): void => {
    if (!ready()) return;
    way.listeners.delete(listener);
    act();
  };
  way.listeners.add(listener);
}

function holds(condition: Condition, entry: { revision: bigint; lease: string | null } | undefined): boolean {
  if ('revision' in condition) return (entry?.revision ?? 0n) === condition.revision;
  if ('lease' in condition) return entry?.lease === condition.lease;
  return (entry === undefined) === (condition.is === 'absent');
}

function failure(message: string, outcome: StoreError['outcome'], retryable: boolean): StoreError {
  return new StoreError(message, { outcome, retryable });
}
