import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { requireGood, waitForPlan } from '../plans/follow-plan.ts';
import { countsText, wordOf } from '../plans/plan-words.ts';
import { stepsNamed } from '../plans/step-of.ts';

export async function batchRetry(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const id = call.argument(0);
  const words = call.argumentsFrom(1);
  const client = await api();
  const only = words.length === 0 ? null : await stepsNamed(client, id, words, io.signal);
  const asked = await client.retryPlan(id, only, io.signal);
  const plan = call.flag('wait') ? await waitForPlan(context, id, call.number('timeout')) : asked;
  out.answer(plan, () => `${id}: ${out.state(wordOf(plan.state))}, ${countsText(plan.counts)}\n`);
  if (call.flag('wait')) await requireGood(context, plan);
  return EXIT.ok;
}
