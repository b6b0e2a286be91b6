import type { NodeName } from '../../model/ids.ts';
import type { PlanProblem, ScheduleRecord } from '../../model/plan.ts';
import type { ScheduleView } from '../../model/plan-views.ts';
import { AdminError, type Listing } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { ScheduleRequest } from '../../ports/plans.ts';
import type { Compare, Entry, Mirror, Store } from '../../ports/store.ts';
import { timestampOf, unixMs } from '../../workflow/civil.ts';
import { atOverlap, checkCron, dueFirings, firingKey, nextFirings } from '../../workflow/cron.ts';
import { definitionBytes } from '../../workflow/submission.ts';
import type { Ledger } from '../ledger.ts';
import type { PlanBook } from './plan-book.ts';
import type { Submit } from './submit.ts';

/** A firing that is no later than this is on time: an election takes as long. */
const PUNCTUAL_MS = 60_000;
/** How far ahead the next firing is looked for: leap days come every eight years at the most. */
const AHEAD_MS = 9 * 366 * 86_400_000;
/** Of the plan in a schedule's own value. */
const PLAN_BYTES = 256 * 1024;
const LONGEST_WAIT_MS = 60_000;
const MANY = 1_000;

export interface SchedulesOptions {
  node: NodeName;
  schedules: Mirror<'schedules'>;
  store: Pick<Store, 'commit' | 'get'>;
  book: PlanBook;
  submit: Submit;
  cancel: (plan: string, by: string) => Promise<unknown>;
  ledger: Pick<Ledger, 'note'>;
  clock: Clock;
  log: Log;
}

const scheduleName = /^[a-z0-9][a-z0-9._/-]{0,126}$/;

/**
 * Schedules on which plans are made. Each firing is one transaction with the plan it makes, and compares the schedule as it was:
 * whoever makes it fire, and however many think it is for them to do, it fires once.
 */
export class Schedules {
  readonly #options: SchedulesOptions;

  constructor(options: SchedulesOptions) {
    this.#options = options;
  }

  list(): Listing<ScheduleView> {
    const { schedules } = this.#options;
    return {
      revision: String(schedules.revision),
      items: schedules.all().map(({ value }) => this.#view(value)),
    };
  }

  /** @throws AdminError */
  view(name: string): ScheduleView {
    const entry = this.#options.schedules.get(name);
    if (!entry) throw notFound(name);
    return this.#view(entry.value);
  }

  /** @throws AdminError, StoreError */
  async put(name: string, request: ScheduleRequest, origin: string): Promise<ScheduleView> {
    const { store, submit, schedules } = this.#options;
    const problems = this.#check(name, request);
    if (problems.length > 0)
      throw new AdminError('invalid', `the schedule "${name}" can't be accepted`, { problems });
    const before = await store.get('schedules', name);
    if (before !== null && before.value.origin !== origin) {
      const { origin: other } = before.value;
      throw new AdminError('conflict', `the schedule "${name}" is that of ${other}, and changed there`);
    }
    if (before === null && schedules.all().length >= MANY)
      throw new AdminError('full', `there are ${MANY} schedules: remove one first`);
    const value: ScheduleRecord = {
      v: 1,
      name,
      schedule: request.schedule,
      plan: await submit.apart(request.plan),
      paused: request.paused,
      origin,
      dealtWithMs: this.#dealtWithMs(before?.value, request),
      lastFiredAt: before?.value.lastFiredAt ?? null,
      lastOutcome: before?.value.lastOutcome ?? null,
      plans: before?.value.plans ?? [],
    };
    const result = await store.commit([asItIs(name, before)], [{ put: 'schedules', name, value }]);
    if (result.kind === 'refused')
      throw new AdminError('conflict', `the schedule "${name}" was changed meanwhile: look at it again`);
    return this.#view(value);
  }

  /** @throws AdminError, StoreError */
  async pause(name: string, paused: boolean): Promise<ScheduleView> {
    const { store } = this.#options;
    const before = await store.get('schedules', name);
    if (before === null) throw notFound(name);
    if (before.value.paused === paused) return this.#view(before.value);
    const { dealtWithMs } = before.value;
    const value = { ...before.value, paused, dealtWithMs: paused ? dealtWithMs : this.#wallMs() };
    const result = await store.commit([asItIs(name, before)], [{ put: 'schedules', name, value }]);
    if (result.kind === 'refused')
      throw new AdminError('conflict', `the schedule "${name}" was changed meanwhile: try again`);
    return this.#view(value);
  }

  /** Plans it has made go on. @throws AdminError, StoreError */
  async remove(name: string): Promise<void> {
    const { store } = this.#options;
    const result = await store.commit(
      [{ kind: 'schedules', name, is: 'present' }],
      [{ delete: 'schedules', name }],
    );
    if (result.kind === 'refused') throw notFound(name);
  }

  /** Makes the firings that are due. Gives in how long the next one is. */
  async fire(signal: AbortSignal): Promise<number> {
    const { schedules, log } = this.#options;
    let waitMs = LONGEST_WAIT_MS;
    for (const { value } of schedules.all()) {
      if (signal.aborted) break;
      if (value.paused) continue;
      try {
        await this.#fireDue(value, signal);
      } catch (error) {
        log.warn('a schedule could not fire and is tried again', { schedule: value.name, error });
        waitMs = Math.min(waitMs, 1000);
      }
      const nextMs = this.#nextMs(schedules.get(value.name)?.value ?? value);
      if (nextMs !== null) waitMs = Math.min(waitMs, Math.max(0, nextMs - this.#wallMs()));
    }
    return waitMs;
  }

  async #fireDue(known: ScheduleRecord, signal: AbortSignal): Promise<void> {
    const { store } = this.#options;
    const { fire } = dueFirings(known.schedule, known.dealtWithMs, this.#wallMs(), PUNCTUAL_MS);
    for (const firingMs of fire) {
      if (signal.aborted) return;
      // As it is now: this node's copy may be behind its own last firing.
      const entry = await store.get('schedules', known.name);
      if (entry === null || entry.value.paused || entry.value.dealtWithMs >= firingMs) continue;
      await this.#fireAt(entry, firingMs);
    }
  }

  async #fireAt(entry: Entry<'schedules'>, firingMs: number): Promise<void> {
    const { store, submit, cancel, ledger } = this.#options;
    const { value } = entry;
    const { name } = value;
    const running = await this.#stillRunning(value);
    const { start, cancel: replaced, reason } = atOverlap(value.schedule.overlap, running);
    const compare = asItIs(name, entry);
    const dealt = { ...value, dealtWithMs: firingMs, plans: running, lastOutcome: reason };
    const leaveOut = async (why: string): Promise<void> => {
      const after = { ...dealt, lastOutcome: why };
      const result = await store.commit([compare], [{ put: 'schedules', name, value: after }]);
      if (result.kind === 'refused') return;
      ledger.note({ kind: 'firing-left-out', subject: `schedule/${name}`, message: `${name}: ${why}` });
    };
    if (!start) {
      await leaveOut(reason);
      return;
    }
    for (const plan of replaced) await cancel(plan, `schedule ${name}`);
    const key = firingKey(name, firingMs);
    const lastFiredAt = timestampOf(firingMs);
    try {
      await submit.submit(
        { spec: value.plan, idempotencyKey: key, digest: key, origin: `schedule ${name}` },
        plan => ({
          compares: [compare],
          writes: [{ put: 'schedules', name, value: { ...dealt, lastFiredAt, plans: [...running, plan] } }],
        }),
      );
    } catch (error) {
      if (!(error instanceof AdminError) || error.kind === 'unavailable') throw error;
      await leaveOut(`it could not be started: ${error.message}`);
    }
  }

  #check(name: string, { schedule, plan }: ScheduleRequest): PlanProblem[] {
    const problems: PlanProblem[] = [];
    if (!scheduleName.test(name)) {
      const hint = '1 to 127 lower-case letters, digits, dots, slashes, hyphens and underscores';
      problems.push({ field: 'name', message: `"${name}" can't be the name of a schedule`, hint });
    }
    const within = (part: string, found: PlanProblem[]): PlanProblem[] =>
      found.map(problem => ({ ...problem, field: `${part}.${problem.field}` }));
    problems.push(...within('schedule', checkCron(schedule)));
    problems.push(...within('plan', this.#options.submit.check(plan)));
    if (definitionBytes(plan.steps) > PLAN_BYTES) {
      const hint = 'let its first step submit the rest';
      problems.push({ field: 'plan.steps', message: `take more than ${PLAN_BYTES} bytes`, hint });
    }
    return problems;
  }

  /** What it missed while it was paused, or by another expression, is not made up for. */
  #dealtWithMs(before: ScheduleRecord | undefined, { schedule, paused }: ScheduleRequest): number {
    const same =
      before !== undefined &&
      before.schedule.expression === schedule.expression &&
      before.schedule.timeZone === schedule.timeZone &&
      (paused || !before.paused);
    return same ? before.dealtWithMs : this.#wallMs();
  }

  #view(value: ScheduleRecord): ScheduleView {
    const nextMs = value.paused ? null : this.#nextMs(value);
    return {
      name: value.name,
      schedule: value.schedule,
      paused: value.paused,
      title: value.plan.title,
      steps: value.plan.steps.length,
      lastFiredAt: value.lastFiredAt,
      lastOutcome: value.lastOutcome,
      nextFireAt: nextMs === null ? null : timestampOf(nextMs),
      running: this.#running(value),
      origin: value.origin,
    };
  }

  #running({ plans }: ScheduleRecord): string[] {
    return plans.filter(id => this.#options.book.get(id)?.settled === false);
  }

  /** What this node has not heard of yet is asked for. */
  async #stillRunning({ plans }: ScheduleRecord): Promise<string[]> {
    const { book, store } = this.#options;
    const running: string[] = [];
    for (const id of plans) {
      const record = book.get(id)?.entry.value ?? (await store.get('plans', id))?.value;
      if (record?.settled === null) running.push(id);
    }
    return running;
  }

  #nextMs({ schedule, dealtWithMs }: ScheduleRecord): number | null {
    const { expression, timeZone } = schedule;
    const [next] = nextFirings(expression, timeZone, dealtWithMs, this.#wallMs() + AHEAD_MS, 1);
    return next ?? null;
  }

  #wallMs(): number {
    return unixMs(this.#options.clock.timestamp());
  }
}

function asItIs(name: string, entry: Entry<'schedules'> | null): Compare {
  return entry === null
    ? { kind: 'schedules', name, is: 'absent' }
    : { kind: 'schedules', name, revision: entry.revision };
}

function notFound(name: string): AdminError {
  return new AdminError('not-found', `there is no schedule "${name}"`);
}
