import type { Timestamp } from '../../model/ids.ts';
import type { AppRecord, ReleaseState, Rollout } from '../../model/records.ts';
import { heldHostnames, releaseState, settledState } from '../../model/rollout.ts';
import type { Write } from '../../ports/store.ts';

/** The app's record as each step of a change of release leaves it. None of them raises the generation but those that change what is wanted. */

/** How the release of `next` takes the place of what all instances ran last; absent when that is the same one. */
export function rolloutFrom(current: AppRecord, next: ReleaseState): Rollout | undefined {
  const before = settledState(current);
  if (current.unproven || before.release === next.release) return undefined;
  const stages = { canary: 'canary', 'blue-green': 'beside' } as const;
  const { strategy } = next.spec.deploy;
  const stage = strategy === 'canary' || strategy === 'blue-green' ? stages[strategy] : 'replacing';
  const passedOver = passedOverBy(current).filter(release => release !== next.release);
  return { before, stage, ...(passedOver.length > 0 ? { passedOver } : {}) };
}

/** What stands beside and is not let take over any more, and what was not before. */
function passedOverBy({ release, rollout }: AppRecord): number[] {
  const earlier = rollout?.passedOver ?? [];
  return rollout?.stage === 'beside' ? [...earlier, release] : earlier;
}

export function promotedRecord(record: AppRecord): AppRecord {
  return record.rollout ? { ...record, rollout: { ...record.rollout, stage: 'replacing' } } : record;
}

export function settledRecord(record: AppRecord): AppRecord {
  const settled = { ...record };
  delete settled.rollout;
  delete settled.unproven;
  return settled;
}

export function givenUpRecord(record: AppRecord, rollout: Rollout, reason: string, at: Timestamp): AppRecord {
  const { release } = record;
  return { ...backTo(record, rollout.before), givenUp: { release, to: rollout.before.release, reason, at } };
}

/** What ran before is wanted again, as it was; where the new release runs already it is replaced in its turn. */
export function backTo(record: AppRecord, before: ReleaseState): AppRecord {
  const back: AppRecord = { ...record, generation: record.generation + 1 };
  delete back.source;
  return {
    ...back,
    ...before,
    rollout: { before: releaseState(record), stage: 'replacing', final: true },
  };
}

/** What becomes of the host names that an app held and holds no more. Those it takes are for a deployment to claim. */
export function hostnameWrites(before: AppRecord, after: AppRecord): Write[] {
  const kept = heldHostnames(after);
  return heldHostnames(before)
    .filter(name => !kept.includes(name))
    .map(name => ({ delete: 'hostnames', name }));
}
