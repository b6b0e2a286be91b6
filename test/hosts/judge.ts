import type { GuardRow } from '../faults/guard-cycles.ts';
import { handovers, tokenTrouble, type Span } from '../faults/spans.ts';
import type { SessionEnd } from '../faults/watcher.ts';

/** Whether others have to run what a host had that is cut off, may do so, or must leave it where it is. */
export type Moves = 'must' | 'may' | 'never';

/** The first time that others were seen to run it. */
export interface Takeover {
  /** Since the moment of the cut. */
  afterMs: number;
  /** Whether the session of the host was there still. */
  sessionThere: boolean;
}

/**
 * What is wrong with what others took, or did not take; null = nothing. What must move is taken on evidence: while the session of
 * the host is there still, and within its TTL from the cut, by when its lease would have ended by itself.
 */
export function takeoverTrouble(moves: Moves, takeover: Takeover | null, ttlMs: number): string | null {
  if (moves === 'may') return null;
  if (takeover === null) return moves === 'must' ? 'nothing was taken over' : null;
  const { afterMs, sessionThere } = takeover;
  const when = `it was taken over after ${Math.round(afterMs)} ms`;
  if (moves === 'never') return when;
  if (!sessionThere) return `${when}, and its session was gone by then`;
  return afterMs < ttlMs ? null : `${when}, and its lease would have ended by ${ttlMs}`;
}

export interface Cycle {
  what: string;
  /** The host whose agent failed, and since when. */
  host: string;
  sinceMs: number;
  /** Whether its process may have gone on all the time; else another host had to take it. */
  mayGoOn: boolean;
  /** All runs of the process, over hosts, that were at work then or later. */
  spans: Span[];
  ends: SessionEnd[];
  /** What went wrong before there was anything to judge. */
  trouble: string[];
}

/** What a cycle shows: an exclusive process ran once at a time, and was dead before the session key of its node was gone. */
export function judged({ what, host, sinceMs, mayGoOn, spans, ends, trouble }: Cycle): GuardRow {
  const { overlaps, smallestGapMs } = handovers(spans);
  const own = spans.filter(({ node }) => node === host);
  const next = spans.find(({ node, firstMs }) => node !== host && firstMs > sinceMs);
  const lost = ends.filter(({ node, atMs }) => node === host && atMs > sinceMs);
  const beforeKeyMs = lost.flatMap(({ atMs }) =>
    own.filter(({ firstMs }) => firstMs < atMs).map(({ lastMs }) => atMs - lastMs),
  );
  const found = [...trouble, ...overlaps, ...tokenTrouble(spans)];
  if (beforeKeyMs.some(ms => ms <= 0)) found.push('it outlived the session key of its node');
  if (next && beforeKeyMs.length === 0) found.push('nobody saw its session key go');
  if (!next && !mayGoOn) found.push('no other host ran it');
  if (!next && mayGoOn && (spans.length !== 1 || lost.length > 0))
    found.push(`it neither went on nor changed hosts: ${spans.length} runs, ${lost.length} lost sessions`);
  return {
    what,
    cycles: 1,
    handovers: next ? 1 : 0,
    overlaps: overlaps.length,
    smallestGapMs,
    leastBeforeKeyMs: beforeKeyMs.length === 0 ? null : Math.min(...beforeKeyMs),
    longestTakeoverMs: next ? next.firstMs - sinceMs : null,
    trouble: found,
  };
}
