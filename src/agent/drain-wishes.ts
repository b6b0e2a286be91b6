import type { NodeName } from '../model/ids.ts';
import { AdminError } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { Store } from '../ports/store.ts';
import { asAdminErrors } from './admin-errors.ts';
import type { World } from './world.ts';

export interface DrainWishesOptions {
  node: NodeName;
  world: World;
  store: Store;
  clock: Clock;
}

/** Wishes that a node be emptied; a wish that stands already keeps its reason. @throws AdminError */
export async function wishDrain(options: DrainWishesOptions, node: NodeName, reason: string): Promise<void> {
  const { world, store, clock } = options;
  requireKnown(world, node);
  const others = [...world.nodes().values()].map(({ value }) => value).filter(other => other.node !== node);
  if (!others.some(({ roles, draining }) => roles.includes('apps') && !draining)) {
    const seen = others.map(
      ({ node: other, draining }) => `${other} ${draining ? 'is draining' : 'runs no apps'}`,
    );
    const why = seen.length === 0 ? 'there is no other node' : seen.join(', ');
    throw new AdminError('conflict', `what runs on ${node} would have nowhere to go: ${why}`);
  }
  await asAdminErrors(() =>
    store.commit(
      [{ kind: 'drains', name: node, is: 'absent' }],
      [
        {
          put: 'drains',
          name: node,
          value: { v: 1, node, reason, from: options.node, at: clock.timestamp() },
        },
      ],
    ),
  );
}

/** It takes work again; what went does not come back by itself. @throws AdminError */
export async function endDrain({ world, store }: DrainWishesOptions, node: NodeName): Promise<void> {
  if (world.drains.get(node) === undefined) requireKnown(world, node);
  await asAdminErrors(() => store.commit([], [{ delete: 'drains', name: node }]));
}

function requireKnown(world: World, node: NodeName): void {
  const known = [...world.nodes().keys(), ...world.lostNodes().map(lost => lost.node)];
  if (!known.includes(node)) throw new AdminError('not-found', `there is no node "${node}"`, { known });
}
