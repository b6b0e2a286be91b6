import { handOver, tellApplied } from '../apps/hand-over.ts';
import { loadApps, requireSound } from '../apps/load-apps.ts';
import { uploadSources } from '../apps/upload-sources.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';

export async function apply(context: CommandContext, call: Invocation): Promise<number> {
  const loaded = await loadApps(context, call.argumentsFrom(0));
  const specs = await uploadSources(context, requireSound(loaded));
  const applied = await handOver(context, specs, loaded);
  await tellApplied(context, applied, call.flag('wait') ? (call.number('timeout') ?? 300) : null);
  return EXIT.ok;
}
