import type { InstantMs, NodeName, Subject } from '../model/ids.ts';
import type { Ranking } from '../model/placement.ts';

/**
 * Which free subjects this node should try to take now. The best candidate does so at once, the r-th after r staggers
 * if it is still free: no herd, and a favourite that is dead costs one stagger. A subject without a
 * `freeSinceMs` counts as free since now.
 */
export function dueClaims(
  rankings: Ranking[],
  self: NodeName,
  freeSinceMs: ReadonlyMap<Subject, InstantMs>,
  nowMs: InstantMs,
  staggerMs: number,
): { now: Ranking[]; wakeInMs: number | null } {
  const now: Ranking[] = [];
  let wakeInMs: number | null = null;
  for (const ranking of rankings) {
    const place = ranking.candidates.findIndex(({ node }) => node === self);
    if (place === -1) continue;
    const inMs = (freeSinceMs.get(ranking.subject) ?? nowMs) + place * staggerMs - nowMs;
    if (inMs <= 0) now.push(ranking);
    else wakeInMs = Math.min(wakeInMs ?? inMs, inMs);
  }
  return { now, wakeInMs };
}
