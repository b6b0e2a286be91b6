import { realpathSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import type { Endpoint } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { serveSite } from './static-site.ts';

export interface StaticServer {
  /** No new connections; kept ones end after the answer they are in, all of them at `graceSeconds`. Shared by callers. */
  stop(graceSeconds: number): Promise<void>;
}

/** Longer than proxies keep idle connections, so that it is they who close them. */
const KEEP_ALIVE_MS = 75_000;

/** @throws Error of the system (`ENOENT`, `EADDRINUSE`, …) when the directory is missing or the endpoint is taken */
export async function listenStatic(options: {
  directory: string;
  endpoint: Endpoint;
  version: string;
  clock: Clock;
  log: Log;
  onRequest(line: string): void;
}): Promise<StaticServer> {
  const { clock, log } = options;
  let stopping: Promise<void> | null = null;
  const server = createServer(
    { keepAliveTimeout: KEEP_ALIVE_MS },
    serveSite({
      root: realDirectory(options.directory),
      version: options.version,
      onDone(request, response) {
        options.onRequest(requestLine(request, response));
        if (stopping !== null) setImmediate(() => server.closeIdleConnections());
      },
      onError: (request, error) => log.warn('static file could not be sent', { path: request.url, error }),
    }),
  );
  server.prependListener('request', (_request: IncomingMessage, response: ServerResponse) => {
    if (stopping !== null) response.setHeader('Connection', 'close');
  });
  await listen(server, options.endpoint);

  return {
    stop(graceSeconds) {
      stopping ??= close();
      const cancel = clock.after(graceSeconds * 1000, () => server.closeAllConnections());
      return stopping.finally(cancel);
    },
  };

  /** Closes idle connections by itself. */
  function close(): Promise<void> {
    return new Promise(resolve => server.close(() => resolve()));
  }
}

function realDirectory(path: string): string {
  const root = realpathSync(path);
  if (statSync(root).isDirectory()) return root;
  throw Object.assign(new Error(`${path} is not a directory`), { code: 'ENOTDIR' });
}

function listen(server: Server, { host, port }: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, exclusive: true }, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

function requestLine(request: IncomingMessage, response: ServerResponse): string {
  const broken = response.writableFinished ? '' : ' (broken off)';
  return `${request.method ?? '?'} ${request.url ?? '?'} ${response.statusCode}${broken}`;
}
