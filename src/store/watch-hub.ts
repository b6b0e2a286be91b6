import type { IDuplexStream, IWatchRequest, IWatchResponse } from 'etcd3';
import type { InstantMs } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import { StoreError } from '../ports/store.ts';
import type { Endpoints } from './endpoints.ts';
import { isTokenRefused } from './errors.ts';
import { toStoreError } from './from-etcd.ts';
import { prefixEnd } from './keys.ts';
import type { Member } from './member.ts';
import type { KeyValue, WatchEnd, WatchEvent, WatchReply, WatchRequest } from './wire.ts';

type Stream = IDuplexStream<IWatchRequest, IWatchResponse>;

/** Silence after which etcd is asked for a sign of life, and how long that may take. */
const IDLE_MS = 4_000;
const GRACE_MS = 2_000;
/** The same, once another caller has left the member. */
const SHORT_GRACE_MS = 500;
/** How long it waits before it opens another stream; that much later than etcd it is back at the most. */
const FIRST_PAUSE_MS = 25;
const LONGEST_PAUSE_MS = 1_000;

interface Watch {
  /** It was heard: only who asked knows from where to go on. */
  begun: boolean;
  request: WatchRequest;
  onReply: (reply: WatchReply) => void;
  end: (end: WatchEnd) => void;
  /** A large revision comes in fragments; half of one is no consistent state. */
  fragments: WatchEvent[];
}

/**
 * All watches of one store over one stream, so that there is one place that notices when etcd has gone silent, and one that waits
 * until it is back: watches that have not begun are made anew on the next stream.
 */
export class WatchHub {
  private readonly endpoints: Endpoints;
  private readonly clock: Clock;
  private readonly random: Random;
  private readonly log: Log;
  private readonly watches = new Map<string, Watch>();
  private lastId = 0;
  private current: Connection | null = null;
  private heardAtMs: InstantMs;
  /** Streams in a row that brought nothing. */
  private failures = 0;
  /** Ends the pause before the next stream; null = there is none. */
  private cancelPause: (() => void) | null = null;
  private closed = false;

  constructor(endpoints: Endpoints, parts: { clock: Clock; random: Random; log: Log }) {
    const { clock, random, log } = parts;
    this.endpoints = endpoints;
    this.clock = clock;
    this.random = random;
    this.log = log;
    this.heardAtMs = clock.now();
    // What made another caller leave the endpoint probably ails the stream too: ask it now instead of at the next silence.
    endpoints.onMoved(silent => {
      const { current } = this;
      if (current === null || current.member === endpoints.current) return;
      if (current.member === silent) this.lost(current, silence(silent, 'at all'));
      else current.probe();
    });
  }

  lastHeardAtMs(): InstantMs {
    return this.heardAtMs;
  }

  watch(request: WatchRequest, onReply: (reply: WatchReply) => void, signal: AbortSignal): Promise<WatchEnd> {
    const id = String(++this.lastId);
    return new Promise(resolve => {
      const end = (result: WatchEnd) => {
        this.watches.delete(id);
        signal.removeEventListener('abort', abort);
        resolve(result);
      };
      const abort = () => {
        this.current?.cancel(id);
        end({ next: 'rewatch', reason: 'stopped' });
        if (this.watches.size === 0) this.drop('nothing is watched');
      };
      if (signal.aborted || this.closed) {
        resolve({ next: 'rewatch', reason: 'stopped' });
        return;
      }
      signal.addEventListener('abort', abort);
      this.watches.set(id, { begun: false, request, onReply, end, fragments: [] });
      if (this.current) this.current.create(id, request);
      else if (this.cancelPause === null) this.connect();
    });
  }

  close(): void {
    this.closed = true;
    this.drop('the store was closed');
    for (const watch of [...this.watches.values()]) watch.end({ next: 'rewatch', reason: 'stopped' });
  }

  private connect(): void {
    const member = this.endpoints.current;
    const connection: Connection = new Connection(member, this.clock, {
      reply: reply => this.receive(connection, reply),
      failed: cause => this.lost(connection, cause),
    });
    this.current = connection;
    for (const [id, { request }] of this.watches) connection.create(id, request);
  }

  private receive(connection: Connection, reply: IWatchResponse): void {
    if (connection !== this.current) return;
    this.heardAtMs = this.clock.now();
    this.endpoints.heard(connection.member);
    // That watches are made proves little: a stream may end again at once.
    if (!reply.created && !reply.canceled) this.failures = 0;
    const watch = this.watches.get(reply.watch_id);
    if (!watch) {
      // -1 with `canceled` = a watch could not be made, and etcd does not say which. Otherwise a sign of life.
      if (reply.canceled && reply.watch_id === '-1') this.lost(connection, new Error(reply.cancel_reason));
      return;
    }
    watch.begun = true;
    if (reply.canceled) {
      if (isTokenRefused(reply.cancel_reason)) connection.member.forgetToken();
      watch.end({ next: 'list', reason: cancelReason(reply) });
      return;
    }
    watch.fragments.push(...reply.events.map(toEvent));
    if (reply.fragment) return;
    const events = watch.fragments;
    watch.fragments = [];
    const head = { clusterId: reply.header.cluster_id, revision: BigInt(reply.header.revision) };
    watch.onReply({ head, created: reply.created, events });
  }

  private lost(connection: Connection, cause: unknown): void {
    if (connection !== this.current) return;
    const error = toStoreError(cause, 'watch', connection.member.url);
    if (isTokenRefused(cause)) connection.member.forgetToken();
    // Once an outage.
    this.log[this.failures === 0 ? 'info' : 'debug']('the watch stream has ended and will be opened again', {
      error,
    });
    this.endpoints.failed(connection.member, error);
    this.drop(error.message);
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.failures++, 10));
    this.cancelPause = this.clock.after(pauseMs * (0.5 + 0.5 * this.random.float()), () => {
      this.cancelPause = null;
      if (this.watches.size > 0) this.connect();
    });
  }

  private drop(reason: string): void {
    this.current?.close();
    this.current = null;
    this.cancelPause?.();
    this.cancelPause = null;
    for (const watch of [...this.watches.values()]) if (watch.begun) watch.end({ next: 'rewatch', reason });
  }
}

/** One stream to one member, with its silence measured. */
class Connection {
  readonly member: Member;
  private readonly clock: Clock;
  private readonly on: { reply: (reply: IWatchResponse) => void; failed: (cause: unknown) => void };
  private readonly opening: Promise<Stream | null>;
  private stopTimer: () => void;
  private probing = true;
  private graceMs = GRACE_MS;
  private closed = false;

  constructor(
    member: Member,
    clock: Clock,
    on: { reply: (reply: IWatchResponse) => void; failed: (cause: unknown) => void },
  ) {
    this.member = member;
    this.clock = clock;
    this.on = on;
    this.stopTimer = clock.after(GRACE_MS, () => this.silent());
    this.opening = this.open();
  }

  create(id: string, request: WatchRequest): void {
    this.write({
      create_request: {
        watch_id: id,
        key: Buffer.from(request.prefix),
        range_end: prefixEnd(request.prefix),
        start_revision: String(request.fromRevision),
        progress_notify: true,
        fragment: true,
      },
    });
  }

  cancel(id: string): void {
    this.write({ cancel_request: { watch_id: id } });
  }

  /** Asks for a sign of life now, if none is awaited, and is less patient than it would be otherwise. */
  probe(): void {
    // Asked again and again it would never be found silent.
    if (this.graceMs !== SHORT_GRACE_MS) this.ask(SHORT_GRACE_MS);
  }

  close(): void {
    this.closed = true;
    this.stopTimer();
    void this.opening.then(stream => stream?.cancel());
  }

  private async open(): Promise<Stream | null> {
    try {
      const stream = await this.member.client.watchClient.watch(await this.member.callOptions(null));
      // Cancelling raises an error too; by then nobody listens any more.
      stream.on('error', error => this.fail(error));
      stream.on('end', () => this.fail(new Error('the stream ended')));
      stream.on('data', reply => {
        if (this.closed) return;
        this.probing = false;
        this.graceMs = GRACE_MS;
        this.stopTimer();
        this.stopTimer = this.clock.after(IDLE_MS, () => this.silent());
        this.on.reply(reply);
      });
      return stream;
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  private write(request: IWatchRequest): void {
    void this.opening.then(stream => {
      if (!this.closed) stream?.write(request);
    });
  }

  private silent(): void {
    this.stopTimer();
    if (this.probing) this.fail(silence(this.member, `for ${this.graceMs} ms`));
    else this.ask(GRACE_MS);
  }

  private ask(graceMs: number): void {
    this.stopTimer();
    if (!this.probing) this.write({ progress_request: {} });
    this.probing = true;
    this.graceMs = graceMs;
    this.stopTimer = this.clock.after(graceMs, () => this.silent());
  }

  private fail(cause: unknown): void {
    if (!this.closed) this.on.failed(cause);
  }
}

function silence({ url }: Member, how: string): StoreError {
  const message = `watch: silent ${how} when asked for a sign of life (etcd at ${url})`;
  return new StoreError(message, { outcome: 'unknown', retryable: true });
}

function toEvent(event: IWatchResponse['events'][number]): WatchEvent {
  if (event.type === 'Delete') {
    return { type: 'delete', key: event.kv.key.toString(), revision: BigInt(event.kv.mod_revision) };
  }
  return { type: 'put', entry: toKeyValue(event.kv) };
}

/** Copies what it needs: the buffers are slices that would keep the whole reply in memory. */
export function toKeyValue(kv: IWatchResponse['events'][number]['kv']): KeyValue {
  return {
    key: kv.key.toString(),
    text: kv.value.toString(),
    createRevision: BigInt(kv.create_revision),
    revision: BigInt(kv.mod_revision),
    lease: kv.lease === '0' ? null : kv.lease,
  };
}

function cancelReason(reply: IWatchResponse): string {
  return reply.compact_revision === '0'
    ? `etcd cancelled the watch: ${reply.cancel_reason || 'no reason given'}`
    : `history before revision ${reply.compact_revision} has been compacted`;
}
