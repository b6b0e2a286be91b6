import type { AppName } from '../../model/ids.ts';
import { keptReleases } from '../../reconcile/kept-releases.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Compare, Entry, Store } from '../../ports/store.ts';
import { Loop } from '../loop.ts';
import type { World } from '../world.ts';

const EVERY_MS = 60 * 60_000;
const LOOK_AGAIN_MS = 60_000;
/** What one transaction takes, with what it compares besides. */
const REMOVED_AT_ONCE = 100;

export interface OldReleasesOptions {
  store: Pick<Store, 'commit' | 'list'>;
  world: Pick<World, 'plans' | 'promises'>;
  /** Null = another node does it. */
  elected: () => string | null;
  clock: Clock;
  log: Log;
}

/** Removes the records of releases that nobody can go back to any more. */
export function oldReleasesLoop(options: OldReleasesOptions): Loop {
  const { store, elected, clock, log } = options;
  return new Loop({
    name: 'old releases',
    clock,
    log,
    everyMs: EVERY_MS,
    round: async signal => {
      if (elected() === null) return LOOK_AGAIN_MS;
      const [deploys, apps, releases] = [
        await store.list('deploys'),
        await store.list('apps'),
        await store.list('releases'),
      ];
      const deploying = new Set(deploys.entries.map(({ name }) => name));
      const currents = new Map(apps.entries.map(entry => [entry.name, entry]));
      const byApp = new Map<AppName, Entry<'releases'>[]>();
      for (const entry of releases.entries) {
        const { app } = entry.value;
        byApp.set(app, [...(byApp.get(app) ?? []), entry]);
      }
      for (const [app, entries] of byApp) {
        if (signal.aborted) break;
        if (!deploying.has(app)) await remove(options, app, currents.get(app), entries);
      }
      return null;
    },
  });
}

/** Unless the app was changed, or deployed, since it was looked at: then another time. @throws StoreError */
async function remove(
  { store, world, log }: OldReleasesOptions,
  app: AppName,
  current: Entry<'apps'> | undefined,
  entries: readonly Entry<'releases'>[],
): Promise<void> {
  const releases = entries.map(({ value }) => value);
  const kept = new Set(keptReleases(current?.value, releases, inUse(world, app, entries)));
  const old = entries.filter(({ value }) => !kept.has(value)).slice(0, REMOVED_AT_ONCE);
  if (old.length === 0) return;
  const compares: Compare[] = [
    { kind: 'deploys', name: app, is: 'absent' },
    current
      ? { kind: 'apps', name: app, revision: current.revision }
      : { kind: 'apps', name: app, is: 'absent' },
    ...old.map(({ name, revision }): Compare => ({ kind: 'releases', name, revision })),
  ];
  const result = await store.commit(
    compares,
    old.map(({ name }) => ({ delete: 'releases', name })),
  );
  if (result.kind === 'committed') log.info('removed releases of long ago', { app, releases: old.length });
}

/** What runs, by the word of any node, and what a deployment that goes on has made. */
function inUse(
  { promises, plans }: OldReleasesOptions['world'],
  app: AppName,
  entries: readonly Entry<'releases'>[],
): Set<number> {
  const running = promises.all().flatMap(({ value: { promise } }) => {
    const { body } = promise;
    return body.kind === 'running' && body.app === app ? [body.release] : [];
  });
  const settling = entries.flatMap(({ value: { release, deployment } }) =>
    deployment !== undefined && plans.get(deployment)?.value.settled === null ? [release] : [],
  );
  return new Set([...running, ...settling]);
}
