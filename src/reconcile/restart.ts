import type { ProcessSpec, RestartPolicy } from '../model/app-spec.ts';
import type { InstantMs } from '../model/ids.ts';
import type { StartHistory } from '../model/reconciliation.ts';

const firstBackoffMs = 1_000;
const longestBackoffMs = 300_000;

/** Whether an instance with no copy of its version may be started, by what became of the starts before. */
export type StartAgain =
  | { kind: 'now'; reason: string }
  | { kind: 'wait'; untilMs: InstantMs; trouble: string }
  /** Until the version changes. */
  | { kind: 'never'; trouble: string };

/**
 * The first restart comes at once, then each waits twice as long as the one before. An instance that was never ready
 * is given up after `restart.max` failed starts; one that was ready once is tried for ever, and so is one that this node
 * could not even try to start for a reason that may pass (a full disk), which says nothing about the app.
 *
 * Under `on-failure` a process that ends with code 0 has done its work, unless it is there to answer requests.
 */
export function startAgain(
  history: StartHistory,
  restart: RestartPolicy,
  process: ProcessSpec,
  nowMs: InstantMs,
): StartAgain {
  const trouble = history.lastTrouble ?? 'it failed';
  const ended = endedForGood(history, restart, process);
  if (ended !== null) return { kind: 'never', trouble: `${ended}: ${trouble}` };
  const { failures } = history;
  const mayBeGivenUp = !history.everReady && history.passing !== true;
  if (mayBeGivenUp && failures > 0 && failures >= restart.max) {
    return { kind: 'never', trouble: `given up after ${timesText(failures, 'failed start')}: ${trouble}` };
  }
  const waitMs = backoffMs(failures);
  const untilMs = history.lastFailureMs === null ? nowMs : history.lastFailureMs + waitMs;
  // A failure in the future was remembered from an earlier boot, whose clock means nothing now.
  if (untilMs <= nowMs || (history.lastFailureMs ?? nowMs) > nowMs) {
    return {
      kind: 'now',
      reason: failures === 0 ? 'it should run here and does not' : restartText(failures),
    };
  }
  return {
    kind: 'wait',
    untilMs,
    trouble: `${timesText(failures, 'failure')}, waiting ${waitMs / 1000} s before the next start: ${trouble}`,
  };
}

/** 0, then 1, 2, 4 … 300 s. */
export function backoffMs(failures: number): number {
  if (failures <= 1) return 0;
  return Math.min(longestBackoffMs, firstBackoffMs * 2 ** (failures - 2));
}

function endedForGood(history: StartHistory, restart: RestartPolicy, process: ProcessSpec): string | null {
  if (!history.lastExit) return null;
  switch (restart.policy) {
    case 'always':
      return null;
    case 'never':
      return 'not started again (restart policy never)';
    case 'on-failure':
      return history.lastExit.code === 0 && !process.routed
        ? 'done, not started again (restart policy on-failure)'
        : null;
  }
}

function restartText(failures: number): string {
  return `start again after ${timesText(failures, 'failure')}`;
}

function timesText(count: number, what: string): string {
  return count === 1 ? `1 ${what}` : `${count} ${what}s in a row`;
}
