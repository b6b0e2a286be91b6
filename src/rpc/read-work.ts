import { z } from 'zod';
import type { FailureType } from '../model/plan.ts';
import { absent, word } from './read-plan.ts';
import { enumWords } from './words.ts';

/** What workers say. */

const attempt = z.object(
  { plan: z.string(), step: z.number(), attempt: z.number(), token: z.string() },
  { error: 'is missing' },
);

const hello = z.object({
  name: z.string().min(1, 'is empty: say who you are').max(128),
  agents: z
    .array(
      z
        .string()
        .regex(
          /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/,
          'must be 1 to 63 lower-case letters, digits, dots and hyphens',
        ),
    )
    .min(1, 'is empty: name at least one')
    .max(100)
    .transform(names => [...new Set(names)]),
  slots: z.number().int().min(1, 'must be 1 to 1000').max(1000, 'must be 1 to 1000'),
  session: z.string(),
  resumes: z.boolean(),
  running: z.array(attempt),
});

const result = z.object({
  attempt,
  completed: absent(z.object({ output: z.instanceof(Uint8Array), mimeType: z.string() })),
  failed: absent(
    z.object({
      type: word(enumWords<FailureType>('FAILURE_TYPE', ['RETRYABLE', 'FATAL'])),
      error: z.string(),
    }),
  ),
  stopped: absent(z.object({})),
});

export const workerMessage = z.object({
  hello: absent(hello),
  heartbeat: absent(z.object({})),
  result: absent(result),
  leave: absent(z.object({})),
});

export type AttemptId = z.output<typeof attempt>;
export type Hello = z.output<typeof hello>;
export type WorkerResult = z.output<typeof result>;
export type WorkerSays = z.output<typeof workerMessage>;
