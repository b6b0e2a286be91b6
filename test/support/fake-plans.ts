import type { CronSchedule, PlanCancel, PlanProblem, PlanSpec, StepRecord } from '../../src/model/plan.ts';
import type { SettledState, StepResult, StepSpec } from '../../src/model/plan.ts';
import type {
  PlanEvent,
  PlanSummary,
  PlanView,
  ScheduleView,
  StepView,
  SubmittedPlan,
} from '../../src/model/plan-views.ts';
import { AdminError, type Listing } from '../../src/ports/admin.ts';
import type {
  PlanFilter,
  Plans,
  PlanSubmission,
  ScheduleRequest,
  StepFilter,
} from '../../src/ports/plans.ts';
import { checkHttp } from '../../src/drivers/http-question.ts';
import { acceptResult } from '../../src/workflow/attempts.ts';
import { checkSubmission } from '../../src/workflow/check-submission.ts';
import { checkCron } from '../../src/workflow/cron.ts';
import { workedBy, type Moment } from '../../src/workflow/history.ts';
import type { Outlook } from '../../src/workflow/moves.ts';
import { nextMoves } from '../../src/workflow/next-moves.ts';
import { retryByHand } from '../../src/workflow/retry-by-hand.ts';
import { effectKey, parentsOf, shapeOf, stepSpec, type PlanShape } from '../../src/workflow/shape.ts';
import { sameAs } from '../../src/workflow/submission.ts';
import { planState, survey } from '../../src/workflow/survey.ts';

const AT = '2026-01-01T00:00:00.000Z';
const NODE = 'n1';
const TOKEN = '7';
const moment: Moment = { random: () => 0, timestamp: () => AT };

interface FakePlan {
  id: string;
  submission: PlanSubmission;
  shape: PlanShape;
  records: (StepRecord | undefined)[];
  settled: SettledState | null;
  cancel: PlanCancel | null;
  changedAt: string;
  log: { revision: number; event: PlanEvent }[];
}

/**
 * Plans of one node, kept in memory and decided by the workflow room. Nothing happens by itself: `begin` lets the owner make
 * its moves, `finish` gives an agent's answer and lets it move on. Time stands still, so that waits are over when `begin` is called.
 */
export class FakePlans implements Plans {
  readonly forgotten: string[] = [];
  readonly submissions: PlanSubmission[] = [];
  /** Called when somebody who watches has been told how it is. */
  whenWatched: (id: string) => void = () => undefined;
  /** Of every plan. */
  troubles: string[] = [];
  /** Watches that have begun and not ended. */
  open = 0;
  private readonly plans = new Map<string, FakePlan>();
  private readonly schedules_ = new Map<string, ScheduleRequest>();
  private readonly outputs = new Map<string, Uint8Array>();
  private readonly failures = new Map<keyof Plans, Error>();
  private readonly listeners = new Set<() => void>();
  private revision = 100;

  /** Makes the next call of a method throw. */
  fail(method: keyof Plans, error: Error): void {
    this.failures.set(method, error);
  }

  /** Everything that is ready runs from now on. */
  begin(id: string): void {
    const plan = this.known(id);
    for (;;) {
      const { moves } = nextMoves(this.outlook(plan));
      if (moves.every(({ kind }) => kind === 'stop' || kind === 'expire')) break;
      for (const move of moves) {
        if ('record' in move) this.write(plan, move.record);
        if (move.kind === 'settle') plan.settled = move.state;
      }
      this.changed(plan);
    }
  }

  /** What the agent says of the attempt that runs; then whatever follows from it. */
  finish(id: string, index: number, result: StepResult, bytes?: Uint8Array): void {
    const plan = this.known(id);
    const record = plan.records[index];
    const claim = { attempt: record?.attempt ?? 0, token: TOKEN };
    const answer = acceptResult(
      stepSpec(plan.shape, index),
      record,
      TOKEN,
      claim,
      result,
      plan.cancel ? 1 : 0,
      moment,
    );
    if (!answer.accepted) throw new Error(answer.reason);
    if (bytes) this.outputs.set(`${id}/${index}`, bytes);
    this.write(plan, answer.record);
    this.changed(plan);
    this.begin(id);
  }

  check(spec: PlanSpec): PlanProblem[] {
    const parents = parentsOf(spec);
    const byAgents = spec.steps.flatMap((step, index): PlanProblem[] => {
      const found = step.agent === 'http' ? checkHttp(step, new Set(parents[index])) : [];
      return found.map(problem => ({ ...problem, field: `steps[${index}].${problem.field}` }));
    });
    return [...checkSubmission(spec), ...byAgents];
  }

  async submit(submission: PlanSubmission): Promise<SubmittedPlan> {
    this.failIfTold('submit');
    const { spec, idempotencyKey, digest } = submission;
    const problems = this.check(spec);
    if (problems.length > 0) throw new AdminError('invalid', 'the plan is not right', { problems });
    const known = [...this.plans.values()].find(
      plan => idempotencyKey !== null && plan.submission.idempotencyKey === idempotencyKey,
    );
    const record = known ? { v: 1 as const, plan: known.id, digest: known.submission.digest } : null;
    const verdict = sameAs(record, digest);
    if (verdict.kind === 'conflict')
      throw new AdminError(
        'conflict',
        `the key "${idempotencyKey ?? ''}" stands for another plan, ${verdict.plan}`,
        {
          plan: verdict.plan,
        },
      );
    if (verdict.kind === 'same') return { plan: this.view(this.known(verdict.plan)), created: false };
    this.submissions.push(submission);
    const plan: FakePlan = {
      id: `plan-${this.plans.size + this.forgotten.length + 1}`,
      submission,
      shape: shapeOf(spec),
      records: new Array<undefined>(spec.steps.length).fill(undefined),
      settled: null,
      cancel: null,
      changedAt: '',
      log: [],
    };
    this.plans.set(plan.id, plan);
    this.changed(plan);
    return { plan: this.view(plan), created: true };
  }

  async plan(id: string): Promise<PlanView> {
    this.failIfTold('plan');
    return this.view(this.known(id));
  }

  async steps(id: string, { states, first = 0, limit = Infinity }: StepFilter): Promise<Listing<StepView>> {
    const all = this.stepViews(this.known(id)).slice(first);
    const items = all.filter(({ state }) => states?.includes(state) ?? true).slice(0, limit);
    return { revision: String(this.revision), items };
  }

  async step(id: string, index: number): Promise<StepView> {
    return this.stepView(this.known(id), this.existing(id, index));
  }

  async output(id: string, index: number): Promise<Uint8Array | null> {
    const { state, output } = this.stepView(this.known(id), this.existing(id, index));
    const bytes = this.outputs.get(`${id}/${index}`);
    if (bytes) return bytes;
    if (output === null && state !== 'COMPLETED')
      throw new AdminError('conflict', `step ${index} of ${id} is ${state}`);
    if (output === null || !('value' in output)) return null;
    const { value } = output;
    return new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
  }

  async list(filter: PlanFilter): Promise<Listing<PlanSummary> & { next: string | null }> {
    const newest = [...this.plans.values()].reverse().map(plan => this.view(plan));
    const place = filter.after === undefined ? 0 : newest.findIndex(({ plan }) => plan === filter.after) + 1;
    if (filter.after !== undefined && place === 0)
      throw new AdminError('invalid', `"${filter.after}" is no place to go on from`);
    const fitting = newest
      .slice(place)
      .filter(
        ({ state, origin, title }) =>
          (filter.states?.includes(state) ?? true) &&
          (filter.origin ?? origin) === origin &&
          (title ?? '').includes(filter.title ?? ''),
      );
    const items = fitting.slice(0, filter.limit).map(summaryOf);
    const next = fitting.length > filter.limit ? (items.at(-1)?.plan ?? null) : null;
    return { revision: String(this.revision), items, next };
  }

  async cancel(id: string, by: string): Promise<PlanView> {
    const plan = this.known(id);
    if (plan.settled !== null) throw new AdminError('conflict', `${id} has ended: ${plan.settled}`);
    if (plan.cancel !== null) return this.view(plan);
    plan.cancel = { kind: 'asked', by, at: AT };
    this.begin(id);
    this.changed(plan);
    return this.view(plan);
  }

  async retry(id: string, only: number[] | null): Promise<PlanView> {
    const plan = this.known(id);
    const chosen = only === null ? null : new Set(only.map(index => this.existing(id, index)));
    const answer = retryByHand(plan.shape, plan.records, plan.cancel, chosen, moment);
    if (answer.kind === 'refused') throw new AdminError('conflict', answer.reason);
    plan.settled = null;
    plan.cancel = null;
    for (const record of answer.records) this.write(plan, record);
    this.changed(plan);
    return this.view(plan);
  }

  async forget(id: string): Promise<void> {
    const plan = this.known(id);
    if (plan.settled === null) throw new AdminError('conflict', `${id} has not ended: cancel it first`);
    this.plans.delete(id);
    this.forgotten.push(id);
    for (const wake of this.listeners) wake();
  }

  async *watch(id: string, after: string | null, signal: AbortSignal): AsyncGenerator<PlanEvent> {
    this.failIfTold('watch');
    const plan = this.known(id);
    if (after !== null && !/^\d+$/.test(after)) throw new AdminError('invalid', `"${after}" is no revision`);
    let seen = plan.log.length;
    const missed = plan.log.filter(({ revision }) => after !== null && revision > Number(after));
    this.open++;
    try {
      const revision = String(this.revision);
      if (after === null)
        for (const step of this.stepViews(plan))
          yield { kind: 'step', revision: '0', changed: changedAt(plan, step.index), step };
      for (const { event } of missed) yield event;
      if (missed.at(-1)?.event.kind !== 'plan')
        yield { kind: 'plan', revision, changed: changedAt(plan, null), plan: this.view(plan) };
      this.whenWatched(id);
      while (!signal.aborted && this.plans.has(id)) {
        for (const { event } of plan.log.slice(seen)) {
          seen++;
          yield event;
        }
        if (seen < plan.log.length) continue;
        if (plan.settled !== null) return;
        await this.change(signal);
      }
    } finally {
      this.open--;
    }
  }

  schedules(): Listing<ScheduleView> {
    return {
      revision: String(this.revision),
      items: [...this.schedules_.keys()].map(name => this.schedule(name)),
    };
  }

  schedule(name: string): ScheduleView {
    const { schedule, plan, paused } = this.knownSchedule(name);
    return {
      name,
      schedule,
      paused,
      title: plan.title,
      steps: plan.steps.length,
      lastFiredAt: null,
      lastOutcome: null,
      nextFireAt: paused ? null : AT,
      running: [],
      origin: 'api',
    };
  }

  async putSchedule(name: string, request: ScheduleRequest): Promise<ScheduleView> {
    this.failIfTold('putSchedule');
    const problems = [...scheduleProblems(request.schedule), ...this.check(request.plan)];
    if (problems.length > 0) throw new AdminError('invalid', 'the schedule is not right', { problems });
    this.schedules_.set(name, request);
    return this.schedule(name);
  }

  async pauseSchedule(name: string, paused: boolean): Promise<ScheduleView> {
    this.schedules_.set(name, { ...this.knownSchedule(name), paused });
    return this.schedule(name);
  }

  async runSchedule(name: string): Promise<PlanView> {
    const { plan: spec } = this.knownSchedule(name);
    const origin = `schedule ${name}`;
    return (await this.submit({ spec, idempotencyKey: null, digest: name, origin })).plan;
  }

  async removeSchedule(name: string): Promise<void> {
    this.knownSchedule(name);
    this.schedules_.delete(name);
  }

  private write(plan: FakePlan, record: StepRecord): void {
    plan.records[record.index] = record;
    // Only with what else is in the transaction, the plan last, has all of it been told.
    const event = {
      kind: 'step' as const,
      revision: String(this.revision),
      changed: String(this.revision + 1),
      step: this.stepView(plan, record.index),
    };
    plan.log.push({ revision: this.revision + 1, event });
  }

  private changed(plan: FakePlan): void {
    this.revision++;
    const revision = String(this.revision);
    const event = { kind: 'plan' as const, revision, changed: revision, plan: this.view(plan) };
    plan.log.push({ revision: this.revision, event });
    for (const wake of this.listeners) wake();
  }

  private change(signal: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        this.listeners.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.listeners.add(done);
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }

  private outlook({ shape, records, settled, cancel }: FakePlan): Outlook {
    return {
      shape,
      records,
      chunk: { first: 0, count: shape.steps.length },
      self: NODE,
      cancel,
      settled: settled !== null,
      nowMs: 100_000,
      planSinceMs: 100_000,
      cancelSinceMs: 100_000,
      // Waits are over, and nothing that runs has come to its time.
      sinceMs: index => (records[index]?.state === 'RUNNING' ? 100_000 : -1e12),
      slots: Infinity,
      holders: () => 0,
      moment,
    };
  }

  private view(plan: FakePlan): PlanView {
    const { submission, shape, records, cancel, settled } = plan;
    const { spec, origin, idempotencyKey } = submission;
    const states = this.stepViews(plan).map(({ state }) => state);
    return {
      plan: plan.id,
      title: spec.title,
      state: settled ?? planState(shape, survey(shape, records), cancel),
      origin,
      priority: spec.priority,
      steps: spec.steps.length,
      submittedAt: AT,
      endedAt: settled === null ? null : AT,
      sequential: spec.sequential,
      onFailure: spec.onFailure,
      completeBySeconds: spec.completeBySeconds,
      idempotencyKey,
      cancel,
      counts: Object.fromEntries(
        [...new Set(states)].map(state => [state, states.filter(other => other === state).length]),
      ),
      troubles: this.troubles,
      revision: String(this.revision),
    };
  }

  private stepViews(plan: FakePlan): StepView[] {
    return plan.shape.steps.map((_, index) => this.stepView(plan, index));
  }

  private stepView({ id, shape, records }: FakePlan, index: number): StepView {
    const step = stepSpec(shape, index);
    const record = records[index] ?? { index, attempt: 0, state: 'PENDING' as const };
    const run = record.state === 'RUNNING' ? record.run : null;
    return {
      plan: id,
      index,
      name: step.name ?? null,
      agent: step.agent,
      resource: step.resource,
      arguments: step.arguments ?? {},
      dependsOn: [...(shape.parents[index] ?? [])],
      payload: payloadSize(step),
      state: record.state,
      attempt: record.attempt,
      token: record.attempt > 0 ? TOKEN : null,
      lockedBy: run?.lockedBy ?? null,
      ranOn: workedBy(record),
      completeBy: run?.completeBy ?? null,
      nextRunAt: record.state === 'RETRY_WAIT' ? record.wait.nextRunAt : null,
      failures: record.trouble?.failures ?? 0,
      error: record.trouble?.error ?? null,
      failureType: record.trouble?.type ?? null,
      reason: record.state === 'SKIPPED' ? record.reason : null,
      output: record.output ?? null,
      startedAt: record.startedAt ?? null,
      endedAt: 'endedAt' in record ? record.endedAt : null,
      idempotencyKey: effectKey(id, index, 'work'),
    };
  }

  private known(id: string): FakePlan {
    const plan = this.plans.get(id);
    if (plan === undefined) throw new AdminError('not-found', `there is no plan "${id}"`);
    return plan;
  }

  private existing(id: string, index: number): number {
    if (this.known(id).shape.steps[index] !== undefined) return index;
    throw new AdminError('not-found', `${id} has no step ${index}`);
  }

  private knownSchedule(name: string): ScheduleRequest {
    const request = this.schedules_.get(name);
    if (request === undefined) throw new AdminError('not-found', `there is no schedule "${name}"`);
    return request;
  }

  private failIfTold(method: keyof Plans): void {
    const error = this.failures.get(method);
    this.failures.delete(method);
    if (error) throw error;
  }
}

function scheduleProblems(schedule: CronSchedule): PlanProblem[] {
  return checkCron(schedule).map(problem => ({ ...problem, field: `schedule.${problem.field}` }));
}

function summaryOf({
  plan,
  title,
  state,
  origin,
  priority,
  steps,
  submittedAt,
  endedAt,
}: PlanView): PlanSummary {
  return { plan, title, state, origin, priority, steps, submittedAt, endedAt };
}

function payloadSize({ payload }: StepSpec): StepView['payload'] {
  if (payload === undefined) return null;
  const bytes = 'text' in payload ? Buffer.byteLength(payload.text) : payload.bytes;
  return { mimeType: payload.mimeType, bytes };
}

/** null = the plan itself. Everything was written when it was submitted. */
function changedAt({ log }: FakePlan, index: number | null): string {
  const last = log.findLast(({ event }) =>
    event.kind === 'plan' ? index === null : event.step.index === index,
  );
  return last?.event.changed ?? log[0]?.event.changed ?? '0';
}
