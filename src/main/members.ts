import type { InstantMs, NodeName } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import type { Store } from '../ports/store.ts';

/** A node that loses its session comes back with the same certificate; one that has left for good must not stay a peer. */
const FORGOTTEN_AFTER_MS = 600_000;

export interface Members {
  /** Whether one of a certificate's names, `NODE` or `NODE.CLUSTER`, is a node of this cluster, or was one a moment ago. */
  isMember: (names: string[]) => boolean;
  /** Where the nodes that have a session are reached, this one included; once each. */
  reachable: () => { node: NodeName; peer: Endpoint }[];
}

/** Until etcd has been heard for the first time nobody is known, and the authority's word must do. */
export function clusterMembers(
  store: Pick<Store, 'mirror'>,
  { cluster, clock }: { cluster: string; clock: Pick<Clock, 'now'> },
): Members {
  const sessions = store.mirror('sessions');
  const goneSinceMs = new Map<NodeName, InstantMs>();
  sessions.onChange(changes => {
    for (const { before, after } of changes) {
      if (after === undefined && before !== undefined) goneSinceMs.set(before.value.node, clock.now());
    }
  });
  const has = (node: NodeName): boolean => {
    if (sessions.all().some(({ value }) => value.node === node)) return true;
    const goneMs = goneSinceMs.get(node);
    return goneMs !== undefined && clock.now() - goneMs < FORGOTTEN_AFTER_MS;
  };
  const suffix = `.${cluster}`;
  return {
    isMember: names =>
      !sessions.synced ||
      names.some(name => has(name.endsWith(suffix) ? name.slice(0, -suffix.length) : name)),
    reachable: () => {
      const peers = new Map<NodeName, Endpoint>();
      for (const { value } of sessions.all()) if (value.peer !== null) peers.set(value.node, value.peer);
      return [...peers].map(([node, peer]) => ({ node, peer }));
    },
  };
}
