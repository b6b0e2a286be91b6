import { unixMs } from '../../model/civil.ts';
import { agentOfSubject } from '../../model/named-agents.ts';
import type { OwnerRecord } from '../../model/records.ts';
import { abandonedNames, forgottenNames } from '../../ownership/forgotten-names.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { NamedAgents } from '../../ports/named-agents.ts';
import type { Store } from '../../ports/store.ts';
import type { World } from '../world.ts';

const FORGOTTEN_AT_ONCE = 200;
const RELEASED_AT_ONCE = 20;
/** Who has a name that is released for a lost node. No program can call itself that. */
const HOUSEKEEPER = 'agent:housekeeping';
/** It has it no longer than that, whatever becomes of its agent in between. */
const HELD_SECONDS = 10;

/**
 * Removes what is kept of names that nobody asked for in a long time, their last states as well, each in a transaction that
 * compares the owner key: one that was taken meanwhile stays. @throws StoreError
 */
export async function forgetNames(options: {
  world: Pick<World, 'owners' | 'waiters'>;
  store: Pick<Store, 'commit'>;
  clock: Clock;
  log: Log;
}): Promise<void> {
  const { world, store, clock, log } = options;
  const names = forgottenNames(world.owners.all(), world.waiters.all(), unixMs(clock.timestamp()));
  let forgotten = 0;
  for (const { name, revision } of names.slice(0, FORGOTTEN_AT_ONCE)) {
    const agent = agentOfSubject(name);
    if (agent === null) continue;
    const { kind } = await store.commit(
      [{ kind: 'owners', name, revision }],
      [
        { delete: 'owners', name },
        { delete: 'agents', name: agent },
      ],
    );
    if (kind === 'committed') forgotten++;
  }
  if (forgotten > 0) log.info('forgot names that nobody asked for in a long time', { names: forgotten });
}

/**
 * Releases what lost nodes had and nobody asks for, so that it is forgotten in its time. It is taken for that like by
 * anybody: in a transaction, after the hold-down (ownership rules 1 and 3). @throws StoreError
 */
export async function releaseAbandoned(options: {
  world: Pick<World, 'owners' | 'waiters'>;
  names: Pick<NamedAgents, 'request' | 'release'>;
  goneMs: (owner: OwnerRecord) => number;
  signal: AbortSignal;
}): Promise<void> {
  const { world, names, goneMs, signal } = options;
  const abandoned = abandonedNames(world.owners.all(), world.waiters.all(), goneMs);
  const asked = { holder: HOUSEKEEPER, wait: false, waitSeconds: 0, ttlSeconds: HELD_SECONDS, token: null };
  for (const name of abandoned.slice(0, RELEASED_AT_ONCE)) {
    try {
      const { token } = await names.request(name, asked, signal);
      await names.release(name, HOUSEKEEPER, token);
    } catch (error) {
      // Somebody was faster, or it is not free yet: what is still abandoned then is seen next time.
      if (!(error instanceof AdminError)) throw error;
    }
  }
}
