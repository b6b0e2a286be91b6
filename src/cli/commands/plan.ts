import { askFirst, exitOf } from '../apps/ask-first.ts';
import { loadApps } from '../apps/load-apps.ts';
import { requireSound } from '../apps/require-sound.ts';
import { digestSources } from '../apps/upload-sources.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import type { LocatedPlan } from '../../manifest/read-manifest.ts';
import type { AppPlan } from '../../model/views.ts';
import { planText } from '../plans/plan-words.ts';
import { countText } from '../words.ts';

export async function plan(context: CommandContext, call: Invocation): Promise<number> {
  const { out } = context;
  const loaded = await loadApps(context, call.argumentsFrom(0));
  const specs = await digestSources(context, await requireSound(context, loaded));
  const { plans, problems } = await askFirst(context, specs, loaded);
  if (problems.length > 0) {
    const told = `this would be refused: ${countText(problems.length, 'problem')}`;
    throw new CliFailure(exitOf(problems), told, { problems, sources: loaded.sources });
  }
  const batches = loaded.plans.map(({ spec, schedule, idempotencyKey }) => ({
    spec,
    schedule,
    idempotencyKey,
  }));
  const answer = { plans, problems, ...(batches.length > 0 && { batches }) };
  out.answer(answer, () => plans.map(one => changeText(one, out)).join('') + batches.map(batchText).join(''));
  return EXIT.ok;
}

function batchText({ spec, schedule }: Pick<LocatedPlan, 'spec' | 'schedule'>): string {
  if (schedule === null) return `${planText(spec)}: is submitted\n`;
  return `${planText(spec)}: is made by the schedule "${schedule.name}", ${schedule.schedule.expression}\n`;
}

const impactWords: Record<AppPlan['impact'], string> = {
  none: 'nothing changes',
  'in-place': 'nothing restarts',
  restart: 'instances are replaced one after the other',
  rebuild: 'it is built anew, and instances are replaced one after the other',
};

function changeText({ app, change, impact, differences }: AppPlan, out: Output): string {
  const head = `${out.paint.bold(app)}: ${change === 'none' ? 'no change' : `${change}, ${impactWords[impact]}`}\n`;
  const lines = differences.map(({ field, from, to, impact: own }) => {
    const before = from === null ? '' : out.paint.red(`- ${from}`);
    const after = to === null ? '' : out.paint.green(`+ ${to}`);
    return `  ${field} (${own})\n${[before, after]
      .filter(text => text !== '')
      .map(text => `    ${text}\n`)
      .join('')}`;
  });
  return head + lines.join('');
}
