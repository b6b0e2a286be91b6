import type { ScheduleView } from '../../model/plan-views.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import { requireGood, waitForPlan } from '../plans/follow-plan.ts';
import { countsText, scheduleText, wordOf } from '../plans/plan-words.ts';
import { countText } from '../words.ts';

/** One file for what is one call each. */
export async function scheduleList({ api, io, out }: CommandContext): Promise<number> {
  const listing = await (await api()).schedules(io.signal);
  out.answer(listing, () => {
    if (listing.items.length === 0) return 'no schedules: hop3-agent apply FILE makes those of plans\n';
    return out.table(
      ['SCHEDULE', 'WHEN', 'TIME ZONE', 'NEXT', 'LAST', 'RUNNING', 'FROM'],
      listing.items.map(schedule => [
        schedule.name,
        schedule.schedule.expression,
        schedule.schedule.timeZone,
        schedule.paused ? out.paint.yellow('paused') : (schedule.nextFireAt ?? 'never'),
        schedule.lastFiredAt === null ? '-' : out.when(schedule.lastFiredAt),
        schedule.running.join(', ') || '-',
        schedule.origin,
      ]),
    );
  });
  return EXIT.ok;
}

export async function scheduleShow({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const schedule = await (await api()).scheduleOf(call.argument(0), io.signal);
  out.answer(schedule, () => factsText(schedule, out));
  return EXIT.ok;
}

export function schedulePause(context: CommandContext, call: Invocation): Promise<number> {
  return setPaused(context, call, true);
}

export function scheduleResume(context: CommandContext, call: Invocation): Promise<number> {
  return setPaused(context, call, false);
}

export async function scheduleRemove({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const name = call.argument(0);
  await (await api()).removeSchedule(name, io.signal);
  out.answer({ name }, () => `${name}: removed; plans that it has made go on\n`);
  return EXIT.ok;
}

export async function scheduleRun(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const made = await (await api()).runSchedule(call.argument(0), io.signal);
  const plan = call.flag('wait') ? await waitForPlan(context, made.plan, call.number('timeout')) : made;
  out.answer(plan, () => `${plan.plan}: ${out.state(wordOf(plan.state))}, ${countsText(plan.counts)}\n`);
  if (call.flag('wait')) await requireGood(context, plan);
  return EXIT.ok;
}

async function setPaused(
  { api, io, out }: CommandContext,
  call: Invocation,
  paused: boolean,
): Promise<number> {
  const schedule = await (await api()).pauseSchedule(call.argument(0), paused, io.signal);
  out.answer(schedule, () => `${scheduleText(schedule)}\n`);
  return EXIT.ok;
}

function factsText(view: ScheduleView, out: Output): string {
  const { schedule, lastFiredAt, lastOutcome } = view;
  const { catchUp } = schedule;
  const steps = countText(view.steps, 'step');
  const facts: [string, string][] = [
    ['schedule', view.name],
    ['when', `${schedule.expression} in ${schedule.timeZone}`],
    ['next', view.paused ? out.paint.yellow('paused') : (view.nextFireAt ?? 'never')],
    ['fired', lastFiredAt === null ? 'never' : out.when(lastFiredAt)],
    ...(lastOutcome === null ? [] : ([['latest', lastOutcome]] satisfies [string, string][])),
    ['plan', view.title === null ? steps : `${view.title} (${steps})`],
    ['overlap', schedule.overlap],
    ['missed', catchUp.kind === 'all' ? `all, at most ${catchUp.atMost}` : catchUp.kind],
    ['running', view.running.join(', ') || 'none'],
    ['from', view.origin],
  ];
  return facts.map(([name, value]) => `${`${name}:`.padEnd(10)}${value}\n`).join('');
}
