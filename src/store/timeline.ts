import { StoreError, type Seen } from '../ports/store.ts';
import type { Keyspace } from './keys.ts';
import type {
  Head,
  RangeReply,
  RangeRequest,
  TxnOptions,
  TxnReply,
  TxnRequest,
  WatchReply,
  Wire,
} from './wire.ts';

/**
 * The highest revision any answer has shown, and of which etcd cluster (ownership rule 14). An etcd that was restored from a
 * backup repeats revisions: a token that has been given is given again.
 */
export class Timeline {
  private latest: Head | null = null;

  get seen(): Seen | null {
    const { latest } = this;
    return latest === null ? null : { clusterId: latest.clusterId, revision: String(latest.revision) };
  }

  /** As an agent before this one had seen it; null = what is answered from now on is a new beginning. */
  startFrom(seen: Seen | null): void {
    this.latest = seen === null ? null : { clusterId: seen.clusterId, revision: BigInt(seen.revision) };
  }

  note(head: Head): void {
    // Of another cluster it is not for a mere answer to say: only a check may find that out.
    if (this.latest !== null && this.latest.clusterId !== head.clusterId) return;
    if (this.latest === null || head.revision > this.latest.revision) this.latest = head;
  }

  /** Whether an answer is from before what had been seen when it was asked for; of another cluster it is not for this to say. */
  isBehind(before: Seen | null, head: Head): boolean {
    if (before === null || this.latest === null || before.clusterId !== head.clusterId) return false;
    return head.revision < BigInt(before.revision);
  }

  /**
   * For requests that etcd answers no earlier than anything it has committed before they were sent; `before` is what was
   * known then. @throws GoneBackError when it has gone back in time, or is another one
   */
  check(before: Seen | null, head: Head): void {
    if (before === null || this.latest === null) return;
    const isOther = before.clusterId !== head.clusterId;
    if (!isOther && !this.isBehind(before, head)) return;
    const what = isOther
      ? `this etcd is another one than before (cluster id ${head.clusterId}, not ${before.clusterId})`
      : `etcd has gone back in time: it is at revision ${head.revision}, and ${before.revision} has been seen`;
    throw new GoneBackError(
      `${what}; was it restored from a backup? Nothing is owned until "hop3-agent cluster recover" has been run`,
    );
  }
}

export class GoneBackError extends StoreError {
  constructor(message: string) {
    super(message, { outcome: 'refused', retryable: false });
    this.name = 'GoneBackError';
  }
}

class StaleReadError extends StoreError {
  constructor(head: Head, seen: Seen | null) {
    super(
      `etcd answered as of revision ${head.revision}, though ${seen?.revision ?? 'more'} has been seen: ` +
        'a known defect of some versions, after a pause',
      { outcome: 'refused', retryable: true },
    );
    this.name = 'StaleReadError';
  }
}

/**
 * How far the store has come, through the log of etcd: not earlier than anything it had committed before, whatever its reads do.
 * Costs one entry of the log and no revision. @throws StoreError
 */
export async function headOfLog(wire: Wire, keys: Keyspace): Promise<Head> {
  const unused = keys.unused();
  const reply = await wire.txn(
    {
      conditions: [{ key: unused, is: 'absent' }],
      success: [{ read: unused }],
      failure: [{ delete: unused }],
    },
    { what: 'ask how far the store has come', idempotent: true },
  );
  return reply.head;
}

/**
 * The same wire, whose answers are noted. A read is not answered from before what has been seen already, which some versions of
 * etcd do after a pause (known-defects.ts): what this node has released must not look like its own again. Of an etcd that went
 * back in time as a whole it is answered.
 */
export function noted(wire: Wire, timeline: Timeline, keys: Keyspace): Wire {
  return {
    range: async (request: RangeRequest): Promise<RangeReply> => {
      const before = timeline.seen;
      const reply = await wire.range(request);
      if (timeline.isBehind(before, reply.head) && !timeline.isBehind(before, await headOfLog(wire, keys)))
        throw new StaleReadError(reply.head, before);
      timeline.note(reply.head);
      return reply;
    },
    txn: async (request: TxnRequest, options: TxnOptions): Promise<TxnReply> => {
      const reply = await wire.txn(request, options);
      timeline.note(reply.head);
      return reply;
    },
    watch: (request, onReply, signal) =>
      wire.watch(
        request,
        (reply: WatchReply) => {
          timeline.note(reply.head);
          onReply(reply);
        },
        signal,
      ),
    grant: ttlSeconds => wire.grant(ttlSeconds),
    revoke: lease => wire.revoke(lease),
    keepAlive: lease => wire.keepAlive(lease),
    watchHeardAtMs: () => wire.watchHeardAtMs(),
    mayReadStale: () => wire.mayReadStale(),
    members: () => wire.members(),
    close: () => wire.close(),
  };
}
