import type { Kind } from '../model/records.ts';
import {
  type CommitResult,
  type Compare,
  type Entry,
  type ListOptions,
  type Mirror,
  type Seen,
  type Session,
  type SessionOptions,
  type Store,
  type StoreDescription,
  type Write,
} from '../ports/store.ts';
import { decode, Decoder } from './codec.ts';
import { toTxn } from './commit.ts';
import { Keyspace } from './keys.ts';
import { knownDefects } from './known-defects.ts';
import { listAll } from './list.ts';
import { LostLeases } from './lost-leases.ts';
import { WireMirror, type MirrorParts } from './mirror.ts';
import { incarnationInUse, SessionKey } from './session-key.ts';
import { WireSession } from './session.ts';
import { headOfLog, noted, Timeline } from './timeline.ts';
import type { KeyValue } from './wire.ts';

export type StoreParts = Omit<MirrorParts, 'keys' | 'decoder'> & { cluster: string };

/** The Store over a Wire: what has to be decided about etcd's answers, and nothing of how they come. */
export class EtcdStore implements Store {
  private readonly parts: MirrorParts;
  private readonly timeline = new Timeline();
  private readonly lostLeases: LostLeases;
  private readonly mirrors = new Set<{ close(): void }>();
  private readonly sessions = new Set<Session>();

  constructor(parts: StoreParts) {
    const keys = new Keyspace(parts.cluster);
    const wire = noted(parts.wire, this.timeline, keys);
    this.parts = { ...parts, wire, keys, decoder: new Decoder(keys, parts.log) };
    this.lostLeases = new LostLeases(parts.wire, parts.clock, parts.log);
  }

  mirror<K extends Kind>(kind: K, prefix = ''): Mirror<K> {
    const mirror: WireMirror<K> = new WireMirror(this.parts, kind, prefix, () => this.mirrors.delete(mirror));
    this.mirrors.add(mirror);
    return mirror;
  }

  async get<K extends Kind>(kind: K, name: string): Promise<Entry<K> | null> {
    const { wire, keys } = this.parts;
    const reply = await wire.range({ range: { key: keys.key(kind, name) } });
    const stored = reply.entries[0];
    return stored ? decode(kind, keys, stored) : null;
  }

  async list<K extends Kind>(
    kind: K,
    options: ListOptions = {},
  ): Promise<{ revision: bigint; entries: Entry<K>[] }> {
    const { keys, decoder } = this.parts;
    const found = await this.read(keys.prefix(kind, options.prefix), options);
    const entries = found.entries.map(stored => decoder.decode(kind, stored)).filter(entry => entry !== null);
    return { revision: found.head.revision, entries };
  }

  async commit(compares: Compare[], writes: Write[]): Promise<CommitResult> {
    const { wire, keys } = this.parts;
    const reply = await wire.txn(toTxn(keys, compares, writes), { what: 'commit', idempotent: false });
    const { revision } = reply.head;
    if (reply.succeeded) return { kind: 'committed', revision };
    const current = reply.read.map(stored => decode(keys.kindOf(stored.key), keys, stored));
    return { kind: 'refused', revision, current };
  }

  async openSession(options: SessionOptions): Promise<Session> {
    const { wire, keys, clock, log } = this.parts;
    await this.checkTimeline();
    await this.lostLeases.revokeAll();
    const [stale, granted] = await Promise.all([wire.mayReadStale(), wire.grant(options.record.ttlSeconds)]);
    try {
      const { key, incarnation, resumed } = await this.takeKey(options, granted);
      const { node } = options.record;
      const { lease, ttlSeconds, sentAtMs } = granted;
      const mirror = new WireMirror(this.parts, 'sessions', `${node}/${incarnation}`);
      const session: Session = new WireSession(
        {
          wire,
          clock,
          log: log.child({ keys: keys.prefix('sessions') }),
          lostLeases: this.lostLeases,
          key,
          mirror,
          stale,
        },
        { node, incarnation, lease, ttlSeconds, resumed, grantSentAtMs: sentAtMs },
      );
      this.sessions.add(session);
      session.onLost(() => this.sessions.delete(session));
      return session;
    } catch (error) {
      this.lostLeases.add(granted.lease);
      throw error;
    }
  }

  async grant(ttlSeconds: number): Promise<string> {
    return (await this.parts.wire.grant(ttlSeconds)).lease;
  }

  seen(): Seen | null {
    return this.timeline.seen;
  }

  startFrom(seen: Seen | null): void {
    this.timeline.startFrom(seen);
  }

  async describe(): Promise<StoreDescription> {
    const endpoints = await this.parts.wire.members();
    const versions = new Set(endpoints.map(endpoint => endpoint.version).filter(version => version !== null));
    return { endpoints, knownDefects: [...versions].flatMap(knownDefects) };
  }

  async close(): Promise<void> {
    for (const mirror of [...this.mirrors]) mirror.close();
    await Promise.all([...this.sessions].map(session => session.detach()));
    this.lostLeases.close();
    this.parts.wire.close();
  }

  /** Through the log of etcd, so that the answer is not older than what is known. @throws GoneBackError */
  private async checkTimeline(): Promise<void> {
    const before = this.timeline.seen;
    this.timeline.check(before, await headOfLog(this.parts.wire, this.parts.keys));
  }

  private async takeKey(options: SessionOptions, granted: { lease: string; ttlSeconds: number }) {
    const { wire, keys } = this.parts;
    const { record, resume } = options;
    const of = (incarnation: string) => {
      const owner = { node: record.node, incarnation, lease: granted.lease };
      const key = new SessionKey(wire, keys, this.timeline, owner);
      // What takers wait for is the TTL that was granted, which may be more than was asked for.
      return { key, incarnation, record: { ...record, incarnation, ttlSeconds: granted.ttlSeconds } };
    };
    if (resume) {
      const former = of(resume.incarnation);
      if (await former.key.takeFrom(resume.lease, former.record)) return { ...former, resumed: true };
    }
    const fresh = of(record.incarnation);
    if (!(await fresh.key.create(fresh.record))) throw incarnationInUse(fresh.key.name);
    return { ...fresh, resumed: false };
  }

  private async read(prefix: string, options: ListOptions) {
    const { wire } = this.parts;
    const limits = {
      ...(options.after === undefined ? {} : { createdAfter: options.after }),
      ...(options.limit === undefined ? {} : { limit: options.limit }),
    };
    if (!options.newestFirst) return listAll(wire, prefix, limits);
    const found =
      options.limit === undefined
        ? await listAll(wire, prefix, limits)
        : await wire.range({ range: { prefix }, newestFirst: true, ...limits });
    return { head: found.head, entries: [...found.entries].sort(newestFirst) };
  }
}

/** What one transaction created together comes in name order. */
function newestFirst(a: KeyValue, b: KeyValue): number {
  if (a.createRevision !== b.createRevision) return a.createRevision > b.createRevision ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}
