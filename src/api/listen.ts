import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import http, { type RequestListener, type Server } from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { ListenConfig } from '../model/node-config.ts';
import type { Clock } from '../ports/clock.ts';

/**
 * A slow upload of a large artifact is no attack (one that stands still is: `untilBodyStalls`); a head that dawdles is,
 * and so are connections without number. Both times below are judged before what waits in a socket is read, so an agent
 * that had no processor for as long would refuse a head that came in time (408), and hang up on whoever asks again: they
 * are longer than what an agent outlives (its watchdog), and than what clients leave between two requests.
 */
const LIMITS = {
  requestTimeout: 3_600_000,
  headersTimeout: 60_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
};
const HANDSHAKE_MS = 10_000;
const MOST_CONNECTIONS = 2000;
/** What the name of a unix socket may be long, without its final NUL (unix(7)). */
const LONGEST_SOCKET_PATH = 107;

/** @throws Error when the port is taken or a TLS file can't be read */
export async function listenTcp(listen: ListenConfig, handler: RequestListener): Promise<Server> {
  const server = await makeServer(listen, handler);
  const bare = listen.host.replace(/^\[|\]$/g, '');
  await listening(server, () => server.listen({ host: bare, port: listen.port }), `${bare}:${listen.port}`);
  return server;
}

/** Takes the place of a socket file nobody answers on. @throws Error when somebody does */
export async function listenSocket(path: string, handler: RequestListener): Promise<Server> {
  if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
    throw new Error(
      `can't listen on ${path}: a socket's path has at most ${LONGEST_SOCKET_PATH} bytes; ` +
        'set admin.socket to a shorter one, or to false',
    );
  }
  if (await answers(path)) throw new Error(`can't listen on ${path}: another process answers there`);
  await rm(path, { force: true });
  const server = http.createServer(LIMITS, handler);
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

/** Cuts off a client of whose body nothing has come for so long. */
export function untilBodyStalls(handler: RequestListener, stallMs: number): RequestListener {
  return (request, response) => {
    const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
    if (length !== '0' || encoding !== undefined) {
      request.setTimeout(stallMs, () => request.destroy());
      request.once('end', () => request.setTimeout(0));
    }
    handler(request, response);
  };
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
  if (tls === null) return http.createServer(LIMITS, handler);
  const [cert, key] = await Promise.all([readFile(tls.cert, 'utf8'), readFile(tls.key)]);
  // Sent along with the certificate, for clients that know only who signed the signer.
  const ca = tls.ca === undefined ? '' : await readFile(tls.ca, 'utf8');
  const options = {
    ...LIMITS,
    cert: `${cert}\n${ca}`,
    key,
    minVersion: 'TLSv1.2',
    handshakeTimeout: HANDSHAKE_MS,
  } as const;
  return https.createServer(options, handler);
}

async function listening(
  server: Server,
  listen: () => void,
  where: string,
  bound: () => void = () => undefined,
): Promise<void> {
  server.maxConnections = MOST_CONNECTIONS;
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
