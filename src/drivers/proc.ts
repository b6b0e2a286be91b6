import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';

/** What /proc says of one process. Pid and start time together are never used twice between two boots. */
export interface ProcessStat {
  pid: number;
  /** One letter; `X` is dead, and so is `Z` unless other threads than the first go on. */
  state: string;
  threads: number;
  group: number;
  session: number;
  /** Clock ticks since boot. */
  startTime: number;
}

export function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** null when there is no such process; a zombie is there. */
export function readStat(pid: number): ProcessStat | null {
  let text: string;
  try {
    text = readAtOnce(`/proc/${pid}/stat`);
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
  // The name in parentheses may hold anything, closing parentheses too.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    state: fields[0] ?? 'X',
    threads: Number(fields[17]),
    group: Number(fields[2]),
    session: Number(fields[3]),
    startTime: Number(fields[19]),
  };
}

/** More than the kernel says of any process in one line. */
const line = Buffer.allocUnsafe(4096);

/** In half the time that `readFileSync` takes, which a look through all processes is made of. @throws as that does */
function readAtOnce(path: string): string {
  const file = openSync(path, 'r');
  try {
    return line.toString('latin1', 0, readSync(file, line));
  } finally {
    closeSync(file);
  }
}

export function isAlive(id: { pid: number; startTime: number }): boolean {
  const stat = readStat(id.pid);
  return stat !== null && isRunning(stat) && stat.startTime === id.startTime;
}

/**
 * Living processes whose group or session was founded by `leader`: so a child that changed its group is found, and
 * so is one whose leader has died. One that founded a session of its own is not.
 */
export function livingMembers(leader: number): ProcessStat[] {
  const members: ProcessStat[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    const stat = readStat(pid);
    if (stat !== null && isRunning(stat) && (stat.group === leader || stat.session === leader)) {
      members.push(stat);
    }
  }
  return members;
}

/**
 * Whether one of the process's first three descriptors is open on one of these files. False when that is not to be known: the
 * kernel says that it may not be looked at (EACCES) of another user's process, and of one that ended while it was.
 */
export function writesTo(pid: number, files: readonly string[]): boolean {
  return [0, 1, 2].some(descriptor => {
    try {
      return files.includes(readlinkSync(`/proc/${pid}/fd/${descriptor}`));
    } catch (error) {
      if (isGone(error) || (error as NodeJS.ErrnoException).code === 'EACCES') return false;
      throw error;
    }
  });
}

/** False when nobody was there to get it, or it is not ours to signal: whoever waits for an end will notice. */
export function sendSignal(pidOrMinusGroup: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pidOrMinusGroup, signal);
  } catch (error) {
    if (isGone(error) || (error as NodeJS.ErrnoException).code === 'EPERM') return false;
    throw error;
  }
}

/** A zombie whose other threads go on does as before: it writes, holds its ports, and takes signals. */
export function isRunning({ state, threads }: Pick<ProcessStat, 'state' | 'threads'>): boolean {
  return state !== 'X' && (state !== 'Z' || threads > 1);
}

/** What /proc and kill(2) say of a process that ended, even while it was being read. */
function isGone(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ESRCH';
}
