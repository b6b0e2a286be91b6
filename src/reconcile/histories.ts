import type { InstanceId, InstantMs } from '../model/ids.ts';
import type { StartHistory, Unit, UnitExit } from '../model/reconciliation.ts';

/** A copy that was ready this long was no failed start: the next failure is the first again. */
export const settledMs = 60_000;

/** The history to go on with for this version: the same one, or an empty one when the version is another. */
export function forVersion(
  history: StartHistory | undefined,
  instance: InstanceId,
  version: string,
): StartHistory {
  if (history?.version === version) return history;
  return { instance, version, failures: 0, lastFailureMs: null, lastTrouble: null, everReady: false };
}

/**
 * Takes in that a copy ended. `unit.phase` is its last living phase. What was asked for is no failure; a copy of an
 * older version says nothing about this one.
 */
export function afterExit(
  history: StartHistory | undefined,
  unit: Unit,
  exit: UnitExit,
  nowMs: InstantMs,
): StartHistory {
  const before = historyOf(history, unit);
  if (before.version !== unit.version) return before;
  if (exit.requested) return withOutput(before, exit);
  const failures = isFirst(before, unit, nowMs) ? 1 : before.failures + 1;
  return {
    ...before,
    failures,
    lastFailureMs: nowMs,
    lastTrouble: withLines(exitText(unit, exit, nowMs), exit.lastOutput),
    lastExit: { code: exit.code, signal: exit.signal },
    passing: false,
  };
}

/** Takes in that a copy answered well for the first time, or again. */
export function afterReady(history: StartHistory | undefined, unit: Unit, nowMs: InstantMs): StartHistory {
  const before = historyOf(history, unit);
  if (before.version !== unit.version || nowMs < unit.startedMs) return before;
  return { ...before, everReady: true, lastExit: null };
}

/** Takes in that a living copy is being stopped because it is no use: too slow to start, or hung. */
export function afterGivenUp(
  history: StartHistory | undefined,
  unit: Unit,
  trouble: string,
  nowMs: InstantMs,
): StartHistory {
  const before = historyOf(history, unit);
  if (before.version !== unit.version) return before;
  return {
    ...before,
    failures: isFirst(before, unit, nowMs) ? 1 : before.failures + 1,
    lastFailureMs: nowMs,
    lastTrouble: trouble,
    lastExit: { code: null, signal: null },
    passing: false,
  };
}

function historyOf(history: StartHistory | undefined, unit: Unit): StartHistory {
  if (history && !isNewer(unit.version, history.version)) return history;
  return forVersion(history, unit.instance, unit.version);
}

/** Versions are `<release>` or `<release>.<restarts>`, and releases are never reused. */
function isNewer(version: string, than: string): boolean {
  const [release = 0, restarts = 0] = version.split('.').map(Number);
  const [otherRelease = 0, otherRestarts = 0] = than.split('.').map(Number);
  return release > otherRelease || (release === otherRelease && restarts > otherRestarts);
}

/** What the node itself was short of is not held against the app. */
function isFirst(before: StartHistory, unit: Unit, nowMs: InstantMs): boolean {
  return before.passing === true || wasSettled(unit, nowMs);
}

function wasSettled(unit: Unit, nowMs: InstantMs): boolean {
  if (unit.phase.kind === 'ready') return nowMs - unit.phase.sinceMs >= settledMs;
  // When it became ready is forgotten by now; what it lived before it fell ill is the nearest thing.
  if (unit.phase.kind === 'unhealthy') return unit.phase.sinceMs - unit.startedMs >= settledMs;
  return false;
}

function exitText(unit: Unit, exit: UnitExit, nowMs: InstantMs): string {
  const seconds = Math.max(0, (nowMs - unit.startedMs) / 1000).toFixed(1);
  const when =
    unit.phase.kind === 'starting'
      ? `${seconds} s after its start, before it was ready`
      : `${seconds} s after its start`;
  return `version ${unit.version} ${endText(exit)} ${when}`;
}

function endText(exit: UnitExit): string {
  if (exit.signal !== null) return `was ended by ${exit.signal}`;
  if (exit.code !== null) return `exited with code ${exit.code}`;
  return 'ended while nobody was watching';
}

/** A copy that was given up had no last words yet; they come when it has ended. */
function withOutput(history: StartHistory, exit: UnitExit): StartHistory {
  if (history.lastTrouble === null || history.lastTrouble.includes('\n')) return history;
  return { ...history, lastTrouble: withLines(history.lastTrouble, exit.lastOutput) };
}

function withLines(text: string, lines: string[]): string {
  return [text, ...lines].join('\n');
}
