import { createServer, request, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createInterface } from 'node:readline';
import type { Driver, OutputLine } from '../ports/driver.ts';
import type { Peers } from '../ports/peers.ts';

const OUTPUT = /^\/output\/(.+)$/;
const ANSWER_WITHIN_MS = 5000;

export interface PeerListenerOptions {
  host: string;
  /** 0 = any free one. */
  port: number;
  driver: Pick<Driver, 'output'>;
  /** Answers what is not the listener's own. */
  artifacts: (request: IncomingMessage, response: ServerResponse) => void;
}

export interface PeerListener {
  host: string;
  port: number;
  close(): Promise<void>;
}

/** Where other agents reach this one: artifacts, and the output of instances. @throws Error when the port is taken */
export async function listenForPeers(options: PeerListenerOptions): Promise<PeerListener> {
  const { host, port, driver, artifacts } = options;
  const server = createServer((incoming, response) => {
    const { pathname, searchParams } = new URL(incoming.url ?? '/', 'http://peer');
    const instance = OUTPUT.exec(decodeURIComponent(pathname))?.[1];
    if (instance === undefined || incoming.method !== 'GET') {
      artifacts(incoming, response);
      return;
    }
    const lines = Number(searchParams.get('lines') ?? '100');
    void sendOutput(driver, instance, { lines, follow: searchParams.has('follow') }, response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', error =>
      reject(
        new Error(`the peer listener can't listen at ${host}:${port}: ${error.message}`, { cause: error }),
      ),
    );
    server.listen(port, host, resolve);
  });
  return { host, port: (server.address() as AddressInfo).port, close: () => closed(server) };
}

/** Asks the listeners of other nodes. */
export function httpPeers(): Peers {
  return {
    async *output(peer, instance, { lines, follow, signal }) {
      const path = `/output/${encodeURIComponent(instance)}?lines=${lines}${follow ? '&follow' : ''}`;
      const response = await ask({ ...peer, path, signal });
      for await (const line of createInterface({ input: response, crlfDelay: Infinity })) {
        if (line !== '') yield JSON.parse(line) as OutputLine;
      }
    },
  };
}

async function sendOutput(
  driver: Pick<Driver, 'output'>,
  instance: string,
  options: { lines: number; follow: boolean },
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
  try {
    for await (const line of driver.output(instance, { ...options, signal: gone.signal })) {
      if (gone.signal.aborted) return;
      if (!response.write(`${JSON.stringify(line)}\n`)) await drained(response);
    }
    response.end();
  } catch (error) {
    // The asker sees a cut connection, and says so to whoever asked it.
    response.destroy(error as Error);
  }
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise(resolve => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
}

function ask(options: {
  host: string;
  port: number;
  path: string;
  signal: AbortSignal;
}): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asking = request({ ...options, agent: false }, response => {
      asking.setTimeout(0);
      if (response.statusCode === 200) resolve(response);
      else reject(new Error(`HTTP ${response.statusCode ?? 0} from ${options.host}:${options.port}`));
    });
    asking.setTimeout(ANSWER_WITHIN_MS, () => {
      asking.destroy(
        new Error(`no answer from ${options.host}:${options.port} within ${ANSWER_WITHIN_MS / 1000} s`),
      );
    });
    asking.on('error', reject);
    asking.end();
  });
}

function closed(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
