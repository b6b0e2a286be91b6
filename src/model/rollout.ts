import type { AppSpec } from './app-spec.ts';
import type { AppRecord, ReleaseState } from './records.ts';

export function releaseState({ release, spec, artifact, source, restarts }: AppRecord): ReleaseState {
  return { release, spec, artifact, ...(source === undefined ? {} : { source }), restarts };
}

/** What runs where only one release can: until one that is being tried takes over, that of before. */
export function inCharge(record: AppRecord): ReleaseState {
  const { rollout } = record;
  return rollout && rollout.stage !== 'replacing' ? rollout.before : releaseState(record);
}

/** What a copy of a release is checked by: its own spec, while that is still known. */
export function specOfRelease({ spec, rollout }: AppRecord, release: number): AppSpec {
  return rollout?.before.release === release ? rollout.before.spec : spec;
}

/** What an app answers for, what it may have to go back to included: nobody else may have these names. */
export function heldHostnames({ spec, rollout }: Pick<AppRecord, 'spec' | 'rollout'>): string[] {
  const before = rollout && rollout.final !== true ? rollout.before.spec.hostnames : [];
  return [...new Set([...spec.hostnames, ...before])];
}

/** What is gone back to when a release that follows on this record is given up: the last that all instances ran. */
export function settledState(record: AppRecord): ReleaseState {
  const { rollout } = record;
  return rollout && rollout.final !== true ? rollout.before : releaseState(record);
}
