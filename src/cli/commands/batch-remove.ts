import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function batchRemove({ api, io, out }: CommandContext, call: Invocation): Promise<number> {
  const client = await api();
  const plans = call.argumentsFrom(0);
  for (const plan of plans) {
    await client.forgetPlan(plan, io.signal);
    out.note(`${plan}: forgotten`);
  }
  if (out.json) out.answer({ plans }, () => '');
  return EXIT.ok;
}
