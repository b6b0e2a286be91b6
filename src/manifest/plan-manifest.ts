import { z } from 'zod';

/** A manifest of kind Plan. Shapes only: what numbers, references and cron expressions may be is for the workflow's own checks. */

const seconds = z.number().describe('seconds, as a number such as 30');
const scalar = z.union([z.string(), z.number(), z.boolean()], { error: 'must be text' });

const retry = z
  .strictObject({
    attempts: z.number().optional().describe('in all, the first one included'),
    'first-wait': seconds.optional(),
    factor: z.number().optional().describe('each wait is so many times the one before'),
    'longest-wait': seconds.optional(),
    jitter: z.number().optional().describe('share of each wait that chance may take off, 0 to 1'),
  })
  .describe('how often it is tried, and how long the waits are');

const work = {
  agent: z.string().min(1).describe('http, command, noop, or the name of a remote agent'),
  resource: z.string().optional().describe('what the agent acts on: an address, a command line'),
  arguments: z.record(z.string(), scalar).optional().describe('texts by name, as the agent defines them'),
  payload: z.unknown().optional().describe('text as it is, or anything else as JSON'),
  'payload-file': z.string().min(1).optional().describe('a text file, relative to this one'),
  'mime-type': z.string().min(1).optional().describe('of the payload, as in application/json'),
  timeout: seconds.optional(),
  retry: retry.optional(),
};

const step = z.strictObject({
  name: z.string().min(1).optional().describe('by which other steps wait for it'),
  ...work,
  'depends-on': z
    .array(z.union([z.string(), z.int()], { error: 'must be the name of a step, or its number' }))
    .optional()
    .describe('names of the steps that come before, or their numbers from 0'),
  condition: z.enum(['all-succeeded', 'any-succeeded', 'all-done', 'any-failed']).optional(),
  'complete-by': seconds.optional(),
  compensate: z.strictObject(work).optional().describe('how to undo it'),
  concurrency: z
    .strictObject({ key: z.string(), limit: z.number().optional() })
    .optional()
    .describe('at most so many steps with this key run at once in the cluster'),
});

export const planManifest = z
  .strictObject({
    kind: z.literal('Plan').describe('Plan'),
    title: z.string().min(1).max(200).optional(),
    steps: z.array(step),
    priority: z.number().optional().describe('0 goes before 1 … 9'),
    sequential: z.boolean().optional().describe('each step waits for the one before as well'),
    'on-failure': z.enum(['stop', 'continue', 'compensate']).optional(),
    'complete-by': seconds.optional(),
    'idempotency-key': z
      .string()
      .regex(/^[!-~]{1,200}$/, { error: 'is not a key' })
      .optional()
      .describe('1 to 200 characters without spaces: under one key a plan is made once'),
    schedule: z
      .strictObject({
        name: z
          .string()
          .regex(/^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/, { error: 'is not the name of a schedule' })
          .describe('1 to 63 lower-case letters, digits, dots, hyphens and underscores'),
        cron: z.string().describe('five fields, as in "30 4 * * mon-fri", or @daily'),
        'time-zone': z.string().optional().describe('an IANA name, as in Europe/Berlin'),
        overlap: z.enum(['allow', 'forbid', 'replace']).optional(),
        'catch-up': z
          .union([z.enum(['none', 'latest']), z.strictObject({ all: z.number() })], {
            error: 'must be none, latest, or {all: N}',
          })
          .optional()
          .describe('none, latest, or {all: N} for up to N of the latest'),
        paused: z.boolean().optional(),
      })
      .optional(),
  })
  .meta({ title: 'hop3-agent plan manifest' });

/** JSON Schema (draft 7) of one document of kind Plan, for editors. */
export function planJsonSchema(): object {
  return z.toJSONSchema(planManifest, { target: 'draft-7', io: 'input' });
}
