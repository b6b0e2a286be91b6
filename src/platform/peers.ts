import { readFile } from 'node:fs/promises';
import * as http from 'node:http';
import * as https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { TLSSocket } from 'node:tls';
import type { TlsFiles } from '../model/node-config.ts';
import type { Driver, OutputLine, OutputOptions } from '../ports/driver.ts';
import type { PeerCredentials, Peers } from '../ports/peers.ts';

const BEATS = '/beats';
const BEAT_EVERY_MS = 500;
const OUTPUT = /^\/output\/([^/]+)$/;
/** The safest reading of `APP/TYPE/N`: what it names becomes part of a path. */
const INSTANCE = /^[a-z][a-z0-9-]*\/[A-Za-z0-9][A-Za-z0-9_-]*\/\d{1,9}$/;
const ANSWER_WITHIN_MS = 5000;
const MOST_LINES = 100_000;

export interface PeerListenerOptions {
  host: string;
  /** 0 = any free one. */
  port: number;
  /** null = plain HTTP, for loopback only; else whoever asks must show a certificate of the same authority. */
  tls: PeerCredentials | null;
  /** Of the names that the asker's certificate speaks for, whether one is a node of this cluster. */
  isMember?: (names: string[]) => boolean;
  driver: Pick<Driver, 'output'>;
  /** Answers what is not the listener's own. */
  artifacts: (request: http.IncomingMessage, response: http.ServerResponse) => void;
}

export interface PeerListener {
  host: string;
  port: number;
  close(): Promise<void>;
}

/** As they are at the start: renewed files are taken up by the next start of the agent. @throws Error naming the file */
export async function readPeerCredentials(files: TlsFiles): Promise<PeerCredentials> {
  const read = (name: keyof TlsFiles): Promise<string> =>
    readFile(files[name], 'utf8').catch((error: unknown) => {
      throw new Error(`can't read peer.tls.${name}: ${(error as Error).message}`, { cause: error });
    });
  // One after the other: of several that can't be read, the first is named.
  return { ca: await read('ca'), cert: await read('cert'), key: await read('key') };
}

/** Where other agents reach this one: artifacts, and the output of instances. @throws Error when the port is taken */
export async function listenForPeers(options: PeerListenerOptions): Promise<PeerListener> {
  const { host, port, tls } = options;
  const server = makeServer(tls, (request, response) => answer(options, request, response));
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

/** Asks the listeners of other nodes, with the certificate that this one's listener shows. */
export function httpPeers({ tls }: { tls: PeerCredentials | null }): Peers {
  return {
    async *output(peer, instance, { lines, follow, signal, after, onStart }) {
      const query = new URLSearchParams({
        lines: String(lines),
        ...(follow && { follow: '' }),
        ...(after !== undefined && { after }),
      });
      const path = `/output/${encodeURIComponent(instance)}?${query.toString()}`;
      const response = await ask({ ...peer, path, signal, tls });
      for await (const line of createInterface({ input: response, crlfDelay: Infinity })) {
        if (line === '') continue;
        const item = JSON.parse(line) as OutputLine | { start: string };
        if ('start' in item) onStart?.(item.start);
        else yield item;
      }
    },
    async beats(peer, onBeat, signal) {
      try {
        const response = await ask({ ...peer, path: BEATS, signal, tls });
        response.on('data', onBeat);
        await new Promise(resolve => response.on('close', resolve).on('error', resolve));
      } catch {
        // Silence is all that the listener wants to know, and it hears that by itself.
      }
    },
  };
}

function makeServer(tls: PeerCredentials | null, listener: http.RequestListener): http.Server {
  if (tls === null) return http.createServer(listener);
  try {
    return https.createServer(
      { ...tls, requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2' },
      listener,
    );
  } catch (error) {
    throw new Error(`the peer listener's certificate can't be used: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function answer(
  { driver, artifacts, tls, isMember }: PeerListenerOptions,
  request: http.IncomingMessage,
  response: http.ServerResponse,
): void {
  // The authority's word is not enough: what it signed for etcd, or for a node that has left, is no peer.
  if (tls !== null && isMember?.(namesOf(request.socket)) === false) {
    response.writeHead(403).end();
    return;
  }
  // Without certificates a web page could ask through the browser here, under a name that it points at 127.0.0.1.
  if (tls === null && !isLoopback(request.headers.host ?? '')) {
    response.writeHead(403).end();
    return;
  }
  if (request.method === 'GET' && request.url === BEATS) {
    sendBeats(response);
    return;
  }
  const asked = outputAsked(request);
  if (asked === null) artifacts(request, response);
  else void sendOutput(driver, asked.instance, asked.options, response);
}

/** The common name, and the host names among the subject's other names. */
function namesOf(socket: Socket): string[] {
  if (!(socket instanceof TLSSocket)) return [];
  const { subject, subjectaltname = '' } = socket.getPeerCertificate();
  // Without a certificate, which no handshake of ours lets through, there is no subject.
  const common = (subject as { CN?: string | string[] } | undefined)?.CN ?? [];
  const others = subjectaltname.split(', ').filter(name => name.startsWith('DNS:'));
  return [...[common].flat(), ...others.map(name => name.slice('DNS:'.length))];
}

/** One byte at each beat: a frozen agent sends none, though its kernel keeps the connection. */
function sendBeats(response: http.ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/plain' });
  const beat = (): void => void response.write('\n');
  beat();
  const timer = setInterval(beat, BEAT_EVERY_MS);
  response.on('close', () => clearInterval(timer));
}

/** null when something else is asked for, or nothing that makes sense. */
function outputAsked(
  request: http.IncomingMessage,
): { instance: string; options: Omit<OutputOptions, 'signal'> } | null {
  const url = URL.parse(request.url ?? '', 'http://peer');
  const name = OUTPUT.exec(url?.pathname ?? '')?.[1];
  if (url === null || name === undefined || request.method !== 'GET') return null;
  const instance = decoded(name);
  const lines = Number(url.searchParams.get('lines') ?? '100');
  if (!INSTANCE.test(instance) || !Number.isInteger(lines) || lines < 0 || lines > MOST_LINES) return null;
  const after = url.searchParams.get('after');
  const follow = url.searchParams.has('follow');
  return { instance, options: { lines, follow, ...(after !== null && { after }) } };
}

async function sendOutput(
  driver: Pick<Driver, 'output'>,
  instance: string,
  options: Omit<OutputOptions, 'signal'>,
  response: http.ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.writeHead(200, { 'content-type': 'application/x-ndjson' });
  response.flushHeaders();
  const write = (item: OutputLine | { start: string }): boolean =>
    response.write(`${JSON.stringify(item)}\n`);
  try {
    const onStart = (start: string): void => void write({ start });
    for await (const line of driver.output(instance, { ...options, onStart, signal: gone.signal })) {
      if (gone.signal.aborted) return;
      if (!write(line)) await drained(response);
    }
    response.end();
  } catch (error) {
    // The asker sees a cut connection, and says so to whoever asked it.
    response.destroy(error as Error);
  }
}

function drained(response: http.ServerResponse): Promise<void> {
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
  tls: PeerCredentials | null;
}): Promise<http.IncomingMessage> {
  const { tls, ...where } = options;
  const place = `${where.host.includes(':') ? `[${where.host}]` : where.host}:${where.port}`;
  if (tls === null && !isLoopback(place)) {
    return Promise.reject(
      new Error(`${place} is asked over the network: it needs TLS, and peer.tls is not set`),
    );
  }
  return new Promise((resolve, reject) => {
    const answered = (response: http.IncomingMessage): void => {
      asking.setTimeout(0);
      if (response.statusCode === 200) {
        resolve(response);
        return;
      }
      response.destroy();
      reject(new Error(`HTTP ${response.statusCode ?? 0} from ${place}`));
    };
    const asking =
      tls === null
        ? http.request({ ...where, agent: false }, answered)
        : https.request({ ...where, ...tls, agent: false }, answered);
    asking.setTimeout(ANSWER_WITHIN_MS, () => {
      asking.destroy(new Error(`no answer from ${place} within ${ANSWER_WITHIN_MS / 1000} s`));
    });
    asking.on('error', reject);
    asking.end();
  });
}

function isLoopback(hostHeader: string): boolean {
  const name = URL.parse(`http://${hostHeader}`)?.hostname ?? '';
  return name === 'localhost' || name === '[::1]' || /^127(\.\d{1,3}){3}$/.test(name);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

function closed(server: http.Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
