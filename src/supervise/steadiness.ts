import type { InstantMs } from '../model/ids.ts';

/** A node that went twice within this long is not to be built on before it has been there for as long. */
export const holdDownMs = 60_000;

/**
 * Why a node that comes and goes gets nothing new, in words; null = it is steady. `wentMs` are the moments at which it
 * went, oldest first; that it is there now is not asked. One loss is no flapping: what came back after it is as good as ever.
 */
export function unsteadiness(wentMs: readonly InstantMs[], nowMs: InstantMs): string | null {
  const [before, last] = wentMs.slice(-2);
  if (before === undefined || last === undefined) return null;
  const sinceMs = nowMs - last;
  if (last - before >= holdDownMs || sinceMs >= holdDownMs) return null;
  return (
    `comes and goes: it went twice within ${Math.round((last - before) / 1000)} s, the last time ` +
    `${Math.round(sinceMs / 1000)} s ago; it has to be there for ${holdDownMs / 1000} s`
  );
}

/** Only as many as tell whether it flaps. */
export function went(wentMs: readonly InstantMs[], nowMs: InstantMs): InstantMs[] {
  return [...wentMs, nowMs].slice(-2);
}
