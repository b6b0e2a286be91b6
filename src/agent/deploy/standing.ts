import type { AppRecord } from '../../model/records.ts';

export type ReleaseStanding =
  | { kind: 'goes-on'; message: string }
  | { kind: 'over'; message: string }
  | { kind: 'failed'; reason: string };

/**
 * How it stands with a release that a deployment has made wanted, given the app as it is now. With nothing to go back to nobody
 * gives it up, so it has failed when for its `healthy-deadline` no more instances of it became ready; `trouble` is what one says.
 */
export function standingOf(
  record: AppRecord | undefined,
  release: number,
  ready: number,
  sinceProgressMs: number,
  trouble: string | null,
): ReleaseStanding {
  if (!record || record.removing) return { kind: 'failed', reason: 'the app was removed' };
  const { app, givenUp, rollout } = record;
  if (givenUp?.release === release && record.release !== release) {
    return { kind: 'failed', reason: `release ${release} was given up: ${givenUp.reason}` };
  }
  if (record.release > release) {
    return { kind: 'over', message: `release ${record.release} of "${app}" took its place` };
  }
  if (record.release < release) {
    return { kind: 'failed', reason: `release ${release} is not wanted any more: ${record.release} is` };
  }
  if (rollout && rollout.final !== true) {
    const before = rollout.before.release;
    const stages = {
      canary: `a share of the instances tries release ${release}, the others run ${before}`,
      beside: `release ${release} stands beside ${before}`,
      replacing: `release ${release} takes the place of ${before}`,
    };
    return { kind: 'goes-on', message: `${stages[rollout.stage]}: ${ready} ready` };
  }
  if (record.unproven !== true) return { kind: 'over', message: `release ${release} of "${app}" is settled` };
  const seconds = record.spec.deploy.healthyDeadlineSeconds;
  if (sinceProgressMs >= seconds * 1000) {
    const why = trouble === null ? '' : `: ${trouble}`;
    return {
      kind: 'failed',
      reason: `not healthy within ${seconds} s, with ${ready} instance(s) ready${why}`,
    };
  }
  return { kind: 'goes-on', message: `release ${release} starts: ${ready} ready` };
}
