import { setTimeout as sleep } from 'node:timers/promises';

/** A look counts for no more, so that whoever had no processor meanwhile, as a whole machine may have none, looks again. */
const LONGEST_LOOK_MS = 1_000;

/**
 * Polls until the condition gives something true, and gives that. The limit is for what hangs, not for what is slow.
 * @throws Error saying what was waited for
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  limitMs = 60_000,
): Promise<NonNullable<T>> {
  let waitedMs = 0;
  for (;;) {
    const lookedMs = performance.now();
    const found = await condition();
    if (found) return found;
    if (waitedMs > limitMs) throw new Error(`waited ${limitMs} ms in vain until ${what}`);
    await sleep(10);
    waitedMs += Math.min(performance.now() - lookedMs, LONGEST_LOOK_MS);
  }
}
