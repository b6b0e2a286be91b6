import type { InstantMs } from '../model/ids.ts';
import type { OwnerRecord } from '../model/records.ts';

/**
 * How long a taker must still wait before it may take an exclusive subject (ownership rule 3), whose owner's session key
 * it has seen absent since `absentSinceMs` (null = not yet). A lease can end early, and then its owner does not know for up
 * to one TTL: nothing that it ran under the guard lives longer. Released subjects, and those of the taker's own dead
 * incarnations (`ownDead`), wait for nothing.
 */
export function heldDownMs(
  owner: OwnerRecord | null,
  absentSinceMs: InstantMs | null,
  nowMs: InstantMs,
  ownDead: boolean,
): number {
  if (owner === null || owner.released !== null || ownDead) return 0;
  const wholeMs = owner.ttlSeconds * 1000;
  return absentSinceMs === null ? wholeMs : Math.max(0, absentSinceMs + wholeMs - nowMs);
}
