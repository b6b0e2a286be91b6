import http from 'node:http';
import { connect, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { type ApiClient, apiClient } from '../../src/api/client.ts';
import { type AdminApi, type AdminApiOptions, type RequestInfo } from '../../src/api/server.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakeLog } from '../support/fake-log.ts';
import { servedAdmin } from '../support/served-admin.ts';

export interface Served {
  admin: FakeAdmin;
  api: AdminApi;
  log: FakeLog;
  client: ApiClient;
  requests: RequestInfo[];
  /** fetch of a path of this API. */
  ask: (path: string, init?: RequestInit) => Promise<Response>;
}

/** A real server on a free port in front of a seeded fake, closed when the test is over. */
export async function served(t: ExecutionContext, options: Partial<AdminApiOptions> = {}): Promise<Served> {
  const admin = FakeAdmin.seeded();
  const log = new FakeLog();
  const requests: RequestInfo[] = [];
  const api = await servedAdmin(t, {
    admin,
    log,
    onRequest: info => requests.push(info),
    ...options,
  });
  const client = apiClient({ url: api.url });
  return { admin, api, log, client, requests, ask: (path, init) => fetch(api.url + path, init) };
}

export function withJson(value: unknown): { headers: { 'content-type': string }; body: string } {
  return { headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

/** A request with headers that fetch would not send. */
export function rawRequest(
  options: http.RequestOptions & { body?: string },
): Promise<{ status: number; headers: http.IncomingHttpHeaders; text: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ agent: false, ...options }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
      response.on('error', reject);
    });
    request.on('error', reject).end(options.body);
  });
}

/** The first `count` items of a stream, which is then left. */
export async function take<T>(count: number, items: AsyncIterable<T>): Promise<T[]> {
  const taken: T[] = [];
  for await (const item of items) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}

export const eventStream = { accept: 'text/event-stream' };

/** What a stream has said by the time it matches. */
export async function firstText(
  url: string,
  path: string,
  wanted: RegExp,
  headers: Record<string, string> = eventStream,
): Promise<string> {
  const leaving = new AbortController();
  const response = await fetch(url + path, { headers, signal: leaving.signal });
  const reader = (response.body as ReadableStream<Uint8Array>)
    .pipeThrough(new TextDecoderStream())
    .getReader();
  let text = '';
  while (!wanted.test(text)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the stream ended with ${text}`);
    text += value;
  }
  leaving.abort();
  return text;
}

/** Asks, and reads nothing of the answer. */
export function stalledClient(url: string): Socket {
  const { hostname, port, host, pathname, search } = new URL(url);
  const socket = connect(Number(port), hostname);
  // It is hung up on.
  socket.on('error', () => undefined);
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\naccept: text/event-stream\r\n\r\n`);
  return socket;
}
