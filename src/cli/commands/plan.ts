import { loadApps, requireSound } from '../apps/load-apps.ts';
import { digestSources } from '../apps/upload-sources.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import type { Output } from '../output.ts';
import type { AppPlan } from '../../model/views.ts';
import { countText } from '../words.ts';

export async function plan(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const loaded = await loadApps(context, call.argumentsFrom(0));
  const specs = await digestSources(context, requireSound(loaded));
  const { plans, problems } = await (await api()).plan({ specs, ifGeneration: null }, io.signal);
  if (problems.length > 0) {
    throw new CliFailure(EXIT.failed, `this would be refused: ${countText(problems.length, 'problem')}`, {
      problems,
      sources: loaded.sources,
    });
  }
  out.answer({ plans, problems }, () => plans.map(one => planText(one, out)).join(''));
  return EXIT.ok;
}

const impactWords: Record<AppPlan['impact'], string> = {
  none: 'nothing changes',
  'in-place': 'nothing restarts',
  restart: 'instances are replaced one after the other',
  rebuild: 'it is built anew, and instances are replaced one after the other',
};

function planText({ app, change, impact, differences }: AppPlan, out: Output): string {
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
