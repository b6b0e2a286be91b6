import { portsOf, portText, type AppSpec } from '../model/app-spec.ts';
import type { FreeInstance, PlaceableNode } from '../model/placement.ts';
import { runsOn } from '../model/platform.ts';
import { reservation } from './reservation.ts';
import { toMillicores, type Usage } from './usage.ts';

/** Why a node cannot take an instance, in words and numbers; null = it can. */
export function exclusion(free: FreeInstance, node: PlaceableNode, usage: Usage): string | null {
  return (
    unfitness(free.spec, node) ??
    (node.unreachable === true ? 'is unreachable in the eyes of its observers' : null) ??
    platformExclusion(free, node) ??
    tieExclusion(free, node) ??
    portExclusion(free, node, usage) ??
    refusal(free, node) ??
    capacityExclusion(free, node, usage)
  );
}

/** Why a node is given nothing of an app, whatever it has left and whoever asks; null = it may be. */
export function unfitness(
  { placement }: Pick<AppSpec, 'placement'>,
  { roles, draining, labels }: Pick<PlaceableNode, 'roles' | 'draining' | 'labels'>,
): string | null {
  if (!roles.includes('apps')) return `runs no apps (its roles: ${roles.join(', ') || 'none'})`;
  if (draining) return 'is draining';
  for (const [label, wanted] of Object.entries(placement.requires)) {
    const has = labels[label];
    if (has === undefined) return `has no label ${label}, required is "${wanted}"`;
    if (has !== wanted) return `has label ${label} "${has}", required is "${wanted}"`;
  }
  return null;
}

function platformExclusion({ platform }: FreeInstance, node: PlaceableNode): string | null {
  if (platform === null || runsOn(platform, node.platform)) return null;
  return `is ${node.platform}, and the artifact was built for ${platform}`;
}

function tieExclusion({ tiedTo }: FreeInstance, { node }: PlaceableNode): string | null {
  if (tiedTo.length === 0 || tiedTo.includes(node)) return null;
  return `does not have its data, which is on ${tiedTo.join(', ')}`;
}

function portExclusion(
  { instance, spec, process }: FreeInstance,
  node: PlaceableNode,
  usage: Usage,
): string | null {
  for (const port of portsOf(spec, process.type).map(portText)) {
    const own = node.listens[port];
    if (own !== undefined) return `listens on port ${port} itself: ${own}`;
    const holder = [node.ports.get(port), usage.portHolder(port, node)].find(
      other => other !== undefined && other !== instance,
    );
    if (holder !== undefined) return `has given port ${port} to ${holder}`;
  }
  return null;
}

function refusal({ refusals }: FreeInstance, { node }: PlaceableNode): string | null {
  const refused = refusals.find(each => each.node === node);
  return refused ? `refuses it: ${refused.reason}` : null;
}

function capacityExclusion(
  { spec, process }: FreeInstance,
  node: PlaceableNode,
  usage: Usage,
): string | null {
  const { capacity } = node;
  const left = usage.free(node);
  const needed = reservation(spec, process);
  if (left.memoryBytes < needed.memoryBytes) {
    return `has ${mebibytes(left.memoryBytes)} of ${mebibytes(capacity.memoryBytes)} MiB memory left, needed are ${mebibytes(needed.memoryBytes)}`;
  }
  if (toMillicores(left.cpu) < toMillicores(needed.cpu)) {
    return `has ${cores(left.cpu)} of ${cores(capacity.cpu)} cores left, needed are ${cores(needed.cpu)}`;
  }
  return null;
}

function mebibytes(bytes: number): string {
  return String(Math.floor(bytes / 1024 / 1024));
}

function cores(cpu: number): string {
  return String(toMillicores(cpu) / 1000);
}
