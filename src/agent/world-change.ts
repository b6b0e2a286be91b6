import type { Kind } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { World } from './world.ts';

const SHOWN_WITHIN_MS = 5000;

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

/**
 * Until the copy here shows what was written at that revision: who changes something and looks at once must not see what was
 * before, and take it for the outcome. Not for ever, as a watch can be silent while what is written is answered.
 */
export async function worldShows(
  options: { world: World; clock: Clock },
  kind: Kind & keyof World,
  revision: bigint,
): Promise<void> {
  const { world, clock } = options;
  const untilMs = clock.now() + SHOWN_WITHIN_MS;
  const { signal } = new AbortController();
  for (
    let leftMs = SHOWN_WITHIN_MS;
    leftMs > 0 && world[kind].revision < revision;
    leftMs = untilMs - clock.now()
  )
    await worldChange(options, [kind], leftMs, signal);
}
