import type { ScheduleRecord } from '../../model/plan.ts';
import type { AppRecord } from '../../model/records.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Log } from '../../ports/log.ts';
import type { Compare, Entry } from '../../ports/store.ts';
import { appOfOrigin, appSchedules, originOf, saysTheSame } from '../../workflow/app-crons.ts';
import type { World } from '../world.ts';
import type { Schedules } from './schedules.ts';

export interface AppSchedulesOptions {
  world: World;
  schedules: Pick<Schedules, 'put' | 'drop'>;
  log: Log;
}

/**
 * Keeps the schedules of apps as their scheduled commands say: whatever has changed an app, a deployment, a rollback or a removal.
 * Each write compares the app as it was read, so that no older release has the last word.
 */
export class AppSchedules {
  readonly #options: AppSchedulesOptions;
  /** What could not be put, as it was last told. */
  readonly #told = new Map<string, string>();

  constructor(options: AppSchedulesOptions) {
    this.#options = options;
  }

  /** @throws StoreError */
  async round(signal: AbortSignal): Promise<void> {
    const { world, schedules } = this.#options;
    for (const app of world.apps.all()) {
      if (signal.aborted) return;
      await this.#put(app);
    }
    for (const { value } of world.schedules.all()) {
      const name = appOfOrigin(value.origin);
      if (name === null || signal.aborted) continue;
      const app = world.apps.get(name);
      if (isWanted(app?.value, value)) continue;
      await schedules.drop(value, asItIs(name, app), app === undefined || app.value.removing);
    }
  }

  async #put(app: Entry<'apps'>): Promise<void> {
    const { world, schedules, log } = this.#options;
    for (const wanted of appSchedules(app.value)) {
      const known = world.schedules.get(wanted.name)?.value;
      if (known !== undefined && known.origin === originOf(app.name) && saysTheSame(known, wanted)) continue;
      const { name, schedule, plan } = wanted;
      const request = { schedule, plan, paused: known?.paused ?? false };
      try {
        await schedules.put(name, request, originOf(app.name), asItIs(app.name, app));
        this.#told.delete(name);
      } catch (error) {
        if (!(error instanceof AdminError)) throw error;
        // Somebody was faster, or there is no room: it is looked at again with the next change, and at the latest in a minute.
        if (this.#told.get(name) !== error.message)
          log.warn('the schedule of an app could not be written', { schedule: name, error });
        this.#told.set(name, error.message);
      }
    }
  }
}

function isWanted(app: AppRecord | undefined, { name }: ScheduleRecord): boolean {
  return app !== undefined && appSchedules(app).some(wanted => wanted.name === name);
}

function asItIs(name: string, app: Entry<'apps'> | undefined): Compare[] {
  return [app ? { kind: 'apps', name, revision: app.revision } : { kind: 'apps', name, is: 'absent' }];
}
