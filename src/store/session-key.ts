import type { SessionRecord } from '../model/records.ts';
import { StoreError } from '../ports/store.ts';
import { encode } from './codec.ts';
import type { Keyspace } from './keys.ts';
import type { Timeline } from './timeline.ts';
import type { Condition, Operation, TxnReply, Wire } from './wire.ts';

/** The session key of one incarnation on one lease, and the transactions that touch it. */
export class SessionKey {
  readonly name: string;
  readonly lease: string;
  private readonly wire: Wire;
  private readonly timeline: Timeline;
  private readonly key: string;
  private readonly nothing: string;
  private revision = 0n;

  constructor(
    wire: Wire,
    keys: Keyspace,
    timeline: Timeline,
    owner: { node: string; incarnation: string; lease: string },
  ) {
    this.wire = wire;
    this.timeline = timeline;
    this.lease = owner.lease;
    this.name = `${owner.node}/${owner.incarnation}`;
    this.key = keys.key('sessions', this.name);
    this.nothing = keys.unused();
  }

  /** The revision at which the key came onto this lease. */
  get sinceRevision(): bigint {
    return this.revision;
  }

  /** Creates it, once: an incarnation whose key is gone never comes back. False when it exists on another lease. */
  create(record: SessionRecord): Promise<boolean> {
    return this.take({ key: this.key, is: 'absent' }, record, 'create the session key');
  }

  /** Moves it from the lease of a former process to this one. False when it is gone or on a third lease. */
  takeFrom(lease: string, record: SessionRecord): Promise<boolean> {
    return this.take({ key: this.key, lease }, record, 'resume the session key');
  }

  /**
   * Whether the key is on the lease now. Through the log of etcd (a transaction whose other branch has a delete, of a key that never
   * exists) when `stale` says that its linearizable reads cannot be trusted; that costs one log entry and no revision.
   * An empty transaction would be answered from local state, so there is always something to read. @throws StoreError
   */
  async check(stale: boolean, timeoutMs: number): Promise<boolean> {
    const read: Operation = { read: this.key, keysOnly: true };
    const before = this.timeline.seen;
    const reply = await this.wire.txn(
      {
        conditions: [{ key: this.key, lease: this.lease }],
        success: [read],
        failure: [stale ? { delete: this.nothing } : read],
      },
      { what: 'check the session key', idempotent: true, timeoutMs },
    );
    // A key that a backup brought back is there, and proves nothing.
    this.timeline.check(before, reply.head);
    return reply.succeeded;
  }

  /**
   * Replaces the record. False when the key is not on the lease any more. Compares the revision too, so that an update
   * whose reply was lost cannot arrive after a later one.
   */
  async update(record: SessionRecord): Promise<boolean> {
    let known = this.revision;
    for (;;) {
      const conditions: Condition[] = [
        { key: this.key, lease: this.lease },
        { key: this.key, revision: known },
      ];
      const reply = await this.put(conditions, record, 'update the session key');
      const found = reply.read[0];
      if (reply.succeeded) {
        this.revision = reply.head.revision;
        return true;
      }
      if (found?.lease !== this.lease) return false;
      this.revision = found.revision;
      if (found.text === encode(record)) return true;
      known = found.revision;
    }
  }

  /** Sent again after a lost reply: then the other branch finds the key on this lease, which nobody else puts there. */
  private async take(condition: Condition, record: SessionRecord, what: string): Promise<boolean> {
    const before = this.timeline.seen;
    const reply = await this.put([condition], record, what);
    this.timeline.check(before, reply.head);
    const found = reply.read[0];
    if (!reply.succeeded && found?.lease !== this.lease) return false;
    this.revision = found?.revision ?? reply.head.revision;
    return true;
  }

  private put(conditions: Condition[], record: SessionRecord, what: string): Promise<TxnReply> {
    const put: Operation = { put: this.key, text: encode(record), lease: this.lease };
    return this.wire.txn(
      { conditions, success: [put], failure: [{ read: this.key }] },
      { what, idempotent: true },
    );
  }
}

export function incarnationInUse(name: string): StoreError {
  return new StoreError(
    `the session key sessions/${name} exists on another lease; an incarnation is used once: take a new one`,
    { outcome: 'refused', retryable: false },
  );
}
