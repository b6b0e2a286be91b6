import { constants } from 'node:os';

import type { Limits } from '../model/app-spec.ts';
import type { Clock } from '../ports/clock.ts';
import { readStat } from './proc.ts';
import { signalAll } from './process-group.ts';
import { membersOfGroup } from './systemd-groups.ts';
import { saysItCouldNotSpawn } from './systemd-journal.ts';
import type { SystemdOutput } from './systemd-output.ts';
import { dropUnits, showUnits, type UnitProperties } from './systemd-tools.ts';
import { memoryLimitText } from './unit-limits.ts';
import type { UnitRecord } from './unit-records.ts';

export interface SystemdRecord extends UnitRecord {
  bootId: string;
  /** systemd's name of it. */
  service: string;
  /** null while it is being started. */
  main: { pid: number; startTime: number } | null;
  /** Its control group, as systemd names it. */
  group: string | null;
  limits: Limits;
  stopRequested: boolean;
}

const SETTLE_POLL_MS = 10;
const LAST_LINES = 20;
const LONGEST_LAST_LINE = 500;
const LAST_LINES_MS = 2000;
const PROPERTIES = [
  'LoadState',
  'ActiveState',
  'Job',
  'MainPID',
  'ExecMainPID',
  'ExecMainCode',
  'ExecMainStatus',
  'Result',
  'ControlGroup',
  'InvocationID',
];
/** `EXIT_CHDIR` to the last of its kind. */
const FIRST_OWN_CODE = 200;
const LAST_OWN_CODE = 245;
/** `CLD_EXITED`. */
const EXITED = '1';

/** What systemd says of each service. @throws ToolError */
export function statesOf(services: readonly string[]): Promise<UnitProperties[]> {
  return showUnits(services, PROPERTIES);
}

/** Whether it is on its way to run a command that it does not run yet. */
export function isStarting(state: UnitProperties): boolean {
  if (state['LoadState'] !== 'loaded') return false;
  const hasJob = Number(state['Job'] ?? 0) > 0;
  return state['ActiveState'] === 'activating' || (state['ActiveState'] === 'inactive' && hasJob);
}

/**
 * Whether the command of a start that failed had begun: else systemd says what it could not do by one of its own codes, and in the
 * journal, since a command may end with such a code, too. @throws ToolError
 */
export async function ranAtAll(service: string): Promise<boolean> {
  const [state = {}] = await statesOf([service]);
  const { code, signal } = endIn(state);
  if (signal !== null || code === null) return signal !== null;
  if (code < FIRST_OWN_CODE || code > LAST_OWN_CODE) return true;
  return !(await saysItCouldNotSpawn(service, state['InvocationID'] ?? ''));
}

/** When systemd too has seen its main process end; null when the signal aborted before. @throws ToolError */
export async function settledState(
  service: string,
  { clock, signal }: { clock: Clock; signal: AbortSignal },
): Promise<UnitProperties | null> {
  while (!signal.aborted) {
    const [state = {}] = await statesOf([service]);
    if (state['LoadState'] !== 'loaded' || state['MainPID'] === '0') return state;
    await clock.sleep(SETTLE_POLL_MS, signal);
  }
  return null;
}

/** Puts into the record which process systemd started for it, and where. */
export function identify(record: SystemdRecord, state: UnitProperties = {}): void {
  const pid = Number(state['ExecMainPID'] ?? 0);
  // Of one that has ended the number may be somebody else's by now.
  const startTime = state['MainPID'] === '0' ? undefined : readStat(pid)?.startTime;
  record.main = pid === 0 ? null : { pid, startTime: startTime ?? 0 };
  record.group = groupIn(record.service, state);
}

/** How its main process ended; nulls when systemd does not know, as after a reboot. */
export function endIn(state: UnitProperties): { code: number | null; signal: string | null } {
  const number = Number(state['ExecMainStatus'] ?? '');
  if (state['LoadState'] !== 'loaded' || state['ExecMainCode'] === '0') return { code: null, signal: null };
  if (state['ExecMainCode'] === EXITED) return { code: number, signal: null };
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  return { code: null, signal: name ?? null };
}

/**
 * The end of its output, for a person who wants to know why it ended. An exit is told even when the reason can't be, and
 * soon: it waits for the journal until the signal aborts, and never for long.
 */
export async function lastLines(
  { instance, unit, limits }: SystemdRecord,
  parts: { state: UnitProperties | null; output: SystemdOutput; clock: Clock; signal: AbortSignal },
): Promise<string[]> {
  const { state, output, clock, signal } = parts;
  const answered = new AbortController();
  const reading = AbortSignal.any([signal, answered.signal]);
  const late = clock
    .sleep(LAST_LINES_MS, reading)
    .then(() => ["its output can't be read: the journal was not waited for any longer"]);
  const read = output
    .last(instance, { unit, count: LAST_LINES, signal: reading })
    .catch((error: unknown) => [`its output can't be read: ${(error as Error).message}`]);
  const lines = await Promise.race([late, read]).finally(() => answered.abort());
  if (state?.['Result'] === 'oom-kill') {
    lines.push(`out of memory: the kernel killed it at its limit of ${memoryLimitText(limits)}`);
  }
  return lines.slice(-LAST_LINES).map(line => line.slice(0, LONGEST_LAST_LINE));
}

/** Kills all of it, and lets systemd forget it. @throws ToolError */
export async function endUnit(service: string): Promise<void> {
  const [state] = await statesOf([service]);
  const group = groupIn(service, state);
  if (group !== null) signalAll(membersOfGroup(group), 'SIGKILL');
  await dropUnits([service]);
}

/** null when nothing of it lives. Never another's: everything in it may be killed. */
function groupIn(service: string, state: UnitProperties = {}): string | null {
  const group = state['ControlGroup'] ?? '';
  return group.endsWith(`/${service}`) ? group : null;
}
