import type { NodeName } from '../model/ids.ts';
import { parseInstanceId } from '../model/ids.ts';
import type { FreeInstance, Move, PlaceableNode, Rebalancing } from '../model/placement.ts';
import type { Capacity } from '../model/records.ts';
import { exclusion } from './filter.ts';
import { placedOn, reservation } from './reservation.ts';
import { toMillicores, Usage } from './usage.ts';

/** An instance where it is. */
export interface Settled {
  instance: FreeInstance;
  node: NodeName;
  /** Why it can't be moved; null = it can. */
  fixed: string | null;
}

/** As in the score of a node. */
const MEMORY_WEIGHT = 0.4;
const CPU_WEIGHT = 0.3;
/** A move must make two nodes more alike by this share of what is moved, since it costs a start. */
const LEAST_GAIN = 0.1;
const ROUNDING = 1e-9;
/** Nothing is moved from a node to one that keeps its promises so much worse. */
const TRUST_LOST = 0.1;

/** What a move changes, the first first: each is less than 0 for the better. */
interface Change {
  /** Copies of its process type by value of the spread label, and by node: sums of squares. */
  overLabel: number;
  overNodes: number;
  /** Reserved shares of the two nodes, likewise. */
  load: number;
}

interface Possible {
  settled: Settled;
  to: PlaceableNode;
  change: Change;
}

/**
 * Which instances should change places so that nodes are used evenly: copies of a process type over the values of its spread
 * label, then over nodes, then what is reserved. One move after the other, each the best at its turn and for the better by
 * itself, until there is none: so it ends, and has nothing to say of what it has made.
 */
export function rebalance(nodes: readonly PlaceableNode[], placed: readonly Settled[]): Rebalancing {
  const members = [...nodes].sort((a, b) => (a.node < b.node ? -1 : 1));
  let now = [...placed].sort((a, b) => (a.instance.instance < b.instance.instance ? -1 : 1));
  const before = counted(members, now);
  const moves: Move[] = [];
  for (;;) {
    const cluster = new Cluster(members, now);
    const best = bestOf(
      cluster,
      now.filter(({ fixed }) => fixed === null),
    );
    if (best === null) break;
    const { settled, to } = best;
    moves.push(cluster.move(best));
    now = now.map(other => (other === settled ? { ...settled, node: to.node } : other));
  }
  const cluster = new Cluster(members, now);
  const stays = now.flatMap(settled => {
    const { fixed, node } = settled;
    const better = fixed === null ? null : bestOf(cluster, [settled]);
    return fixed === null || better === null
      ? []
      : [{ instance: settled.instance.instance, node, why: fixed }];
  });
  const after = counted(members, now);
  return {
    moves,
    stays,
    nodes: members.map(({ node }) => ({
      node,
      instances: before.get(node) ?? 0,
      instancesAfter: after.get(node) ?? 0,
    })),
  };
}

function bestOf(cluster: Cluster, movable: readonly Settled[]): Possible | null {
  let best: Possible | null = null;
  for (const settled of movable) {
    for (const to of cluster.nodes) {
      const change = cluster.changeOf(settled, to);
      if (change === null) continue;
      if (best === null || compare(change, best.change) < 0) best = { settled, to, change };
    }
  }
  return best;
}

function compare(a: Change, b: Change): number {
  return a.overLabel - b.overLabel || a.overNodes - b.overNodes || a.load - b.load;
}

/** Everything where it is at one moment. */
class Cluster {
  readonly nodes: readonly PlaceableNode[];
  readonly #byName: ReadonlyMap<NodeName, PlaceableNode>;
  readonly #usage: Usage;
  readonly #copies = new Map<string, number>();

  constructor(nodes: readonly PlaceableNode[], placed: readonly Settled[]) {
    this.nodes = nodes;
    this.#byName = new Map(nodes.map(node => [node.node, node]));
    this.#usage = new Usage(placed.map(({ instance, node }) => placedOn(node, instance)));
    for (const { instance, node } of placed) {
      for (const key of this.#keys(instance, node)) this.#copies.set(key, (this.#copies.get(key) ?? 0) + 1);
    }
  }

  /** What it would change if that went there; null = it can't, or that would not be for the better. */
  changeOf({ instance, node }: Settled, to: PlaceableNode): Change | null {
    const from = this.#byName.get(node);
    if (from === undefined || from === to || to.unsteady !== undefined || to.trust < from.trust - TRUST_LOST)
      return null;
    const change = { ...this.#spread(instance, from, to), load: this.#load(instance, from, to) };
    const { overLabel, overNodes, load } = change;
    const better = overLabel < 0 || (overLabel === 0 && (overNodes < 0 || (overNodes === 0 && load < 0)));
    if (!better) return null;
    return exclusion(instance, to, this.#usage) === null ? change : null;
  }

  move({ settled: { instance, node }, to, change }: Possible): Move {
    const from = this.#byName.get(node) ?? to;
    return {
      instance: instance.instance,
      from: node,
      to: to.node,
      reason: this.#why(instance, from, to, change),
    };
  }

  #spread({ spec, ...instance }: FreeInstance, from: PlaceableNode, to: PlaceableNode): Omit<Change, 'load'> {
    const label = spec.placement.spread;
    const free = { ...instance, spec };
    const same = label === null || from.labels[label] === to.labels[label];
    return {
      overLabel: same ? 0 : this.#difference(this.#overLabel(free, to), this.#overLabel(free, from)),
      overNodes: this.#difference(this.#onNode(free, to.node), this.#onNode(free, from.node)),
    };
  }

  /** Of the sum of squares, when one goes from where there are `from` to where there are `to`. */
  #difference(to: number, from: number): number {
    return 2 * (to - from + 1);
  }

  #load(instance: FreeInstance, from: PlaceableNode, to: PlaceableNode): number {
    const [lost, gained] = [shareOf(needs(instance), from), shareOf(needs(instance), to)];
    const [had, has] = [this.#reserved(from), this.#reserved(to)];
    if (had - (has + gained) < LEAST_GAIN * gained) return 0;
    const change = (had - lost) ** 2 + (has + gained) ** 2 - had ** 2 - has ** 2;
    return change < -ROUNDING ? change : 0;
  }

  #reserved(node: PlaceableNode): number {
    const left = this.#usage.free(node);
    const { memoryBytes, cpu } = node.capacity;
    return shareOf({ memoryBytes: memoryBytes - left.memoryBytes, cpu: cpu - left.cpu }, node);
  }

  #why(
    instance: FreeInstance,
    from: PlaceableNode,
    to: PlaceableNode,
    { overLabel, overNodes }: Change,
  ): string {
    const type = `${instance.spec.app}/${instance.process.type}`;
    const label = instance.spec.placement.spread;
    if (overLabel < 0 && label !== null) {
      const where = (node: PlaceableNode): string => {
        const value = node.labels[label];
        return value === undefined ? `${label} is not set` : `${label} is "${value}"`;
      };
      return `${this.#overLabel(instance, from)} of ${type} are where ${where(from)}, ${this.#overLabel(instance, to)} where ${where(to)}`;
    }
    if (overNodes < 0)
      return `${from.node} has ${this.#onNode(instance, from.node)} of ${type}, ${to.node} has ${this.#onNode(instance, to.node)}`;
    const percent = (node: PlaceableNode): string =>
      `${(100 * this.#reserved(node)).toFixed(1)} % of ${node.node}`;
    return `${percent(from)} is reserved, and ${percent(to)}`;
  }

  #onNode(instance: FreeInstance, node: NodeName): number {
    return this.#copies.get(this.#keys(instance, node)[0] ?? '') ?? 0;
  }

  #overLabel(instance: FreeInstance, node: PlaceableNode): number {
    return this.#copies.get(this.#keys(instance, node.node)[1] ?? '') ?? 0;
  }

  #keys(instance: FreeInstance, node: NodeName): string[] {
    const { app, process } = parseInstanceId(instance.instance);
    const label = instance.spec.placement.spread;
    const onNode = `${app}/${process} on ${node}`;
    if (label === null) return [onNode];
    const value = this.#byName.get(node)?.labels[label];
    return [onNode, `${app}/${process} ${value === undefined ? 'unlabelled' : `at ${value}`}`];
  }
}

function needs({ spec, process }: FreeInstance): Capacity {
  return reservation(spec, process);
}

function shareOf({ memoryBytes, cpu }: Capacity, { capacity }: PlaceableNode): number {
  const memory = capacity.memoryBytes > 0 ? memoryBytes / capacity.memoryBytes : 0;
  const cores = capacity.cpu > 0 ? toMillicores(cpu) / toMillicores(capacity.cpu) : 0;
  return (MEMORY_WEIGHT * memory + CPU_WEIGHT * cores) / (MEMORY_WEIGHT + CPU_WEIGHT);
}

function counted(nodes: readonly PlaceableNode[], placed: readonly Settled[]): ReadonlyMap<NodeName, number> {
  return new Map(nodes.map(({ node }) => [node, placed.filter(other => other.node === node).length]));
}
