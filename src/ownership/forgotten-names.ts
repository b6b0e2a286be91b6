import { unixMs } from '../model/civil.ts';
import { agentOfSubject, type AgentName } from '../model/named-agents.ts';
import type { OwnerRecord, WaiterRecord } from '../model/records.ts';

/** How much is known of names that nobody has: those that were released last. */
const kept = {
  names: 1_000,
  seconds: 30 * 86_400,
} as const;
/** What asks for a name again and again has asked by then. */
const ABANDONED_MS = 10 * 60_000;

interface NameOwner {
  name: string;
  value: OwnerRecord;
  revision: bigint;
}

/**
 * Owner keys of names that may go, the longest released first: nobody has them or waits for them, and nothing may still be at
 * work under them. Whoever asks for such a name again has a higher token all the same: tokens are revisions of the store.
 */
export function forgottenNames<O extends NameOwner>(
  owners: readonly O[],
  waiters: readonly { value: WaiterRecord }[],
  wallMs: number,
): O[] {
  const waitedFor = new Set(waiters.map(({ value }) => value.agent));
  const free = owners
    .filter(({ name, value }) => {
      const agent = agentOfSubject(name);
      const isFree = value.released !== null && value.mayStillRun.length === 0;
      return agent !== null && isFree && !waitedFor.has(agent);
    })
    .sort((a, b) => (a.revision < b.revision ? -1 : 1));
  const surplus = free.length - kept.names;
  return free.filter(({ value }, place) => {
    const releasedMs = unixMs(value.released?.at ?? '1970-01-01T00:00:00.000Z');
    return place < surplus || wallMs - releasedMs > kept.seconds * 1000;
  });
}

/**
 * Names that their node was lost with and never released, and that nobody has asked for since: once somebody has taken and
 * released them they are forgotten like others. `goneMs` = for how long their session is known to be gone; 0 = it may be there.
 */
export function abandonedNames(
  owners: readonly NameOwner[],
  waiters: readonly { value: WaiterRecord }[],
  goneMs: (owner: OwnerRecord) => number,
): AgentName[] {
  const waitedFor = new Set(waiters.map(({ value }) => value.agent));
  return owners.flatMap(({ name, value }) => {
    const agent = agentOfSubject(name);
    if (agent === null || value.released !== null || waitedFor.has(agent)) return [];
    return goneMs(value) >= ABANDONED_MS ? [agent] : [];
  });
}
