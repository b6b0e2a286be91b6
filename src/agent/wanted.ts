import { processOf } from '../model/app-spec.ts';
import {
  instanceId,
  parseInstanceId,
  subjectOfInstance,
  type InstanceId,
  type NodeName,
  type PortText,
} from '../model/ids.ts';
import type { FreeInstance, PlaceableNode, PlacedInstance } from '../model/placement.ts';
import type { AppRecord } from '../model/records.ts';
import type { RunningElsewhere } from '../model/reconciliation.ts';
import { trustOf } from '../assess/trust.ts';
import { standing } from '../ownership/standing.ts';
import { placedOn } from '../placement/reservation.ts';
import { wantedRelease, wantedTypes, type WantedRelease } from '../reconcile/wanted-release.ts';
import type { Entry } from '../ports/store.ts';
import { evidenceAgainst, leftover, unreachableNodes } from './evidence.ts';
import type { World } from './world.ts';

export interface WantedInstance extends WantedRelease {
  instance: InstanceId;
  index: number;
  record: AppRecord;
}

/** Every instance the cluster should have, in app and index order. */
export function wantedInstances(world: World): WantedInstance[] {
  return world.apps.all().flatMap(({ value }) => wantedOf(value));
}

/** Every instance of one app, each at the release that it should run by now. */
export function wantedOf(record: AppRecord): WantedInstance[] {
  if (record.removing) return [];
  return wantedTypes(record).flatMap(({ type, count }) =>
    Array.from({ length: count }).flatMap((_, index) => {
      const wanted = wantedRelease(record, type, index);
      const instance = instanceId({ app: record.app, process: type, index });
      return wanted ? [{ ...wanted, instance, index, record }] : [];
    }),
  );
}

/** The instance as its app wants it now, or the words why it is not wanted any more. */
export function wantedOrWhyNot(world: World, instance: InstanceId): WantedInstance | { notWanted: string } {
  const { app, process: type, index } = parseInstanceId(instance);
  const record = world.apps.get(app)?.value;
  if (!record) return { notWanted: `there is no app "${app}" any more` };
  if (record.removing) return { notWanted: `app "${app}" is being removed` };
  const wanted = wantedRelease(record, type, index);
  if (wanted) return { ...wanted, instance, index, record };
  const process = processOf(record.spec, type);
  if (!process) return { notWanted: `release ${record.release} of "${app}" has no process type "${type}"` };
  return { notWanted: `"${type}" of "${app}" is scaled to ${process.scale}` };
}

/** How long an exclusive subject must be left alone, in ms; 0 = it may be taken. */
export type HeldDown = (owner: Entry<'owners'> | undefined, instance: InstanceId) => number;

/** What placement needs to know: who is there, what is taken, what is free. The same on every node, but for what is held down. */
export function placementInputs(
  world: World,
  heldDown: HeldDown = () => 0,
  unsteady: ReadonlyMap<NodeName, string> = new Map(),
): {
  free: FreeInstance[];
  nodes: PlaceableNode[];
  placed: PlacedInstance[];
  /** Exclusive instances without an owner that can't be taken yet. */
  heldDown: { instance: InstanceId; forMs: number }[];
} {
  const live = world.liveIncarnations();
  const assessments = world.assessments.all().map(entry => entry.value.assessment);
  const unreachable = unreachableNodes(world);
  const ports = portHolders(world);
  const nodes = [...world.nodes().values()].map(({ value: session }) => ({
    node: session.node,
    labels: session.labels,
    roles: session.roles,
    capacity: session.capacity,
    draining: session.draining,
    unreachable: unreachable.has(session.node),
    ...(unsteady.has(session.node) ? { unsteady: unsteady.get(session.node) ?? '' } : {}),
    platform: session.platform,
    trust: trustOf(session.node, assessments),
    listens: session.listens ?? {},
    ports: ports.get(session.node) ?? new Map<PortText, InstanceId>(),
  }));
  const free: FreeInstance[] = [];
  const placed: PlacedInstance[] = [];
  const held: { instance: InstanceId; forMs: number }[] = [];
  for (const wanted of wantedInstances(world)) {
    const { instance, process } = wanted;
    const subject = subjectOfInstance(instance);
    const owner = world.owners.get(subject);
    const stand = standing(owner, live, { node: '', incarnation: '' });
    const holder = stand.free ? null : stand.lastNode;
    const lost = holder !== null && !process.exclusive && evidenceAgainst(world, holder, instance) !== null;
    if (holder !== null && !lost) {
      placed.push(placedOn(holder, wanted));
      continue;
    }
    if (holder === null && owner && leftover(world, owner, wanted) === 'answers') {
      placed.push(placedOn(owner.value.node, wanted));
      continue;
    }
    const forMs = process.exclusive ? heldDown(owner, instance) : 0;
    if (forMs > 0) {
      held.push({ instance, forMs });
      continue;
    }
    free.push(freeInstanceOf(world, wanted, owner?.value.released === null ? [owner.value.node] : []));
  }
  return { free, nodes, placed, heldDown: held };
}

/** Whose key each fixed port has, by node. */
function portHolders(world: World): ReadonlyMap<NodeName, Map<PortText, InstanceId>> {
  const holders = new Map<NodeName, Map<PortText, InstanceId>>();
  for (const { name, value } of world.ports.all()) {
    const [node = '', ...port] = name.split('/');
    const there = holders.get(node) ?? new Map<PortText, InstanceId>();
    holders.set(node, there.set(port.join('/'), value.instance));
  }
  return holders;
}

/** An instance as one that can be taken. */
export function freeInstanceOf(
  world: World,
  { instance, spec, process, index, record, artifact }: WantedInstance,
  runsOn: NodeName[],
): FreeInstance {
  const subject = subjectOfInstance(instance);
  return {
    instance,
    subject,
    spec,
    process,
    index,
    platform: artifact?.platform ?? null,
    runsOn,
    movesTo: world.owners.get(subject)?.value.released?.to,
    tiedTo: [],
    refusals: world.refusals
      .all()
      .filter(({ value }) => value.subject === subject && value.generation === record.generation)
      .map(entry => ({ node: entry.value.node, reason: entry.value.reason })),
  };
}

/** What the nodes say of their copies, as rollouts and overlaps see it. */
export function runningElsewhere(world: World): RunningElsewhere[] {
  return world.promises.all().flatMap(({ value: { promise } }) => {
    if (promise.body.kind !== 'running') return [];
    const { instance, process, index, version, ready } = promise.body;
    return [{ node: promise.promiser, instance, process, index, version, ready }];
  });
}

/** Peers that promise to hold an artifact, and where they can be asked for it. */
export function holdersOf(
  world: Pick<World, 'nodes' | 'promises'>,
  digest: string,
  self: NodeName | null,
): { node: NodeName; peer: { host: string; port: number } }[] {
  const nodes = world.nodes();
  return world.promises.all().flatMap(({ value: { promise } }) => {
    if (promise.body.kind !== 'holding' || promise.body.artifact !== digest || promise.promiser === self)
      return [];
    const peer = nodes.get(promise.promiser)?.value.peer;
    return peer ? [{ node: promise.promiser, peer }] : [];
  });
}
