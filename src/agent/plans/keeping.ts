import type { InstantMs } from '../../model/ids.ts';
import type { PlanLimits } from '../../model/node-config.ts';
import type { StepWork } from '../../model/plan.ts';
import type { Blobs } from '../../ports/blobs.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Store } from '../../ports/store.ts';
import { unixMs } from '../../model/civil.ts';
import type { World } from '../world.ts';
import { guardName } from './key-holders.ts';
import type { KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';
import { removeParts, removePlan } from './remove-plan.ts';

/** Of plans that have ended, those that ended last are kept, with so many steps in all. */
const STEPS_KEPT = 50_000;
const DAY_MS = 86_400_000;
/** What belongs to no plan is that of one that is being submitted, or of one that never came to be. */
const ORPHAN_AFTER_MS = 10 * 60_000;
/** Longer than anybody who lives can have not heard of a guard. */
const UNUSED_AFTER_MS = 10 * 60_000;
const BLOBS_EVERY_MS = 10 * 60_000;
const REMOVED_AT_ONCE = 200;

export interface KeepingOptions {
  keep: Pick<PlanLimits, 'keep' | 'keepDays'>;
  world: Pick<World, 'plans' | 'steps' | 'guards' | 'schedules'>;
  book: PlanBook;
  store: Pick<Store, 'commit' | 'list'>;
  blobs: Blobs | null;
  clock: Clock;
  log: Log;
  elected: () => string | null;
}

/** Keeps the store bounded: the elected node removes what nobody needs any more, and each node looks after its own blobs. */
export class Keeping {
  readonly #options: KeepingOptions;
  readonly #sinceMs = new Map<string, InstantMs>();
  #blobsMs: InstantMs | null = null;

  constructor(options: KeepingOptions) {
    this.#options = options;
  }

  async round(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    if (this.#options.elected() === null) this.#sinceMs.clear();
    else {
      await this.#prune(signal);
      await this.#collect(signal);
    }
    const nowMs = clock.now();
    this.#blobsMs ??= nowMs;
    if (nowMs - this.#blobsMs < BLOBS_EVERY_MS) return;
    this.#blobsMs = nowMs;
    await this.#tend(signal);
  }

  async #prune(signal: AbortSignal): Promise<void> {
    const { book, store, clock, log, keep } = this.#options;
    const wallMs = unixMs(clock.timestamp());
    const surplus = tooMany([...book.all()], keep, wallMs).slice(0, REMOVED_AT_ONCE);
    for (const plan of surplus) {
      if (signal.aborted) return;
      await removePlan(store, plan.entry);
    }
    if (surplus.length > 0) log.info('removed plans that ended long ago', { plans: surplus.length });
  }

  /** Parts of plans that never came to be, and guards of keys that no plan uses. */
  async #collect(signal: AbortSignal): Promise<void> {
    const { world, book, store, clock } = this.#options;
    const nowMs = clock.now();
    const orphans = new Set(
      world.steps.all().flatMap(({ value }) => (book.get(value.plan) === undefined ? value.plan : [])),
    );
    const used = new Set(book.holders.keys().map(guardName));
    const guards = world.guards.all().filter(({ name }) => !used.has(name));
    const seen = [...[...orphans].map(plan => `plan ${plan}`), ...guards.map(({ name }) => `guard ${name}`)];
    for (const key of this.#sinceMs.keys()) if (!seen.includes(key)) this.#sinceMs.delete(key);
    for (const key of seen) if (!this.#sinceMs.has(key)) this.#sinceMs.set(key, nowMs);
    const forMs = (key: string): number => nowMs - (this.#sinceMs.get(key) ?? nowMs);
    for (const plan of orphans) {
      if (!signal.aborted && forMs(`plan ${plan}`) >= ORPHAN_AFTER_MS) await removeParts(store, plan);
    }
    for (const { name, revision } of guards) {
      if (signal.aborted || forMs(`guard ${name}`) < UNUSED_AFTER_MS) continue;
      await store.commit([{ kind: 'guards', name, revision }], [{ delete: 'guards', name }]);
    }
  }

  async #tend(signal: AbortSignal): Promise<void> {
    const { blobs, book, store, world } = this.#options;
    if (blobs === null) return;
    const { entries } = await store.list('definitions');
    const works: StepWork[] = [
      ...entries.flatMap(({ value }) => value.steps),
      ...world.plans.all().flatMap(({ value }) => value.steps ?? []),
      ...world.schedules.all().flatMap(({ value }) => value.plan.steps),
    ].flatMap(step => (step.compensate ? [step, step.compensate] : [step]));
    const inUse = new Set([
      ...works.flatMap(({ payload }) => (payload !== undefined && 'digest' in payload ? payload.digest : [])),
      ...[...book.all()].flatMap(outputsOf),
    ]);
    await blobs.tend(inUse, signal);
  }
}

/** Those beyond what is kept, the longest ended first. */
function tooMany(
  plans: readonly KnownPlan[],
  { keep, keepDays }: KeepingOptions['keep'],
  wallMs: number,
): KnownPlan[] {
  const ended = plans
    .flatMap(plan => {
      const { settled } = plan.entry.value;
      return settled === null ? [] : [{ plan, atMs: unixMs(settled.at) }];
    })
    .sort((a, b) => b.atMs - a.atMs);
  let steps = 0;
  return ended
    .filter(({ plan, atMs }, place) => {
      steps += plan.steps;
      // The last one that ended stays, however large.
      const crowded = place >= keep || (place > 0 && steps > STEPS_KEPT);
      return crowded || wallMs - atMs > keepDays * DAY_MS;
    })
    .map(({ plan }) => plan)
    .reverse();
}

function outputsOf(plan: KnownPlan): string[] {
  return plan.records.flatMap(record => {
    const output = record?.output;
    return output !== undefined && 'digest' in output ? output.digest : [];
  });
}
