import type { PlanSpec, PlanState, StepState } from '../model/plan.ts';
import type { PlanChange, PlanSummary, PlanView, ScheduleView, StepView } from '../model/plan-views.ts';
import type { Problem } from '../model/problem.ts';
import type { Listing } from '../ports/admin.ts';
import type { ScheduleRequest } from '../ports/plans.ts';
import type { Ask } from './client-http.ts';
import type { Placed } from './client-stream.ts';
import type { SubmittedPlanView } from './wire-plans.ts';

/** What the client can ask about plans and schedules; it rejects as the rest of the client does. */
export interface PlanCalls {
  /** With a key it may be asked again when nobody answered: the plan is made once. */
  submitPlan(spec: PlanSpec, idempotencyKey: string | null, signal?: AbortSignal): Promise<SubmittedPlanView>;
  /** Everything that would keep it from being accepted. */
  checkPlan(spec: PlanSpec, signal?: AbortSignal): Promise<Problem[]>;
  /** Newest first; `after` = `next` of the page before. */
  plans(
    filter?: { states?: PlanState[]; origin?: string; title?: string; limit?: number; after?: string },
    signal?: AbortSignal,
  ): Promise<Listing<PlanSummary> & { next: string | null }>;
  planOf(id: string, signal?: AbortSignal): Promise<PlanView>;
  /** All that fit, however many pages that takes. */
  stepsOf(id: string, filter?: { states?: StepState[] }, signal?: AbortSignal): Promise<Listing<StepView>>;
  stepOf(id: string, index: number, signal?: AbortSignal): Promise<StepView>;
  /** What it gave, piece by piece; nothing when it gave nothing. */
  outputOf(id: string, index: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  cancelPlan(id: string, by: string, signal?: AbortSignal): Promise<PlanView>;
  /** null = all that failed. */
  retryPlan(id: string, steps: number[] | null, signal?: AbortSignal): Promise<PlanView>;
  forgetPlan(id: string, signal?: AbortSignal): Promise<void>;
  /** As it is, then every change, until it has ended. After ApiUnreachable go on with the last `id` as `lastId`. */
  watchPlan(id: string, lastId?: string, signal?: AbortSignal): AsyncIterable<Placed<PlanChange>>;
  schedules(signal?: AbortSignal): Promise<Listing<ScheduleView>>;
  scheduleOf(name: string, signal?: AbortSignal): Promise<ScheduleView>;
  putSchedule(name: string, request: ScheduleRequest, signal?: AbortSignal): Promise<ScheduleView>;
  pauseSchedule(name: string, paused: boolean, signal?: AbortSignal): Promise<ScheduleView>;
  runSchedule(name: string, signal?: AbortSignal): Promise<PlanView>;
  removeSchedule(name: string, signal?: AbortSignal): Promise<void>;
}

interface Tools {
  get: <T>(path: string, query: object, signal: AbortSignal | undefined) => Promise<T>;
  post: <T>(path: string, body: unknown, signal: AbortSignal | undefined) => Promise<T>;
  text: (ask: Ask) => Promise<string>;
  bytes: (ask: Ask) => AsyncIterable<Uint8Array>;
  events: <T>(ask: Ask, lastId: string | undefined) => AsyncGenerator<Placed<T>>;
}

const PAGE = 1000;

export function planCalls({ get, post, text, bytes, events }: Tools): PlanCalls {
  const at = (id: string, rest = ''): string => `/v1/plans/${encodeURIComponent(id)}${rest}`;
  const named = (name: string, rest = ''): string => `/v1/schedules/${encodeURIComponent(name)}${rest}`;
  const remove = async (path: string, signal: AbortSignal | undefined): Promise<void> => {
    await text({ method: 'DELETE', path, signal });
  };
  return {
    submitPlan: (spec, idempotencyKey, signal) => post('/v1/plans', { ...spec, idempotencyKey }, signal),
    checkPlan: async (spec, signal) =>
      (await post<{ problems: Problem[] }>('/v1/plans/check', spec, signal)).problems,
    plans: ({ states, ...rest } = {}, signal) =>
      get('/v1/plans', { state: states?.join(','), ...rest }, signal),
    planOf: (id, signal) => get(at(id), {}, signal),
    async stepsOf(id, { states } = {}, signal) {
      const items: StepView[] = [];
      for (let first = 0; ; first = (items.at(-1)?.index ?? 0) + 1) {
        const query = { state: states?.join(','), first, limit: PAGE };
        const page = await get<Listing<StepView>>(at(id, '/steps'), query, signal);
        items.push(...page.items);
        if (page.items.length < PAGE) return { revision: page.revision, items };
      }
    },
    stepOf: (id, index, signal) => get(at(id, `/steps/${index}`), {}, signal),
    outputOf: (id, index, signal) => bytes({ method: 'GET', path: at(id, `/steps/${index}/output`), signal }),
    cancelPlan: (id, by, signal) => post(at(id, '/cancel'), { by }, signal),
    retryPlan: (id, steps, signal) => post(at(id, '/retry'), { steps }, signal),
    forgetPlan: (id, signal) => remove(at(id), signal),
    watchPlan: (id, lastId, signal) => events({ method: 'GET', path: at(id, '/events'), signal }, lastId),
    schedules: signal => get('/v1/schedules', {}, signal),
    scheduleOf: (name, signal) => get(named(name), {}, signal),
    async putSchedule(name, request, signal) {
      const headers = { 'content-type': 'application/json' };
      const ask: Ask = { method: 'PUT', path: named(name), headers, body: JSON.stringify(request), signal };
      return JSON.parse(await text(ask)) as ScheduleView;
    },
    pauseSchedule: (name, paused, signal) => post(named(name, paused ? '/pause' : '/resume'), {}, signal),
    runSchedule: (name, signal) => post(named(name, '/run'), {}, signal),
    removeSchedule: (name, signal) => remove(named(name), signal),
  };
}
