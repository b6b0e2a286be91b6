import type { OutputFiles } from './output-files.ts';
import { livingMembers, readStat, sendSignal, writesTo } from './proc.ts';

/** A process and everything it started that did not leave its session. */
export interface ProcessGroup {
  pid: number;
  startTime: number;
  output: OutputFiles;
}

/**
 * What lives of it. Of one whose leader ended while nobody watched (`seenAlive` false) the number may be somebody else's
 * by now: it counts as its own only if a member still writes to its output.
 */
export function membersOf(group: ProcessGroup, seenAlive: boolean): number[] {
  const leader = readStat(group.pid);
  if (leader !== null && leader.startTime !== group.startTime) return [];
  const members = livingMembers(group.pid).map(({ pid }) => pid);
  const { out, err } = group.output;
  return seenAlive || members.some(pid => writesTo(pid, [out, err])) ? members : [];
}

/**
 * Asks all of a living group to end, each process once: many take a second SIGTERM for impatience. `others` are
 * processes that belong to it but may have left its group; its leader may not have founded it yet.
 */
export function terminate(group: ProcessGroup, others: readonly number[]): void {
  if (readStat(group.pid)?.startTime !== group.startTime) return;
  const outside = [...new Set([group.pid, ...others])].filter(pid => readStat(pid)?.group !== group.pid);
  sendSignal(-group.pid, 'SIGTERM');
  signalAll(outside, 'SIGTERM');
}

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) sendSignal(pid, signal);
}
