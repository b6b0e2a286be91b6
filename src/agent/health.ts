import type { HealthcheckSpec } from '../model/app-spec.ts';
import type { Unit } from '../model/reconciliation.ts';
import type { Verification } from '../model/node-promise.ts';
import { isAborted, type Clock } from '../ports/clock.ts';
import type { Prober } from '../ports/prober.ts';

/** A starting copy is asked often at first, then less: a fast start is seen at once, a slow one is not pestered. */
const FIRST_MS = 15;
const GROWTH = 1.3;
const SLOWEST_MS = 500;

export interface Told {
  good: boolean;
  /** Well or not. */
  answered: boolean;
  evidence: string;
}

export interface Watched {
  unit: Unit;
  healthcheck: HealthcheckSpec;
}

/** Asks each routed copy how it is, at its own pace, and tells. Copies without an endpoint are not asked. */
export class HealthChecks {
  readonly #clock: Clock;
  readonly #prober: Prober;
  readonly #tell: (unit: string, result: Told) => void;
  readonly #watching = new Map<string, { abort: AbortController; asked: string }>();

  constructor(options: { clock: Clock; prober: Prober; tell: (unit: string, result: Told) => void }) {
    this.#clock = options.clock;
    this.#prober = options.prober;
    this.#tell = options.tell;
  }

  /** Asks exactly these from now on; `starting` is read afresh before each question. */
  watch(units: ReadonlyMap<string, Watched>, starting: (unit: string) => boolean): void {
    for (const [unit, { abort, asked }] of this.#watching) {
      const watched = units.get(unit);
      // A health check may change under a copy that runs.
      if (watched && asked === JSON.stringify(watched.healthcheck)) continue;
      abort.abort();
      this.#watching.delete(unit);
    }
    for (const [unit, watched] of units) {
      const verification = question(watched);
      if (this.#watching.has(unit) || !verification) continue;
      const abort = new AbortController();
      this.#watching.set(unit, { abort, asked: JSON.stringify(watched.healthcheck) });
      void this.#ask(unit, verification, watched.healthcheck, starting, abort.signal);
    }
  }

  /** Asks one copy once; what has no endpoint is well as long as it lives. */
  async once(watched: Watched): Promise<{ good: boolean; evidence: string }> {
    const verification = question(watched);
    if (!verification) return { good: true, evidence: 'it lives; it has no endpoint to ask' };
    const { verdict, evidence } = await this.#prober.probe(verification, {
      strict: watched.healthcheck.path !== null,
    });
    return { good: verdict === 'good', evidence };
  }

  stop(): void {
    for (const { abort } of this.#watching.values()) abort.abort();
    this.#watching.clear();
  }

  async #ask(
    unit: string,
    verification: Verification,
    healthcheck: HealthcheckSpec,
    starting: (unit: string) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    // With no path of its own any answer shows that it serves; with one, only a good answer does.
    const strict = healthcheck.path !== null;
    let pauseMs = FIRST_MS;
    while (!signal.aborted) {
      const result = await this.#prober.probe(verification, { strict, signal });
      if (isAborted(signal)) return;
      const good = result.verdict === 'good';
      this.#tell(unit, { good, answered: result.verdict !== 'unreachable', evidence: result.evidence });
      if (starting(unit) && !good) {
        await this.#clock.sleep(pauseMs, signal);
        pauseMs = Math.min(SLOWEST_MS, pauseMs * GROWTH);
      } else {
        await this.#clock.sleep(healthcheck.intervalSeconds * 1000, signal);
      }
    }
  }
}

function question({ unit, healthcheck }: Watched): Verification | null {
  if (!unit.endpoint) return null;
  return {
    method: 'http',
    host: unit.endpoint.host,
    port: unit.endpoint.port,
    path: healthcheck.path ?? '/',
    contains: healthcheck.contains,
    timeoutSeconds: healthcheck.timeoutSeconds,
  };
}
