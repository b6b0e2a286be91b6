import { parseInstanceId, type InstanceId, type NodeName, type PortText } from '../model/ids.ts';
import type { FreeInstance, PlaceableNode, PlacedInstance } from '../model/placement.ts';
import type { Capacity } from '../model/records.ts';

/** What each node has given away so far, real and assumed. Millicores, so that sums are exact in any order. */
export class Usage {
  private readonly memoryBytes = new Map<NodeName, number>();
  private readonly millicores = new Map<NodeName, number>();
  private readonly copies = new Map<string, number>();
  private readonly ports = new Map<string, InstanceId>();

  constructor(placed: readonly PlacedInstance[]) {
    for (const each of placed) this.add(each);
  }

  add({ instance, node, reserves, ports = [] }: PlacedInstance): void {
    const { app, process } = parseInstanceId(instance);
    raise(this.memoryBytes, node, reserves.memoryBytes);
    raise(this.millicores, node, toMillicores(reserves.cpu));
    raise(this.copies, `node ${node} ${app}`, 1);
    raise(this.copies, `node ${node} ${app}/${process}`, 1);
    for (const port of ports)
      if (!this.ports.has(`${node} ${port}`)) this.ports.set(`${node} ${port}`, instance);
  }

  /** May be negative: what is reserved can outgrow what a node has. */
  free({ node, capacity }: PlaceableNode): Capacity {
    return {
      memoryBytes: capacity.memoryBytes - (this.memoryBytes.get(node) ?? 0),
      cpu: (toMillicores(capacity.cpu) - (this.millicores.get(node) ?? 0)) / 1000,
    };
  }

  /** Who has a fixed port of a node: the first that was placed there. */
  portHolder(port: PortText, { node }: PlaceableNode): InstanceId | undefined {
    return this.ports.get(`${node} ${port}`);
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
