import type { StepSpec } from '../../model/plan.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Change, Entry, Mirror, Store } from '../../ports/store.ts';
import { specOf } from '../../workflow/submission.ts';
import { KeyHolders } from './key-holders.ts';
import { KnownPlan, type Touched } from './known-plan.ts';

const READ_AGAIN_MS = 500;

export interface PlanBookOptions {
  world: {
    plans: Mirror<'plans'>;
    steps: Mirror<'steps'>;
    guards: Mirror<'guards'>;
    sessions: Mirror<'sessions'>;
  };
  store: Pick<Store, 'list'>;
  clock: Clock;
  log: Log;
}

/** As after a restore: what this node knows beyond that is history. */
function wentBack({ before, after }: Change): boolean {
  return before !== undefined && after !== undefined && after.revision < before.revision;
}

type Listener = (plan: KnownPlan, touched: Touched) => void;

/**
 * All plans as this node knows them: what its copies of the store say, and what it wrote itself and has not come back yet.
 * Nothing is owned because the book says so: every write compares.
 */
export class PlanBook {
  readonly holders: KeyHolders;
  readonly #options: PlanBookOptions;
  readonly #plans = new Map<string, KnownPlan>();
  readonly #open = new Set<KnownPlan>();
  readonly #reading = new Map<string, Promise<void>>();
  readonly #listeners = new Set<Listener>();
  readonly #stops: (() => void)[];

  constructor(options: PlanBookOptions) {
    const { plans, steps, guards, sessions } = options.world;
    this.#options = options;
    this.holders = new KeyHolders({ guards, steps, sessions });
    this.#stops = [
      plans.onChange(changes => {
        if (changes.some(wentBack)) this.reset();
        for (const { name, after } of changes) {
          if (after) this.learnPlan(after);
          else this.#drop(name);
        }
      }),
      steps.onChange(changes => {
        if (changes.some(wentBack)) this.reset();
        for (const { after } of changes) if (after) this.learnChunk(after);
      }),
      guards.onChange(() => {
        this.holders.caughtUp();
      }),
    ];
    this.reset();
  }

  get(id: string): KnownPlan | undefined {
    return this.#plans.get(id);
  }

  all(): Iterable<KnownPlan> {
    return this.#plans.values();
  }

  /** Those that have not come to their end. */
  open(): Iterable<KnownPlan> {
    return this.#open;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Called after a plan changed, with the chunks that should be looked at again. Returns how to stop. */
  onTouched(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Of one's own plan the definitions are known before they come back. */
  learnNew(plan: Entry<'plans'>, steps: StepSpec[], chunks: readonly Entry<'steps'>[]): KnownPlan {
    const { clock } = this.#options;
    const known = this.#plans.get(plan.name) ?? new KnownPlan(plan, clock.now());
    if (known.spec === null) known.define({ ...plan.value.spec, steps });
    this.#add(known);
    this.learnPlan(plan);
    for (const chunk of chunks) this.learnChunk(chunk);
    return known;
  }

  learnPlan(entry: Entry<'plans'>): void {
    const { clock } = this.#options;
    const known = this.#plans.get(entry.name);
    if (known === undefined) {
      this.#add(new KnownPlan(entry, clock.now()));
      return;
    }
    if (!known.learnPlan(entry, clock.now())) return;
    this.#sort(known);
    this.#tell(known, 'all');
  }

  learnChunk(entry: Entry<'steps'>): void {
    const known = this.#plans.get(entry.value.plan);
    if (known === undefined) return;
    const touched = known.learnChunk(entry, this.#options.clock.now());
    const { chunk } = entry.value;
    if (touched !== 'all' && touched.size === 0) return;
    this.#learnKeys(known, chunk);
    this.#tell(known, known.whole ? touched : new Set());
  }

  /** Reads what a plan's steps are, if that is not known. Of one that is gone: leaves it so. @throws StoreError */
  async read(plan: KnownPlan): Promise<void> {
    if (plan.spec !== null) return;
    let reading = this.#reading.get(plan.id);
    if (reading === undefined) {
      reading = this.#read(plan).finally(() => this.#reading.delete(plan.id));
      this.#reading.set(plan.id, reading);
    }
    await reading;
  }

  /** After a loss of the session everything is as the copies say: what was written before may have been undone by a restore. */
  reset(): void {
    const { plans } = this.#options.world;
    this.#plans.clear();
    this.#open.clear();
    this.holders.clear();
    for (const entry of plans.all()) this.learnPlan(entry);
  }

  close(): void {
    for (const stop of this.#stops) stop();
    this.#listeners.clear();
  }

  #add(plan: KnownPlan): void {
    const { steps } = this.#options.world;
    if (this.#plans.has(plan.id)) return;
    this.#plans.set(plan.id, plan);
    for (let chunk = 0; chunk < plan.chunks.length; chunk++) {
      const entry = steps.get(plan.name(chunk));
      if (entry) plan.learnChunk(entry, this.#options.clock.now());
    }
    this.#sort(plan);
    this.#tell(plan, 'all');
  }

  /** Among the open ones, or not. */
  #sort(plan: KnownPlan): void {
    const open = !plan.settled;
    if (open === this.#open.has(plan) && open) return;
    if (open) {
      this.#open.add(plan);
      if (plan.spec === null) this.#readSoon(plan);
      else this.#nowDefined(plan);
      return;
    }
    this.#open.delete(plan);
    this.#tellUsers(this.holders.use(plan, false));
    plan.undefine();
  }

  #nowDefined(plan: KnownPlan): void {
    if (plan.settled) return;
    this.holders.use(plan, true);
    for (let chunk = 0; chunk < plan.chunks.length; chunk++) this.#learnKeys(plan, chunk);
  }

  #learnKeys(plan: KnownPlan, chunk: number): void {
    this.#tellUsers(this.holders.learn(plan, chunk));
  }

  /** Somebody may start what waited for one of these. */
  #tellUsers(keys: readonly string[]): void {
    for (const key of keys) for (const user of this.holders.usersOf(key)) this.#tell(user, 'all');
  }

  #readSoon(plan: KnownPlan): void {
    const { clock, log } = this.#options;
    this.read(plan).catch((error: unknown) => {
      if (this.#plans.get(plan.id) !== plan) return;
      log.warn('the steps of a plan could not be read and are asked for again', { plan: plan.id, error });
      clock.after(READ_AGAIN_MS, () => {
        if (this.#open.has(plan)) this.#readSoon(plan);
      });
    });
  }

  async #read(plan: KnownPlan): Promise<void> {
    const { entries } = await this.#options.store.list('definitions', { prefix: `${plan.id}/` });
    const spec = specOf(
      plan.entry.value,
      entries.map(({ value }) => value),
    );
    if (spec === null || this.#plans.get(plan.id) !== plan) return;
    plan.define(spec);
    this.#nowDefined(plan);
    this.#tell(plan, 'all');
  }

  #drop(id: string): void {
    const plan = this.#plans.get(id);
    if (plan === undefined) return;
    this.#plans.delete(id);
    this.#open.delete(plan);
    this.#tellUsers(this.holders.use(plan, false));
    this.#tell(plan, 'all');
  }

  #tell(plan: KnownPlan, touched: Touched): void {
    for (const listener of this.#listeners) listener(plan, touched);
  }
}
