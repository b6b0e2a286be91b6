import { lastWordOf } from '../assess/last-word.ts';
import { observersOf } from '../assess/observers.ts';
import type { ProcessSpec } from '../model/app-spec.ts';
import type { InstanceId, NodeName } from '../model/ids.ts';
import type { Assessment } from '../model/node-promise.ts';
import type { Compare, Entry } from '../ports/store.ts';
import type { World } from './world.ts';

/** With one observer alone, two nodes cut off from each other would take from each other for ever. */
const FEWEST_WITNESSES = 2;

/** Nodes whose agents most of their observers, and at least two, have not heard for too long. */
export function unreachableNodes(world: World): Set<NodeName> {
  const nodes = [...world.nodes().keys()];
  return new Set(nodes.filter(node => witnesses(world, nodes, node, 'capacity') !== null));
}

/** Nodes of which at least one observer says so: too little to take anything, enough to be careful. */
export function suspectedNodes(world: World): Set<NodeName> {
  return new Set(silences(world).keys());
}

/** What observers say of nodes whose agents they have not heard for too long. */
export function silences(world: World): Map<NodeName, Assessment[]> {
  const nodes = [...world.nodes().keys()];
  return new Map(
    nodes.flatMap(node => {
      const said = agreeing(world, node, 'capacity', observersOf(node, nodes));
      return said.length === 0 ? [] : [[node, said.map(({ value }) => value.assessment)]];
    }),
  );
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

/** How it stands with what a node had whose session is gone. */
export type Leftover =
  /** It still answers at the version wanted: it stays where it is. */
  | 'answers'
  /** Its observers have not said yet whether it does. */
  | 'asked'
  /** It is there to be taken. */
  | 'free';

/**
 * What becomes of an instance that a node had whose session is gone (design 5, rule 12). Released ones, exclusive ones and
 * those of a node that is back, and speaks for itself, are free; so are those that nobody can ask.
 */
export function leftover(
  world: World,
  { value: owner }: Entry<'owners'>,
  { instance, process, version }: { instance: InstanceId; process: ProcessSpec; version: string },
): Leftover {
  const nodes = [...world.nodes().keys()];
  const redundant = owner.released === null && owner.exclusive !== true && !process.exclusive;
  if (!redundant || !process.routed || nodes.includes(owner.node)) return 'free';
  const observers = observersOf(owner.node, nodes);
  const said = judgements(world, owner.node, `running:${instance}`, observers).flatMap(({ entry }) =>
    entry ? [entry.value.assessment] : [],
  );
  switch (lastWordOf(said, observers)) {
    case 'unreachable':
      return 'free';
    case 'unknown':
      return 'asked';
    case 'answers': {
      // A release made meanwhile has to run somewhere, and its node hears nothing of it.
      const current = said.some(
        ({ answering }) => answering?.body.kind === 'running' && answering.body.version === version,
      );
      return current ? 'answers' : 'free';
    }
  }
}

/** That the observers of what is taken after its session was gone still say what they said, or still nothing. */
export function saidAsBefore(
  world: World,
  { value: owner }: Entry<'owners'>,
  instance: InstanceId,
): Compare[] {
  const observers = observersOf(owner.node, [...world.nodes().keys()]);
  return judgements(world, owner.node, `running:${instance}`, observers).map(({ name, entry }) => ({
    kind: 'assessments',
    name,
    ...(entry ? { revision: entry.revision } : { is: 'absent' }),
  }));
}

function judgements(
  world: World,
  node: NodeName,
  promise: string,
  observers: NodeName[],
): { name: string; entry: Entry<'assessments'> | undefined }[] {
  return observers.map(observer => {
    const name = `${node}/${promise}/${observer}`;
    return { name, entry: world.assessments.get(name) };
  });
}

function witnesses(
  world: World,
  nodes: NodeName[],
  node: NodeName,
  promise: string,
): Entry<'assessments'>[] | null {
  const observers = observersOf(node, nodes);
  const found = agreeing(world, node, promise, observers);
  const enough = found.length >= FEWEST_WITNESSES && found.length * 2 > observers.length;
  return enough ? found : null;
}

/** Judgements of those who reach neither the agent nor what was promised. */
function agreeing(
  world: World,
  node: NodeName,
  promise: string,
  observers: NodeName[],
): Entry<'assessments'>[] {
  return judgements(world, node, promise, observers).flatMap(({ entry }) =>
    entry?.value.assessment.unreachable === true ? [entry] : [],
  );
}
