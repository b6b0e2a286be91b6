import { loadApps } from '../apps/load-apps.ts';
import { unsound } from '../apps/require-sound.ts';
import type { CommandContext } from '../context.ts';
import { EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { requireGood, waitForPlan } from '../plans/follow-plan.ts';
import { handIn } from '../plans/hand-in.ts';
import { countsText, wordOf } from '../plans/plan-words.ts';
import { countText } from '../words.ts';

/** Its answer is the plan: as it was taken, or with `--wait` as it ended. */
export async function batchSubmit(context: CommandContext, call: Invocation): Promise<number> {
  const { io, out } = context;
  const file = call.argument(0);
  const loaded = await loadApps(context, [file]);
  const { apps, plans, problems, sources } = loaded;
  if (problems.length > 0) throw await unsound(context, loaded, problems, 'submitted');
  const [plan, ...others] = plans;
  if (plan === undefined || others.length > 0 || apps.length > 0) {
    const found = [
      countText(plans.length, 'plan'),
      ...(apps.length > 0 ? [countText(apps.length, 'app')] : []),
    ];
    throw usageFailure(
      `${file} holds ${found.join(' and ')}, not one plan`,
      'hop3-agent apply FILE takes apps, schedules and several plans',
    );
  }
  if (plan.schedule !== null) {
    out.note(`done once, now; hop3-agent apply ${file} makes the schedule "${plan.schedule.name}"`);
  }
  const idempotencyKey = call.text('idempotencyKey') ?? plan.idempotencyKey;
  const { plans: handed } = await handIn(context, [{ ...plan, schedule: null, idempotencyKey }], sources);
  const [submitted] = handed;
  if (submitted === undefined) throw new Error('a plan was handed in, and none was taken');
  if (!call.flag('wait')) {
    out.answer(submitted, () => `${submitted.plan}\n`);
    return EXIT.ok;
  }
  if (!out.json && !io.isTty) io.stderr.write(`${submitted.plan}: submitted\n`);
  const ended = await waitForPlan(context, submitted.plan, call.number('timeout'));
  out.answer(ended, () => `${ended.plan}: ${out.state(wordOf(ended.state))}, ${countsText(ended.counts)}\n`);
  await requireGood(context, ended);
  return EXIT.ok;
}
