import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { signalAll } from './process-group.ts';

const POLL_MS = 25;
const STUBBORN_WARNING_MS = 5000;

/** One unit on its way out. */
export interface Ending {
  unit: string;
  /** Asked anew each time: whoever is in a greater hurry may come later. */
  killAtMs(): number;
  /** Whether its main process has ended. */
  ended(): boolean;
  /** What lives of it. */
  members(): number[];
  /** Aborts when the main process ends. */
  wake: AbortSignal;
}

/**
 * Waits for the end of the whole group until `killAtMs`, then kills, until nothing of it lives.
 * False when `closing` aborts before.
 */
export async function untilGone(
  ending: Ending,
  { clock, log, closing }: { clock: Clock; log: Log; closing: AbortSignal },
): Promise<boolean> {
  let warnAtMs = Infinity;
  while (!closing.aborted) {
    try {
      if (isGone(clock.now())) return true;
    } catch (error) {
      log.warn('could not look for what is left of a unit, trying again', { unit: ending.unit, error });
    }
    await clock.sleep(POLL_MS, ending.wake.aborted ? closing : ending.wake);
  }
  return false;

  function isGone(nowMs: number): boolean {
    const kill = nowMs >= ending.killAtMs();
    // Looking through all of /proc is worth it only when something may have changed.
    if (!kill && !ending.ended()) return false;
    const members = ending.members();
    if (members.length === 0) return ending.ended();
    if (kill) {
      signalAll(members, 'SIGKILL');
      warnAtMs = Math.min(warnAtMs, nowMs + STUBBORN_WARNING_MS);
    }
    if (nowMs >= warnAtMs) {
      log.warn('killed processes do not end, still waiting', { unit: ending.unit, pids: members });
      warnAtMs = nowMs + STUBBORN_WARNING_MS;
    }
    return false;
  }
}
