import { unixMs } from '../model/civil.ts';
import { agentOfSubject } from '../model/named-agents.ts';
import type { OwnerRecord, WaiterRecord } from '../model/records.ts';

/** How much is known of names that nobody has: those that were released last. */
const kept = {
  names: 1_000,
  seconds: 30 * 86_400,
} as const;

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
