import type { InstanceId, NodeName } from '../model/ids.ts';
import type { OwnerRecord, PortRecord } from '../model/records.ts';

/**
 * Keys of fixed ports that nodes have given which are not there (any more), and of which nothing can be using them: the instance
 * is not that node's, and its taker did not find that it may still run there, or somebody has said since that it does not.
 */
export function abandonedPorts<P extends { name: string; value: PortRecord }>(
  ports: readonly P[],
  present: ReadonlySet<NodeName>,
  ownerOf: (instance: InstanceId) => OwnerRecord | undefined,
): P[] {
  return ports.filter(({ name, value: { instance } }) => {
    const [node = ''] = name.split('/');
    const owner = ownerOf(instance);
    const isOwned = owner?.released === null && owner.node === node;
    const mayRun = owner?.mayStillRun.includes(node) === true;
    return !present.has(node) && !isOwned && !mayRun;
  });
}
