import type { InstantMs } from '../model/ids.ts';
import type { Kind } from '../model/records.ts';
import { isAborted, type Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import { StoreError, type Change, type Entry, type Mirror } from '../ports/store.ts';
import type { Decoder } from './codec.ts';
import type { Keyspace } from './keys.ts';
import { listAll } from './list.ts';
import type { Head, KeyValue, WatchEnd, WatchEvent, WatchReply, Wire } from './wire.ts';

/** A safety net: etcd has lost watch events before (known-defects.ts). */
const RELIST_MS = 5 * 60_000;
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 2_000;

export interface MirrorParts {
  wire: Wire;
  keys: Keyspace;
  decoder: Decoder;
  clock: Clock;
  random: Random;
  log: Log;
}

/** A reflector: list at a revision, watch from the next one on, and list again whenever there is doubt. */
export class WireMirror<K extends Kind> implements Mirror<K> {
  private readonly parts: MirrorParts;
  private readonly kind: K;
  private readonly prefix: string;
  private readonly entries = new Map<string, Entry<K>>();
  private readonly listeners = new Set<(changes: Change<K>[]) => void>();
  private readonly syncedListeners = new Set<() => void>();
  private readonly closing = new AbortController();
  /** Whether the last list got no answer. */
  private unanswered = false;
  private sorted: Entry<K>[] | null = null;
  private head: Head | null = null;
  private heardAtMs: InstantMs;
  private following = false;

  constructor(parts: MirrorParts, kind: K, prefix: string, onClosed: () => void = () => undefined) {
    this.parts = parts;
    this.kind = kind;
    this.prefix = parts.keys.prefix(kind, prefix);
    this.heardAtMs = parts.clock.now();
    this.closing.signal.addEventListener('abort', onClosed);
    void this.run();
  }

  get synced(): boolean {
    return this.head !== null;
  }

  get revision(): bigint {
    return this.head?.revision ?? 0n;
  }

  get(name: string): Entry<K> | undefined {
    return this.entries.get(name);
  }

  all(): Entry<K>[] {
    this.sorted ??= [...this.entries.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return [...this.sorted];
  }

  onChange(listener: (changes: Change<K>[]) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  staleMs(): number {
    return this.parts.clock.now() - this.lastHeardAtMs();
  }

  ready(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        this.syncedListeners.delete(synced);
        signal?.removeEventListener('abort', aborted);
        this.closing.signal.removeEventListener('abort', closed);
        settle();
      };
      const synced = () => finish(resolve);
      const aborted = () => finish(() => reject(signal?.reason as Error));
      const closed = () => finish(() => reject(closedError()));
      this.syncedListeners.add(synced);
      signal?.addEventListener('abort', aborted);
      this.closing.signal.addEventListener('abort', closed);
      if (this.synced) synced();
      else if (signal?.aborted) aborted();
      else if (this.closing.signal.aborted) closed();
    });
  }

  close(): void {
    this.closing.abort();
    this.listeners.clear();
  }

  private async run(): Promise<void> {
    const { signal } = this.closing;
    let failures = 0;
    let next: WatchEnd['next'] = 'list';
    while (!signal.aborted) {
      if (next === 'list' && !(await this.relist())) {
        await this.pause(failures++);
        continue;
      }
      if (isAborted(signal)) return;
      const { end, worked } = await this.follow();
      next = end.next;
      if (worked) failures = 0;
      if (!worked || next === 'rewatch') await this.pause(failures++);
    }
  }

  /** False when the store could not answer: the caller tries again. */
  private async relist(): Promise<boolean> {
    const { wire, log } = this.parts;
    let found: { head: Head; entries: KeyValue[] };
    try {
      found = await listAll(wire, this.prefix);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (this.closing.signal.aborted) return false;
      // Once an outage: it may last for hours, and there are many mirrors.
      log[this.unanswered ? 'debug' : 'warn']('a mirror cannot be listed and is tried again', {
        prefix: this.prefix,
        error,
      });
      this.unanswered = true;
      return false;
    }
    this.unanswered = false;
    if (!this.closing.signal.aborted) this.replace(found);
    return true;
  }

  /** Readers that missed deletes and changes get them now, in one batch. */
  private replace(found: { head: Head; entries: KeyValue[] }): void {
    const restored = this.wasRestored(found.head);
    const fresh = new Map<string, Entry<K>>();
    for (const stored of found.entries) {
      const entry = this.parts.decoder.decode(this.kind, stored);
      if (entry) fresh.set(entry.name, entry);
    }
    const changes: Change<K>[] = [];
    for (const [name, before] of [...this.entries]) {
      if (!fresh.has(name)) changes.push(this.set(name, undefined, before));
    }
    for (const [name, after] of fresh) {
      const before = this.entries.get(name);
      if (restored || before?.revision !== after.revision) changes.push(this.set(name, after, before));
    }
    const first = this.head === null;
    this.head = found.head;
    this.heardAtMs = this.parts.clock.now();
    if (first) for (const synced of [...this.syncedListeners]) synced();
    this.notify(changes);
  }

  /** Follows one watch until it ends, or until there is a reason to list again. `worked` = it had begun. */
  private async follow(): Promise<{ end: WatchEnd; worked: boolean }> {
    const { wire, clock, random } = this.parts;
    const round = new AbortController();
    const distrust = (reason: string) => round.abort(reason);
    const stop = () => round.abort();
    this.closing.signal.addEventListener('abort', stop);
    const cancelTimer = clock.after(RELIST_MS * (0.9 + 0.2 * random.float()), () => distrust('by routine'));
    try {
      const request = { prefix: this.prefix, fromRevision: this.revision + 1n };
      const end = await wire.watch(request, reply => this.receive(reply, distrust), round.signal);
      const doubt: unknown = round.signal.reason;
      const worked = this.following;
      return { end: typeof doubt === 'string' ? { next: 'list', reason: doubt } : end, worked };
    } finally {
      this.heardAtMs = this.lastHeardAtMs();
      this.following = false;
      cancelTimer();
      this.closing.signal.removeEventListener('abort', stop);
    }
  }

  private receive(reply: WatchReply, distrust: (reason: string) => void): void {
    if (this.closing.signal.aborted || this.head === null) return;
    this.following = true;
    if (reply.head.clusterId !== this.head.clusterId) {
      distrust('another cluster answered');
      return;
    }
    if (reply.created) {
      // The backlog is still to come, so this revision must not be taken over.
      if (reply.head.revision < this.head.revision) distrust('the revision has gone back');
      return;
    }
    if (reply.events.length === 0) {
      if (reply.head.revision > this.head.revision) this.head = reply.head;
      return;
    }
    // Some versions send events again after a reconnect.
    const known = this.head.revision;
    const news = reply.events.filter(event => revisionOf(event) > known);
    const last = news.at(-1);
    if (!last) return;
    const changes = news.map(event => this.apply(event)).filter(change => change !== null);
    // The last event's, never the head's: that one may be ahead of the backlog.
    this.head = { clusterId: this.head.clusterId, revision: revisionOf(last) };
    if (changes.length > 0) this.notify(changes);
  }

  private apply(event: WatchEvent): Change<K> | null {
    const key = event.type === 'put' ? event.entry.key : event.key;
    const name = this.parts.keys.nameOf(this.kind, key);
    const before = this.entries.get(name);
    const after =
      event.type === 'put' ? (this.parts.decoder.decode(this.kind, event.entry) ?? undefined) : undefined;
    return before === undefined && after === undefined ? null : this.set(name, after, before);
  }

  private set(name: string, after: Entry<K> | undefined, before: Entry<K> | undefined): Change<K> {
    if (after) this.entries.set(name, after);
    else this.entries.delete(name);
    this.sorted = null;
    return { name, before, after };
  }

  private notify(changes: Change<K>[]): void {
    for (const listener of [...this.listeners]) listener(changes);
  }

  private wasRestored(head: Head): boolean {
    const known = this.head;
    if (!known || (known.clusterId === head.clusterId && known.revision <= head.revision)) return false;
    this.parts.log.error('etcd has gone back in time or is another cluster: was it restored from a backup?', {
      prefix: this.prefix,
      known,
      found: head,
    });
    return true;
  }

  private lastHeardAtMs(): InstantMs {
    return this.following ? Math.max(this.heardAtMs, this.parts.wire.watchHeardAtMs()) : this.heardAtMs;
  }

  private pause(failures: number): Promise<void> {
    const { clock, random } = this.parts;
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures, 10));
    return clock.sleep(pauseMs * (0.5 + random.float()), this.closing.signal);
  }
}

function revisionOf(event: WatchEvent): bigint {
  return event.type === 'put' ? event.entry.revision : event.revision;
}

function closedError(): StoreError {
  return new StoreError('the mirror was closed before it was ready', {
    outcome: 'not-sent',
    retryable: false,
  });
}
