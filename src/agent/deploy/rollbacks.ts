import type { AppName } from '../../model/ids.ts';
import type { AppRecord, ReleaseRecord } from '../../model/records.ts';
import type { ReleaseView } from '../../model/views.ts';
import { goneBackTo, releaseBefore } from '../../reconcile/rollback.ts';
import { AdminError, type Listing } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Entry, Store } from '../../ports/store.ts';
import { asAdminErrors } from '../admin-errors.ts';
import { backTo, hostnameWrites, rolloutFrom } from './change-release.ts';
import type { Ledger } from '../ledger.ts';
import type { Platforms } from './platforms.ts';
import type { Supplies } from '../supplies.ts';
import { worldShows } from '../world-change.ts';
import type { World } from '../world.ts';

export interface RollbacksOptions {
  world: World;
  store: Store;
  supplies: Pick<Supplies, 'canBeHad'>;
  platforms: Pick<Platforms, 'lost'>;
  ledger: Ledger;
  clock: Clock;
}

/** Going back to a release that was deployed before: nothing is built. */
export class Rollbacks {
  readonly #options: RollbacksOptions;

  constructor(options: RollbacksOptions) {
    this.#options = options;
  }

  /** Newest first. @throws AdminError */
  async releases(app: AppName): Promise<Listing<ReleaseView>> {
    const current = await this.#current(app);
    const { entries, revision } = await this.#recorded(app);
    const items = entries.map(async ({ value }) => ({
      app,
      release: value.release,
      version: value.spec.version,
      at: value.at,
      artifact: value.artifact?.digest ?? null,
      replaces: value.replaces ?? null,
      current: value.release === current.value.release,
      kept: (await this.#whyNot(value, current.value)) === null,
    }));
    return { revision: String(revision), items: (await Promise.all(items)).reverse() };
  }

  /** To the release given, or to what the present one took the place of. This node shows it then. @throws AdminError */
  async rollback(
    app: AppName,
    asked: number | null,
    reason = 'an operator asked for it',
  ): Promise<AppRecord> {
    const { store, ledger } = this.#options;
    const current = await this.#current(app);
    const { release: from, rollout } = current.value;
    const target = await this.#target(current.value, asked);
    const record =
      rollout?.final !== true && rollout?.before.release === target.release
        ? backTo(current.value, rollout.before)
        : this.#goneBack(current.value, target);
    delete record.givenUp;
    const result = await asAdminErrors(() =>
      store.commit(
        [{ kind: 'apps', name: app, revision: current.revision }],
        [{ put: 'apps', name: app, value: record }, ...hostnameWrites(current.value, record)],
      ),
    );
    if (result.kind === 'refused') {
      throw new AdminError(
        'conflict',
        `"${app}" was changed by somebody else meanwhile: nothing was changed`,
      );
    }
    ledger.note({
      kind: 'app-rolled-back',
      subject: `app/${app}`,
      message: `"${app}" goes back from release ${from} to ${target.release}: ${reason}`,
      details: { from, to: target.release },
    });
    await worldShows(this.#options, 'apps', result.revision);
    return record;
  }

  async #target(current: AppRecord, asked: number | null): Promise<ReleaseRecord> {
    const { app, release, rollout } = current;
    const releases = (await this.#recorded(app)).entries.map(entry => entry.value);
    const instead = rollout?.final === true ? undefined : rollout?.before.release;
    const known = releases.map(other => other.release).filter(other => other !== release);
    const target =
      asked === null
        ? (releases.find(other => other.release === instead) ?? releaseBefore(release, releases))
        : (releases.find(other => other.release === asked) ?? null);
    if (target === null) {
      throw asked === null
        ? new AdminError('conflict', `"${app}" has no release before ${release}`)
        : new AdminError('not-found', `"${app}" has no release ${asked}`, {
            known,
            hint: `hop3-agent rollback ${app} --list shows those that it has`,
          });
    }
    if (target.release === release) {
      throw new AdminError('conflict', `release ${release} of "${app}" is what is wanted already`, { known });
    }
    const whyNot = await this.#whyNot(target, current);
    if (whyNot === null) return target;
    const message = `what release ${target.release} of "${app}" runs ${whyNot}: apply its manifest again`;
    throw new AdminError('conflict', message, { known });
  }

  #goneBack(current: AppRecord, target: ReleaseRecord): AppRecord {
    const record: AppRecord = {
      ...current,
      release: target.release,
      generation: current.generation + 1,
      spec: goneBackTo(target.spec, current.spec),
      artifact: target.artifact,
      restarts: {},
      appliedAt: this.#options.clock.timestamp(),
    };
    delete record.source;
    if (target.source !== undefined) record.source = target.source;
    // What all instances ran last is there to be returned to, should this one not work any more.
    const rollout = rolloutFrom(current, record);
    if (rollout)
      record.rollout = { ...rollout, stage: rollout.stage === 'canary' ? 'replacing' : rollout.stage };
    else delete record.rollout;
    return record;
  }

  async #current(app: AppName): Promise<Entry<'apps'>> {
    const entry = await asAdminErrors(() => this.#options.store.get('apps', app));
    if (!entry || entry.value.removing) throw new AdminError('not-found', `there is no app "${app}"`);
    return entry;
  }

  #recorded(app: AppName): Promise<{ entries: Entry<'releases'>[]; revision: bigint }> {
    return asAdminErrors(() => this.#options.store.list('releases', { prefix: `${app}/` }));
  }

  /** Why it can't be run again, in words; null = it can. */
  async #whyNot({ spec, artifact }: ReleaseRecord, current: AppRecord): Promise<string | null> {
    const { supplies, platforms } = this.#options;
    if (artifact === null) return null;
    if (!(await supplies.canBeHad(artifact.digest))) return 'is not kept any more';
    const lost = platforms.lost(goneBackTo(spec, current.spec), artifact);
    return lost === null ? null : `was built for ${lost}, and no node of that is left`;
  }
}
