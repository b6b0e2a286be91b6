import type { InstanceId, NodeName } from '../model/ids.ts';
import type { StayingInstance } from '../model/node-promise.ts';
import type { Ranking } from '../model/placement.ts';
import { whyNowhere } from './explain.ts';

export interface DrainInput {
  /** What the node holds and has not begun to move, each ranked as if it were free. */
  held: { instance: InstanceId; ranking: Ranking }[];
  /** What it has begun to move; `overdue` = it has taken so long that the next may go as well. */
  moving: { instance: InstanceId; overdue: boolean }[];
}

export interface DrainStep {
  /** To be moved now; null = nothing, or not before what is moving has arrived. */
  next: { instance: InstanceId; to: NodeName } | null;
  /** Instances that are still on the node. */
  left: number;
  stays: StayingInstance[];
}

/** How a node that is to be emptied goes on: one instance after the other, in order, and never one that nobody can take. */
export function drain({ held, moving }: DrainInput): DrainStep {
  const inOrder = [...held].sort((a, b) => (a.instance < b.instance ? -1 : 1));
  const goes = inOrder.flatMap(({ instance, ranking }) => {
    const to = ranking.candidates[0]?.node;
    return to === undefined ? [] : [{ instance, to }];
  });
  const stays = inOrder
    .filter(({ ranking }) => ranking.candidates.length === 0)
    .map(({ instance, ranking }) => ({ instance, why: whyNowhere(ranking) ?? 'there is no other node' }));
  const next = moving.every(({ overdue }) => overdue) ? (goes[0] ?? null) : null;
  return { next, left: held.length + moving.length, stays };
}
