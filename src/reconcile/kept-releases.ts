import type { AppRecord, ReleaseRecord } from '../model/records.ts';
import { releaseBefore } from './rollback.ts';

/** Of each app, the newest releases that can be gone back to without a build. */
const NEWEST_KEPT = 5;

/**
 * Those of one app's releases, oldest first, that are kept with their artifacts: the newest, what is wanted, what a rollout or an
 * operator goes back to from there, and what is `inUse` otherwise. Of an app that is gone the newest is kept, so that its number is
 * not used again.
 */
export function keptReleases(
  record: AppRecord | undefined,
  releases: readonly ReleaseRecord[],
  inUse: ReadonlySet<number> = new Set(),
): ReleaseRecord[] {
  const wanted = record ? [record.release, ...(record.rollout ? [record.rollout.before.release] : [])] : [];
  const before = wanted.map(release => releaseBefore(release, releases)?.release);
  const newest = releases.slice(record ? -NEWEST_KEPT : -1);
  return releases.filter(
    each => newest.includes(each) || [...wanted, ...before].includes(each.release) || inUse.has(each.release),
  );
}
