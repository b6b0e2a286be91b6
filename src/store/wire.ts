/**
 * What this room needs of etcd, in our own words: seven calls and one stream. The mirror, the session and the store
 * are written against it, so replacing the client library is a matter of one adapter, and a test's in-memory
 * etcd runs the very same code. Every call rejects with a StoreError and with nothing else.
 */
export interface Wire {
  /** Linearizable. */
  range(request: RangeRequest): Promise<RangeReply>;
  /** Sent again after an unknown outcome only when `idempotent` says that doing it twice is the same as once. */
  txn(request: TxnRequest, options: TxnOptions): Promise<TxnReply>;
  /** A repeated grant leaks one lease until its TTL; `sentAtMs` is when the one that counts was sent. */
  grant(ttlSeconds: number): Promise<{ lease: string; ttlSeconds: number; sentAtMs: number }>;
  /** Revoking a lease that is gone is no error. */
  revoke(lease: string): Promise<void>;
  keepAlive(lease: string): KeepAlive;
  /** Resolves when it has ended, for whatever reason but an abort with what to do next. */
  watch(request: WatchRequest, onReply: (reply: WatchReply) => void, signal: AbortSignal): Promise<WatchEnd>;
  /** When the stream that all watches share last said anything. */
  watchHeardAtMs(): number;
  /** True unless the server's version is known to be free of the stale-read defect (known-defects.ts). */
  mayReadStale(): Promise<boolean>;
  members(): Promise<MemberStatus[]>;
  close(): void;
}

export interface KeyValue {
  key: string;
  text: string;
  createRevision: bigint;
  revision: bigint;
  lease: string | null;
}

export interface Head {
  clusterId: string;
  revision: bigint;
}

export interface RangeRequest {
  /** `key` = that one only; `prefix` = all that start so, in key order, after `afterKey`. */
  range: { key: string } | { prefix: string; afterKey?: string };
  limit?: number;
  /** As of this revision; absent = now. */
  atRevision?: bigint;
  createdAfter?: bigint;
  newestFirst?: boolean;
}

export interface RangeReply {
  head: Head;
  entries: KeyValue[];
  more: boolean;
}

export type Condition = { key: string } & (
  { is: 'absent' } | { is: 'present' } | { revision: bigint } | { lease: string }
);

export type Operation =
  { put: string; text: string; lease?: string } | { delete: string } | { read: string; keysOnly?: boolean };

export interface TxnRequest {
  conditions: Condition[];
  success: Operation[];
  failure: Operation[];
}

export interface TxnOptions {
  what: string;
  idempotent: boolean;
  timeoutMs?: number;
}

export interface TxnReply {
  head: Head;
  succeeded: boolean;
  /** What the branch that ran has read, absent keys left out. */
  read: KeyValue[];
}

export interface KeepAlive {
  /** Sends one renewal and waits for its reply: the TTL now, 0 or less when the lease is gone. One at a time. */
  beat(timeoutMs: number): Promise<{ ttlSeconds: number }>;
  close(): void;
}

export interface WatchRequest {
  prefix: string;
  fromRevision: bigint;
}

export type WatchEvent = { type: 'put'; entry: KeyValue } | { type: 'delete'; key: string; revision: bigint };

export interface WatchReply {
  head: Head;
  /** The first reply: the backlog follows, so its revision proves nothing about what has been seen. */
  created: boolean;
  /** Whole revisions. Empty and not `created` = everything up to the head's revision has been sent. */
  events: WatchEvent[];
}

export interface WatchEnd {
  /** `rewatch` from where it was; `list` again because history or trust is gone. */
  next: 'rewatch' | 'list';
  reason: string;
}

export interface MemberStatus {
  url: string;
  reachable: boolean;
  version: string | null;
  isLeader: boolean;
  error: string | null;
}
