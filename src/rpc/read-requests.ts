import { z } from 'zod';
import { planStates, stepStates } from '../model/plan.ts';
import { shapeRefusal } from './refusal.ts';
import { planMessage, word } from './read-plan.ts';
import { enumWords } from './words.ts';

/** An empty list, or one of nothing in particular, restricts nothing. */
function states<T extends string>(prefix: string, words: readonly T[]) {
  return z
    .array(word(enumWords(prefix, words)))
    .transform(given => given.filter(state => state !== null))
    .transform(given => (given.length > 0 ? given : undefined));
}

const plan = z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, 'must be the id of a plan');
const index = z.number().int().min(0);
const given = z.string().transform(text => (text === '' ? undefined : text));
const revision = z.string().regex(/^\d{1,19}$/, 'must not be negative');

export const requests = {
  submit: z.object({
    plan: planMessage,
    idempotencyKey: z
      .string()
      .regex(/^[!-~]{0,200}$/, 'must be up to 200 printable characters without spaces')
      .transform(key => (key === '' ? null : key)),
    clientRef: z.string().max(200),
  }),
  ofPlan: z.object({ plan }),
  list: z.object({
    states: states('PLAN_STATE', planStates),
    origin: given,
    title: given,
    limit: z
      .number()
      .int()
      .min(0)
      .max(1000)
      .transform(limit => (limit === 0 ? 100 : limit)),
    after: given,
  }),
  steps: z.object({ plan, states: states('STEP_STATE', stepStates), first: index, limit: index }),
  output: z.object({ plan, index }),
  watch: z.object({ plan, fromRevision: revision }),
  cancel: z.object({ plan, by: z.string().max(200) }),
  retry: z.object({ plan, steps: z.array(index) }),
};

/** @throws RpcRefusal naming every problem */
export function read<T extends z.ZodType>(schema: T, message: unknown): z.output<T> {
  const result = schema.safeParse(message);
  if (!result.success) throw shapeRefusal(result.error);
  return result.data;
}
