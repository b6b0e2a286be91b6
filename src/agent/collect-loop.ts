import { parseInstanceId, type Digest } from '../model/ids.ts';
import type { AppRecord } from '../model/records.ts';
import { keptReleases } from '../reconcile/kept-releases.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Store } from '../ports/store.ts';
import type { ReleasePlaces } from './app-places.ts';
import { inTheMaking } from './copies-loop.ts';
import type { Deployments } from './deploy/deployments.ts';
import type { InstanceLoop } from './instance-loop.ts';
import { Loop } from './loop.ts';

const EVERY_MS = 60 * 60_000;
const LOOK_AGAIN_MS = 1000;

export interface CollectLoopOptions {
  store: Pick<Store, 'list'>;
  artifacts: Artifacts;
  instances: Pick<InstanceLoop, 'units' | 'statuses'>;
  deployments: Pick<Deployments, 'deploying'>;
  places: Pick<ReleasePlaces, 'inUse'>;
  clock: Clock;
  log: Log;
}

/**
 * Removes artifacts and unpacked releases that nothing here needs any more. What is needed is asked of the store: of a copy that
 * lags behind nobody could say whether it was taken back or is still to come.
 */
export function collectLoop(options: CollectLoopOptions): Loop {
  const { artifacts, instances, deployments, places, clock, log } = options;
  return new Loop({
    name: 'collect',
    clock,
    log,
    everyMs: EVERY_MS,
    round: async () => {
      // Until this node has looked at what runs here, it knows of no copy but those that are wanted.
      if (instances.statuses() === null) return LOOK_AGAIN_MS;
      const { records, digests } = await needed(options.store);
      const releases = [
        ...records.map(({ app, release }) => ({ app, release })),
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

/** The releases that are wanted, or may be again when a rollout is given up, and what of artifacts is to be kept. @throws StoreError */
async function needed(store: Pick<Store, 'list'>): Promise<{ records: AppRecord[]; digests: Digest[] }> {
  // In the order in which a deployment goes through them, so that none is missed between two of them.
  const deploys = await store.list('deploys');
  const apps = await store.list('apps');
  const releases = await store.list('releases');
  const records = apps.entries.flatMap(({ value }) => [
    value,
    ...(value.rollout ? [{ ...value, ...value.rollout.before }] : []),
  ]);
  const kept = apps.entries.flatMap(({ name, value }) => {
    const ofApp = releases.entries.flatMap(entry => (entry.value.app === name ? [entry.value] : []));
    return keptReleases(value, ofApp);
  });
  const digests = [
    ...[...records, ...kept].flatMap(({ artifact }) => (artifact ? [artifact.digest] : [])),
    ...records.flatMap(({ source }) => source ?? []),
    ...inTheMaking(deploys.entries),
  ];
  return { records, digests };
}
