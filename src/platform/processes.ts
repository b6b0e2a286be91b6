import { readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import type { Clock } from '../ports/clock.ts';

const DEATH_POLL_MS = 20;
const KILL_DEADLINE_MS = 5_000;

/** A process that is not mistaken for another one that got its number later. */
export interface ProcessId {
  pid: number;
  /** Field 22 of proc_pid_stat(5): when it started, in ticks since boot. */
  startTicks: string;
}

/** At once, since a child is sure to be there only in the turn in which it was started. @throws Error when there is no such process */
export function processAt(pid: number): ProcessId {
  return { pid, startTicks: statIn(readFileSync(`/proc/${pid}/stat`, 'utf8')).startTicks };
}

/** A zombie is dead, and only waits for its parent to look, unless other threads of it go on: those hold its files and ports. */
export async function isAlive(id: ProcessId): Promise<boolean> {
  const stat = await readStat(id.pid);
  return stat !== null && stat.startTicks === id.startTicks && stat.lives;
}

/** The first living process whose arguments satisfy the test, or null. */
export async function findProcess(
  matches: (argv: string[]) => boolean,
): Promise<{ id: ProcessId; argv: string[] } | null> {
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const argv = await argvOf(Number(entry));
    if (!matches(argv)) continue;
    const stat = await readStat(Number(entry));
    if (stat?.lives !== true) continue;
    return { id: { pid: Number(entry), startTicks: stat.startTicks }, argv };
  }
  return null;
}

/** Empty for kernel threads, zombies and processes that are gone. */
export async function argvOf(pid: number): Promise<string[]> {
  const text = (await readIfThere(`/proc/${pid}/cmdline`)) ?? '';
  return text.split('\0').slice(0, -1);
}

/**
 * SIGTERM, and SIGKILL when it is still there after `graceMs`; resolves once it is gone.
 * @throws Error when it outlives SIGKILL for 5 s, or may not be signalled
 */
export async function endProcess(id: ProcessId, graceMs: number, clock: Clock): Promise<void> {
  if (!(await signal(id, 'SIGTERM'))) return;
  if (await goneWithin(id, graceMs, clock)) return;
  if (!(await signal(id, 'SIGKILL'))) return;
  if (await goneWithin(id, KILL_DEADLINE_MS, clock)) return;
  throw new Error(`process ${id.pid} is still there ${KILL_DEADLINE_MS} ms after SIGKILL`);
}

async function signal(id: ProcessId, name: NodeJS.Signals): Promise<boolean> {
  if (!(await isAlive(id))) return false;
  try {
    process.kill(id.pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

async function goneWithin(id: ProcessId, durationMs: number, clock: Clock): Promise<boolean> {
  const deadlineMs = clock.now() + durationMs;
  while (await isAlive(id)) {
    if (clock.now() >= deadlineMs) return false;
    await clock.sleep(DEATH_POLL_MS);
  }
  return true;
}

interface Stat {
  lives: boolean;
  startTicks: string;
}

async function readStat(pid: number): Promise<Stat | null> {
  const text = await readIfThere(`/proc/${pid}/stat`);
  return text === null ? null : statIn(text);
}

function statIn(text: string): Stat {
  // The name, in brackets, may hold anything; the fields are counted after it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state] = fields;
  const lives = state !== 'X' && (state !== 'Z' || Number(fields[17]) > 1);
  return { lives, startTicks: fields[19] ?? '' };
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(code)) return null;
    throw error;
  }
}
