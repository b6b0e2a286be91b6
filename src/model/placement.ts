import type { AppSpec, ProcessSpec } from './app-spec.ts';
import type { InstanceId, NodeName, PortText, Subject } from './ids.ts';
import type { Capacity } from './records.ts';

/** A node as placement sees it. All nodes must see the same, so everything here comes from the store. */
export interface PlaceableNode {
  node: NodeName;
  labels: Record<string, string>;
  roles: string[];
  capacity: Capacity;
  draining: boolean;
  /** In the eyes of its observers; it takes nothing, though its session lives. */
  unreachable?: boolean;
  /** Why it gets nothing new while a steady node can take it: it comes and goes. */
  unsteady?: string;
  platform: string;
  /** 0–1; 1 when nobody has judged it yet. */
  trust: number;
  /** Ports that nothing can be placed on: what listens there, by port. */
  listens: Readonly<Record<PortText, string>>;
  /** Fixed ports whose keys say that an instance has them there, placed or no more. */
  ports: ReadonlyMap<PortText, InstanceId>;
}

/** An instance that somebody has, and what it reserves there. */
export interface PlacedInstance {
  instance: InstanceId;
  node: NodeName;
  reserves: Capacity;
  /** Fixed ports that it has there; absent = none. */
  ports?: readonly PortText[];
}

export interface FreeInstance {
  instance: InstanceId;
  subject: Subject;
  spec: AppSpec;
  process: ProcessSpec;
  index: number;
  /** Platform the artifact was built for; null = any. */
  platform: string | null;
  /** The node that had it last, or still runs it: ranks first there. */
  runsOn: NodeName[];
  /** The node that it is being moved to: ranks first of all, if it can take it. */
  movesTo?: NodeName | undefined;
  /** Nodes tied to it by a volume; empty = not tied. */
  tiedTo: NodeName[];
  refusals: { node: NodeName; reason: string }[];
}

/** Who could take one instance, best first, and why each of the others can't. */
export interface Ranking {
  instance: InstanceId;
  subject: Subject;
  candidates: Candidate[];
  excluded: { node: NodeName; reason: string }[];
}

export interface Candidate {
  node: NodeName;
  score: number;
  /** In words, one part of the score each. */
  reasons: string[];
}

/** One instance that should change places. */
export interface Move {
  instance: InstanceId;
  from: NodeName;
  to: NodeName;
  /** In words and numbers, as it is when its turn comes. */
  reason: string;
}

export interface Rebalancing {
  /** In this order. */
  moves: Move[];
  /** What should go, too, but can't. */
  stays: { instance: InstanceId; node: NodeName; why: string }[];
  /** Instances before, and after all moves. */
  nodes: { node: NodeName; instances: number; instancesAfter: number }[];
}
