import type { AppName } from '../../model/ids.ts';
import type { AppRecord, ReleaseDraft, ReleaseRecord } from '../../model/records.ts';
import type { Clock } from '../../ports/clock.ts';
import type { StepTask } from '../../ports/step-agents.ts';
import { StoreError, type Entry, type Store } from '../../ports/store.ts';
import { givenUpRecord, hostnameWrites } from './change-release.ts';
import type { Ledger } from '../ledger.ts';
import type { Rollbacks } from './rollbacks.ts';
import type { World } from '../world.ts';
import { worldChange } from '../world-change.ts';
import { writeRelease } from './write-release.ts';
import { HopelessDeployment } from './hopeless.ts';
import { draftOf, type Doing, type Done } from './preparing.ts';
import { standingOf } from './standing.ts';
import type { HeldTurn, Turns } from './turns.ts';

/** The rollout, too, writes the app's record now and then. */
const TRIES = 5;
const LOOK_EVERY_MS = 1000;

export interface RollingOptions {
  world: World;
  store: Store;
  turns: Turns;
  rollbacks: Rollbacks;
  ledger: Ledger;
  clock: Clock;
}

/** What a deployment has made wanted. */
interface Rolled {
  release: number;
  generation: number;
}

/** The steps of a deployment from when its release is wanted. Nodes replace their instances by themselves, whoever drives this. */
export class Rolling {
  readonly #options: RollingOptions;

  constructor(options: RollingOptions) {
    this.#options = options;
  }

  /** One transaction, with which the turn is over. Done before, by whoever, it is not done again. */
  async roll({ task }: Doing): Promise<Done> {
    const { turns } = this.#options;
    const app = task.work.resource;
    const held = await turns.heldFor(task);
    turns.mayEnd(app);
    const rolled = held === null ? await this.#rolledBefore(task) : await this.#roll(held, task);
    const { release } = rolled;
    const message =
      held?.value.draft?.impact === 'none'
        ? `"${app}" is as the manifest wants it already (release ${release})`
        : `release ${release} of "${app}" is what the cluster wants now`;
    return { ...rolled, message };
  }

  /** Until all instances run it, healthy in the eyes of their observers. @throws HopelessDeployment when that will not be */
  async settle({ task, signal, say }: Doing): Promise<Done> {
    const { store, world, clock } = this.#options;
    const app = task.work.resource;
    const { release } = await this.#rolledBefore(task);
    const asOf = (await store.get('apps', app))?.revision ?? world.apps.revision;
    let told = '';
    let mostReady = -1;
    let progressMs = clock.now();
    for (;;) {
      signal.throwIfAborted();
      const entry = world.apps.get(app);
      const behind = entry === undefined ? world.apps.revision < asOf : entry.revision < asOf;
      if (!behind) {
        const ready = readyInstances(world, app, release);
        if (ready > mostReady) progressMs = clock.now();
        mostReady = Math.max(mostReady, ready);
        const sinceMs = clock.now() - progressMs;
        const standing = standingOf(entry?.value, release, ready, sinceMs, troubleOf(world, app, release));
        if (standing.kind === 'over') return { message: standing.message, release };
        if (standing.kind === 'failed') throw new HopelessDeployment(standing.reason);
        if (standing.message !== told) say(standing.message);
        told = standing.message;
      }
      await worldChange(this.#options, ['apps', 'promises'], LOOK_EVERY_MS, signal);
    }
  }

  /** What was wanted before is wanted again, if there is something. @throws HopelessDeployment when somebody asked for it and there is not */
  async goBack({ task }: Doing): Promise<Done> {
    const { turns } = this.#options;
    const app = task.work.resource;
    // First of all, so that no attempt at rolling it comes after this.
    await turns.letGo(task.plan, app);
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const done = await this.#goBack(task, app);
      if (done !== 'again') return done;
    }
    throw new Error(`"${app}" is being changed by others all the time`);
  }

  async letGo({ task }: Doing): Promise<Done> {
    await this.#options.turns.letGo(task.plan, task.work.resource);
    return null;
  }

  async #roll(held: HeldTurn, task: StepTask): Promise<Rolled> {
    const { store, turns, ledger } = this.#options;
    const { app } = held.value;
    const draft = draftOf(held);
    const { spec, release, impact, source, secrets, artifact } = draft;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const current = await store.get('apps', app);
      if (!isAsLookedAt(draft, current?.value)) {
        throw new HopelessDeployment(
          `"${app}" was changed by somebody else meanwhile: nothing was changed; try again`,
        );
      }
      if (impact === 'none' && current) {
        await turns.letGo(task.plan, app);
        return { release, generation: current.value.generation };
      }
      if (artifact === undefined) throw new HopelessDeployment(`release ${release} has not been built`);
      const made = { spec, release, artifact, source, secrets, deployment: task.plan };
      const along = { compares: turns.compares(held), writes: [{ delete: 'deploys', name: app } as const] };
      const record = await writeRelease(this.#options, made, current, along).catch((error: unknown) => {
        if (error instanceof StoreError && error.outcome === 'refused') return null;
        throw error;
      });
      if (record === null) {
        if ((await turns.held(task.plan, app))?.revision !== held.revision) return this.#rolledBefore(task);
        continue;
      }
      ledger.note({
        kind: 'app-applied',
        subject: `app/${app}`,
        message: `"${app}" is wanted at release ${record.release}, generation ${record.generation}`,
        details: { release: record.release, generation: record.generation, impact, plan: task.plan },
      });
      return { release: record.release, generation: record.generation };
    }
    throw new StoreError(`"${app}", or a host name of it, is being changed by others all the time`, {
      outcome: 'refused',
      retryable: true,
    });
  }

  /** By an attempt whose node, or whose reply, was lost. @throws HopelessDeployment when there was none */
  async #rolledBefore({ plan, work }: StepTask): Promise<Rolled> {
    const { store } = this.#options;
    const app = work.resource;
    const current = await store.get('apps', app);
    const written = await this.#release(app, plan);
    if (written) return { release: written.release, generation: current?.value.generation ?? 0 };
    // Changed in place, or not at all.
    if (current?.value.deployment === plan) {
      return { release: current.value.release, generation: current.value.generation };
    }
    throw new HopelessDeployment(`this deployment of "${app}" is over: deploy it again`);
  }

  async #release(app: AppName, plan: string): Promise<ReleaseRecord | undefined> {
    const { entries } = await this.#options.store.list('releases', { prefix: `${app}/` });
    return entries.map(({ value }) => value).findLast(({ deployment }) => deployment === plan);
  }

  async #goBack({ plan }: StepTask, app: AppName): Promise<Done | 'again'> {
    const { store, rollbacks } = this.#options;
    const written = await this.#release(app, plan);
    const entry = written ? await store.get('apps', app) : null;
    if (!written || !entry || entry.value.removing || entry.value.release !== written.release) return null;
    const { rollout } = entry.value;
    const { release, replaces } = written;
    if (rollout && rollout.final !== true) return this.#giveUp(entry, rollout, plan);
    if (replaces === undefined || entry.value.unproven === true) {
      const message = `release ${release} of "${app}" stays wanted: none before it was healthy, to go back to`;
      // Who has cancelled it wants it undone. Of what fails by itself nothing else is to be expected.
      const cancelled = (await store.get('plans', plan))?.value.cancel ?? null;
      if (cancelled !== null) throw new HopelessDeployment(message);
      return { message };
    }
    // All instances ran it already.
    await rollbacks.rollback(app, replaces, `its deployment, plan ${plan}, is undone`);
    return { message: `release ${replaces} of "${app}" is wanted again` };
  }

  async #giveUp(
    entry: Entry<'apps'>,
    rollout: NonNullable<AppRecord['rollout']>,
    plan: string,
  ): Promise<Done | 'again'> {
    const { store, clock, ledger } = this.#options;
    const { app, release } = entry.value;
    const to = rollout.before.release;
    const reason = `its deployment, plan ${plan}, is undone`;
    const record = givenUpRecord(entry.value, rollout, reason, clock.timestamp());
    const result = await store.commit(
      [{ kind: 'apps', name: app, revision: entry.revision }],
      [{ put: 'apps', name: app, value: record }, ...hostnameWrites(entry.value, record)],
    );
    if (result.kind === 'refused') return 'again';
    ledger.note({
      kind: 'rollout-given-up',
      subject: `app/${app}`,
      message: `release ${release} of "${app}" is given up, ${to} is wanted again: ${reason}`,
      details: { release, to, reason },
    });
    return { message: `release ${to} of "${app}" is wanted again` };
  }
}

/** Or all that has happened to it is that the release which is to be replaced was given up by itself: mended ones may follow. */
function isAsLookedAt({ before, release }: ReleaseDraft, now: AppRecord | undefined): boolean {
  if (before === null || now === undefined) return before === null && now === undefined;
  if (now.generation === before.generation) return true;
  const gaveUp = now.givenUp?.release === before.release && now.generation === before.generation + 1;
  return gaveUp && release > before.release;
}

/** The first line of what one that is not ready has to say; null = none has anything. */
function troubleOf(world: World, app: AppName, release: number): string | null {
  const troubled = world.promises.all().flatMap(({ value: { promise } }) => {
    const { body } = promise;
    if (body.kind !== 'running' || body.app !== app || body.release !== release || body.ready) return [];
    return body.trouble === null ? [] : [`${body.instance}: ${body.trouble.split('\n')[0] ?? ''}`];
  });
  return troubled[0] ?? null;
}

/** By the word of their nodes. */
function readyInstances(world: World, app: AppName, release: number): number {
  return world.promises.all().filter(({ value: { promise } }) => {
    const { body } = promise;
    return body.kind === 'running' && body.app === app && body.release === release && body.ready;
  }).length;
}
