import { unixMs } from '../../model/civil.ts';
import { agentOfSubject } from '../../model/named-agents.ts';
import { forgottenNames } from '../../ownership/forgotten-names.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Store } from '../../ports/store.ts';
import type { World } from '../world.ts';

const FORGOTTEN_AT_ONCE = 200;

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
  const now = names.slice(0, FORGOTTEN_AT_ONCE);
  for (const { name, revision } of now) {
    const agent = agentOfSubject(name);
    if (agent === null) continue;
    await store.commit(
      [{ kind: 'owners', name, revision }],
      [
        { delete: 'owners', name },
        { delete: 'agents', name: agent },
      ],
    );
  }
  if (now.length > 0) log.info('forgot names that nobody asked for in a long time', { names: now.length });
}
