import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { waitUntilReplaced } from '../wait-ready.ts';
import { processesText } from './process-words.ts';

export async function restart(context: CommandContext, call: Invocation): Promise<number> {
  const { api, io, out } = context;
  const name = call.argument(0);
  const process = call.optionalArgument(1);
  const client = await api();
  const before = await client.instances({ app: name, ...(process !== null && { process }) }, io.signal);
  const asked = await client.restart(name, process, io.signal);
  if (call.flag('wait')) {
    await waitUntilReplaced(context, asked, before.items, call.number('timeout') ?? 300);
  }
  const now = call.flag('wait') ? await client.app(name, io.signal) : asked;
  const what = process === null ? name : `${name}/${process}`;
  out.answer(
    now,
    () => `${what}: ${call.flag('wait') ? 'restarted' : 'restarting'}, ${processesText(now)}\n`,
  );
  return EXIT.ok;
}
