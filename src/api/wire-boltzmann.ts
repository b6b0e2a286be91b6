import { z } from 'zod';
import type { PlanProblem, PlanSpec, StepCondition, StepPayload, StepWork } from '../model/plan.ts';
import type { PlanView, StepView } from '../model/plan-views.ts';
import { idempotencyKey } from './wire-plans.ts';

/**
 * Plans in the words of Boltzmann (github.com/NeutrinoCorp/boltzmann, v2): its envelope, fields and statuses as published, and
 * beside them fields that it lacks. What it calls a task with a driver is a step with an agent.
 */

const seconds = z.number();

const work = {
  driver: z.string(),
  resource_url: z.string().default(''),
  agent_arguments: z.record(z.string(), z.string()).nullable().optional(),
  mime_type: z.string().optional(),
  payload: z.unknown().optional().meta({
    description:
      'Any JSON. Of a JSON type it is sent as JSON; of any other it must be text, and is sent as it is. null = none.',
  }),
  timeout: seconds.optional(),
  retry: z
    .strictObject({
      max_attempts: z
        .number()
        .optional()
        .meta({ description: 'In all; 3 unless given, 10 of a compensation.' }),
      initial: seconds.default(1),
      multiplier: z.number().default(2),
      max: seconds.default(60),
      jitter: z.number().default(0.2),
    })
    .meta({ id: 'BoltzmannRetry' })
    .optional(),
};
const workBody = z.strictObject(work).meta({ id: 'BoltzmannCompensation' });
const taskBody = z
  .strictObject({
    ...work,
    depends_on: z.array(z.number()).optional(),
    compensate: workBody.optional(),
    concurrency_key: z.string().optional(),
    concurrency_limit: z.number().optional(),
    condition: z.enum(['all_succeeded', 'any', 'all_done', 'any_failed']).optional(),
    complete_by: seconds.optional(),
  })
  .meta({ id: 'BoltzmannTaskCommand' });

export const scheduleCommand = z
  .strictObject({
    tasks: z.array(taskBody),
    with_fairness: z.boolean().default(false),
    priority: z.number().default(5),
    on_failure: z.enum(['stop', 'continue', 'compensate']).optional().meta({
      description: 'Unless given: `stop` with fairness, `continue` without, as published.',
    }),
    complete_by: seconds.nullable().default(null),
    idempotency_key: idempotencyKey.nullable().default(null),
  })
  .meta({ id: 'BoltzmannScheduleCommand' });

const conditions = {
  all_succeeded: 'all-succeeded',
  any: 'any-succeeded',
  all_done: 'all-done',
  any_failed: 'any-failed',
} as const satisfies Record<string, StepCondition>;

/** The plan that is meant, or why a payload can't be encoded. */
export function planOfCommand(command: z.output<typeof scheduleCommand>): {
  spec: PlanSpec;
  problems: PlanProblem[];
} {
  const problems: PlanProblem[] = [];
  const steps = command.tasks.map((task, index) => {
    const at = `tasks[${index}]`;
    const { depends_on, condition, complete_by, compensate, concurrency_key, concurrency_limit } = task;
    return {
      ...workOf(task, at, problems),
      ...(depends_on && { dependsOn: depends_on }),
      ...(condition && { condition: conditions[condition] }),
      ...(complete_by !== undefined && { completeBySeconds: complete_by }),
      ...(compensate && { compensate: workOf(compensate, `${at}.compensate`, problems) }),
      ...(concurrency_key !== undefined && {
        concurrency: { key: concurrency_key, limit: concurrency_limit ?? 1 },
      }),
    };
  });
  const spec: PlanSpec = {
    title: null,
    steps,
    priority: command.priority,
    sequential: command.with_fairness,
    onFailure: command.on_failure ?? (command.with_fairness ? 'stop' : 'continue'),
    completeBySeconds: command.complete_by,
  };
  return { spec, problems };
}

function workOf(task: z.output<typeof workBody>, at: string, problems: PlanProblem[]): StepWork {
  const { driver, resource_url, agent_arguments, timeout, retry } = task;
  const payload = payloadOf(task, at, problems);
  return {
    agent: driver,
    resource: resource_url,
    ...(agent_arguments && { arguments: agent_arguments }),
    ...(payload && { payload }),
    ...(timeout !== undefined && { timeoutSeconds: timeout }),
    ...(retry && {
      retry: {
        attempts: retry.max_attempts ?? (at.endsWith('compensate') ? 10 : 3),
        firstWaitSeconds: retry.initial,
        factor: retry.multiplier,
        longestWaitSeconds: retry.max,
        jitter: retry.jitter,
      },
    }),
  };
}

function payloadOf(
  { mime_type: mimeType = '', payload }: z.output<typeof workBody>,
  at: string,
  problems: PlanProblem[],
): StepPayload | null {
  if (payload === undefined || payload === null) return null;
  if (mimeType === '') {
    const hint = 'as in application/json';
    problems.push({ field: `${at}.mime_type`, message: 'is needed to encode the payload', hint });
    return null;
  }
  if (/^application\/([\w.-]+\+)?json\b/i.test(mimeType)) return { mimeType, text: JSON.stringify(payload) };
  if (typeof payload === 'string') return { mimeType, text: payload };
  problems.push({
    field: `${at}.payload`,
    message: `of type ${mimeType} must be text`,
    hint: 'or of type application/json',
  });
  return null;
}

/** `steps[3].dependsOn[0]` is `tasks[3].depends_on[0]` here. */
export function publishedField(field: string): string {
  // The name of an argument may hold anything.
  const [, head = field, argument] = /^(.*?\barguments)\.(.+)$/s.exec(field) ?? [];
  const path = head
    .replace(/payload\.mimeType$/, 'mimeType')
    .replace(/concurrency\.(key|limit)$/, 'concurrency_$1')
    .split('.')
    .map(part => part.replace(/^\w+/, name => published[name] ?? name))
    .join('.');
  return argument === undefined ? path : `${path}.${argument}`;
}

const published: Record<string, string> = {
  steps: 'tasks',
  agent: 'driver',
  resource: 'resource_url',
  arguments: 'agent_arguments',
  mimeType: 'mime_type',
  dependsOn: 'depends_on',
  timeoutSeconds: 'timeout',
  completeBySeconds: 'complete_by',
  attempts: 'max_attempts',
  firstWaitSeconds: 'initial',
  factor: 'multiplier',
  longestWaitSeconds: 'max',
  onFailure: 'on_failure',
};

export const executionPlan = z
  .object({
    data: z.object({
      execution_plan: z.object({
        plan_id: z.string(),
        with_fairness: z.boolean(),
        tasks: z.array(
          z.object({
            task_id: z.int(),
            execution_plan_id: z.string(),
            driver: z.string(),
            resource_url: z.string(),
            agent_arguments: z.record(z.string(), z.string()),
            mime_type: z.string(),
            payload_size: z.int(),
            depends_on: z.array(z.int()),
          }),
        ),
      }),
    }),
  })
  .meta({ id: 'BoltzmannExecutionPlan' });

export function executionPlanOf(plan: PlanView, steps: StepView[]): z.infer<typeof executionPlan> {
  const tasks = steps.map(step => ({
    task_id: step.index,
    execution_plan_id: plan.plan,
    driver: step.agent,
    resource_url: step.resource,
    agent_arguments: step.arguments,
    mime_type: step.payload?.mimeType ?? '',
    payload_size: step.payload?.bytes ?? 0,
    depends_on: step.dependsOn,
  }));
  return { data: { execution_plan: { plan_id: plan.plan, with_fairness: plan.sequential, tasks } } };
}

const stateFields = {
  state_id: z.string(),
  resource_name: z.string(),
  resource_id: z.string(),
  status: z.string().meta({
    description:
      '`RUNNING`, `COMPLETED`, `FAILED`; and what Boltzmann has no word for: `PENDING`, `TIMED_OUT`, `CANCELLED` …',
  }),
  start_time: z.string().meta({ format: 'date-time' }),
  start_time_millis: z.int(),
  end_time: z.string().meta({ format: 'date-time', description: 'The year 1 = not yet.' }),
  end_time_millis: z.int(),
  execution_duration: z.int().meta({ description: 'Nanoseconds.' }),
  execution_duration_millis: z.int(),
  execution_error: z.string(),
};
export const planStateAnswer = z
  .object({
    data: z.object({
      state: z.object({
        ...stateFields,
        counts: z.record(z.string(), z.int()),
        troubles: z.array(z.string()),
      }),
    }),
  })
  .meta({ id: 'BoltzmannPlanState' });
export const taskStateAnswer = z
  .object({
    data: z.object({
      state: z.object({
        ...stateFields,
        attempt: z.int(),
        token: z.string().nullable(),
        locked_by: z.string().nullable(),
        complete_by: z.string().nullable(),
        next_run_at: z.string().nullable(),
        failure_count: z.int(),
        failure_type: z.string().nullable(),
        idempotency_key: z.string(),
        output: z.unknown(),
      }),
    }),
  })
  .meta({ id: 'BoltzmannTaskState' });

export function planStateOf(plan: PlanView, error: string): z.infer<typeof planStateAnswer> {
  const state = {
    ...stateOf(
      'execplan.ExecutionPlanReference',
      plan.plan,
      plan.state,
      plan.submittedAt,
      plan.endedAt,
      error,
    ),
    counts: plan.counts,
    troubles: plan.troubles,
  };
  return { data: { state } };
}

export function taskStateOf(step: StepView): z.infer<typeof taskStateAnswer> {
  const id = `${step.plan}&${step.index}`;
  const error = step.error ?? step.reason ?? '';
  const state = {
    ...stateOf(
      'boltzmann.Task',
      id,
      step.state,
      step.startedAt,
      step.endedAt,
      step.state === 'COMPLETED' ? '' : error,
    ),
    attempt: step.attempt,
    token: step.token,
    locked_by: step.lockedBy,
    complete_by: step.completeBy,
    next_run_at: step.nextRunAt,
    failure_count: step.failures,
    failure_type: step.failureType,
    idempotency_key: step.idempotencyKey,
    output: step.output,
  };
  return { data: { state } };
}

/** What Go writes of a time that never was: clients that parse times expect one. */
const NEVER = '0001-01-01T00:00:00Z';

function stateOf(
  resource: string,
  id: string,
  status: string,
  startedAt: string | null,
  endedAt: string | null,
  error: string,
): { [K in keyof typeof stateFields]: z.infer<(typeof stateFields)[K]> } {
  const start = startedAt ?? NEVER;
  const end = endedAt ?? NEVER;
  const durationMs = startedAt === null || endedAt === null ? 0 : Date.parse(end) - Date.parse(start);
  return {
    state_id: `${resource}#${id}`,
    resource_name: resource,
    resource_id: id,
    status,
    start_time: start,
    start_time_millis: Date.parse(start),
    end_time: end,
    end_time_millis: Date.parse(end),
    execution_duration: durationMs * 1_000_000,
    execution_duration_millis: durationMs,
    execution_error: error,
  };
}
