import { setMaxListeners } from 'node:events';
import { request, type ClientRequest, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';

import type { Verification } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { ProbeResult, Prober } from '../ports/prober.ts';

type HttpVerification = Extract<Verification, { method: 'http' }>;
type Judgement = Pick<ProbeResult, 'verdict' | 'evidence'>;
/** The first one counts. */
type Judge = (judgement: Judgement) => void;

/** How much of a body is searched for the wanted text. */
const BODY_BYTES = 1024 * 1024;
/** A timer that is late by more says that this process could not hear for as long. */
const LATE_MS = 20;

/** Asks over the network, on a connection of its own each time, as `localhost` in the Host header. */
export function networkProber({ clock }: { clock: Clock }): Prober {
  return {
    async probe(verification, { strict, acceptMs, signal }) {
      if (verification.method === 'lease') {
        return { verdict: 'good', evidence: 'nothing to ask: it stands while its lease does', durationMs: 0 };
      }
      const startedMs = clock.now();
      const elapsedMs = (): number => clock.now() - startedMs;
      const judgement = await new Promise<Judgement>(resolve => {
        let asked: Asked;
        try {
          asked =
            verification.method === 'http'
              ? askHttp(verification, strict, elapsedMs, resolve)
              : askTcp(verification, elapsedMs, resolve);
        } catch (error) {
          // Not even a port or a path that could be asked.
          resolve(failure(verification, error as Error));
          return;
        }
        const cancel = afterHearing(clock, verification.timeoutSeconds * 1000, () =>
          giveUp(asked.timedOut()),
        );
        const cancelAccept =
          acceptMs === undefined
            ? () => undefined
            : afterHearing(clock, acceptMs, () => {
                if (!asked.isAccepted()) giveUp(unaccepted(verification, acceptMs));
              });
        if (signal) {
          // Whoever asks many at once gives all the same one.
          setMaxListeners(0, signal);
          signal.addEventListener('abort', calledOff);
        }
        asked.onClose(() => {
          cancel();
          cancelAccept();
          signal?.removeEventListener('abort', calledOff);
          resolve(asked.closed());
        });
        if (signal?.aborted === true) calledOff();

        function calledOff(): void {
          giveUp({
            verdict: 'unreachable',
            evidence: `the question to ${place(verification)} was called off`,
          });
        }
        function giveUp(result: Judgement): void {
          resolve(result);
          asked.end();
        }
      });
      return { ...judgement, durationMs: elapsedMs() };
    },
  };
}

/**
 * Calls back once so long has passed, unless the returned function is called before. Not when this process was kept from its work
 * meanwhile, and an answer may wait to be read: then it has as much time again as it was late by, up to twice as long in all.
 */
function afterHearing(clock: Clock, durationMs: number, callback: () => void): () => void {
  let spareMs = durationMs;
  let cancel = start(durationMs);
  return () => cancel();

  function start(ms: number): () => void {
    const dueMs = clock.now() + ms;
    return clock.after(ms, () => {
      const lateMs = Math.min(clock.now() - dueMs, spareMs);
      spareMs -= lateMs;
      if (lateMs > LATE_MS) cancel = start(lateMs);
      else {
        // What came in time is read before.
        const judging = setImmediate(callback);
        cancel = () => clearImmediate(judging);
      }
    });
  }
}

/** A question under way. */
interface Asked {
  /** Whether there has been a connection. */
  isAccepted(): boolean;
  timedOut(): Judgement;
  /** When the other side closed the connection before anything could be said. */
  closed(): Judgement;
  /** Once the connection is closed, whoever closed it. */
  onClose(listener: () => void): void;
  end(): void;
}

function askTcp(
  verification: Exclude<Verification, { method: 'lease' }>,
  elapsedMs: () => number,
  judge: Judge,
): Asked {
  const { host, port } = verification;
  const socket: Socket = connect({ host, port });
  socket.once('connect', () => {
    judge({ verdict: 'good', evidence: `${host}:${port} accepts connections, in ${duration(elapsedMs())}` });
    socket.destroy();
  });
  socket.once('error', (error: NodeJS.ErrnoException) => judge(failure(verification, error)));
  return {
    // That is the answer.
    isAccepted: () => false,
    timedOut: () => ({ verdict: 'unreachable', evidence: noAnswer(verification) }),
    closed: () => ({ verdict: 'unreachable', evidence: closedWithoutAnswer(verification) }),
    onClose: listener => socket.once('close', listener),
    end: () => socket.destroy(),
  };
}

function askHttp(
  verification: HttpVerification,
  strict: boolean,
  elapsedMs: () => number,
  judge: Judge,
): Asked {
  const { host, port, contains } = verification;
  const path = encodeURI(verification.path.startsWith('/') ? verification.path : `/${verification.path}`);
  let answer = '';
  let asked: ClientRequest | null = null;
  const failed = (error: NodeJS.ErrnoException): void =>
    judge(answer === '' ? failure(verification, error) : brokenOff(answer));
  // A copy that starts refuses many connections, and a request costs several times what that does.
  const socket = connect({ host, port }, () => {
    asked = request({ path, createConnection: () => socket, headers: { Host: `localhost:${port}` } });
    asked.once('error', failed);
    asked.once('response', heard);
    asked.once('close', () => onClosed());
    asked.end();
  });
  let onClosed = (): void => undefined;
  socket.once('error', failed);
  socket.once('close', () => {
    if (asked === null) onClosed();
  });
  return {
    isAccepted: () => asked !== null,
    timedOut() {
      if (answer !== '') return { verdict: 'refused', evidence: missing(answer, contains ?? '') };
      const hint = asked === null ? '' : ', though it accepted the connection';
      return { verdict: 'unreachable', evidence: noAnswer(verification) + hint };
    },
    closed: () =>
      answer === ''
        ? { verdict: 'unreachable', evidence: closedWithoutAnswer(verification) }
        : brokenOff(answer),
    onClose: listener => (onClosed = listener),
    end: () => socket.destroy(),
  };

  /** The body is read on after the judgement, so that the app does not see its answer cut off. */
  function heard(response: IncomingMessage): void {
    const status = response.statusCode ?? 0;
    answer = `HTTP ${status} from ${place(verification)} in ${duration(elapsedMs())}`;
    if (strict && (status < 200 || status >= 400)) judge({ verdict: 'refused', evidence: answer });
    else if (contains === null) judge({ verdict: 'good', evidence: answer });
    else searchBody(response, contains, answer, judge);
    // A body cut short: the headers were an answer all the same.
    response.once('error', () => judge(brokenOff(answer)));
    response.resume();
  }
}

function searchBody(response: IncomingMessage, contains: string, answer: string, judge: Judge): void {
  let body = '';
  response.setEncoding('utf8');
  response.on('data', (text: string) => {
    if (body.length < BODY_BYTES) body += text;
    if (body.includes(contains))
      judge({ verdict: 'good', evidence: `${answer}, containing ${quoted(contains)}` });
    else if (body.length >= BODY_BYTES) judge({ verdict: 'refused', evidence: missing(answer, contains) });
  });
  response.once('end', () => judge({ verdict: 'refused', evidence: missing(answer, contains) }));
}

function failure(verification: Verification, error: NodeJS.ErrnoException): Judgement {
  const where = place(verification);
  const code = error.code ?? '';
  if (code === 'ECONNREFUSED') return { verdict: 'unreachable', evidence: `connection refused by ${where}` };
  if (code === 'ECONNRESET' || code === 'EPIPE') {
    return { verdict: 'unreachable', evidence: closedWithoutAnswer(verification) };
  }
  if (code.startsWith('HPE_'))
    return { verdict: 'refused', evidence: `the answer from ${where} is not HTTP` };
  return { verdict: 'unreachable', evidence: `can't reach ${where}: ${error.message}` };
}

function brokenOff(answer: string): Judgement {
  return { verdict: 'refused', evidence: `${answer}, but the body broke off` };
}

function closedWithoutAnswer(verification: Verification): string {
  return `${place(verification)} closed the connection without an answer`;
}

function missing(answer: string, contains: string): string {
  return `${answer}, but without ${quoted(contains)} in the body`;
}

function noAnswer(verification: Exclude<Verification, { method: 'lease' }>): string {
  return `no answer from ${place(verification)} within ${duration(verification.timeoutSeconds * 1000)}`;
}

function unaccepted(verification: Verification, acceptMs: number): Judgement {
  const evidence = `no connection to ${place(verification)} within ${duration(acceptMs)}`;
  return { verdict: 'unreachable', evidence };
}

function place(verification: Verification): string {
  if (verification.method === 'lease') return 'its lease';
  const path = verification.method === 'http' ? verification.path : '';
  return `${verification.host}:${verification.port}${path}`;
}

function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${Number((ms / 1000).toFixed(1))} s`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}
