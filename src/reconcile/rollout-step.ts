import type { DeploySpec } from '../model/app-spec.ts';
import type { InstanceId } from '../model/ids.ts';
import type { Rollout } from '../model/records.ts';

/** How it stands with one instance that should run the new release by now. */
export interface RolledInstance {
  instance: InstanceId;
  /** Ready at the new version by its node's word, and kept in the eyes of its observers. */
  healthy: boolean;
  /** Why its node has given the new version up, or, of one that was healthy before, why it is no more; null = neither. */
  failed: string | null;
  sick: string | null;
}

export interface RolloutInput {
  rollout: Rollout;
  deploy: DeploySpec;
  instances: RolledInstance[];
  /** Since more of them were healthy than ever before in this stage, or it began. */
  sinceProgressMs: number;
  /** Since all of them were healthy at once; null = they are not. */
  allHealthyMs: number | null;
}

export type RolloutStep =
  | { kind: 'wait'; forMs: number | null; why: string }
  /** All instances are wanted at the new release from now on; of copies that stand beside, traffic is switched to them. */
  | { kind: 'promote'; reason: string }
  | { kind: 'settle' }
  | { kind: 'give-up'; reason: string };

const defaultBakeSeconds = 60;

/**
 * How a release goes on taking the place of another. Health is what the observers of the promises say, not what a node
 * says of itself. Without progress for `healthy-deadline` it is given up, and so it is as soon as a node has given up an
 * instance, or a canary falls ill while it is being tried.
 */
export function rolloutStep(input: RolloutInput): RolloutStep {
  const { rollout, deploy, instances, allHealthyMs, sinceProgressMs } = input;
  const isFinal = rollout.final === true;
  const failed = instances.find(each => each.failed !== null);
  if (failed && !isFinal) return { kind: 'give-up', reason: `${failed.instance}: ${failed.failed ?? ''}` };
  const sick = rollout.stage === 'canary' ? instances.find(each => each.sick !== null) : undefined;
  if (sick)
    return { kind: 'give-up', reason: `${sick.instance} fell ill while it was tried: ${sick.sick ?? ''}` };
  if (allHealthyMs !== null) return whenHealthy(input, allHealthyMs);
  const late = instances.filter(({ healthy }) => !healthy).map(({ instance }) => instance);
  const deadlineMs = deploy.healthyDeadlineSeconds * 1000;
  if (sinceProgressMs >= deadlineMs && !isFinal) {
    const reason = `not healthy in the eyes of their observers within ${deploy.healthyDeadlineSeconds} s: ${late.join(', ')}`;
    return { kind: 'give-up', reason };
  }
  const why = `${instances.length - late.length} of ${instances.length} are healthy at the new release`;
  return { kind: 'wait', forMs: isFinal ? null : deadlineMs - sinceProgressMs, why };
}

function whenHealthy({ rollout, deploy, instances }: RolloutInput, allHealthyMs: number): RolloutStep {
  const all = `all ${instances.length} are healthy in the eyes of their observers`;
  if (rollout.stage === 'replacing') return { kind: 'settle' };
  const bakeMs = rollout.stage === 'canary' ? (deploy.bakeSeconds ?? defaultBakeSeconds) * 1000 : 0;
  if (allHealthyMs < bakeMs) {
    return {
      kind: 'wait',
      forMs: bakeMs - allHealthyMs,
      why: `${all}, to be watched for ${bakeMs / 1000} s`,
    };
  }
  if (deploy.promote === 'manual')
    return { kind: 'wait', forMs: null, why: `${all}; an operator promotes it` };
  return { kind: 'promote', reason: bakeMs > 0 ? `${all}, and were for ${bakeMs / 1000} s` : all };
}
