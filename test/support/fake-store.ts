import type { Kind, Records } from '../../src/model/records.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { Log } from '../../src/ports/log.ts';
import { StoreError, type Store } from '../../src/ports/store.ts';
import { LeaseGoneError, RevisionGoneError } from '../../src/store/errors.ts';
import { EtcdStore } from '../../src/store/etcd-store.ts';
import { Keyspace } from '../../src/store/keys.ts';
import type {
  Condition,
  KeepAlive,
  KeyValue,
  MemberStatus,
  Operation,
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
import { FakeLog } from './fake-log.ts';
import { FakeRandom } from './fake-random.ts';

const TIMEOUT_MS = 2_000;

/**
 * `up`; `refused` = requests never leave; `silent` = they are lost, or frozen; `replies-lost` = they are done, and nobody hears of it.
 */
export type Link = 'up' | 'refused' | 'silent' | 'replies-lost';

interface Watcher {
  link: () => Link;
  request: WatchRequest;
  onReply: (reply: WatchReply) => void;
  end: (end: WatchEnd) => void;
}

/**
 * etcd as a small world in memory: one history of revisions, leases that expire on the injected clock, and any number of clients
 * whose links can fail. The clients run the real store room on top of it, so sessions, mirrors and refusals behave
 * as with etcd; `await clock.settle()` after a commit, and the mirrors have seen it.
 */
export class FakeEtcd {
  readonly clock: Clock;
  readonly keys: Keyspace;
  revision = 1n;
  clusterId = 'fake-1';
  /** Leases shorter than this are granted longer, as etcd does. */
  ttlFloorSeconds = 2;
  /** Reads that ought to be of the present are of then: some versions do that after a pause. */
  readsAsOf: bigint | null = null;
  /** While true, watches get no events though they live: etcd has lost some before. */
  losesEvents = false;
  /** How long after a write watches hear of it. */
  eventsLagMs = 0;
  private readonly cluster: string;
  private readonly entries = new Map<string, KeyValue>();
  private readonly leases = new Map<string, { ttlSeconds: number; cancel: () => void }>();
  private readonly watchers = new Set<Watcher>();
  private history: { revision: bigint; events: WatchEvent[]; before: Map<string, KeyValue | undefined> }[] =
    [];
  private compacted = 0n;
  private lastLease = 0x1000n;
  private readonly records = new WeakMap<KeyValue, unknown>();

  constructor(clock: Clock, options: { cluster?: string } = {}) {
    this.clock = clock;
    this.cluster = options.cluster ?? 'test';
    this.keys = new Keyspace(this.cluster);
  }

  client(name: string, options: { log?: Log } = {}): FakeStore {
    const wire = new FakeWire(this, this.clock);
    const log = options.log ?? new FakeLog().child({ client: name });
    const random = new FakeRandom(name.length + 1);
    return new FakeStore(wire, { wire, clock: this.clock, random, log, cluster: this.cluster });
  }

  /** Writes as if another client had. */
  put<K extends Kind>(kind: K, name: string, value: Records[K]): bigint {
    return this.putText(kind, name, JSON.stringify(value));
  }

  /** For what no codec of ours would write. */
  putText(kind: Kind, name: string, text: string): bigint {
    return this.write([{ put: this.keys.key(kind, name), text }]);
  }

  delete(kind: Kind, name: string): bigint {
    return this.write([{ delete: this.keys.key(kind, name) }]);
  }

  /** What is stored, parsed, by name; whoever asks often, as conditions do, is given the same records again. */
  contents<K extends Kind>(kind: K): Record<string, Records[K]> {
    const found = this.range({ range: { prefix: this.keys.prefix(kind) } }).entries;
    return Object.fromEntries(
      found.map(entry => [this.keys.nameOf(kind, entry.key), this.parsed(entry) as Records[K]]),
    );
  }

  liveLeases(): string[] {
    return [...this.leases.keys()];
  }

  /** Early, as a paused etcd leader does when it resumes. */
  killLease(lease: string): void {
    this.leases.get(lease)?.cancel();
    if (!this.leases.delete(lease)) return;
    const gone = [...this.entries.values()].filter(entry => entry.lease === lease);
    if (gone.length > 0) this.write(gone.map(entry => ({ delete: entry.key })));
  }

  /** Forgets history up to now: watchers that fall behind it must list again. */
  compact(): void {
    this.compacted = this.revision;
    this.history = this.history.filter(item => item.revision > this.compacted);
  }

  /** Goes back to an earlier revision, as a restored backup does; leases keep their keys or lose them with it. */
  restore(revision: bigint): void {
    for (const item of this.history.filter(one => one.revision > revision).reverse()) {
      for (const [key, before] of item.before) {
        if (before) this.entries.set(key, before);
        else this.entries.delete(key);
      }
    }
    this.history = this.history.filter(item => item.revision <= revision);
    this.revision = revision;
    this.breakWatches(() => true);
  }

  range(request: RangeRequest): RangeReply {
    const head = { clusterId: this.clusterId, revision: this.readsAsOf ?? this.revision };
    const at = request.atRevision ?? head.revision;
    if (at < this.compacted)
      throw new RevisionGoneError('compacted', { outcome: 'refused', retryable: true });
    const { range } = request;
    const found = [...this.asOf(at).values()]
      .filter(entry => ('key' in range ? entry.key === range.key : entry.key.startsWith(range.prefix)))
      .filter(entry => 'key' in range || range.afterKey === undefined || entry.key > range.afterKey)
      .filter(entry => entry.createRevision > (request.createdAfter ?? -1n))
      .sort(request.newestFirst ? byCreateRevision : byKey);
    const limit = request.limit ?? Infinity;
    return { head, entries: found.slice(0, limit), more: found.length > limit };
  }

  txn(request: TxnRequest): TxnReply {
    const succeeded = request.conditions.every(condition => this.holds(condition));
    const branch = succeeded ? request.success : request.failure;
    const read = branch.flatMap(operation => {
      const entry = 'read' in operation ? this.entries.get(operation.read) : undefined;
      return entry ? [entry] : [];
    });
    this.write(branch);
    return { head: { clusterId: this.clusterId, revision: this.revision }, succeeded, read };
  }

  grant(ttlSeconds: number): { lease: string; ttlSeconds: number } {
    const lease = String(++this.lastLease);
    const granted = Math.max(ttlSeconds, this.ttlFloorSeconds);
    this.leases.set(lease, { ttlSeconds: granted, cancel: this.expiry(lease, granted) });
    return { lease, ttlSeconds: granted };
  }

  renew(lease: string): number {
    const found = this.leases.get(lease);
    if (!found) return 0;
    found.cancel();
    found.cancel = this.expiry(lease, found.ttlSeconds);
    return found.ttlSeconds;
  }

  watch(watcher: Watcher): () => void {
    if (watcher.request.fromRevision <= this.compacted) {
      watcher.end({ next: 'list', reason: 'compacted' });
      return () => undefined;
    }
    this.watchers.add(watcher);
    const head = { clusterId: this.clusterId, revision: this.revision };
    const backlog = this.history.filter(item => item.revision >= watcher.request.fromRevision);
    // As etcd does: first that it exists, then what it has missed.
    queueMicrotask(() => {
      if (!this.watchers.has(watcher) || watcher.link() !== 'up') return;
      watcher.onReply({ head, created: true, events: [] });
      for (const item of backlog) this.deliver(watcher, item.events);
    });
    return () => this.watchers.delete(watcher);
  }

  breakWatches(which: (watcher: { link: () => Link }) => boolean): void {
    for (const watcher of [...this.watchers].filter(which)) {
      this.watchers.delete(watcher);
      watcher.end({ next: 'rewatch', reason: 'the stream ended' });
    }
  }

  private write(operations: Operation[]): bigint {
    const next = this.revision + 1n;
    const before = new Map<string, KeyValue | undefined>();
    for (const operation of operations) {
      if ('put' in operation && operation.lease !== undefined && !this.leases.has(operation.lease)) {
        throw new LeaseGoneError('the lease has expired or was revoked', {
          outcome: 'refused',
          retryable: false,
        });
      }
    }
    const events = operations.flatMap((operation): WatchEvent[] => {
      if ('read' in operation) return [];
      const key = 'put' in operation ? operation.put : operation.delete;
      const old = this.entries.get(key);
      if ('delete' in operation && !old) return [];
      before.set(key, old);
      if ('delete' in operation) {
        this.entries.delete(key);
        return [{ type: 'delete', key, revision: next }];
      }
      const entry: KeyValue = {
        key,
        text: operation.text,
        createRevision: old?.createRevision ?? next,
        revision: next,
        lease: operation.lease ?? null,
      };
      this.entries.set(key, entry);
      return [{ type: 'put', entry }];
    });
    if (events.length === 0) return this.revision;
    this.revision = next;
    this.history.push({ revision: next, events, before });
    for (const watcher of [...this.watchers]) {
      const deliver = () => {
        if (this.watchers.has(watcher)) this.deliver(watcher, events);
      };
      if (this.eventsLagMs === 0) queueMicrotask(deliver);
      else this.clock.after(this.eventsLagMs, deliver);
    }
    return next;
  }

  private deliver(watcher: Watcher, events: WatchEvent[]): void {
    if (watcher.link() !== 'up' || this.losesEvents) return;
    const wanted = events.filter(event =>
      (event.type === 'put' ? event.entry.key : event.key).startsWith(watcher.request.prefix),
    );
    const head = { clusterId: this.clusterId, revision: this.revision };
    if (wanted.length > 0) watcher.onReply({ head, created: false, events: wanted });
  }

  private asOf(revision: bigint): ReadonlyMap<string, KeyValue> {
    if (revision === this.revision) return this.entries;
    const entries = new Map(this.entries);
    for (const item of this.history.filter(one => one.revision > revision).reverse()) {
      for (const [key, before] of item.before) {
        if (before) entries.set(key, before);
        else entries.delete(key);
      }
    }
    return entries;
  }

  private parsed(entry: KeyValue): unknown {
    if (!this.records.has(entry)) this.records.set(entry, JSON.parse(entry.text));
    return this.records.get(entry);
  }

  private holds(condition: Condition): boolean {
    const entry = this.entries.get(condition.key);
    if ('revision' in condition) return (entry?.revision ?? 0n) === condition.revision;
    if ('lease' in condition) return entry?.lease === condition.lease;
    return (entry === undefined) === (condition.is === 'absent');
  }

  private expiry(lease: string, ttlSeconds: number): () => void {
    return this.clock.after(ttlSeconds * 1000, () => this.killLease(lease));
  }
}

/** One client of a FakeEtcd. */
export class FakeStore extends EtcdStore implements Store {
  private readonly wire: FakeWire;

  constructor(wire: FakeWire, parts: ConstructorParameters<typeof EtcdStore>[0]) {
    super(parts);
    this.wire = wire;
  }

  /** How the way to etcd behaves from now on. */
  setLink(link: Link): void {
    this.wire.setLink(link);
  }

  /** How long after a request was done its reply comes; past the request's timeout, nobody waits for it. */
  setReplyDelay(delayMs: number): void {
    this.wire.replyDelayMs = delayMs;
  }
}

class FakeWire implements Wire {
  private readonly world: FakeEtcd;
  private readonly clock: Clock;
  private link: Link = 'up';
  private cutSinceMs = 0;
  replyDelayMs = 0;
  private closed = false;
  private readonly getLink = () => this.link;

  constructor(world: FakeEtcd, clock: Clock) {
    this.world = world;
    this.clock = clock;
  }

  setLink(link: Link): void {
    const before = this.link;
    this.link = link;
    if (before === 'up') this.cutSinceMs = this.clock.now();
    // Silence is noticed only by those who ask; any other change ends the streams.
    if (before !== link && (link === 'up' || link === 'refused')) {
      this.world.breakWatches(watcher => watcher.link === this.getLink);
    }
  }

  range(request: RangeRequest): Promise<RangeReply> {
    return this.send(() => this.world.range(request));
  }

  txn(request: TxnRequest, options: TxnOptions): Promise<TxnReply> {
    return this.send(() => this.world.txn(request), options.timeoutMs);
  }

  async grant(ttlSeconds: number): Promise<{ lease: string; ttlSeconds: number; sentAtMs: number }> {
    const sentAtMs = this.clock.now();
    return { ...(await this.send(() => this.world.grant(ttlSeconds))), sentAtMs };
  }

  revoke(lease: string): Promise<void> {
    return this.send(() => this.world.killLease(lease));
  }

  keepAlive(lease: string): KeepAlive {
    return {
      beat: timeoutMs => this.send(() => ({ ttlSeconds: this.world.renew(lease) }), timeoutMs),
      close: () => undefined,
    };
  }

  watch(request: WatchRequest, onReply: (reply: WatchReply) => void, signal: AbortSignal): Promise<WatchEnd> {
    return new Promise(resolve => {
      const end = (result: WatchEnd) => {
        signal.removeEventListener('abort', abort);
        resolve(result);
      };
      const abort = () => {
        stop();
        end({ next: 'rewatch', reason: 'stopped' });
      };
      let stop: () => unknown = () => undefined;
      if (signal.aborted || this.link === 'refused') {
        resolve({ next: 'rewatch', reason: 'cannot be reached' });
        return;
      }
      signal.addEventListener('abort', abort);
      stop = this.world.watch({ link: this.getLink, request, onReply, end });
    });
  }

  watchHeardAtMs(): number {
    return this.link === 'up' ? this.clock.now() : this.cutSinceMs;
  }

  mayReadStale(): Promise<boolean> {
    return Promise.resolve(false);
  }

  members(): Promise<MemberStatus[]> {
    const reachable = this.link === 'up' && !this.closed;
    const version = reachable ? '3.6.9' : null;
    const error = reachable ? null : `the link is ${this.link}`;
    return Promise.resolve([{ url: 'fake://etcd', reachable, version, isLeader: reachable, error }]);
  }

  close(): void {
    this.closed = true;
  }

  private async send<T>(request: () => T, timeoutMs = TIMEOUT_MS): Promise<T> {
    await Promise.resolve();
    if (this.closed) throw failure('the store has been closed', 'not-sent', false);
    if (this.link === 'refused') throw failure('cannot be reached', 'not-sent', true);
    const inTime = this.replyDelayMs < timeoutMs;
    if (this.link === 'up' && inTime) {
      const reply = request();
      if (this.replyDelayMs > 0) await this.clock.sleep(this.replyDelayMs);
      else await Promise.resolve();
      return reply;
    }
    if (this.link !== 'silent') request();
    await this.clock.sleep(timeoutMs);
    throw failure('no answer in time', 'unknown', true);
  }
}

function byKey(a: KeyValue, b: KeyValue): number {
  return a.key < b.key ? -1 : 1;
}

function byCreateRevision(a: KeyValue, b: KeyValue): number {
  return a.createRevision === b.createRevision ? byKey(a, b) : a.createRevision > b.createRevision ? -1 : 1;
}

function failure(message: string, outcome: StoreError['outcome'], retryable: boolean): StoreError {
  return new StoreError(message, { outcome, retryable });
}
