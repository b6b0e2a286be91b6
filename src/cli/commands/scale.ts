import { problemText } from '../../model/problem.ts';
import type { CommandContext } from '../context.ts';
import { EXIT, usageFailure } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { splitPair } from '../invocation.ts';
import { waitUntilReady } from '../wait-ready.ts';
import { processesText } from './process-words.ts';

export async function scale(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const name = call.argument(0);
  const scales = readScales(call.argumentsFrom(1));
  const client = await api();
  const { warnings, ...app } = await client.scale(name, scales, io.signal);
  for (const warning of warnings) out.note(`${out.paint.yellow('warning')}: ${problemText(warning)}`);
  if (call.flag('wait')) {
    await waitUntilReady(context, [{ app: name, release: app.release }], call.number('timeout') ?? 300);
  }
  const now = call.flag('wait') ? await client.app(name, io.signal) : app;
  out.answer({ ...now, warnings }, () => `${name}: ${processesText(now)}\n`);
  return EXIT.ok;
}

/** `web=3` → `{web: 3}`. @throws CliFailure (usage) */
export function readScales(words: string[]): Record<string, number> {
  return Object.fromEntries(
    words.map(word => {
      const [type, count] = splitPair(word);
      if (type === '' || !/^\d{1,4}$/.test(count) || Number(count) > 1000) {
        throw usageFailure(`"${word}" says no scale`, 'TYPE=N with N from 0 to 1000, as in web=3');
      }
      return [type, Number(count)];
    }),
  );
}
