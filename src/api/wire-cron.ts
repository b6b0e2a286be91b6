import { z } from 'zod';
import type { CronSchedule } from '../model/plan.ts';

/** When something is done again and again, as it crosses the wire. */

export const cronFields = {
  expression: z.string(),
  timeZone: z.string(),
  overlap: z.enum(['allow', 'forbid', 'replace']),
};

export const catchUp = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  z.strictObject({ kind: z.literal('latest') }),
  z.strictObject({ kind: z.literal('all'), atMost: z.number() }),
]);

export const cronSchedule = z
  .strictObject({ ...cronFields, catchUp })
  .meta({ id: 'CronSchedule' }) satisfies z.ZodType<CronSchedule>;
