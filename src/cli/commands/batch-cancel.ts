import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { waitForPlan } from '../plans/follow-plan.ts';
import { countsText, wordOf } from '../plans/plan-words.ts';

export async function batchCancel(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const id = call.argument(0);
  const user = io.env['USER'] ?? io.env['LOGNAME'] ?? 'somebody';
  const asked = await (await api()).cancelPlan(id, `${user}, with batch cancel`, io.signal);
  const plan = call.flag('wait') ? await waitForPlan(context, id, call.number('timeout')) : asked;
  out.answer(plan, () =>
    plan.endedAt === null
      ? `${id}: asked to end\n`
      : `${id}: ${out.state(wordOf(plan.state))}, ${countsText(plan.counts)}\n`,
  );
  return EXIT.ok;
}
