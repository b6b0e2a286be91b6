import type { IDuplexStream, ILeaseKeepAliveRequest, ILeaseKeepAliveResponse } from 'etcd3';
import type { Clock } from '../ports/clock.ts';
import { StoreError } from '../ports/store.ts';
import type { Endpoints } from './endpoints.ts';
import { isTokenRefused } from './errors.ts';
import { toStoreError } from './from-etcd.ts';
import type { Member } from './member.ts';
import type { KeepAlive } from './wire.ts';

type Stream = IDuplexStream<ILeaseKeepAliveRequest, ILeaseKeepAliveResponse>;
type Outcome = { reply: ILeaseKeepAliveResponse } | { failure: unknown };

/** Renews one lease over a stream that is kept between renewals and given up at the first trouble. */
export class EtcdKeepAlive implements KeepAlive {
  private readonly endpoints: Endpoints;
  private readonly clock: Clock;
  private readonly lease: string;
  private open: { stream: Stream; member: Member } | null = null;
  /** Raised when a stream is given up: what was still connecting by then is not wanted any more. */
  private round = 0;
  private settle: ((outcome: Outcome) => void) | null = null;

  constructor(endpoints: Endpoints, clock: Clock, lease: string) {
    this.endpoints = endpoints;
    this.clock = clock;
    this.lease = lease;
  }

  async beat(timeoutMs: number): Promise<{ ttlSeconds: number }> {
    const member = this.open?.member ?? this.endpoints.current;
    const outcome = await new Promise<Outcome>(resolve => {
      const cancel = this.clock.after(timeoutMs, () => finish({ failure: late(member, timeoutMs) }));
      const finish = (result: Outcome) => {
        cancel();
        this.settle = null;
        resolve(result);
      };
      this.settle = finish;
      this.send(member, this.round).catch((failure: unknown) => finish({ failure }));
    });
    if ('reply' in outcome) {
      this.endpoints.heard(member);
      return { ttlSeconds: Number(outcome.reply.TTL) };
    }

    this.drop();
    const error = toStoreError(outcome.failure, 'renew the lease', member.url);
    if (isTokenRefused(outcome.failure)) member.forgetToken();
    if (error.retryable) this.endpoints.failed(member, error);
    throw error;
  }

  close(): void {
    this.drop();
    this.settle?.({ failure: closed() });
  }

  private drop(): void {
    this.round++;
    const stream = this.open?.stream;
    this.open = null;
    stream?.cancel();
  }

  private async send(member: Member, round: number): Promise<void> {
    if (!this.open) {
      const stream = await this.connect(member);
      if (round !== this.round) {
        stream.cancel();
        return;
      }
      this.open = { member, stream };
    }
    this.open.stream.write({ ID: this.lease });
  }

  private async connect(member: Member): Promise<Stream> {
    const stream = await member.client.leaseClient.leaseKeepAlive(await member.callOptions(null));
    // A stream that was given up raises an error when it is cancelled, and may still deliver a late reply.
    const settle = (outcome: Outcome) => {
      if (this.open?.stream === stream) this.settle?.(outcome);
    };
    const fail = (failure: unknown) => {
      settle({ failure });
      if (this.open?.stream === stream) this.open = null;
    };
    stream.on('data', reply => settle({ reply }));
    stream.on('error', fail);
    stream.on('end', () => fail(new Error('the stream ended')));
    return stream;
  }
}

function late(member: Member, timeoutMs: number): StoreError {
  return new StoreError(`renew the lease: no answer within ${timeoutMs} ms (etcd at ${member.url})`, {
    outcome: 'unknown',
    retryable: true,
  });
}

function closed(): StoreError {
  return new StoreError('renew the lease: given up', { outcome: 'unknown', retryable: false });
}
