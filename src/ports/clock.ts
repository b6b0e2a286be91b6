import type { InstantMs, Timestamp } from '../model/ids.ts';

export interface Clock {
  /** CLOCK_BOOTTIME: never goes back, counts suspension, means nothing on another node. */
  now(): InstantMs;
  /** Wall clock `aheadMs` from now (0 unless given), for people and ledgers only. */
  timestamp(aheadMs?: number): Timestamp;
  /** Resolves after `durationMs`, or at once when `signal` aborts; never rejects. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls back once, unless the returned function is called before. */
  after(durationMs: number, callback: () => void): () => void;
}

/** After a wait: the compiler takes what was seen of the signal before it for the present. */
export function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}
