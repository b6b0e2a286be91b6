/**
 * Gives hosts a world of their own: what is started here, with its network, its mounts and its processes, ends with the
 * process that asked for it, whatever way that ends. Killed outright, that leaves control groups, which the next one sweeps,
 * and an empty directory.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../support/until.ts';
import { hierarchies } from './host.ts';

const NAME = 'hop3-hosts-';
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs a TypeScript file in such a world, with arguments. Gives its exit code once nothing of it is left, nor of
 * `scratch`, files and directories that it was given.
 */
export async function inAWorldOfItsOwn(
  file: string,
  args: string[],
  scratch: string[] = [],
): Promise<number> {
  await sweepCgroups();
  const directory = await mkdtemp(join(tmpdir(), NAME));
  const world = ['--mount', '--net', '--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc'];
  // Memory, so that nothing has to be taken away afterwards; and the container manager wants it for /run.
  const prepare =
    'mount -t tmpfs tmpfs /run && mount -t tmpfs -o size=6g tmpfs "$HOP3_HOSTS_DIRECTORY" && exec "$@"';
  const node = [process.execPath, '--import=tsx', file, ...args];
  // The world ends with unshare, and unshare with this process, even if nobody is left to kill it.
  const bound = ['--pdeathsig', 'KILL', 'unshare', ...world];
  const child = spawn('/usr/bin/setpriv', [...bound, 'sh', '-c', prepare, 'sh', ...node], {
    stdio: 'inherit',
    env: {
      ...process.env,
      HOP3_HOSTS_DIRECTORY: directory,
      HOP3_HOSTS_CGROUP: `${NAME}${process.pid}`,
    },
  });
  const end = (): void => void child.kill('SIGKILL');
  for (const signal of SIGNALS) process.on(signal, end);
  const [code] = (await once(child, 'exit')) as [number | null];
  for (const signal of SIGNALS) process.off(signal, end);
  await rmdir(directory);
  for (const path of scratch) await rm(path, { recursive: true });
  await until('the control groups of the hosts are empty', sweepCgroups);
  return code ?? 1;
}

/** Where files of the hosts go. @throws Error when not started by `inAWorldOfItsOwn` */
export function hostsDirectory(): string {
  const directory = process.env['HOP3_HOSTS_DIRECTORY'];
  if (directory === undefined) throw new Error('this runs in a world of its own: use npm run test:hosts');
  return directory;
}

/** Removes those whose maker is gone. Gives whether none of this process is left. */
async function sweepCgroups(): Promise<boolean> {
  let clean = true;
  for (const hierarchy of await hierarchies()) {
    for (const name of await readdir(hierarchy)) {
      if (!name.startsWith(NAME)) continue;
      const maker = name.slice(NAME.length);
      if (maker !== String(process.pid) && existsSync(`/proc/${maker}`)) continue;
      const gone = await removeGroup(join(hierarchy, name));
      if (maker === String(process.pid)) clean &&= gone;
    }
  }
  return clean;
}

async function removeGroup(path: string): Promise<boolean> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeGroup(join(path, entry.name));
  }
  return rmdir(path).then(
    () => true,
    () => false,
  );
}
