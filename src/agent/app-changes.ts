import { suggestion } from '../manifest/nearest.ts';
import type { AppSpec } from '../model/app-spec.ts';
import type { AppName, ProcessType } from '../model/ids.ts';
import type { Problem } from '../model/problem.ts';
import type { AppRecord } from '../model/records.ts';
import { AdminError } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { Store } from '../ports/store.ts';
import { portConflicts } from '../promise/conflicts.ts';
import { asAdminErrors } from './admin-errors.ts';
import { promotedRecord } from './deploy/change-release.ts';
import type { Ledger } from './ledger.ts';
import { worldShows } from './world-change.ts';
import type { World } from './world.ts';

export interface AppChangesOptions {
  world: World;
  store: Store;
  ledger: Ledger;
  clock: Clock;
}

/**
 * What is changed of a wanted app without a deployment. Gives the app's record as it was written, once this node shows it.
 * @throws AdminError
 */
export class AppChanges {
  readonly #options: AppChangesOptions;

  constructor(options: AppChangesOptions) {
    this.#options = options;
  }

  async remove(app: AppName): Promise<void> {
    await this.#change(app, record => ({ ...record, removing: true, generation: record.generation + 1 }));
    this.#tell('app-removed', app, `"${app}" is not wanted any more`);
  }

  /** `warnings` = what keeps some of it from running, as far as that can be told at once. */
  async scale(
    app: AppName,
    scales: Record<ProcessType, number>,
  ): Promise<{ record: AppRecord; warnings: Problem[] }> {
    const { world } = this.#options;
    const { before, after } = await this.#change(app, record => scaled(record, scales));
    const words = Object.entries(scales).map(([type, count]) => `${type}=${count}`);
    this.#tell('app-scaled', app, `"${app}" is scaled to ${words.join(' ')}`);
    const others = world.apps.all().filter(({ name, value }) => name !== app && !value.removing);
    const warnings = portConflicts(
      after.spec,
      before.spec,
      others.map(({ value }) => value.spec),
      [...world.nodes().values()].map(({ value }) => value),
    );
    return { record: after, warnings };
  }

  /** Lets the new release take over that only a share of the instances runs, or that stands ready beside. */
  async promote(app: AppName): Promise<AppRecord> {
    const { after } = await this.#change(app, record => {
      if (!record.rollout || record.rollout.stage === 'replacing') {
        throw new AdminError('conflict', `no release of "${app}" waits to be promoted`);
      }
      return promotedRecord({ ...record, generation: record.generation + 1 });
    });
    this.#tell(
      'rollout-promoted',
      app,
      `release ${after.release} of "${app}" is promoted: an operator asked for it`,
    );
    return after;
  }

  async restart(app: AppName, process: ProcessType | null): Promise<AppRecord> {
    const { after } = await this.#change(app, record => restarted(record, process));
    this.#tell('app-restarted', app, `a restart of "${app}" was asked for`);
    return after;
  }

  async #change(
    app: AppName,
    edit: (record: AppRecord) => AppRecord,
  ): Promise<{ before: AppRecord; after: AppRecord }> {
    const { store } = this.#options;
    for (let attempt = 0; attempt < 5; attempt++) {
      const entry = await asAdminErrors(() => store.get('apps', app));
      if (!entry || entry.value.removing) throw new AdminError('not-found', `there is no app "${app}"`);
      const after = edit(entry.value);
      const result = await asAdminErrors(() =>
        store.commit(
          [{ kind: 'apps', name: app, revision: entry.revision }],
          [{ put: 'apps', name: app, value: after }],
        ),
      );
      if (result.kind !== 'committed') continue;
      await worldShows(this.#options, 'apps', result.revision);
      return { before: entry.value, after };
    }
    throw new AdminError('conflict', `"${app}" is being changed by others all the time; nothing was changed`);
  }

  #tell(kind: string, app: AppName, message: string): void {
    this.#options.ledger.note({ kind, subject: `app/${app}`, message });
  }
}

function scaled(record: AppRecord, scales: Record<string, number>): AppRecord {
  const types = record.spec.processes.map(process => process.type);
  for (const type of Object.keys(scales))
    if (!types.includes(type)) throw noSuchType(record.app, type, types);
  const { rollout } = record;
  return {
    ...record,
    generation: record.generation + 1,
    spec: withScales(record.spec, scales),
    // Whichever of the two releases stays, it has the scale that was asked for.
    ...(rollout
      ? {
          rollout: {
            ...rollout,
            before: { ...rollout.before, spec: withScales(rollout.before.spec, scales) },
          },
        }
      : {}),
  };
}

function withScales(spec: AppSpec, scales: Record<ProcessType, number>): AppSpec {
  const processes = spec.processes.map(process => ({
    ...process,
    scale: scales[process.type] ?? process.scale,
  }));
  return { ...spec, processes };
}

function restarted(record: AppRecord, process: string | null): AppRecord {
  const types = record.spec.processes.map(other => other.type);
  if (process !== null && !types.includes(process)) throw noSuchType(record.app, process, types);
  const restarts = { ...record.restarts };
  for (const type of process === null ? types : [process]) restarts[type] = (restarts[type] ?? 0) + 1;
  return { ...record, generation: record.generation + 1, restarts };
}

/** With the one that may have been meant. */
export function noSuchType(app: AppName, type: string, known: ProcessType[]): AdminError {
  const has = known.length > 0 ? `it has ${known.join(', ')}` : 'it has none';
  const hint = suggestion(type, known);
  return new AdminError('not-found', `"${app}" has no process type "${type}"; ${has}`, {
    known,
    ...(hint !== null && { hint }),
  });
}
