import type { InstantMs, NodeName } from '../model/ids.ts';
import { rendezvousOrder } from '../model/rendezvous.ts';

/** A chunk that nobody owns and that needs an owner. */
export interface FreeChunk {
  plan: string;
  chunk: number;
  priority: number;
  /** Of the plan: the order in which plans came. */
  createRevision: bigint;
  /** When this node first saw it free. */
  freeSinceMs: InstantMs;
  /** What was going on in it waits for somebody to take over, which needs no room to start more. */
  takeOver: boolean;
}

export interface ClaimInput<C extends FreeChunk> {
  free: readonly C[];
  self: NodeName;
  /** Nodes that take chunks, this one included. */
  nodes: readonly NodeName[];
  /** Chunks with work that this node owns, and that any of these nodes own. */
  ownedHere: number;
  ownedByAll: number;
  /** How many attempts this node could start at once. None = it only takes over. */
  slots: number;
  nowMs: InstantMs;
  staggerMs: number;
}

/** By priority, then first come first: by the plan's create revision, and by the chunk within a plan. */
export function inClaimOrder<C extends Pick<FreeChunk, 'priority' | 'createRevision' | 'chunk'>>(
  chunks: readonly C[],
): C[] {
  return [...chunks].sort(
    (a, b) => a.priority - b.priority || compare(a.createRevision, b.createRevision) || a.chunk - b.chunk,
  );
}

/** How many of the chunks a node should have before it leaves the rest to others: an equal part, rounded up. */
export function fairShare(chunks: number, nodes: number): number {
  return Math.ceil(chunks / Math.max(1, nodes));
}

/**
 * Which free chunks this node should try to claim now, the first in order first. Each chunk prefers the nodes in an order of
 * its own: the first does so at once, the r-th after r staggers if it is still free. A node that has its fair share leaves
 * every chunk to all the others first, and then takes it, so that one slow node holds up nothing.
 */
export function dueChunks<C extends FreeChunk>(input: ClaimInput<C>): { now: C[]; wakeInMs: number | null } {
  const { free, self, nodes, nowMs, staggerMs } = input;
  if (!nodes.includes(self)) return { now: [], wakeInMs: null };
  const share = fairShare(free.length + input.ownedByAll, nodes.length);
  const lastMs = (2 * nodes.length - 1) * staggerMs;
  const now: C[] = [];
  let { slots } = input;
  let wakeInMs: number | null = null;
  for (const chunk of inClaimOrder(free)) {
    if (slots <= 0 && !chunk.takeOver) continue;
    const freeMs = nowMs - chunk.freeSinceMs;
    const sated = input.ownedHere + now.length >= share;
    // The order costs a hash for each node: no matter once it is everybody's turn.
    const waitMs = freeMs >= lastMs ? 0 : staggerMs * (placeOf(chunk, input) + (sated ? nodes.length : 0));
    const inMs = waitMs - freeMs;
    if (inMs > 0) wakeInMs = Math.min(wakeInMs ?? inMs, inMs);
    else {
      now.push(chunk);
      slots--;
    }
  }
  return { now, wakeInMs };
}

/** How many nodes this chunk prefers to this one. */
function placeOf(
  { plan, chunk }: FreeChunk,
  { nodes, self }: Pick<ClaimInput<FreeChunk>, 'nodes' | 'self'>,
): number {
  return rendezvousOrder(`${plan}/${chunk}`, nodes).indexOf(self);
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
