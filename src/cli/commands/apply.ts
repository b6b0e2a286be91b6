import { requireAccepted } from '../apps/ask-first.ts';
import { type Applied, handOver, tellApplied } from '../apps/hand-over.ts';
import { loadApps } from '../apps/load-apps.ts';
import { requireSound } from '../apps/require-sound.ts';
import { uploadSources } from '../apps/upload-sources.ts';
import type { CommandContext } from '../context.ts';
import { EXIT } from '../failure.ts';
import type { Invocation } from '../invocation.ts';
import { handIn } from '../plans/hand-in.ts';

export async function apply(context: CommandContext, call: Invocation): Promise<number> {
  const loaded = await loadApps(context, call.argumentsFrom(0));
  const specs = await uploadSources(context, await requireSound(context, loaded), packed =>
    requireAccepted(context, packed, loaded),
  );
  const nothing: Applied = { kind: 'applied', apps: [] };
  const onlyPlans = specs.length === 0 && loaded.plans.length > 0;
  const applied = onlyPlans ? nothing : await handOver(context, specs, loaded);
  const handed = await handIn(context, loaded.plans, loaded.sources);
  await tellApplied(context, applied, call.flag('wait') ? (call.number('timeout') ?? 300) : null, handed);
  return EXIT.ok;
}
