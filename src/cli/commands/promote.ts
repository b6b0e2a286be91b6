import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { waitUntilReady } from '../wait-ready.ts';
import { processesText } from './process-words.ts';

export async function promote(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const name = call.argument(0);
  const client = await api();
  const asked = await client.promote(name, io.signal);
  const { release } = asked;
  if (call.flag('wait')) {
    await waitUntilReady(context, [{ app: name, release }], call.number('timeout') ?? 300);
  }
  const now = call.flag('wait') ? await client.app(name, io.signal) : asked;
  out.answer(now, () => `${name}: release ${release} takes over, ${processesText(now)}\n`);
  return EXIT.ok;
}
