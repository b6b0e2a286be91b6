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

/**
 * Of the takeovers that are due, one at a time: the brake's law, which all nodes keep to alike. It is the turn of the first
 * in subject order; where nobody takes it, of the next after another interval, so that one that can't be had stops nobody.
 * What was free without ever having been anybody's, or was released, is not held up.
 */
export function paced(
  rankings: Ranking[],
  freeSinceMs: ReadonlyMap<Subject, InstantMs>,
  isTakeover: (subject: Subject) => boolean,
  pace: { nextMs: InstantMs; intervalMs: number },
  nowMs: InstantMs,
): { rankings: Ranking[]; freeSinceMs: Map<Subject, InstantMs>; wakeInMs: number | null } {
  const { nextMs, intervalMs } = pace;
  const since = new Map(freeSinceMs);
  const due = rankings.filter(
    ({ subject, candidates }) =>
      isTakeover(subject) && candidates.length > 0 && (freeSinceMs.get(subject) ?? nowMs) <= nowMs,
  );
  if (due.length === 0) return { rankings, freeSinceMs: since, wakeInMs: null };
  const turn = Math.max(0, Math.floor((nowMs - nextMs) / intervalMs));
  const next = due[turn % due.length];
  const turnMs = nextMs + turn * intervalMs;
  if (next) since.set(next.subject, Math.max(since.get(next.subject) ?? nowMs, turnMs));
  return {
    rankings: rankings.filter(ranking => ranking === next || !due.includes(ranking)),
    freeSinceMs: since,
    // At the very end of a turn rounding may leave nothing of it: whoever looks again at once sees the same.
    wakeInMs: Math.max(1, turnMs + intervalMs - nowMs),
  };
}
