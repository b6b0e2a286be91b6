import { observersOf } from '../assess/observers.ts';
import type { InstanceId, NodeName } from '../model/ids.ts';
import type { Entry } from '../ports/store.ts';
import type { World } from './world.ts';

/** With one observer alone, two nodes cut off from each other would take from each other for ever. */
const FEWEST_WITNESSES = 2;

/** Nodes whose agents most of their observers, and at least two, have not heard for too long. */
export function unreachableNodes(world: World): Set<NodeName> {
  const nodes = [...world.nodes().keys()];
  return new Set(nodes.filter(node => witnesses(world, nodes, node, 'capacity') !== null));
}

/**
 * The judgements that let a redundant instance be taken from a node whose session still lives (design 5, rule 12): most
 * of its observers hear neither the agent nor the instance. They are compared in the transaction that takes it. Null
 * while there is no such evidence; never for an instance without an endpoint, of which nobody else can tell.
 */
export function evidenceAgainst(
  world: World,
  node: NodeName,
  instance: InstanceId,
): Entry<'assessments'>[] | null {
  const nodes = [...world.nodes().keys()];
  if (witnesses(world, nodes, node, 'capacity') === null) return null;
  return witnesses(world, nodes, node, `running:${instance}`);
}

function witnesses(
  world: World,
  nodes: NodeName[],
  node: NodeName,
  promise: string,
): Entry<'assessments'>[] | null {
  const observers = observersOf(node, nodes);
  const agreeing = observers.flatMap(observer => {
    const entry = world.assessments.get(`${node}/${promise}/${observer}`);
    return entry?.value.assessment.unreachable === true ? [entry] : [];
  });
  const enough = agreeing.length >= FEWEST_WITNESSES && agreeing.length * 2 > observers.length;
  return enough ? agreeing : null;
}
