import type { NodeName } from '../../model/ids.ts';
import type { PlanProblem, ScheduleRecord } from '../../model/plan.ts';
import type { ScheduleView } from '../../model/plan-views.ts';
import { AdminError, type Listing } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { ScheduleRequest } from '../../ports/plans.ts';
import type { Random } from '../../ports/random.ts';
import type { Compare, Entry, Mirror, Store } from '../../ports/store.ts';
import { timestampOf, unixMs } from '../../model/civil.ts';
import { appOfOrigin, appSchedules, saysTheSame } from '../../workflow/app-crons.ts';
import { atOverlap, checkCron, dueFirings, firingKey, nextFirings } from '../../workflow/cron.ts';
import { definitionBytes } from '../../workflow/submission.ts';
import type { Ledger } from '../ledger.ts';
import type { PlanBook } from './plan-book.ts';
import type { Submit } from './submit.ts';
import { unmanned, type Here } from './unmanned.ts';

/** A firing that is no later than this is on time: an election takes as long. */
const PUNCTUAL_MS = 60_000;
/** How far ahead the next firing is looked for: leap days come every eight years at the most. */
const AHEAD_MS = 9 * 366 * 86_400_000;
/** Of the plan in a schedule's own value. */
const PLAN_BYTES = 256 * 1024;
const LONGEST_WAIT_MS = 60_000;
const LOOK_AGAIN_MS = 500;
const TRIES = 5;
const MANY = 1_000;

export interface SchedulesOptions {
  node: NodeName;
  schedules: Mirror<'schedules'>;
  store: Pick<Store, 'commit' | 'get'>;
  book: PlanBook;
  submit: Submit;
  here: Here;
  cancel: (plan: string, by: string) => Promise<unknown>;
  ledger: Pick<Ledger, 'note'>;
  clock: Clock;
  random: Random;
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

  /** What `along` compares has to hold as well. @throws AdminError, StoreError */
  async put(
    name: string,
    request: ScheduleRequest,
    origin: string,
    along: Compare[] = [],
  ): Promise<ScheduleView> {
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
    const asked = { ...request, plan: await submit.apart(request.plan) };
    if (before?.value.paused === asked.paused && saysTheSame(before.value, asked))
      return this.#view(before.value);
    const value: ScheduleRecord = {
      v: 1,
      name,
      ...asked,
      origin,
      dealtWithMs: this.#dealtWithMs(before?.value, request),
      lastFiredAt: before?.value.lastFiredAt ?? null,
      lastOutcome: before?.value.lastOutcome ?? null,
      plans: before?.value.plans ?? [],
    };
    const result = await store.commit([asItIs(name, before), ...along], [{ put: 'schedules', name, value }]);
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
    const known = await store.get('schedules', name);
    if (known === null) throw notFound(name);
    const app = appOfOrigin(known.value.origin);
    if (app !== null) {
      const instead = 'take it out of its manifest, or pause it';
      throw new AdminError('conflict', `the schedule "${name}" is that of the app "${app}": ${instead}`);
    }
    const result = await store.commit(
      [{ kind: 'schedules', name, is: 'present' }],
      [{ delete: 'schedules', name }],
    );
    if (result.kind === 'refused') throw notFound(name);
  }

  /** What its app does not want any more goes; with the app itself also what runs of it. @throws StoreError */
  async drop(known: ScheduleRecord, along: Compare[], appIsGone: boolean): Promise<void> {
    const { store, cancel } = this.#options;
    const { name, origin } = known;
    const entry = await store.get('schedules', name);
    if (entry?.value.origin !== origin) return;
    if (appIsGone) for (const plan of await this.#stillRunning(entry.value)) await cancel(plan, origin);
    await store.commit([asItIs(name, entry), ...along], [{ delete: 'schedules', name }]);
  }

  /** Fires now, whenever it would by itself, also one that is paused. Gives the plan. @throws AdminError, StoreError */
  async run(name: string): Promise<string> {
    const { store, random, clock } = this.#options;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const entry = await store.get('schedules', name);
      if (entry === null) throw notFound(name);
      const held = await this.#held(entry.value);
      if (held === null) throw new AdminError('conflict', `the schedule "${name}" is just being changed`);
      const running = await this.#stillRunning(entry.value);
      const { start, cancel, reason } = atOverlap(entry.value.schedule.overlap, running);
      if (!start) throw new AdminError('conflict', `${name}: ${reason}`);
      const key = `run/${name}/${random.hex(8)}`;
      const value = {
        ...entry.value,
        lastFiredAt: clock.timestamp(),
        lastOutcome: 'it was asked for',
        plans: running,
      };
      const plan = await this.#start(entry, value, key, { held, cancel });
      if (plan !== null) return plan;
    }
    throw new AdminError('conflict', `the schedule "${name}" is being changed by others all the time`);
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
      if (nextMs === null) continue;
      // What is due still could not be made to fire, or the copy here has not heard of it yet.
      const inMs = nextMs - this.#wallMs();
      waitMs = Math.min(waitMs, inMs > 0 ? inMs : LOOK_AGAIN_MS);
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
    const { store, ledger } = this.#options;
    const { value } = entry;
    const { name } = value;
    const held = await this.#held(value);
    // Its app wants something else by now: that is put in its place first.
    if (held === null) return;
    const running = await this.#stillRunning(value);
    const { start, cancel, reason } = atOverlap(value.schedule.overlap, running);
    const dealt = { ...value, dealtWithMs: firingMs, plans: running, lastOutcome: reason };
    const leaveOut = async (why: string): Promise<void> => {
      const after = { ...dealt, lastOutcome: why };
      const result = await store.commit([asItIs(name, entry)], [{ put: 'schedules', name, value: after }]);
      if (result.kind === 'refused') return;
      ledger.note({ kind: 'firing-left-out', subject: `schedule/${name}`, message: `${name}: ${why}` });
    };
    if (!start) {
      await leaveOut([reason, ...running.flatMap(id => this.#unmanned(id))].join('; '));
      return;
    }
    try {
      const fired = { ...dealt, lastFiredAt: timestampOf(firingMs) };
      await this.#start(entry, fired, firingKey(name, firingMs), { held, cancel });
    } catch (error) {
      if (!(error instanceof AdminError) || error.kind === 'unavailable') throw error;
      await leaveOut(`it could not be started: ${error.message}`);
    }
  }

  /** In one transaction with the schedule as it is after: the plan; null = something was changed meanwhile. */
  async #start(
    entry: Entry<'schedules'>,
    after: ScheduleRecord,
    key: string,
    { held, cancel: replaced }: { held: Compare[]; cancel: string[] },
  ): Promise<string | null> {
    const { submit, cancel } = this.#options;
    const { name, plan: spec } = entry.value;
    const origin = `schedule ${name}`;
    for (const plan of replaced) await cancel(plan, origin);
    const submitted = await submit.submit({ spec, idempotencyKey: key, digest: key, origin }, plan => ({
      compares: [asItIs(name, entry), ...held],
      writes: [{ put: 'schedules', name, value: { ...after, plans: [...after.plans, plan] } }],
    }));
    if (submitted.kind === 'refused') return null;
    return submitted.kind === 'created' ? submitted.plan.id : submitted.plan;
  }

  /** What has to hold besides for it to fire: that its app still means this; null = it does not. */
  async #held({ name, origin, schedule, plan }: ScheduleRecord): Promise<Compare[] | null> {
    const app = appOfOrigin(origin);
    if (app === null) return [];
    const entry = await this.#options.store.get('apps', app);
    if (entry === null) return null;
    const wanted = appSchedules(entry.value).find(other => other.name === name);
    if (wanted === undefined || !saysTheSame({ schedule, plan }, wanted)) return null;
    return [{ kind: 'apps', name: app, revision: entry.revision }];
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

  /** Why nobody begins it, as far as this node knows. */
  #unmanned(id: string): string[] {
    const { book, here } = this.#options;
    const plan = book.get(id);
    return plan === undefined ? [] : unmanned(plan, here);
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
