import type { Artifacts } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Store } from '../ports/store.ts';
import type { ReleasePlaces } from './app-places.ts';
import { inTheMaking } from './copies-loop.ts';
import type { Deployments } from './deploy/deployments.ts';
import type { InstanceLoop } from './instance-loop.ts';
import { parseInstanceId } from '../model/ids.ts';
import { Loop } from './loop.ts';
import type { World } from './world.ts';

const EVERY_MS = 60 * 60_000;
/** Releases of each app whose artifacts are kept, so that going back needs no build. */
const RELEASES_KEPT = 5;

export interface CollectLoopOptions {
  world: World;
  store: Store;
  artifacts: Artifacts;
  instances: InstanceLoop;
  deployments: Deployments;
  places: ReleasePlaces;
  clock: Clock;
  log: Log;
}

/** Removes artifacts and unpacked releases that nothing here needs any more. */
export function collectLoop(options: CollectLoopOptions): Loop {
  const { world, store, artifacts, instances, deployments, places, clock, log } = options;
  return new Loop({
    name: 'collect',
    clock,
    log,
    everyMs: EVERY_MS,
    round: async () => {
      const { entries } = await store.list('releases');
      const kept = world.apps.all().flatMap(({ name }) =>
        entries
          .map(entry => entry.value)
          .filter(release => release.app === name)
          .slice(-RELEASES_KEPT),
      );
      const records = world.apps.all().map(entry => entry.value);
      const wanted = records.flatMap(record => [
        record,
        ...(record.rollout ? [{ ...record, ...record.rollout.before }] : []),
      ]);
      const digests = [
        ...[...wanted, ...kept].flatMap(({ artifact }) => (artifact ? [artifact.digest] : [])),
        ...wanted.flatMap(({ source }) => source ?? []),
        ...inTheMaking(world),
      ];
      const releases = [
        ...wanted.map(({ app, release }) => ({ app, release })),
        ...instances
          .units()
          .map(({ instance, release }) => ({ app: parseInstanceId(instance).app, release })),
        ...deployments.deploying().map(({ app, release }) => ({ app, release })),
        ...places.inUse(),
      ];
      const { removed } = await artifacts.collect({ digests, releases });
      if (removed > 0) log.info('removed what nothing needs any more', { removed });
      return null;
    },
  });
}
