import type { InstantMs } from './ids.ts';

const marginShare = 0.25;
const leastMarginMs = 500;
const renewalsPerTtl = 5;

/** How much before its lease may end a node stops acting on it: for clock rates that differ, and for the last effect. */
export function marginMs(ttlSeconds: number): number {
  return Math.max(leastMarginMs, ttlSeconds * 1000 * marginShare);
}

/**
 * The moment after which nothing owned may be done. Counted from when the last good check was *sent*: its reply may
 * have been on the way for longer than the lease lives.
 */
export function deadlineMs(sentMs: InstantMs, ttlSeconds: number): InstantMs {
  return sentMs + ttlSeconds * 1000 - marginMs(ttlSeconds);
}

export function renewalMs(ttlSeconds: number): number {
  return (ttlSeconds * 1000) / renewalsPerTtl;
}
