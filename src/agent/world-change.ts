import type { Kind } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { World } from './world.ts';

/** Resolves after a change of one of these kinds, after so long in any case, or when aborted. */
export async function worldChange(
  { world, clock }: { world: World; clock: Clock },
  kinds: (Kind & keyof World)[],
  withinMs: number,
  signal: AbortSignal,
): Promise<void> {
  const changed = new AbortController();
  const wake = (): void => changed.abort();
  const stop = world.onChange(kinds, wake);
  signal.addEventListener('abort', wake);
  if (signal.aborted) wake();
  await clock.sleep(withinMs, changed.signal);
  signal.removeEventListener('abort', wake);
  stop();
}
