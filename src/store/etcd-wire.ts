import type { ICompare, IRangeRequest, IRequestOp, IResponseHeader, ITxnResponse } from 'etcd3';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import type { Endpoints } from './endpoints.ts';
import { LeaseGoneError } from './errors.ts';
import { toStoreError } from './from-etcd.ts';
import { EtcdKeepAlive } from './keep-alive.ts';
import { prefixEnd } from './keys.ts';
import { mayReadStale } from './known-defects.ts';
import type { Member } from './member.ts';
import { toKeyValue, WatchHub } from './watch-hub.ts';
import type {
  Condition,
  Head,
  KeepAlive,
  MemberStatus,
  Operation,
  RangeReply,
  RangeRequest,
  TxnOptions,
  TxnReply,
  TxnRequest,
  WatchEnd,
  WatchReply,
  WatchRequest,
  Wire,
} from './wire.ts';

const STATUS_TIMEOUT_MS = 1_000;

/** The Wire over the etcd3 package, used for its message types and connections only. */
export class EtcdWire implements Wire {
  private readonly endpoints: Endpoints;
  private readonly clock: Clock;
  private readonly hub: WatchHub;
  private versions: Promise<MemberStatus[]> | null = null;

  constructor(endpoints: Endpoints, parts: { clock: Clock; random: Random; log: Log }) {
    this.endpoints = endpoints;
    this.clock = parts.clock;
    this.hub = new WatchHub(endpoints, parts);
  }

  async range(request: RangeRequest): Promise<RangeReply> {
    const what = `read ${'key' in request.range ? request.range.key : request.range.prefix}`;
    const reply = await this.endpoints.call({ what, idempotent: true }, (client, options) =>
      client.kv.range(toRange(request), options),
    );
    return { head: toHead(reply.header), entries: reply.kvs.map(toKeyValue), more: reply.more };
  }

  async txn(request: TxnRequest, options: TxnOptions): Promise<TxnReply> {
    const message = {
      compare: request.conditions.map(toCompare),
      success: request.success.map(toOperation),
      failure: request.failure.map(toOperation),
    };
    const reply = await this.endpoints.call(options, (client, callOptions) =>
      client.kv.txn(message, callOptions),
    );
    return { head: toHead(reply.header), succeeded: reply.succeeded, read: readBy(reply) };
  }

  async grant(ttlSeconds: number): Promise<{ lease: string; ttlSeconds: number; sentAtMs: number }> {
    let sentAtMs = this.clock.now();
    const reply = await this.endpoints.call(
      { what: 'grant a lease', idempotent: true },
      (client, options) => {
        sentAtMs = this.clock.now();
        return client.leaseClient.leaseGrant({ TTL: ttlSeconds }, options);
      },
    );
    return { lease: reply.ID, ttlSeconds: Number(reply.TTL), sentAtMs };
  }

  async revoke(lease: string): Promise<void> {
    try {
      await this.endpoints.call({ what: 'revoke the lease', idempotent: true }, (client, options) =>
        client.leaseClient.leaseRevoke({ ID: lease }, options),
      );
    } catch (error) {
      if (!(error instanceof LeaseGoneError)) throw error;
    }
  }

  keepAlive(lease: string): KeepAlive {
    return new EtcdKeepAlive(this.endpoints, this.clock, lease);
  }

  watch(request: WatchRequest, onReply: (reply: WatchReply) => void, signal: AbortSignal): Promise<WatchEnd> {
    return this.hub.watch(request, onReply, signal);
  }

  watchHeardAtMs(): number {
    return this.hub.lastHeardAtMs();
  }

  async mayReadStale(): Promise<boolean> {
    const members = await (this.versions ??= this.members());
    // Asked again next time, so that an endpoint that was away, or an upgrade, is seen.
    this.versions = null;
    return members.some(member => member.version === null || mayReadStale(member.version));
  }

  members(): Promise<MemberStatus[]> {
    return Promise.all(this.endpoints.members.map(status));
  }

  close(): void {
    this.hub.close();
    this.endpoints.close();
  }
}

async function status(member: Member): Promise<MemberStatus> {
  const { url } = member;
  try {
    const reply = await member.client.maintenance.status(await member.callOptions(STATUS_TIMEOUT_MS));
    const isLeader = reply.leader === reply.header.member_id;
    return { url, reachable: true, version: reply.version, isLeader, error: null };
  } catch (cause) {
    const error = toStoreError(cause, 'status', url);
    // An answer, if only to say no.
    const reachable = error.outcome === 'refused';
    return { url, reachable, version: null, isLeader: false, error: error.message };
  }
}

function toHead(header: IResponseHeader): Head {
  return { clusterId: header.cluster_id, revision: BigInt(header.revision) };
}

/** Plain requests come in key order anyway; asking etcd to sort them would make it read everything for every page. */
function toRange(request: RangeRequest): IRangeRequest {
  const { range } = request;
  const bounds =
    'key' in range
      ? { key: Buffer.from(range.key) }
      : {
          key: Buffer.from(range.afterKey === undefined ? range.prefix : `${range.afterKey}\0`),
          range_end: prefixEnd(range.prefix),
        };
  return {
    ...bounds,
    ...(request.limit === undefined ? {} : { limit: request.limit }),
    ...(request.atRevision === undefined ? {} : { revision: String(request.atRevision) }),
    ...(request.createdAfter === undefined ? {} : { min_create_revision: String(request.createdAfter + 1n) }),
    ...(request.newestFirst ? { sort_order: 'Descend' as const, sort_target: 'Create' as const } : {}),
  };
}

function toCompare(condition: Condition): ICompare {
  const key = Buffer.from(condition.key);
  if ('revision' in condition) {
    return { key, target: 'Mod', result: 'Equal', mod_revision: String(condition.revision) };
  }
  if ('lease' in condition) return { key, target: 'Lease', result: 'Equal', lease: condition.lease };
  const result = condition.is === 'absent' ? 'Equal' : 'Greater';
  return { key, target: 'Create', result, create_revision: 0 };
}

function toOperation(operation: Operation): IRequestOp {
  if ('read' in operation) {
    const keysOnly = operation.keysOnly ? { keys_only: true } : {};
    return { request_range: { key: Buffer.from(operation.read), ...keysOnly } };
  }
  if ('delete' in operation) return { request_delete_range: { key: Buffer.from(operation.delete) } };
  const lease = operation.lease === undefined ? {} : { lease: operation.lease };
  return {
    request_put: { key: Buffer.from(operation.put), value: Buffer.from(operation.text), ...lease },
  };
}

function readBy(reply: ITxnResponse) {
  return reply.responses.flatMap(response => {
    // The typings promise all four; a reply carries the one it is for.
    const range = response.response_range as typeof response.response_range | undefined | null;
    return range ? range.kvs.map(toKeyValue) : [];
  });
}
