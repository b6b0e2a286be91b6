import type { InstantMs } from '../model/ids.ts';
import type { Kind, Records, SessionRecord } from '../model/records.ts';

/** One key of the store, parsed. */
export interface Entry<K extends Kind = Kind> {
  kind: K;
  /** The key without its kind, as in `blog` for `apps/blog`. */
  name: string;
  value: Records[K];
  createRevision: bigint;
  /** The revision of its last write (etcd's ModRevision). */
  revision: bigint;
  /** null = not attached to a lease. */
  lease: string | null;
}

export interface Key {
  kind: Kind;
  name: string;
}

/** What must hold for a commit to be applied. */
export type Compare = Key & ({ is: 'absent' } | { is: 'present' } | { revision: bigint } | { lease: string });

export type Write =
  | { [K in Kind]: { put: K; name: string; value: Records[K]; lease?: string } }[Kind]
  | { delete: Kind; name: string };

export type CommitResult =
  | { kind: 'committed'; revision: bigint }
  /** `current` holds the compared keys as they were, absent ones left out. */
  | { kind: 'refused'; revision: bigint; current: Entry[] };

/**
 * The store could not answer. `outcome` says whether a write may have been applied: after `unknown`, re-read and
 * compare the operation id before deciding anything.
 */
export class StoreError extends Error {
  readonly outcome: 'not-sent' | 'unknown' | 'refused';
  readonly retryable: boolean;

  constructor(
    message: string,
    options: { outcome: 'not-sent' | 'unknown' | 'refused'; retryable: boolean; cause?: unknown },
  ) {
    super(message, { cause: options.cause });
    this.name = 'StoreError';
    this.outcome = options.outcome;
    this.retryable = options.retryable;
  }
}

export interface Store {
  /** A local copy of all entries of a kind whose name starts with `prefix`; kept until closed. */
  mirror<K extends Kind>(kind: K, prefix?: string): Mirror<K>;
  /** Linearizable. @throws StoreError */
  get<K extends Kind>(kind: K, name: string): Promise<Entry<K> | null>;
  /**
   * Linearizable, all of it at one revision, in name order unless `newestFirst` (by create revision, then at most
   * `limit`). `after`: only entries created after that revision. @throws StoreError
   */
  list<K extends Kind>(kind: K, options?: ListOptions): Promise<{ revision: bigint; entries: Entry<K>[] }>;
  /**
   * One transaction. At most 128 compares and 128 writes, about 1 MiB. Never re-sent once it may have been applied.
   * @throws StoreError also when a value is too large (outcome `refused`, not retryable)
   */
  commit(compares: Compare[], writes: Write[]): Promise<CommitResult>;
  /**
   * Grants a lease and creates (or, with `resume`, re-attaches) the session key. @throws StoreError, also (refused) when the
   * store is behind what has been seen of it
   */
  openSession(options: SessionOptions): Promise<Session>;
  /** A lease that nobody renews: what is written on it goes when it ends, or a little later. @throws StoreError */
  grant(ttlSeconds: number): Promise<string>;
  /** The furthest point of the store's history any answer has shown; null = none yet. */
  seen(): Seen | null;
  /**
   * Measures the store by what an agent before this one has seen of it; null = what it says from now on is a new beginning,
   * as after `cluster recover` (ownership rule 14).
   */
  startFrom(seen: Seen | null): void;
  /** Server version, members reachable, known defects: for `doctor` and the log. Never throws. */
  describe(): Promise<StoreDescription>;
  close(): Promise<void>;
}

/** A point of the store's history. */
export interface Seen {
  clusterId: string;
  /** A decimal number. */
  revision: string;
}

export interface ListOptions {
  prefix?: string;
  newestFirst?: boolean;
  limit?: number;
  after?: bigint;
}

/**
 * One consistent copy: list at revision R, then watch from R+1, listed again whenever there is doubt. Changes only
 * wake: readers look at all of it. It may lag; no ownership is ever decided from it alone.
 */
export interface Mirror<K extends Kind = Kind> {
  /** False until the first list has arrived. */
  readonly synced: boolean;
  readonly revision: bigint;
  get(name: string): Entry<K> | undefined;
  /** In name order. */
  all(): Entry<K>[];
  /** Called after each batch of changes, and after each list. Returns how to stop. */
  onChange(listener: (changes: Change<K>[]) => void): () => void;
  /** How long ago the store was last heard on this mirror's stream. */
  staleMs(): number;
  /** Resolves once synced. Rejects with the signal's reason when it aborts first. */
  ready(signal?: AbortSignal): Promise<void>;
  close(): void;
}

export interface Change<K extends Kind = Kind> {
  name: string;
  before: Entry<K> | undefined;
  after: Entry<K> | undefined;
}

export interface SessionOptions {
  record: SessionRecord;
  /** Tried first: put the existing session key on a new lease, in a transaction comparing the old one. */
  resume: { incarnation: string; lease: string } | null;
}

/** A node's standing in the cluster: one session key on one lease. */
export interface Session {
  readonly incarnation: string;
  readonly lease: string;
  /** As granted, which may be more than was asked for. */
  readonly ttlSeconds: number;
  /** True when `resume` succeeded: the same incarnation goes on. */
  readonly resumed: boolean;
  /** Synchronous: ask before every owned act and after every wait. */
  valid(): boolean;
  /** The moment, on the local boot clock, after which nothing owned may be done (ownership rule 2). */
  deadlineMs(): InstantMs;
  /** Once, with the reason, when it can be used no more. Called at once if that is already so. */
  onLost(listener: (reason: string) => void): void;
  /** After each successful renewal. */
  onRenewed(listener: () => void): void;
  /** Puts a changed record on the session key, comparing key and lease. @throws StoreError */
  update(record: SessionRecord): Promise<void>;
  /** Stops renewing; the key stays until its TTL has passed, so that a successor can resume it. */
  detach(): Promise<void>;
  /** Revokes the lease: everything on it goes at once. */
  revoke(): Promise<void>;
}

export interface StoreDescription {
  endpoints: {
    url: string;
    reachable: boolean;
    version: string | null;
    isLeader: boolean;
    error: string | null;
  }[];
  /** In words: `etcd 3.4.23: stale linearizable reads after a pause (fixed in 3.4.42)`. */
  knownDefects: string[];
}
