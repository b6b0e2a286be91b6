import type { ProbeResult } from '../ports/prober.ts';
import type { Beats } from './beats.ts';
import type { SessionKeeper } from './session-keeper.ts';
import type { World } from './world.ts';

/** After this much silence of the store an observer doubts itself before it doubts others. */
const DOUBT_AFTER_MS = 8000;
/** One missed beat of each: sooner than a second bad answer. */
const ALONE_AFTER_MS = 900;

/**
 * Whether this observer can rely on what it sees. What cannot be reached may be as well as ever: it is told from an own
 * lost network before it is told broken.
 */
export function footing(
  { keeper, world, beats }: { keeper: SessionKeeper; world: World; beats: Beats },
  probe: ProbeResult | null,
): { sure: boolean; reason: string } {
  const silenceMs = world.staleMs();
  const heard = keeper.current() !== null && silenceMs < DOUBT_AFTER_MS;
  return {
    sure: heard && !beats.alone(probe?.verdict === 'unreachable' ? ALONE_AFTER_MS : undefined),
    reason: heard
      ? 'this observer hears none of the nodes it observes'
      : `this observer has not heard from the store for ${Math.round(silenceMs / 1000)} s`,
  };
}
