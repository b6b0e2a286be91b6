import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** One that was let in. */
export interface StepRequest {
  key: string;
  token: bigint;
  /** Whether it took effect; else it was a repetition. */
  effect: boolean;
  /** Places in the order of all that happened at the resource. */
  askedAt: number;
  answeredAt: number | null;
}

/** What steps act on. It fences: what comes with a lower token than it has seen for a step it refuses, and does each effect once. */
export class StepResource {
  /** Keys in the order in which they took effect. */
  readonly effects: string[] = [];
  /** Asked for again, under a token that counts. */
  repeated = 0;
  refused = 0;
  readonly letIn: StepRequest[] = [];
  /** Paths that fail for good. */
  readonly broken = new Set<string>();
  readonly #done = new Set<string>();
  readonly #highest = new Map<string, bigint>();
  #now = 0;
  readonly #takesMs: number;
  readonly #server: Server;

  constructor(options: { takesMs: number }) {
    this.#takesMs = options.takesMs;
    this.#server = createServer((request, response) => {
      const { status, afterMs, answered } = this.#answer(request);
      setTimeout(() => {
        answered?.();
        response.writeHead(status).end();
      }, afterMs);
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>(resolve => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  #answer(request: IncomingMessage): { status: number; afterMs: number; answered?: () => void } {
    const key = String(request.headers['idempotency-key']);
    const token = BigInt(String(request.headers['fencing-token']));
    if (token < (this.#highest.get(key) ?? 0n)) {
      this.refused++;
      return { status: 409, afterMs: 0 };
    }
    this.#highest.set(key, token);
    if (this.broken.has(request.url ?? '')) return { status: 400, afterMs: 0 };
    const letIn: StepRequest = {
      key,
      token,
      effect: !this.#done.has(key),
      askedAt: this.#now++,
      answeredAt: null,
    };
    this.letIn.push(letIn);
    if (letIn.effect) {
      this.#done.add(key);
      this.effects.push(key);
    } else this.repeated++;
    return { status: 200, afterMs: this.#takesMs, answered: () => (letIn.answeredAt = this.#now++) };
  }
}
