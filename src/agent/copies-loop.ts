import type { Digest, NodeName } from '../model/ids.ts';
import { rendezvousOrder } from '../model/rendezvous.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Entry } from '../ports/store.ts';
import { Loop } from './loop.ts';
import { holdersOf } from './wanted.ts';
import type { World } from './world.ts';

/** Nodes that hold what an app runs, besides those that happen to: losing the one that built it loses nothing. */
const COPIES = 2;
const EVERY_MS = 60_000;
const RETRY_MS = 5000;

export interface CopiesLoopOptions {
  node: NodeName;
  world: World;
  artifacts: Artifacts;
  clock: Clock;
  log: Log;
  /** Called when this node holds more than before. */
  onFetched: () => void;
}

/** Fetches the artifacts that this node is one of the first to keep, in every node's eyes. */
export function copiesLoop({ node, world, artifacts, clock, log, onFetched }: CopiesLoopOptions): Loop {
  return new Loop({
    name: 'copies',
    clock,
    log,
    everyMs: EVERY_MS,
    round: async signal => {
      let failed = false;
      for (const digest of keptHere(world, node)) {
        const holders = holdersOf(world, digest, node);
        if (holders.length === 0 || (await artifacts.has(digest))) continue;
        try {
          await artifacts.fetch(digest, holders, signal);
          onFetched();
        } catch (error) {
          signal.throwIfAborted();
          log.warn('an artifact could not be copied here and will be asked for again', { digest, error });
          failed = true;
        }
      }
      return failed ? RETRY_MS : null;
    },
  });
}

function keptHere(world: World, node: NodeName): Digest[] {
  const nodes = [...world.nodes().values()].flatMap(({ value }) =>
    value.roles.includes('apps') ? [value.node] : [],
  );
  const wanted = world.apps
    .all()
    .flatMap(({ value }) => [value.artifact, value.rollout?.before.artifact])
    .flatMap(artifact => (artifact ? [artifact.digest] : []));
  return [...new Set([...wanted, ...inTheMaking(world.deploys.all())])].filter(digest =>
    rendezvousOrder(digest, nodes).slice(0, COPIES).includes(node),
  );
}

/** Source trees and artifacts of deployments under way: another node may have to go on with them. */
export function inTheMaking(deploys: Entry<'deploys'>[]): Digest[] {
  return deploys.flatMap(({ value: { asked, draft } }) => {
    const uploaded = asked.source?.kind === 'uploaded' ? [asked.source.digest] : [];
    return [
      ...uploaded,
      ...(draft?.source ? [draft.source] : []),
      ...(draft?.artifact ? [draft.artifact.digest] : []),
    ];
  });
}
