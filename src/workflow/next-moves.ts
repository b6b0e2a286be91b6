import { forwardMoves } from './forward.ts';
import type { Move, NextMoves, Outlook } from './moves.ts';
import { hasEnded } from './step-machine.ts';
import { mustUndo, planState, survey, surveyAfter, type Survey } from './survey.ts';
import { undoMoves } from './unwind.ts';

/**
 * What the owner of a chunk is to do now; the same again until it is done. Ready steps are started in the order of their
 * indexes, as far as slots and concurrency keys go. With the survey at hand, one pass over the chunk's steps; undoing looks at
 * all dependencies of the plan besides.
 */
export function nextMoves(outlook: Outlook): NextMoves {
  const { shape, cancel } = outlook;
  if (outlook.settled) return { moves: [], wakeInMs: null };
  const counts = outlook.counts ?? survey(shape, outlook.records);
  if (mustUndo(shape, counts)) return settledAfter(outlook, counts, undoMoves(outlook));
  const expiry = cancel === null ? expiryOf(outlook, counts) : null;
  if (expiry?.move) return { moves: [expiry.move], wakeInMs: null };
  const next = counts.open > 0 ? forwardMoves(outlook, counts) : { moves: [], wakeInMs: null };
  return settledAfter(outlook, counts, {
    moves: next.moves,
    wakeInMs: sooner(next.wakeInMs, expiry?.inMs ?? null),
  });
}

/**
 * Whether a chunk that nobody owns needs an owner now: to `take over` what was going on in it, whoever has the room for more, or
 * to `start` something; null = it does not. What the plan as a whole needs is the business of its first chunk.
 */
export function neededOwner(outlook: Outlook): 'take over' | 'start' | null {
  if (outlook.settled) return null;
  const { first, count } = outlook.chunk;
  for (let index = first; index < first + count; index++) {
    const state = outlook.records[index]?.state ?? 'PENDING';
    const goesOn = state === 'COMPENSATING' || (state !== 'PENDING' && !hasEnded(state));
    if (goesOn) return 'take over';
  }
  const { moves } = nextMoves({ ...outlook, slots: 1 });
  const ofItsOwn = moves.some(({ kind }) => (kind !== 'settle' && kind !== 'expire') || first === 0);
  return ofItsOwn ? 'start' : null;
}

/** When the plan's own time is over: now (a move), or in so many milliseconds. */
function expiryOf(
  { shape, nowMs, planSinceMs }: Outlook,
  counts: Survey,
): { move: Move | null; inMs: number } | null {
  if (shape.completeByMs === null || counts.open === 0) return null;
  const inMs = planSinceMs + shape.completeByMs - nowMs;
  const reason = `the plan's complete-by of ${shape.completeByMs / 1000} s is over`;
  return { move: inMs <= 0 ? { kind: 'expire', reason } : null, inMs };
}

/** With the plan's end, if these moves bring it about. */
function settledAfter(outlook: Outlook, counts: Survey, next: NextMoves): NextMoves {
  const { shape, cancel } = outlook;
  if (counts.open + counts.undoing > next.moves.length) return next;
  const records = outlook.records.slice();
  const changes = next.moves.flatMap(move => {
    if (!('record' in move)) return [];
    const before = records[move.index];
    records[move.index] = move.record;
    return { index: move.index, before, after: move.record };
  });
  const state = planState(shape, surveyAfter(shape, counts, changes) ?? survey(shape, records), cancel);
  if (state === 'PENDING' || state === 'RUNNING' || state === 'COMPENSATING') return next;
  const settle: Move = { kind: 'settle', state, reason: `every step has come to its end: ${state}` };
  return { moves: [...next.moves, settle], wakeInMs: null };
}

function sooner(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other;
  return Math.min(one, other);
}
