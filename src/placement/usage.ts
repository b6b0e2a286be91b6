import { parseInstanceId, type NodeName } from '../model/ids.ts';
import type { FreeInstance, PlaceableNode, PlacedInstance } from '../model/placement.ts';
import type { Capacity } from '../model/records.ts';

/** What each node has given away so far, real and assumed. Millicores, so that sums are exact in any order. */
export class Usage {
  private readonly memoryBytes = new Map<NodeName, number>();
  private readonly millicores = new Map<NodeName, number>();
  private readonly copies = new Map<string, number>();

  constructor(placed: readonly PlacedInstance[]) {
    for (const each of placed) this.add(each);
  }

  add({ instance, node, reserves }: PlacedInstance): void {
    const { app, process } = parseInstanceId(instance);
    raise(this.memoryBytes, node, reserves.memoryBytes);
    raise(this.millicores, node, toMillicores(reserves.cpu));
    raise(this.copies, `node ${node} ${app}`, 1);
    raise(this.copies, `node ${node} ${app}/${process}`, 1);
  }

  /** May be negative: what is reserved can outgrow what a node has. */
  free({ node, capacity }: PlaceableNode): Capacity {
    return {
      memoryBytes: capacity.memoryBytes - (this.memoryBytes.get(node) ?? 0),
      cpu: (toMillicores(capacity.cpu) - (this.millicores.get(node) ?? 0)) / 1000,
    };
  }

  copiesOfApp(free: FreeInstance, { node }: PlaceableNode): number {
    return this.copies.get(`node ${node} ${free.spec.app}`) ?? 0;
  }

  copiesOfProcess(free: FreeInstance, { node }: PlaceableNode): number {
    return this.copies.get(`node ${node} ${processKey(free)}`) ?? 0;
  }
}

export function toMillicores(cpu: number): number {
  return Math.round(cpu * 1000);
}

function processKey(free: FreeInstance): string {
  return `${free.spec.app}/${free.process.type}`;
}

function raise(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
