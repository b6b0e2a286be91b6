import { setMaxListeners } from 'node:events';
import type { Verification } from '../../src/model/node-promise.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ProbeOptions, ProbeResult, Prober } from '../../src/ports/prober.ts';

/** What is found at an address. `hangs` accepts the connection and never answers; of what is `gone` nothing is heard at all. */
export type Reply =
  | { kind: 'http'; status: number; body?: string }
  | { kind: 'refuses' }
  | { kind: 'hangs' }
  | { kind: 'gone' };

/** A network of addresses that reply as told; at any other, nobody listens. */
export class FakeProber implements Prober {
  readonly asked: Verification[] = [];
  private readonly clock: Clock;
  private readonly replies = new Map<string, Reply>();
  private readonly otherwise: (host: string, port: number) => Reply;

  constructor(options: { clock: Clock; otherwise?: (host: string, port: number) => Reply }) {
    this.clock = options.clock;
    this.otherwise = options.otherwise ?? (() => ({ kind: 'refuses' }));
  }

  set(host: string, port: number, reply: Reply): void {
    this.replies.set(`${host}:${port}`, reply);
  }

  async probe(verification: Verification, options: ProbeOptions): Promise<ProbeResult> {
    this.asked.push(verification);
    if (verification.method === 'lease') {
      return { verdict: 'good', evidence: 'nothing to ask: it stands while its lease does', durationMs: 0 };
    }
    const { host, port } = verification;
    const place = `${host}:${port}${verification.method === 'http' ? verification.path : ''}`;
    const reply = this.replies.get(`${host}:${port}`) ?? this.otherwise(host, port);
    if (reply.kind === 'refuses') {
      return { verdict: 'unreachable', evidence: `connection refused by ${place}`, durationMs: 0 };
    }
    if (reply.kind === 'gone') {
      const timeoutMs = verification.timeoutSeconds * 1000;
      const { acceptMs = timeoutMs, signal } = options;
      return this.inVain(
        Math.min(acceptMs, timeoutMs),
        place,
        acceptMs < timeoutMs
          ? `no connection to ${place} within ${acceptMs} ms`
          : `no answer from ${place} within ${verification.timeoutSeconds} s`,
        signal,
      );
    }
    if (verification.method === 'tcp') {
      return { verdict: 'good', evidence: `${place} accepts connections, in 0 ms`, durationMs: 0 };
    }
    if (reply.kind === 'hangs') {
      const { timeoutSeconds } = verification;
      const evidence = `no answer from ${place} within ${timeoutSeconds} s, though it accepted the connection`;
      return this.inVain(timeoutSeconds * 1000, place, evidence, options.signal);
    }
    const answer = `HTTP ${reply.status} from ${place} in 0 ms`;
    const bad = options.strict && (reply.status < 200 || reply.status >= 400);
    const lacks = verification.contains !== null && !(reply.body ?? '').includes(verification.contains);
    if (bad) return { verdict: 'refused', evidence: answer, durationMs: 0 };
    if (lacks) {
      const evidence = `${answer}, but without ${JSON.stringify(verification.contains)} in the body`;
      return { verdict: 'refused', evidence, durationMs: 0 };
    }
    return { verdict: 'good', evidence: answer, durationMs: 0 };
  }

  private async inVain(
    waitMs: number,
    place: string,
    evidence: string,
    signal?: AbortSignal,
  ): Promise<ProbeResult> {
    const startedMs = this.clock.now();
    if (signal) setMaxListeners(0, signal);
    await this.clock.sleep(waitMs, signal);
    const said = signal?.aborted === true ? `the question to ${place} was called off` : evidence;
    return { verdict: 'unreachable', evidence: said, durationMs: this.clock.now() - startedMs };
  }
}
