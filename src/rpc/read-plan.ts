import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import type { OnFailure, PlanSpec, StepCondition, StepPayload, StepSpec, StepWork } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import { enumWords } from './words.ts';

/** What decoded messages hold, as far as it is read: shapes only. What numbers and references may be, the plans' check says. */

const onFailures = enumWords<OnFailure>('ON_FAILURE', ['stop', 'continue', 'compensate']);
const conditions = enumWords<StepCondition>('CONDITION', [
  'all-succeeded',
  'any-succeeded',
  'all-done',
  'any-failed',
]);

/** Unspecified = null. A number that this version does not know is an error, lest something else is done than asked. */
export function word<T extends string>(words: ReadonlyMap<string, T>) {
  return z.union([z.string(), z.number()]).transform((name, context): T | null => {
    const found = words.get(String(name));
    if (found === undefined && !String(name).endsWith('_UNSPECIFIED')) {
      context.addIssue({ code: 'custom', message: `${name} is not known here` });
    }
    return found ?? null;
  });
}

/** A message that is not there. */
export function absent<T extends z.ZodType>(schema: T) {
  return schema.nullish().transform(value => value ?? undefined);
}

const payload = z.object({
  mimeType: z.string(),
  data: z.instanceof(Uint8Array).optional(),
  stored: absent(z.object({ digest: z.string(), size: z.coerce.number() })),
});

const retry = z.object({
  attempts: z.number().default(3),
  firstWaitSeconds: z.number().default(1),
  factor: z.number().default(2),
  longestWaitSeconds: z.number().default(60),
  jitter: z.number().default(0.2),
});

const task = z.object({
  agent: z.string(),
  resource: z.string(),
  arguments: z.record(z.string(), z.string()),
  payload: absent(payload),
  timeoutSeconds: z.number().optional(),
  retry: absent(retry),
});

const step = z.object({
  name: z.string(),
  task: z.object(task.shape, { error: 'says what is to be done' }),
  dependsOn: z.array(z.number()),
  condition: word(conditions),
  completeBySeconds: z.number().optional(),
  compensate: absent(task),
  concurrency: absent(z.object({ key: z.string(), limit: z.number().default(1) })),
});

export const planMessage = z.object(
  {
    title: z.string().max(200),
    steps: z.array(step),
    priority: z.number().default(5),
    sequential: z.boolean(),
    onFailure: word(onFailures),
    completeBySeconds: z.number().optional(),
  },
  { error: 'is missing' },
);

/** Bytes that are no text are put where blobs are. @throws ArtifactError when they can't be */
export async function planSpecOf(plan: z.output<typeof planMessage>, blobs: Blobs): Promise<PlanSpec> {
  const { title, steps, priority, sequential, onFailure, completeBySeconds } = plan;
  return {
    title: title === '' ? null : title,
    steps: await Promise.all(steps.map(each => stepOf(each, blobs))),
    priority,
    sequential,
    onFailure: onFailure ?? 'stop',
    completeBySeconds: completeBySeconds ?? null,
  };
}

async function stepOf(given: z.output<typeof step>, blobs: Blobs): Promise<StepSpec> {
  const { name, dependsOn, condition, completeBySeconds, compensate, concurrency } = given;
  return {
    ...(name !== '' && { name }),
    ...(await workOf(given.task, blobs)),
    ...(dependsOn.length > 0 && { dependsOn }),
    ...(condition !== null && { condition }),
    ...(completeBySeconds !== undefined && { completeBySeconds }),
    ...(compensate && { compensate: await workOf(compensate, blobs) }),
    ...(concurrency && { concurrency }),
  };
}

async function workOf(given: z.output<typeof task>, blobs: Blobs): Promise<StepWork> {
  const { agent, resource, timeoutSeconds } = given;
  return {
    agent,
    resource,
    ...(Object.keys(given.arguments).length > 0 && { arguments: given.arguments }),
    ...(given.payload && { payload: await payloadOf(given.payload, blobs) }),
    ...(timeoutSeconds !== undefined && { timeoutSeconds }),
    ...(given.retry && { retry: given.retry }),
  };
}

async function payloadOf(given: z.output<typeof payload>, blobs: Blobs): Promise<StepPayload> {
  const { mimeType, stored, data = new Uint8Array() } = given;
  if (stored) return { mimeType, digest: stored.digest, bytes: stored.size };
  if (isUtf8(data)) return { mimeType, text: Buffer.from(data).toString('utf8') };
  return { mimeType, ...(await blobs.put(data)) };
}
