import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import http, { type RequestListener, type Server } from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { ListenConfig } from '../model/node-config.ts';
import type { Clock } from '../ports/clock.ts';

/** A slow upload of a large artifact is no attack; a head that takes a minute is (Node's own limit). */
const LONGEST_REQUEST_MS = 3_600_000;

/** @throws Error when the port is taken or a TLS file can't be read */
export async function listenTcp(listen: ListenConfig, handler: RequestListener): Promise<Server> {
  const server = await makeServer(listen, handler);
  const bare = listen.host.replace(/^\[|\]$/g, '');
  await listening(server, () => server.listen({ host: bare, port: listen.port }), `${bare}:${listen.port}`);
  return server;
}

/** Takes the place of a socket file nobody answers on. @throws Error when somebody does */
export async function listenSocket(path: string, handler: RequestListener): Promise<Server> {
  if (await answers(path)) throw new Error(`can't listen on ${path}: another process answers there`);
  await rm(path, { force: true });
  const server = http.createServer({ requestTimeout: LONGEST_REQUEST_MS }, handler);
  // bind() happens within listen(), so the file never exists with wider permissions than 0660.
  const maskBefore = process.umask(0o117);
  try {
    await listening(
      server,
      () => server.listen(path),
      path,
      () => process.umask(maskBefore),
    );
  } finally {
    process.umask(maskBefore);
  }
  return server;
}

export function urlOf(server: Server, listen: ListenConfig): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `${listen.tls === null ? 'http' : 'https'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}

/** Lets running answers finish for a moment, then cuts them off. */
export async function closeServer(server: Server, clock: Clock, graceMs: number): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  const waiting = new AbortController();
  const cancel = clock.after(graceMs, () => server.closeAllConnections());
  const sweep = (async () => {
    while (!waiting.signal.aborted) {
      server.closeIdleConnections();
      await clock.sleep(50, waiting.signal);
    }
  })();
  await closed;
  waiting.abort();
  cancel();
  await sweep;
}

async function makeServer({ tls }: ListenConfig, handler: RequestListener): Promise<Server> {
  const requestTimeout = LONGEST_REQUEST_MS;
  if (tls === null) return http.createServer({ requestTimeout }, handler);
  const [cert, key] = await Promise.all([readFile(tls.cert), readFile(tls.key)]);
  return https.createServer({ requestTimeout, cert, key, minVersion: 'TLSv1.2' }, handler);
}

async function listening(
  server: Server,
  listen: () => void,
  where: string,
  bound: () => void = () => undefined,
): Promise<void> {
  const done = once(server, 'listening');
  listen();
  bound();
  await done.catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the admin API can't listen on ${where}: ${reason}`, { cause: error });
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
