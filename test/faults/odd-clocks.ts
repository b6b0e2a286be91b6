import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, copyFile, mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { AgentCommand } from '../support/cluster.ts';
import { until } from '../support/until.ts';

const RUN = promisify(execFile);
const LIBRARIES = ['x86_64-linux-gnu', 'aarch64-linux-gnu'].map(
  triplet => `/usr/lib/${triplet}/faketime/libfaketimeMT.so.1`,
);
const UNSHARE = '/usr/bin/unshare';
/** The date on an answer is to the second. */
const MEASURED_MS = 6000;

export const isRoot = process.getuid?.() === 0;

/** libfaketime, which is installed if it is missing and that is possible; null when it can't be had. */
export async function faketimeLibrary(): Promise<string | null> {
  const found = await firstThere(LIBRARIES);
  if (found !== null || !isRoot) return found;
  await RUN('apt-get', ['install', '-y', '--no-install-recommends', 'faketime']).catch(() => undefined);
  return firstThere(LIBRARIES);
}

/**
 * The wall clock of agents, and of nothing else: CLOCK_MONOTONIC is left alone, as it is when an operator or NTP sets the
 * clock. etcd is written in Go, which asks the kernel past any library: its wall clock can't be faked so.
 */
export interface WallClock {
  readonly env: Record<string, string>;
  set(offsetHours: number): Promise<void>;
  close(): Promise<void>;
}

export async function startWallClock(library: string): Promise<WallClock> {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-wall-'));
  const file = join(directory, 'offset');
  const set = async (offsetHours: number): Promise<void> => {
    await writeFile(`${file}.new`, `${offsetHours < 0 ? '' : '+'}${offsetHours}h`);
    await rename(`${file}.new`, file);
  };
  await set(0);
  return {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    },
    set,
    close: () => rm(directory, { recursive: true }),
  };
}

/** By how much the wall clock of an agent is ahead of this process's, by the date on what it answers. */
export async function hoursAhead(url: string): Promise<number> {
  const response = await fetch(url, { signal: AbortSignal.timeout(3000) });
  await response.body?.cancel();
  return (Date.parse(response.headers.get('date') ?? '') - Date.now()) / 3_600_000;
}

/**
 * How fast the clocks of an agent and of the guard of its processes run, measured over some seconds: the agent's by the date on
 * what it answers, the other by /proc/uptime as that process has it.
 */
export async function ratesOf(agentUrl: string, guardPid: number): Promise<{ agent: number; guard: number }> {
  const look = async (): Promise<{ realMs: number; agentMs: number; guardMs: number }> => {
    const agentMs = (await hoursAhead(agentUrl)) * 3_600_000 + Date.now();
    const uptime = await readFile(join(`/proc/${guardPid}`, 'root', 'proc/uptime'), 'latin1');
    return { realMs: performance.now(), agentMs, guardMs: Number.parseFloat(uptime) * 1000 };
  };
  const before = await look();
  await sleep(MEASURED_MS);
  const after = await look();
  const realMs = after.realMs - before.realMs;
  return {
    agent: (after.agentMs - before.agentMs) / realMs,
    guard: (after.guardMs - before.guardMs) / realMs,
  };
}

/**
 * A node whose clock runs at another rate. What is made so: the agent's wall clock, CLOCK_MONOTONIC and timers (libfaketime),
 * and /proc/uptime as its agent and the guards of its processes read it (a file mounted over it in their own mount
 * namespaces, put there by a wrapper in the place of unshare). What is not: the short waits inside the guard between two
 * looks at the clock, and the app's own clock, by which the test measures.
 */
export interface OddClock {
  command: AgentCommand;
  close(): Promise<void>;
}

export async function startOddClock(library: string, rate: number): Promise<OddClock> {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-rate-'));
  const uptime = join(directory, 'uptime');
  const wrapper = join(directory, 'unshare');
  await copyFile(UNSHARE, `${wrapper}.real`);
  await writeFile(
    wrapper,
    `#!/bin/sh
flags=
while case $1 in -*) true ;; *) false ;; esac; do flags="$flags $1"; shift; done
exec ${wrapper}.real $flags /bin/sh -c 'mount --bind "$0" /proc/uptime && exec "$@"' ${uptime} "$@"
`,
  );
  await chmod(wrapper, 0o755);
  await chmod(`${wrapper}.real`, 0o755);
  await chmod(directory, 0o755);
  const clock = spawn(
    process.execPath,
    [join(import.meta.dirname, 'app/odd-clock.cjs'), uptime, String(rate)],
    {
      stdio: 'ignore',
    },
  );
  running.add(clock);
  await until('the clock runs', async () => ((await stat(uptime).catch(() => null))?.size ?? 0) > 0);
  const prepare = `mount --bind ${uptime} /proc/uptime && mount --bind ${wrapper} ${UNSHARE} && exec "$@"`;
  return {
    command: {
      before: [UNSHARE, '--mount', '--propagation', 'private', '/bin/sh', '-c', prepare, 'sh'],
      env: { LD_PRELOAD: library, FAKETIME: `+0 x${rate}` },
    },
    async close() {
      const ended = once(clock, 'exit');
      clock.kill('SIGKILL');
      await ended;
      running.delete(clock);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach(child => child.kill('SIGKILL')));

async function firstThere(paths: string[]): Promise<string | null> {
  for (const path of paths)
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  return null;
}
