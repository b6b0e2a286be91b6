import type { Verification } from '../../src/model/node-promise.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { ProbeResult, Prober } from '../../src/ports/prober.ts';

/** What is found at an address. `hangs` accepts the connection and never answers. */
export type Reply = { kind: 'http'; status: number; body?: string } | { kind: 'refuses' } | { kind: 'hangs' };

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

  async probe(
    verification: Verification,
    options: { strict: boolean; signal?: AbortSignal },
  ): Promise<ProbeResult> {
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
    if (verification.method === 'tcp') {
      return { verdict: 'good', evidence: `${place} accepts connections, in 0 ms`, durationMs: 0 };
    }
    if (reply.kind === 'hangs') {
      const startedMs = this.clock.now();
      await this.clock.sleep(verification.timeoutSeconds * 1000, options.signal);
      const evidence =
        options.signal?.aborted === true
          ? `the question to ${place} was called off`
          : `no answer from ${place} within ${verification.timeoutSeconds} s, though it accepted the connection`;
      return { verdict: 'unreachable', evidence, durationMs: this.clock.now() - startedMs };
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
}
