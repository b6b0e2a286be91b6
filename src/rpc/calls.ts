import { setMaxListeners } from 'node:events';
import {
  status,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerDuplexStream,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import type { z } from 'zod';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { read } from './read-requests.ts';
import { refusalOf, RpcRefusal, statusOf } from './refusal.ts';

export interface CallInfo {
  /** As in `/hop3.agent.v1.Scheduler/Submit`. */
  method: string;
  /** As in `OK`. */
  code: string;
  durationMs: number;
}

export interface CallTools {
  log: Log;
  clock: Clock;
  /** Aborts when the server closes. */
  closing: AbortSignal;
  onCall: (info: CallInfo) => void;
}

export type DuplexCall = ServerDuplexStream<unknown, object>;
type WritableCall = ServerWritableStream<unknown, object>;

interface AnyCall {
  cancelled: boolean;
  getPath(): string;
  once(event: 'cancelled' | 'close', listener: () => void): unknown;
}

/** One answer to one request. `conflict` = what a conflict is here. */
export function unary<T extends z.ZodType>(
  tools: CallTools,
  schema: T,
  handle: (request: z.output<T>, signal: AbortSignal) => Promise<object>,
  conflict?: status,
): handleUnaryCall<unknown, object> {
  return (call, callback) => {
    const signal = signalOf(call, tools.closing);
    const work = () => whileAsked(tools.log, call, async () => handle(read(schema, call.request), signal));
    void answered(tools, call, work, conflict).then(({ refusal, value }) =>
      refusal === null ? callback(null, value) : callback(statusOf(refusal)),
    );
  };
}

/** @throws RpcRefusal once the client is gone or past its deadline: what it asked for may go on, and nobody waits for that */
function whileAsked<T>(log: Log, call: AnyCall, work: () => Promise<T>): Promise<T> {
  const gone = new Promise<never>((_resolve, reject) => {
    call.once('cancelled', () => reject(new RpcRefusal(status.CANCELLED, 'nobody waits for the answer')));
  });
  const asked = work();
  asked.catch((error: unknown) => {
    if (call.cancelled && refusalOf(error) === null)
      log.error('a call failed for which nobody waited any more', { method: call.getPath(), error });
  });
  return Promise.race([asked, gone]);
}

/** Sends one message; resolves when the client has taken so much that more may be sent, or is gone. */
export type Send = (message: object) => Promise<void>;

/** Many answers to one request; resolves when all have been sent. */
export function serverStream<T extends z.ZodType>(
  tools: CallTools,
  schema: T,
  handle: (request: z.output<T>, send: Send, signal: AbortSignal) => Promise<void>,
): handleServerStreamingCall<unknown, object> {
  return call => {
    const signal = signalOf(call, tools.closing);
    const send: Send = message => sent(call, message, signal);
    const work = async () => {
      await handle(read(schema, call.request), send, signal);
      // What was cut short is not over.
      if (tools.closing.aborted) throw stopping();
    };
    void answered(tools, call, work).then(({ refusal }) => ended(call, refusal));
  };
}

/** Whatever is said on both sides; resolves when all has been said. */
export function bidi(
  tools: CallTools,
  handle: (call: DuplexCall, signal: AbortSignal) => Promise<void>,
): handleBidiStreamingCall<unknown, object> {
  return call => {
    const signal = signalOf(call, tools.closing);
    const work = async () => {
      await handle(call, signal);
      if (tools.closing.aborted) throw stopping();
    };
    void answered(tools, call, work).then(({ refusal }) => ended(call, refusal));
  };
}

/** Resolves when the client has taken so much that more may be sent, or is gone. */
export function sent(call: WritableCall | DuplexCall, message: object, signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      signal.removeEventListener('abort', done);
      resolve();
    };
    signal.addEventListener('abort', done);
    call.write(message, done);
  });
}

/**
 * What the client sends, until it has ended its side or the signal aborts. (The stream's own iterator would destroy it when it
 * is ended with an error, before the error has been sent.)
 */
export async function* received(call: DuplexCall, signal: AbortSignal): AsyncGenerator {
  while (!signal.aborted) {
    const message: unknown = call.read();
    if (message !== null) yield message;
    else if (call.readableEnded || call.destroyed) return;
    else await readable(call, signal);
  }
}

function readable(call: DuplexCall, signal: AbortSignal): Promise<void> {
  const events = ['readable', 'end', 'close'];
  return new Promise(resolve => {
    const done = (): void => {
      for (const event of events) call.off(event, done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    for (const event of events) call.once(event, done);
    signal.addEventListener('abort', done, { once: true });
  });
}

/** Aborts when the client is gone or past its deadline, or when the server closes. */
function signalOf(call: AnyCall, closing: AbortSignal): AbortSignal {
  const gone = new AbortController();
  setMaxListeners(0, gone.signal);
  const stop = (): void => {
    closing.removeEventListener('abort', stop);
    gone.abort(stopping());
  };
  call.once('cancelled', stop);
  call.once('close', stop);
  closing.addEventListener('abort', stop);
  if (closing.aborted || call.cancelled) stop();
  return gone.signal;
}

function stopping(): RpcRefusal {
  return new RpcRefusal(status.UNAVAILABLE, 'this node stops: ask another');
}

async function answered<T>(
  { log, clock, onCall }: CallTools,
  call: AnyCall,
  work: () => Promise<T>,
  conflict?: status,
): Promise<{ refusal: null; value: T } | { refusal: RpcRefusal; value: null }> {
  const startedMs = clock.now();
  const told = (code: status): void => {
    onCall({
      method: call.getPath(),
      code: status[call.cancelled ? status.CANCELLED : code],
      durationMs: clock.now() - startedMs,
    });
  };
  try {
    const value = await work();
    told(status.OK);
    return { refusal: null, value };
  } catch (error) {
    const known = refusalOf(error, conflict);
    if (known === null) log.error('a call failed', { method: call.getPath(), error });
    const refusal = known ?? new RpcRefusal(status.INTERNAL, 'the agent failed at this; its log says how');
    told(refusal.code);
    return { refusal, value: null };
  }
}

function ended(call: WritableCall | DuplexCall, refusal: RpcRefusal | null): void {
  if (call.cancelled || call.destroyed) return;
  if (refusal === null) call.end();
  else call.emit('error', statusOf(refusal));
}
