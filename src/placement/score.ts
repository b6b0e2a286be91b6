import type { FreeInstance, PlaceableNode } from '../model/placement.ts';
import type { Capacity } from '../model/records.ts';
import type { Usage } from './usage.ts';

const memoryWeight = 0.4;
const cpuWeight = 0.3;
const spreadWeight = 0.2;
const localityWeight = 0.1;
/** What a node that keeps none of its promises loses. */
const trustWeight = 0.5;

/**
 * How well a node suits an instance (Hop3 ADR 017), each part with its reason. 1 is an empty, trusted node. The spread
 * has no floor: each further copy of the same process type costs as much as the first, so that free resources
 * outweigh an even spread only where they differ much.
 */
export function score(
  free: FreeInstance,
  node: PlaceableNode,
  usage: Usage,
): { score: number; reasons: string[] } {
  const left = usage.free(node);
  const memoryShare = share(left.memoryBytes, node.capacity.memoryBytes);
  const cpuShare = share(left.cpu, node.capacity.cpu);
  const copies = usage.copiesOfProcess(free, node);
  const near = locality(free, node, usage);
  const parts: [number, string][] = [
    [memoryWeight * memoryShare, `${percent(memoryShare)} of ${describe(node.capacity)} memory free`],
    [cpuWeight * cpuShare, `${percent(cpuShare)} of ${node.capacity.cpu} cores free`],
    [spreadWeight * (1 - copies), `${copies} other ${free.spec.app}/${free.process.type} there`],
    [localityWeight * near.share, near.reason],
    [-trustWeight * (1 - node.trust), `trust ${node.trust.toFixed(2)}`],
  ];
  const total = parts.reduce((sum, [part]) => sum + part, 0);
  return {
    score: round(total),
    reasons: parts.map(([part, reason]) => `${part < 0 ? '−' : '+'}${Math.abs(part).toFixed(2)} ${reason}`),
  };
}

function locality(free: FreeInstance, node: PlaceableNode, usage: Usage): { share: number; reason: string } {
  if (free.tiedTo.includes(node.node)) return { share: 1, reason: 'has its data' };
  if (free.runsOn.includes(node.node)) return { share: 1, reason: 'runs it or had it last' };
  if (usage.copiesOfApp(free, node) > 0) return { share: 0.5, reason: `has ${free.spec.app} already` };
  return { share: 0, reason: `has nothing of ${free.spec.app} yet` };
}

/** Equal nodes must come out equal whatever the order of additions. */
function round(value: number): number {
  return Math.round(value * 1e9) / 1e9;
}

function share(left: number, of: number): number {
  return of > 0 ? Math.min(1, Math.max(0, left / of)) : 0;
}

function percent(value: number): string {
  return `${Math.round(value * 100)} %`;
}

function describe({ memoryBytes }: Capacity): string {
  return `${Math.floor(memoryBytes / 1024 / 1024)} MiB`;
}
