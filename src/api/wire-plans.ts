import { z } from 'zod';
import {
  planStates,
  stepStates,
  type PlanCancel,
  type PlanSpec,
  type StepOutput,
  type StepPayload,
  type StepWork,
} from '../model/plan.ts';
import type { PlanChange, PlanSummary, PlanView, ScheduleView, StepView } from '../model/plan-views.ts';
import { given } from './query.ts';
import { listing, problem } from './wire.ts';
import { catchUp, cronFields, cronSchedule } from './wire-cron.ts';
import { names } from './wire-spec.ts';

/**
 * What crosses the wire about plans and schedules: one vocabulary, like wire.ts. Only shapes are checked here; what numbers
 * and references may be is for whoever accepts the plan, who tells all problems at once.
 */

const timestamp = z.string().meta({ format: 'date-time' });
const revision = z
  .string()
  .regex(/^\d+$/)
  .meta({ description: 'The store revision the answer was made from.' });

/** For named schemas: `.nullable()` would make the shared OpenAPI component itself nullable. */
function orNull<T extends z.ZodType>(schema: T) {
  return z.union([schema, z.null()]);
}

export const planId = z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, 'must be the id of a plan');
export const scheduleName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/,
    'must be 1 to 63 lower-case letters, digits, dots, hyphens and underscores',
  );
export const idempotencyKey = z
  .string()
  .regex(/^[!-~]{1,200}$/, 'must be 1 to 200 printable characters without spaces')
  .meta({
    description:
      'The same key and plan again gives the same plan; the same key with another one is a conflict.',
  });

const planState = z.enum(planStates);
const stepState = z.enum(stepStates);

/** Several words in one query parameter, with commas between them. */
function wordsOf<T extends string>(words: z.ZodType<T, string>, example: string) {
  return z
    .string()
    .transform(text => text.split(',').map(word => word.trim().toUpperCase()))
    .pipe(z.array(words))
    .meta({ type: 'string', example });
}
export const planStateWords = wordsOf(planState, 'PENDING,RUNNING');
export const stepStateWords = wordsOf(stepState, 'FAILED,TIMED_OUT');

const payload = z
  .union([
    z.strictObject({ mimeType: z.string(), text: z.string() }),
    z.strictObject({ mimeType: z.string(), digest: names.digest, bytes: z.int().min(0) }),
  ])
  .meta({
    id: 'StepPayload',
    description:
      'Given to the step exactly as it is, whatever its length; or bytes that the agents have already.',
  }) satisfies z.ZodType<StepPayload>;

/** What is not said is as without any. */
const retryFields = {
  firstWaitSeconds: z.number().default(1),
  factor: z.number().default(2),
  longestWaitSeconds: z.number().default(60),
  jitter: z.number().default(0.2),
};
const retry = z.strictObject({ attempts: z.number().default(3), ...retryFields }).meta({ id: 'StepRetry' });
const undoRetry = z
  .strictObject({ attempts: z.number().default(10), ...retryFields })
  .meta({ id: 'StepUndoRetry' });

const work = {
  agent: z.string().meta({ description: '`http`, `command`, `noop`, or the name of a remote agent.' }),
  resource: z.string().default(''),
  arguments: z.record(z.string(), z.string()).optional(),
  payload: payload.optional(),
  timeoutSeconds: z.number().optional().meta({ description: 'For one attempt; 60 unless given.' }),
};

const workBody = z.strictObject({ ...work, retry: undoRetry.optional() }).meta({ id: 'StepUndoing' });
const stepBody = z
  .strictObject({
    ...work,
    retry: retry.optional(),
    name: z.string().optional(),
    dependsOn: z.array(z.number()).optional().meta({ description: 'Indexes of the steps that come before.' }),
    condition: z.enum(['all-succeeded', 'any-succeeded', 'all-done', 'any-failed']).optional(),
    completeBySeconds: z.number().optional(),
    compensate: workBody.optional(),
    concurrency: z.strictObject({ key: z.string(), limit: z.number().default(1) }).optional(),
  })
  .meta({ id: 'StepSpec' });

const planFields = {
  title: z.string().max(200).nullable().default(null),
  steps: z.array(stepBody),
  priority: z.number().default(5).meta({ description: '0 goes before 1 … 9.' }),
  sequential: z.boolean().default(false),
  onFailure: z.enum(['stop', 'continue', 'compensate']).default('stop'),
  completeBySeconds: z.number().nullable().default(null),
};
const planSpecBody = z.strictObject(planFields).meta({ id: 'PlanSpec' });
export const submitBody = z
  .strictObject({ ...planFields, idempotencyKey: idempotencyKey.nullable().default(null) })
  .meta({ id: 'PlanSubmission' });

/** What was submitted, without what was left out. */
export function planSpecOf(body: z.output<typeof planSpecBody>): PlanSpec {
  const { title, priority, sequential, onFailure, completeBySeconds } = body;
  const steps = body.steps.map(({ agent, resource, compensate, ...rest }) => ({
    agent,
    resource,
    ...given(rest),
    ...(compensate && { compensate: workOf(compensate) }),
  }));
  return { title, steps, priority, sequential, onFailure, completeBySeconds };
}

function workOf({ agent, resource, ...rest }: z.output<typeof workBody>): StepWork {
  return { agent, resource, ...given(rest) };
}

const summaryFields = {
  plan: z.string(),
  title: z.string().nullable(),
  state: planState,
  origin: z.string(),
  priority: z.int(),
  steps: z.int(),
  submittedAt: timestamp,
  endedAt: timestamp.nullable(),
};
const planSummary = z.object(summaryFields).meta({ id: 'PlanSummary' }) satisfies z.ZodType<PlanSummary>;

const planCancel = z
  .object({ kind: z.enum(['asked', 'complete-by']), by: z.string(), at: timestamp })
  .meta({ id: 'PlanCancel' }) satisfies z.ZodType<PlanCancel>;

const planFieldsShown = {
  ...summaryFields,
  sequential: z.boolean(),
  onFailure: z.enum(['stop', 'continue', 'compensate']),
  completeBySeconds: z.number().nullable(),
  idempotencyKey: z.string().nullable(),
  cancel: orNull(planCancel),
  counts: z.partialRecord(stepState, z.int()),
  troubles: z.array(z.string()),
  revision,
};
export const planView = z.object(planFieldsShown).meta({ id: 'PlanView' }) satisfies z.ZodType<PlanView>;
export const submittedPlan = z
  .object({
    ...planFieldsShown,
    created: z.boolean().meta({ description: 'False: the same submission was accepted before.' }),
  })
  .meta({ id: 'SubmittedPlan' });
export type SubmittedPlanView = z.infer<typeof submittedPlan>;

export const planChecked = z
  .object({ problems: z.array(problem) })
  .meta({ id: 'PlanChecked', description: 'Empty = it would be accepted.' });

const stepOutput = z
  .union([z.object({ value: z.unknown() }), z.object({ digest: z.string(), bytes: z.int() })])
  .meta({ id: 'StepOutput' }) satisfies z.ZodType<StepOutput>;

export const stepView = z
  .object({
    plan: z.string(),
    index: z.int(),
    name: z.string().nullable(),
    agent: z.string(),
    resource: z.string(),
    arguments: z.record(z.string(), z.string()),
    dependsOn: z.array(z.int()),
    payload: z.object({ mimeType: z.string(), bytes: z.int() }).nullable(),
    state: stepState,
    attempt: z.int(),
    token: z.string().nullable(),
    lockedBy: z.string().nullable().meta({ description: 'The node that works at it.' }),
    ranOn: z
      .string()
      .nullable()
      .meta({ description: 'The node that works at it, or did last; null = none has yet.' }),
    completeBy: timestamp.nullable(),
    nextRunAt: timestamp.nullable(),
    failures: z.int(),
    error: z.string().nullable(),
    failureType: z.enum(['RETRYABLE', 'FATAL']).nullable(),
    reason: z.string().nullable(),
    output: orNull(stepOutput),
    startedAt: timestamp.nullable(),
    endedAt: timestamp.nullable(),
    idempotencyKey: z.string(),
  })
  .meta({ id: 'Step' }) satisfies z.ZodType<StepView>;

export const planList = z
  .object({
    revision,
    items: z.array(planSummary),
    next: z.string().nullable().meta({ description: 'What `after` has to be for the page after this one.' }),
  })
  .meta({ id: 'PlanList' });
export const stepList = listing('StepList', stepView);

/** The whole state of one thing; a watch may go on after its revision. */
export const planEvent = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('plan'), changed: revision, plan: planView }),
    z.object({ kind: z.literal('step'), changed: revision, step: stepView }),
  ])
  .meta({ id: 'PlanEvent' }) satisfies z.ZodType<PlanChange>;

export const cancelBody = z
  .strictObject({ by: z.string().min(1).max(128).default('the admin API') })
  .meta({ id: 'PlanCancelRequest' });
export const retryBody = z
  .strictObject({
    steps: z
      .array(z.int().min(0))
      .min(1)
      .nullable()
      .default(null)
      .meta({ description: 'Indexes; null = every step that failed.' }),
  })
  .meta({ id: 'PlanRetryRequest' });

export const scheduleBody = z
  .strictObject({
    schedule: z
      .strictObject({
        ...cronFields,
        timeZone: cronFields.timeZone.default('UTC'),
        overlap: cronFields.overlap.default('forbid'),
        catchUp: catchUp.default({ kind: 'latest' }),
      })
      .meta({ id: 'CronScheduleRequest' }),
    plan: planSpecBody,
    paused: z.boolean().default(false),
  })
  .meta({ id: 'ScheduleRequest' });

export const scheduleView = z
  .object({
    name: z.string(),
    schedule: cronSchedule,
    paused: z.boolean(),
    title: z.string().nullable(),
    steps: z.int(),
    lastFiredAt: timestamp.nullable(),
    lastOutcome: z.string().nullable(),
    nextFireAt: timestamp.nullable(),
    running: z.array(z.string()),
    origin: z.string(),
  })
  .meta({ id: 'Schedule' }) satisfies z.ZodType<ScheduleView>;
