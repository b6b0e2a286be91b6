import http from 'node:http';
import https from 'node:https';
import type { ProblemDetails } from './wire.ts';

export interface ClientOptions {
  /** `http://127.0.0.1:7300`; with `socketPath`, only its path matters. */
  url: string;
  token?: string;
  /** Ask over this unix socket instead of TCP. */
  socketPath?: string;
  /** PEM text of the authority that signed the agent's certificate. */
  ca?: string;
  /** Only to ask for what is checked otherwise: whoever answers is believed. */
  believeAnybody?: true;
}

/** The agent said no. */
export class ApiError extends Error {
  readonly status: number;
  readonly problem: ProblemDetails;
  /** It was no agent that said so: a gateway before it, or another server. */
  readonly isForeign: boolean;
  constructor(problem: ProblemDetails, isForeign = false) {
    super(problem.detail === '' ? problem.title : problem.detail);
    this.name = 'ApiError';
    this.status = problem.status;
    this.problem = problem;
    this.isForeign = isForeign;
  }
}

/** Nobody answered, or the answer broke off: whether a change was made is not known. */
export class ApiUnreachable extends Error {
  readonly retryable = true;
  readonly url: string;
  constructor(url: string, cause: unknown) {
    super(
      `no answer from the agent at ${url}: ${cause instanceof Error ? causeText(cause) : String(cause)}`,
      {
        cause,
      },
    );
    this.name = 'ApiUnreachable';
    this.url = url;
  }
}

export interface Ask {
  method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  path: string;
  query?: object;
  headers?: Record<string, string>;
  body?: string | AsyncIterable<Uint8Array>;
  signal?: AbortSignal | undefined;
  /** Silence after which the agent counts as gone. Streams have a heartbeat every 15 s. */
  silenceMs?: number;
}

export type Send = (ask: Ask) => Promise<http.IncomingMessage>;

/**
 * A function that sends one request and gives the answer's head once it is a 2xx of an agent. Bodies are left to the
 * caller. It rejects with ApiError, ApiUnreachable, or the signal's own reason.
 */
export function sender(options: ClientOptions): Send {
  const base = new URL(options.url);
  const where = options.socketPath ?? base.origin;
  return async ask => {
    ask.signal?.throwIfAborted();
    const response = await answerHead(options, base, where, ask).catch((error: unknown) => {
      ask.signal?.throwIfAborted();
      throw error;
    });
    const { 'content-type': type = '' } = response.headers;
    if (response.statusCode !== undefined && response.statusCode < 300) {
      if (!/^text\/html\b/.test(type)) return response;
      response.destroy();
      throw new ApiUnreachable(where, new Error('what answers there is a web page, and no agent'));
    }
    const problem = problemOf(response, await readAll(response, where, ask.signal));
    // What is left of an upload need not be sent any more.
    response.destroy();
    throw new ApiError(problem, !/^application\/problem\+json\b/.test(type));
  };
}

/** The whole body as text. @throws ApiUnreachable when it breaks off */
export async function readAll(
  response: http.IncomingMessage,
  where: string,
  signal?: AbortSignal,
): Promise<string> {
  let text = '';
  for await (const chunk of textOf(response, where, signal)) text += chunk;
  return text;
}

/** The body as it comes, decoded. @throws ApiUnreachable when it breaks off, the signal's reason when aborted */
export function textOf(
  response: http.IncomingMessage,
  where: string,
  signal?: AbortSignal,
): AsyncGenerator<string> {
  return chunksOf<string>(response.setEncoding('utf8'), where, signal);
}

/** The same as it is. */
export function bytesOf(
  response: http.IncomingMessage,
  where: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  return chunksOf<Uint8Array>(response, where, signal);
}

async function* chunksOf<T>(
  response: http.IncomingMessage,
  where: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  try {
    for await (const chunk of response as AsyncIterable<T>) yield chunk;
  } catch (error) {
    signal?.throwIfAborted();
    throw new ApiUnreachable(where, error);
  }
}

function answerHead(
  options: ClientOptions,
  base: URL,
  where: string,
  ask: Ask,
): Promise<http.IncomingMessage> {
  const { method, body, signal } = ask;
  return new Promise((resolve, reject) => {
    const request = (base.protocol === 'https:' ? https : http).request({
      ...(options.socketPath === undefined
        ? { host: base.hostname.replace(/^\[|\]$/g, ''), port: base.port }
        : { socketPath: options.socketPath }),
      method,
      path: base.pathname.replace(/\/$/, '') + ask.path + queryText(ask.query ?? {}),
      headers: {
        ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
        ...(typeof body === 'string' ? { 'content-length': String(Buffer.byteLength(body)) } : {}),
        ...ask.headers,
      },
      ...(options.ca === undefined ? {} : { ca: options.ca }),
      ...(options.believeAnybody === true && { rejectUnauthorized: false }),
      ...(signal === undefined ? {} : { signal }),
      // A connection kept from before may be closed just as it is used again.
      agent: false,
      timeout: ask.silenceMs ?? 60_000,
    });
    request.on('timeout', () => request.destroy(new Error('nothing was heard in time')));
    request.on('response', resolve);
    request.on('error', error => reject(new ApiUnreachable(where, error)));
    if (body === undefined || typeof body === 'string') request.end(body);
    else {
      sendBody(request, body).catch((error: unknown) => {
        reject(asError(error));
        request.destroy();
      });
    }
  });
}

async function sendBody(request: http.ClientRequest, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (request.destroyed || request.writableEnded) return;
    if (!request.write(chunk)) await drained(request);
  }
  request.end();
}

function drained(request: http.ClientRequest): Promise<void> {
  return new Promise(resolve => {
    const done = () => {
      request.off('drain', done).off('close', done);
      resolve();
    };
    request.on('drain', done).on('close', done);
  });
}

function queryText(query: object): string {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(
    given.map(([name, value]): [string, string] => [name, String(value)]),
  ).toString();
  return text === '' ? '' : `?${text}`;
}

function problemOf(response: http.IncomingMessage, text: string): ProblemDetails {
  const status = response.statusCode ?? 0;
  const unknown = {
    type: 'about:blank',
    title: response.statusMessage ?? 'Error',
    status,
    detail: `HTTP ${status}: ${text.slice(0, 500)}`,
  };
  if (!/^application\/problem\+json\b/.test(response.headers['content-type'] ?? '')) return unknown;
  try {
    return { ...unknown, ...(JSON.parse(text) as object) };
  } catch {
    return unknown;
  }
}

/** A failed connection to a name with several addresses says nothing itself; its parts do. */
function causeText(cause: Error): string {
  if (cause.message !== '' || !(cause instanceof AggregateError)) return cause.message;
  return cause.errors.map(error => (error instanceof Error ? error.message : String(error))).join(', ');
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
