import type { NodeName } from '../model/ids.ts';
import { rendezvousOrder } from '../model/rendezvous.ts';

/** Who watches the promises of a node: the same few others in everybody's eyes, and hardly changed when one leaves. */
export function observersOf(promiser: NodeName, nodes: NodeName[], count = 3): NodeName[] {
  const others = nodes.filter(node => node !== promiser);
  return rendezvousOrder(`observe/${promiser}`, others).slice(0, count);
}
