import type { Kind, Records } from '../../src/model/records.ts';
import { LeaseGoneError, RevisionGoneError } from '../../src/store/errors.ts';
import { Keyspace } from '../../src/store/keys.ts';
import type {
  Condition,
  Head,
  KeyValue,
  Operation,
  RangeReply,
  RangeRequest,
  TxnReply,
  TxnRequest,
  WatchEvent,
} from '../../src/store/wire.ts';
import type { Timeline } from './timeline.ts';

/** Who asked for a write: not always the agent that its node has by the time it is done. */
export interface Sender {
  node: string;
  /** When the process that sent it began, and when that made up its mind, on the true clock. */
  bornMs: number;
  sentMs: number;
}

export interface Written {
  /** The client whose transaction it was; null = etcd itself, at the end of a lease. */
  by: Sender | null;
  revision: bigint;
  conditions: readonly Condition[];
  key: string;
  before: KeyValue | undefined;
  after: KeyValue | undefined;
}

export interface Follower {
  prefix: string;
  /** Whole revisions, in order. */
  tell: (events: WatchEvent[]) => void;
}

interface Lease {
  ttlSeconds: number;
  endsMs: number;
}

/** etcd looks for ended leases twice a second. */
const SWEEP_MS = 500;

/**
 * etcd as its contract has it: one history of revisions, transactions, leases that never end early by themselves. What may go wrong
 * with it is done to it from outside (`revokeEarly`, `elect`, `compact`) or on the way to it (wire.ts).
 */
export class SimEtcd {
  readonly keys = new Keyspace('sim');
  readonly entries = new Map<string, KeyValue>();
  revision = 1n;
  compacted = 0n;
  /** The keys of each revision. */
  readonly written = new Map<bigint, ReadonlySet<string>>();
  /** When each session key went, on the true clock. */
  readonly goneMs = new Map<string, number>();
  /** Called for every key as it is written, before anybody else knows. */
  onWritten: (written: Written) => void = () => undefined;
  private readonly timeline: Timeline;
  private readonly leases = new Map<string, Lease>();
  private readonly followers = new Set<Follower>();
  private history: { revision: bigint; events: WatchEvent[]; before: (KeyValue | undefined)[] }[] = [];
  private lastLease = 0x1000;
  private readonly head: Head = { clusterId: 'sim', revision: 1n };

  constructor(timeline: Timeline) {
    this.timeline = timeline;
  }

  range(request: RangeRequest, asOf: bigint | null = null): RangeReply {
    const revision = asOf ?? this.revision;
    const at = request.atRevision ?? revision;
    if (at < this.compacted) {
      throw new RevisionGoneError('compacted', { outcome: 'refused', retryable: true });
    }
    const entries = at === this.revision ? this.entries : this.asOf(at);
    const { range } = request;
    const head = { clusterId: 'sim', revision };
    if ('key' in range) {
      const found = entries.get(range.key);
      return { head, entries: found ? [found] : [], more: false };
    }
    const createdAfter = request.createdAfter ?? -1n;
    const found: KeyValue[] = [];
    for (const entry of entries.values()) {
      if (!entry.key.startsWith(range.prefix) || entry.createRevision <= createdAfter) continue;
      if (range.afterKey === undefined || entry.key > range.afterKey) found.push(entry);
    }
    found.sort(request.newestFirst ? byCreateRevision : byKey);
    const limit = request.limit ?? Infinity;
    return { head, entries: found.slice(0, limit), more: found.length > limit };
  }

  txn(by: Sender, request: TxnRequest): TxnReply {
    const succeeded = request.conditions.every(condition => this.holds(condition));
    const branch = succeeded ? request.success : request.failure;
    const read = branch.flatMap(operation => {
      const entry = 'read' in operation ? this.entries.get(operation.read) : undefined;
      return entry ? [entry] : [];
    });
    this.write(by, succeeded ? request.conditions : [], branch);
    return { head: { ...this.head, revision: this.revision }, succeeded, read };
  }

  grant(ttlSeconds: number): { lease: string; ttlSeconds: number } {
    const lease = String(++this.lastLease);
    const granted = Math.max(ttlSeconds, 2);
    this.leases.set(lease, { ttlSeconds: granted, endsMs: this.timeline.nowMs + granted * 1000 });
    this.watchOver(lease, granted * 1000);
    return { lease, ttlSeconds: granted };
  }

  /** 0 when it is gone. */
  renew(lease: string): number {
    const found = this.leases.get(lease);
    if (!found) return 0;
    found.endsMs = this.timeline.nowMs + found.ttlSeconds * 1000;
    return found.ttlSeconds;
  }

  revoke(lease: string): void {
    if (!this.leases.delete(lease)) return;
    const gone = [...this.entries.values()].filter(entry => entry.lease === lease);
    this.write(
      null,
      [],
      gone.map(entry => ({ delete: entry.key })),
    );
  }

  liveLeases(): string[] {
    return [...this.leases.keys()];
  }

  /** A new leader gives every lease its whole time anew. */
  elect(): void {
    for (const lease of this.leases.values()) lease.endsMs = this.timeline.nowMs + lease.ttlSeconds * 1000;
  }

  compact(): void {
    this.compacted = this.revision;
    this.history = [];
  }

  /** Null when the past from that revision on is gone. Tells what has happened since then, and goes on telling. */
  follow(fromRevision: bigint, follower: Follower): (() => void) | null {
    if (fromRevision <= this.compacted) return null;
    for (const { revision, events } of this.history) {
      if (revision >= fromRevision) tellOf(follower, events);
    }
    this.followers.add(follower);
    return () => this.followers.delete(follower);
  }

  /** What is stored, parsed, by name. */
  contents<K extends Kind>(kind: K): Map<string, { value: Records[K]; entry: KeyValue }> {
    const prefix = this.keys.prefix(kind);
    const found = new Map<string, { value: Records[K]; entry: KeyValue }>();
    for (const entry of this.entries.values()) {
      if (!entry.key.startsWith(prefix)) continue;
      found.set(entry.key.slice(prefix.length), { value: JSON.parse(entry.text) as Records[K], entry });
    }
    return found;
  }

  parsed<K extends Kind>(kind: K, name: string): { value: Records[K]; entry: KeyValue } | null {
    const entry = this.entries.get(this.keys.key(kind, name));
    return entry ? { value: JSON.parse(entry.text) as Records[K], entry } : null;
  }

  private write(by: Sender | null, conditions: readonly Condition[], operations: Operation[]): void {
    const revision = this.revision + 1n;
    for (const operation of operations) {
      if ('put' in operation && operation.lease !== undefined && !this.leases.has(operation.lease)) {
        throw new LeaseGoneError('the lease has expired or was revoked', {
          outcome: 'refused',
          retryable: false,
        });
      }
    }
    const events: WatchEvent[] = [];
    const befores: (KeyValue | undefined)[] = [];
    for (const operation of operations) {
      if ('read' in operation) continue;
      const key = 'put' in operation ? operation.put : operation.delete;
      const before = this.entries.get(key);
      if ('delete' in operation && !before) continue;
      const after = 'put' in operation ? entryOf(operation, before, revision) : undefined;
      befores.push(before);
      events.push(after ? { type: 'put', entry: after } : { type: 'delete', key, revision });
      this.timeline.mix(`${by?.node} ${revision} ${key} ${after?.text}`);
      this.onWritten({ by, revision, conditions, key, before, after });
      if (after) this.entries.set(key, after);
      else {
        this.entries.delete(key);
        if (key.startsWith(this.keys.prefix('sessions'))) this.goneMs.set(key, this.timeline.nowMs);
      }
    }
    if (events.length === 0) return;
    this.revision = revision;
    this.written.set(
      revision,
      new Set(events.map(event => (event.type === 'put' ? event.entry.key : event.key))),
    );
    this.history.push({ revision, events, before: befores });
    for (const follower of [...this.followers]) tellOf(follower, events);
  }

  private holds(condition: Condition): boolean {
    const entry = this.entries.get(condition.key);
    if ('revision' in condition) return (entry?.revision ?? 0n) === condition.revision;
    if ('lease' in condition) return entry?.lease === condition.lease;
    return (entry === undefined) === (condition.is === 'absent');
  }

  private asOf(revision: bigint): Map<string, KeyValue> {
    const entries = new Map(this.entries);
    for (let at = this.history.length - 1; at >= 0; at--) {
      const item = this.history[at]!;
      if (item.revision <= revision) break;
      item.events.forEach((event, index) => {
        const key = event.type === 'put' ? event.entry.key : event.key;
        const before = item.before[index];
        if (before) entries.set(key, before);
        else entries.delete(key);
      });
    }
    return entries;
  }

  private watchOver(lease: string, inMs: number): void {
    this.timeline.after(
      Math.ceil((this.timeline.nowMs + inMs) / SWEEP_MS) * SWEEP_MS - this.timeline.nowMs,
      () => {
        const found = this.leases.get(lease);
        if (!found) return;
        const leftMs = found.endsMs - this.timeline.nowMs;
        if (leftMs > 0) this.watchOver(lease, leftMs);
        else {
          this.timeline.tell(`etcd ends lease ${lease}`);
          this.revoke(lease);
        }
      },
    );
  }
}

function entryOf(
  operation: Extract<Operation, { put: string }>,
  before: KeyValue | undefined,
  revision: bigint,
): KeyValue {
  return {
    key: operation.put,
    text: operation.text,
    createRevision: before?.createRevision ?? revision,
    revision,
    lease: operation.lease ?? null,
  };
}

function tellOf(follower: Follower, events: WatchEvent[]): void {
  const wanted = events.filter(event =>
    (event.type === 'put' ? event.entry.key : event.key).startsWith(follower.prefix),
  );
  if (wanted.length > 0) follower.tell(wanted);
}

function byKey(a: KeyValue, b: KeyValue): number {
  return a.key < b.key ? -1 : 1;
}

function byCreateRevision(a: KeyValue, b: KeyValue): number {
  return a.createRevision === b.createRevision ? byKey(a, b) : a.createRevision > b.createRevision ? -1 : 1;
}
