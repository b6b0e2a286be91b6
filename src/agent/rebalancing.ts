import { subjectOfInstance } from '../model/ids.ts';
import type { Move, Rebalancing } from '../model/placement.ts';
import type { PlanSpec, StepSpec } from '../model/plan.ts';
import { tokenOf } from '../model/records.ts';
import type { AppliedRebalancing } from '../model/views.ts';
import { rebalance, type Settled } from '../placement/rebalance.ts';
import type { Plans } from '../ports/plans.ts';
import type { Crowd } from './crowd.ts';
import { moveStep } from './move-agent.ts';
import { freeInstanceOf, placementInputs, wantedInstances, type WantedInstance } from './wanted.ts';
import type { World } from './world.ts';

const ORIGIN = 'rebalance';
/** Moves of all rebalancings: one at a time, whoever asks for how many. */
const ONE_AT_A_TIME = { key: 'rebalance', limit: 1 };

export interface RebalancingOptions {
  world: World;
  crowd: Crowd;
  plans: Plans;
}

/** What should move so that all nodes are used evenly, as this node sees the cluster. */
export function proposedMoves({ world, crowd }: Pick<RebalancingOptions, 'world' | 'crowd'>): Rebalancing {
  const { nodes, placed } = placementInputs(world, undefined, crowd.unsteady());
  const places = new Map(placed.map(({ instance, node }) => [instance, node]));
  const known = new Map(nodes.map(node => [node.node, node]));
  const settled = wantedInstances(world).flatMap((wanted): Settled[] => {
    const node = places.get(wanted.instance);
    const on = node === undefined ? undefined : known.get(node);
    if (node === undefined || on === undefined) return [];
    const emptied = on.draining ? `${node} is being emptied` : null;
    const lost = on.unreachable === true ? `${node} is unreachable` : null;
    const fixed = emptied ?? lost ?? whyFixed(world, wanted);
    return [{ instance: freeInstanceOf(world, wanted, []), node, fixed }];
  });
  return rebalance(nodes, settled);
}

/** Why an instance can't be moved just now, or ever, without being missing for a while; null = it can. */
export function whyFixed(
  world: World,
  { instance, process, record }: Pick<WantedInstance, 'instance' | 'process' | 'record'>,
): string | null {
  if (process.exclusive) return 'it is exclusive: it would have to be stopped first';
  if (record.rollout) return `a release of "${record.app}" is taking the place of another`;
  if (record.unproven) return `no release of "${record.app}" has been found healthy yet`;
  const owner = world.owners.get(subjectOfInstance(instance));
  const isOwned = owner?.value.released === null && world.sessionLives(owner);
  return isOwned ? null : 'nobody owns it at the moment';
}

/** Makes them a plan, which any node goes on with; while one is under way, it is that one. @throws AdminError */
export async function applyMoves(options: RebalancingOptions): Promise<Omit<AppliedRebalancing, 'revision'>> {
  const { world, plans } = options;
  const found = proposedMoves(options);
  const underWay = await plans.list({ states: ['PENDING', 'RUNNING'], origin: ORIGIN, limit: 1 });
  const [running] = underWay.items;
  if (running !== undefined) return { ...found, plan: running.plan, created: false };
  const [first] = found.moves;
  if (first === undefined) return { ...found, plan: null, created: false };
  const spec = planOf(world, found.moves);
  // As long as nothing has moved, two who ask at the same time mean the same; unless an earlier plan of it came to nothing.
  const owner = world.owners.get(subjectOfInstance(first.instance));
  const key = `rebalance/${first.instance}/${owner === undefined ? '' : tokenOf(owner)}/${first.to}`;
  for (let again = 0; ; again++) {
    const digest = JSON.stringify([ORIGIN, again]);
    const request = { spec, idempotencyKey: `${key}/${again}`, digest, origin: ORIGIN };
    const { plan, created } = await plans.submit(request);
    if (created || plan.endedAt === null) return { ...found, plan: plan.plan, created };
  }
}

function planOf(world: World, moves: readonly Move[]): PlanSpec {
  return {
    title: `rebalance, ${moves.length === 1 ? 'one move' : `${moves.length} moves`}`,
    steps: moves.map((move): StepSpec => ({ ...moveStep(world, move), concurrency: ONE_AT_A_TIME })),
    priority: 5,
    sequential: true,
    // Each is for the better by itself, given those before it.
    onFailure: 'stop',
    completeBySeconds: null,
  };
}
