import { instanceOfSubject, parseInstanceId } from '../model/ids.ts';
import { forgottenInstances } from '../ownership/forgotten-instances.ts';
import type { Log } from '../ports/log.ts';
import type { Store } from '../ports/store.ts';
import type { World } from './world.ts';

const FORGOTTEN_AT_ONCE = 200;

/**
 * Removes the released owner keys that apps have left which are gone, each in a transaction that compares it, and that its app is
 * still absent. @throws StoreError
 */
export async function forgetInstances(options: {
  world: Pick<World, 'owners' | 'apps'>;
  store: Pick<Store, 'commit'>;
  log: Log;
}): Promise<void> {
  const { world, store, log } = options;
  const free = forgottenInstances(world.owners.all(), app => world.apps.get(app) !== undefined);
  const forgotten: string[] = [];
  for (const { name, revision } of free.slice(0, FORGOTTEN_AT_ONCE)) {
    const instance = instanceOfSubject(name);
    if (instance === null) continue;
    const { kind } = await store.commit(
      [
        { kind: 'owners', name, revision },
        { kind: 'apps', name: parseInstanceId(instance).app, is: 'absent' },
      ],
      [{ delete: 'owners', name }],
    );
    if (kind === 'committed') forgotten.push(instance);
  }
  if (forgotten.length > 0) log.info('forgot instances of apps that are gone', { instances: forgotten });
}
