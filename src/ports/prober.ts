import type { Verification } from '../model/node-promise.ts';

export interface ProbeResult {
  /** `unreachable` = nobody answered; `refused` = an answer, but not a good one. */
  verdict: 'good' | 'refused' | 'unreachable';
  /** In words and numbers: `HTTP 200 from 127.0.0.1:4001/health in 3 ms`. */
  evidence: string;
  durationMs: number;
}

export interface ProbeOptions {
  strict: boolean;
  acceptMs?: number;
  signal?: AbortSignal;
}

export interface Prober {
  /**
   * Asks once; never rejects. `strict` = only 2xx and 3xx are good; else any HTTP answer is. `lease` is always good. With
   * `acceptMs` it gives up when no connection is accepted within so long, however long an answer may take.
   */
  probe(verification: Verification, options: ProbeOptions): Promise<ProbeResult>;
}
