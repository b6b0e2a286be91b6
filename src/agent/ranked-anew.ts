import { subjectOfInstance, type NodeName } from '../model/ids.ts';
import type { Ranking } from '../model/placement.ts';
import { rank } from '../placement/rank.ts';
import { freeInstanceOf, type placementInputs, type WantedInstance } from './wanted.ts';
import type { World } from './world.ts';

/**
 * Who could take an instance if it were free now, without its own reservation, so that its present place can be compared.
 * `runsOn` = where it counts as running.
 */
export function rankedAnew(
  world: World,
  inputs: ReturnType<typeof placementInputs>,
  wanted: WantedInstance,
  runsOn: NodeName[],
): Ranking | null {
  const subject = subjectOfInstance(wanted.instance);
  const free = inputs.free.find(other => other.subject === subject) ?? freeInstanceOf(world, wanted, runsOn);
  const others = inputs.placed.filter(other => other.instance !== wanted.instance);
  return rank([free], inputs.nodes, others)[0] ?? null;
}
