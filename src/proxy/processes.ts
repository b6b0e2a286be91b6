import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../ports/clock.ts';

const DEATH_POLL_MS = 20;
const KILL_DEADLINE_MS = 5_000;

export interface HaproxyProcess {
  pid: number;
  parent: number;
}

/**
 * The master and the workers that run on this configuration file, those that finish after a reload included. Looking
 * at what runs, instead of at a file with a pid, also finds what an agent that was killed has started.
 */
export async function processesOf(configFile: string): Promise<HaproxyProcess[]> {
  const pids = (await readdir('/proc')).filter(entry => /^\d+$/.test(entry));
  const found = await Promise.all(pids.map(pid => processOf(Number(pid), configFile)));
  return found.filter(process => process !== null);
}

/**
 * The one that takes signals for all, as the parent of a worker; null when it is not among them: it is gone, or replaces itself just
 * now, as it does once more when a reload is over, and has no arguments for a moment.
 */
export function masterOf(worker: number, processes: readonly HaproxyProcess[]): number | null {
  const parent = processes.find(({ pid }) => pid === worker)?.parent;
  return processes.find(({ pid }) => pid === parent)?.pid ?? null;
}

/** In a session of its own, with its output in a file, so that it outlives the agent. Resolves once it runs. */
export async function launch(binary: string, configFile: string, outputFile: string): Promise<void> {
  const output = openSync(outputFile, 'a', 0o600);
  try {
    const child = spawn(binary, ['-W', '-f', configFile], {
      detached: true,
      // The maps are named relative to it.
      cwd: dirname(configFile),
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      stdio: ['ignore', output, output],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
  } finally {
    closeSync(output);
  }
}

/** SIGTERM to all of them, SIGKILL after `graceMs`; resolves once they are gone. @throws Error when one survives that */
export async function endAll(configFile: string, graceMs: number, clock: Clock): Promise<void> {
  for (const [signal, waitMs] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', KILL_DEADLINE_MS],
  ] as const) {
    const deadlineMs = clock.now() + waitMs;
    for (const { pid } of await processesOf(configFile)) kill(pid, signal);
    while ((await processesOf(configFile)).length > 0 && clock.now() < deadlineMs) {
      await clock.sleep(DEATH_POLL_MS);
    }
  }
  const left = await processesOf(configFile);
  if (left.length > 0)
    throw new Error(`HAProxy (process ${left.map(({ pid }) => pid).join(', ')}) can't be ended`);
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** null when it is another program, a zombie (which has no arguments), or gone meanwhile. */
async function processOf(pid: number, configFile: string): Promise<HaproxyProcess | null> {
  try {
    const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    if (argv[argv.indexOf('-f') + 1] !== configFile || !argv.includes('-W')) return null;
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // After the name, which is in brackets and may hold anything: state, parent.
    return { pid, parent: Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) };
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}
