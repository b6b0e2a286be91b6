import type { AppSpec } from '../model/app-spec.ts';
import type { ReleaseRecord } from '../model/records.ts';

/** What a release took the place of, as far as that is still known; null = nothing to go back to. */
export function releaseBefore(release: number, releases: readonly ReleaseRecord[]): ReleaseRecord | null {
  const earlier = releases.filter(other => other.release < release);
  const replaced = releases.find(other => other.release === release)?.replaces;
  return earlier.find(other => other.release === replaced) ?? newest(earlier);
}

/**
 * What is wanted after going back: the code, commands, variables, limits and checks of the release, with the scale, host
 * names, placement and way of deploying as they are now. Those are no part of what a release is.
 */
export function goneBackTo(release: AppSpec, now: AppSpec): AppSpec {
  const scales = new Map(now.processes.map(({ type, scale }) => [type, scale]));
  return {
    ...release,
    hostnames: now.hostnames,
    placement: now.placement,
    deploy: now.deploy,
    processes: release.processes.map(process => ({
      ...process,
      scale: scales.get(process.type) ?? process.scale,
    })),
  };
}

function newest(releases: ReleaseRecord[]): ReleaseRecord | null {
  return releases.reduce<ReleaseRecord | null>(
    (latest, each) => (latest !== null && latest.release > each.release ? latest : each),
    null,
  );
}
