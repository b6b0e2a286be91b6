import type { PlanCancel, PlanRecord, PlanState, StepOutput } from '../../model/plan.ts';
import type { PlanEvent, PlanSummary, PlanView, StepView, SubmittedPlan } from '../../model/plan-views.ts';
import { AdminError, type Listing } from '../../ports/admin.ts';
import { ArtifactError } from '../../ports/artifacts.ts';
import type { Blobs } from '../../ports/blobs.ts';
import type { Clock } from '../../ports/clock.ts';
import type { PlanFilter, Plans, PlanSubmission, StepFilter } from '../../ports/plans.ts';
import type { Store } from '../../ports/store.ts';
import { asAdminErrors } from '../admin-errors.ts';
import type { KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';
import { planSummary, planView, stepView } from './plan-views.ts';
import { PlanWatch } from './plan-watch.ts';
import type { Here } from './unmanned.ts';
import { retryPlan } from './retry-plan.ts';
import { removePlan } from './remove-plan.ts';
import type { Schedules } from './schedules.ts';
import type { Submit } from './submit.ts';
import type { Moment } from '../../workflow/history.ts';

const TRIES = 5;

export interface PlanServiceOptions {
  store: Pick<Store, 'commit' | 'get' | 'list'>;
  book: PlanBook;
  submit: Submit;
  schedules: Schedules;
  blobs: Blobs | null;
  here: Here;
  clock: Clock;
  moment: Moment;
  revision: () => bigint;
  /** Up to which this node's copy of the steps holds everything. */
  caughtUp: () => bigint;
}

/** Serves plans from this node's book of them; what it changes, it changes in the store. */
export class PlanService implements Plans {
  readonly #options: PlanServiceOptions;

  constructor(options: PlanServiceOptions) {
    this.#options = options;
  }

  check: Plans['check'] = spec => this.#options.submit.check(spec);

  async submit(request: PlanSubmission): Promise<SubmittedPlan> {
    const submitted = await asAdminErrors(() => asAnswers(() => this.#options.submit.submit(request)));
    switch (submitted.kind) {
      case 'created':
        return { plan: this.#view(submitted.plan), created: true };
      case 'same':
        return { plan: await this.plan(submitted.plan), created: false };
      case 'refused':
        throw new AdminError('unavailable', 'the plan could not be written: try again');
    }
  }

  async plan(id: string): Promise<PlanView> {
    return this.#view(await this.#known(id));
  }

  async steps(id: string, filter: StepFilter): Promise<Listing<StepView>> {
    const plan = await this.#defined(id);
    const { states, first = 0, limit = Infinity } = filter;
    const items: StepView[] = [];
    for (let index = first; index < plan.steps && items.length < limit; index++) {
      const state = plan.records[index]?.state ?? 'PENDING';
      if (states === undefined || states.includes(state)) items.push(stepView(plan, index));
    }
    return { revision: this.#revision(plan), items };
  }

  async step(id: string, index: number): Promise<StepView> {
    const plan = await this.#defined(id);
    mustHave(plan, index);
    return stepView(plan, index);
  }

  async output(id: string, index: number, signal: AbortSignal): Promise<Uint8Array | null> {
    const plan = await this.#known(id);
    mustHave(plan, index);
    const { output, state = 'PENDING' } = plan.records[index] ?? {};
    if (output !== undefined) return this.#read(output, signal);
    if (state === 'COMPLETED') return null;
    throw new AdminError('conflict', `step ${index} of plan ${id} has given nothing: it is ${state}`, {
      state,
    });
  }

  list: Plans['list'] = filter => Promise.resolve().then(() => this.#list(filter));

  async cancel(id: string, by: string): Promise<PlanView> {
    const { clock } = this.#options;
    const cancel: PlanCancel = { kind: 'asked', by, at: clock.timestamp() };
    return this.#change(id, record => {
      if (record.settled !== null) throw ended(id, record.settled.state, 'there is nothing to cancel');
      return record.cancel === null ? { ...record, cancel } : null;
    });
  }

  async retry(id: string, only: number[] | null): Promise<PlanView> {
    const plan = await this.#defined(id);
    for (const index of only ?? []) mustHave(plan, index);
    await asAdminErrors(() => retryPlan(this.#options, plan, only));
    return this.#view(plan);
  }

  async forget(id: string): Promise<void> {
    const plan = await this.#known(id);
    if (!plan.settled) {
      throw new AdminError('conflict', `plan ${id} has not ended, it is ${plan.state()}: cancel it first`);
    }
    const removed = await asAdminErrors(() => removePlan(this.#options.store, plan.entry));
    if (!removed) throw new AdminError('conflict', `plan ${id} was changed meanwhile; nothing was removed`);
  }

  watch(id: string, after: string | null, signal: AbortSignal): AsyncIterable<PlanEvent> {
    return this.#watch(id, after === null ? null : cursor(after), signal);
  }

  schedules: Plans['schedules'] = () => this.#options.schedules.list();
  schedule: Plans['schedule'] = name => this.#options.schedules.view(name);
  putSchedule: Plans['putSchedule'] = (name, request) =>
    asAdminErrors(() => this.#options.schedules.put(name, request, 'api'));
  pauseSchedule: Plans['pauseSchedule'] = (name, paused) =>
    asAdminErrors(() => this.#options.schedules.pause(name, paused));
  runSchedule: Plans['runSchedule'] = async name =>
    this.plan(await asAdminErrors(() => this.#options.schedules.run(name)));
  removeSchedule: Plans['removeSchedule'] = name => asAdminErrors(() => this.#options.schedules.remove(name));

  async *#watch(id: string, after: bigint | null, signal: AbortSignal): AsyncGenerator<PlanEvent> {
    const plan = await this.#known(id);
    const { book, caughtUp, here } = this.#options;
    const watch = new PlanWatch(book, plan, after, { caughtUp, here });
    const close = (): void => watch.close();
    signal.addEventListener('abort', close, { once: true });
    if (signal.aborted) close();
    try {
      yield* watch.events();
    } finally {
      signal.removeEventListener('abort', close);
      close();
    }
  }

  #list(filter: PlanFilter): Listing<PlanSummary> & { next: string | null } {
    const { book, revision } = this.#options;
    const after = filter.after === undefined ? null : cursor(filter.after);
    const plans = [...book.all()]
      .filter(plan => after === null || plan.entry.createRevision < after)
      .filter(plan => filter.origin === undefined || plan.entry.value.origin === filter.origin)
      .filter(plan => filter.title === undefined || hasTitle(plan, filter.title))
      .sort(newestFirst);
    const found: KnownPlan[] = [];
    for (const plan of plans) {
      if (filter.states !== undefined && !filter.states.includes(plan.state())) continue;
      found.push(plan);
      if (found.length > filter.limit) break;
    }
    const page = found.slice(0, filter.limit);
    const last = found.length > filter.limit ? page.at(-1) : undefined;
    return {
      revision: String(revision()),
      items: page.map(planSummary),
      next: last === undefined ? null : String(last.entry.createRevision),
    };
  }

  #view(plan: KnownPlan): PlanView {
    return planView(plan, BigInt(this.#revision(plan)), this.#options.here);
  }

  #revision(plan: KnownPlan): string {
    const revision = this.#options.revision();
    return String(plan.newest > revision ? plan.newest : revision);
  }

  /** As the copy has it; of one that has not come to it yet, as the store has it. @throws AdminError */
  async #known(id: string): Promise<KnownPlan> {
    const { book, store } = this.#options;
    const known = book.get(id);
    if (known?.whole === true) return known;
    return asAdminErrors(async () => {
      const entry = id === '' ? null : await store.get('plans', id);
      if (entry === null) throw new AdminError('not-found', `there is no plan "${id}"`);
      const { entries } = await store.list('steps', { prefix: `${id}/` });
      book.learnPlan(entry);
      for (const chunk of entries) book.learnChunk(chunk);
      const plan = book.get(id);
      if (plan === undefined) throw new AdminError('not-found', `there is no plan "${id}" any more`);
      return plan;
    });
  }

  async #defined(id: string): Promise<KnownPlan> {
    const plan = await this.#known(id);
    await asAdminErrors(() => this.#options.book.read(plan));
    if (plan.spec === null) throw new AdminError('not-found', `the steps of plan "${id}" are gone`);
    return plan;
  }

  /** `edit` gives null when it is so already. */
  async #change(id: string, edit: (record: PlanRecord) => PlanRecord | null): Promise<PlanView> {
    const { store, book } = this.#options;
    const plan = await this.#known(id);
    return asAdminErrors(async () => {
      for (let attempt = 0; attempt < TRIES; attempt++) {
        const { entry } = plan;
        const value = edit(entry.value);
        if (value === null) return this.#view(plan);
        const result = await store.commit(
          [{ kind: 'plans', name: id, revision: entry.revision }],
          [{ put: 'plans', name: id, value }],
        );
        if (result.kind === 'committed') {
          book.learnPlan({ ...entry, value, revision: result.revision });
          return this.#view(plan);
        }
        const now = await store.get('plans', id);
        if (now === null) throw new AdminError('not-found', `there is no plan "${id}" any more`);
        book.learnPlan(now);
      }
      throw new AdminError('conflict', `plan ${id} is being changed by others all the time`);
    });
  }

  async #read(output: StepOutput, signal: AbortSignal): Promise<Uint8Array> {
    if ('value' in output) {
      const { value } = output;
      return new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
    }
    const { blobs } = this.#options;
    if (blobs === null) throw new AdminError('unavailable', 'this node has no blobs');
    return asAnswers(() => blobs.get(output.digest, signal));
  }
}

function mustHave(plan: KnownPlan, index: number): void {
  if (Number.isInteger(index) && index >= 0 && index < plan.steps) return;
  throw new AdminError(
    'not-found',
    `plan ${plan.id} has no step ${index}: its steps are numbered 0 to ${plan.steps - 1}`,
  );
}

function ended(id: string, state: PlanState, what: string): AdminError {
  return new AdminError('conflict', `plan ${id} has ended, it is ${state}: ${what}`, { state });
}

/** @throws AdminError */
function cursor(text: string): bigint {
  if (/^\d{1,19}$/.test(text)) return BigInt(text);
  throw new AdminError('invalid', `"${text}" is no place to go on from: give "next" of the page before`);
}

function hasTitle(plan: KnownPlan, part: string): boolean {
  return plan.entry.value.spec.title?.includes(part) === true;
}

function newestFirst(a: KnownPlan, b: KnownPlan): number {
  const difference = b.entry.createRevision - a.entry.createRevision;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** What can't be had or kept of bytes elsewhere. */
async function asAnswers<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ArtifactError)) throw error;
    throw new AdminError('unavailable', error.message);
  }
}
