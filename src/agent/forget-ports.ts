import { subjectOfInstance } from '../model/ids.ts';
import { abandonedPorts } from '../ownership/abandoned-ports.ts';
import type { Log } from '../ports/log.ts';
import { StoreError, type Store } from '../ports/store.ts';
import type { World } from './world.ts';

const FORGOTTEN_AT_ONCE = 200;

/**
 * Removes the keys of fixed ports that lost nodes have left, each in a transaction that compares it and the owner key of its
 * instance: a node that comes back and takes what it had has its port as well. @throws StoreError
 */
export async function forgetPorts(options: {
  world: Pick<World, 'ports' | 'owners' | 'nodes'>;
  store: Pick<Store, 'commit'>;
  log: Log;
}): Promise<void> {
  const { world, store, log } = options;
  const present = new Set(world.nodes().keys());
  const abandoned = abandonedPorts(
    world.ports.all(),
    present,
    instance => world.owners.get(subjectOfInstance(instance))?.value,
  );
  const forgotten: string[] = [];
  for (const { name, revision, value } of abandoned.slice(0, FORGOTTEN_AT_ONCE)) {
    const subject = subjectOfInstance(value.instance);
    const owner = world.owners.get(subject);
    try {
      const { kind } = await store.commit(
        [
          { kind: 'ports', name, revision },
          { kind: 'owners', name: subject, ...(owner ? { revision: owner.revision } : { is: 'absent' }) },
        ],
        [{ delete: 'ports', name }],
      );
      if (kind === 'committed') forgotten.push(name);
    } catch (error) {
      if (!(error instanceof StoreError) || error.outcome !== 'refused') throw error;
      // Where each node has a user of its own in etcd, that lets it write nothing of another.
      log.info('ports that lost nodes have given stay: this node may not remove them', {
        first: name,
        error,
      });
      break;
    }
  }
  if (forgotten.length > 0) log.info('forgot ports that lost nodes had given', { ports: forgotten });
}
