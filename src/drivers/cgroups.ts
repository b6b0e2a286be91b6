import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

import type { Limits } from '../model/app-spec.ts';
import { readStat } from './proc.ts';

type Controller = 'memory' | 'cpu' | 'pids';

export interface Enforceable {
  memory: boolean;
  cpu: boolean;
  processes: boolean;
}

/** Where new control groups of each controller can be made; null when they can't. */
type Bases = Record<Controller, { version: 1 | 2; directory: string } | null>;

/** Limits by the kernel's control groups, version 1, 2 or both mounted, inside the group the agent itself is in. */
export interface Cgroups {
  readonly enforceable: Enforceable;
  /**
   * Makes the groups that the limits need, and returns their directories: none when nothing is limited.
   * @throws Error when one can't be made
   */
  prepare(name: string, limits: Limits): string[];
  /** Names of the groups made here whose name has this prefix. */
  left(prefix: string): string[];
}

const LIMIT_FILES: Record<1 | 2, Record<Controller, string>> = {
  1: { memory: 'memory.limit_in_bytes', cpu: 'cpu.cfs_quota_us', pids: 'pids.max' },
  2: { memory: 'memory.max', cpu: 'cpu.max', pids: 'pids.max' },
};
const CPU_PERIOD_MICROSECONDS = 100_000;
const PROBE = 'hop3-probe-';

/** What the kernel tells this process, or what a test says it does. */
export interface CgroupSources {
  /** As in /proc/self/mounts. */
  mounts: string;
  /** As in /proc/self/cgroup. */
  own: string;
}

export function cgroups(sources: CgroupSources = kernelSources()): Cgroups {
  const bases = findBases(sources);
  return {
    enforceable: { memory: bases.memory !== null, cpu: bases.cpu !== null, processes: bases.pids !== null },

    prepare(name, limits) {
      const made = new Set<string>();
      const wanted: [Controller, number | null][] = [
        ['memory', limits.memoryBytes],
        ['cpu', limits.cpu],
        ['pids', limits.processes],
      ];
      for (const [controller, limit] of wanted) {
        if (limit === null) continue;
        const base = bases[controller];
        if (base === null) throw new Error(`no writable ${controller} control group`);
        const group = join(base.directory, name);
        mkdirSync(group, { recursive: true });
        setLimit(group, base.version, controller, limit);
        made.add(group);
      }
      return [...made];
    },

    left(prefix) {
      const found = new Set<string>();
      for (const base of Object.values(bases)) {
        if (base === null) continue;
        for (const name of readdirSync(base.directory)) {
          if (name.startsWith(prefix)) found.add(join(base.directory, name));
        }
      }
      return [...found];
    },
  };
}

/** Takes effect for everything the process starts from now on. @throws Error */
export function enterGroups(directories: readonly string[], pid: number): void {
  for (const directory of directories) writeFileSync(join(directory, 'cgroup.procs'), String(pid));
}

/** Everything in the groups, whatever group or session of processes it fled to. */
export function groupMembers(directories: readonly string[]): number[] {
  const pids = new Set<number>();
  for (const directory of directories) {
    const text = readIfThere(join(directory, 'cgroup.procs'));
    for (const line of text.split('\n')) if (line !== '') pids.add(Number(line));
  }
  return [...pids];
}

/** Whether the kernel killed anything in the groups for want of memory. */
export function ranOutOfMemory(directories: readonly string[]): boolean {
  return directories.some(directory =>
    ['memory.oom_control', 'memory.events'].some(file =>
      /^oom_kill [1-9]/m.test(readIfThere(join(directory, file))),
    ),
  );
}

/** What can't be removed, because it still has members, stays and is found again by `left`. */
export function removeGroups(directories: readonly string[]): void {
  for (const directory of directories) {
    try {
      rmdirSync(directory);
    } catch {
      continue;
    }
  }
}

function kernelSources(): CgroupSources {
  return {
    mounts: readFileSync('/proc/self/mounts', 'utf8'),
    own: readIfThere('/proc/self/cgroup'),
  };
}

function findBases({ mounts, own }: CgroupSources): Bases {
  const mounted = mounts.split('\n').map(line => line.split(' '));
  const groups = own.split('\n').map(line => line.split(':'));
  const unified = mounted.find(([, , type]) => type === 'cgroup2')?.[1];
  const ownUnified = groups
    .find(([number]) => number === '0')
    ?.slice(2)
    .join(':');

  const find = (controller: Controller): Bases[Controller] => {
    const mount = mounted.find(
      ([, , type, options]) => type === 'cgroup' && options?.split(',').includes(controller),
    )?.[1];
    const path = groups
      .find(([, names]) => names?.split(',').includes(controller))
      ?.slice(2)
      .join(':');
    if (mount !== undefined && path !== undefined) {
      const directory = ownDirectory(mount, path);
      return canLimit(directory, 1, controller) ? { version: 1, directory } : null;
    }
    if (unified === undefined || ownUnified === undefined) return null;
    // A version 2 group with processes in it can't pass controllers on, so the agent's own serves only when it is the
    // root; else its parent may (systemd: Delegate=yes with DelegateSubgroup=).
    const directory = ownDirectory(unified, ownUnified);
    const candidates = directory === unified ? [directory] : [directory, dirname(directory)];
    const usable = candidates.find(
      candidate => passesOn(candidate, controller) && canLimit(candidate, 2, controller),
    );
    return usable === undefined ? null : { version: 2, directory: usable };
  };
  return { memory: find('memory'), cpu: find('cpu'), pids: find('pids') };
}

/** In a container the path may be the host's: then what is mounted is the container's own group. */
function ownDirectory(mount: string, path: string): string {
  const directory = join(mount, path);
  return directory.startsWith(mount) && existsSync(directory) ? directory : mount;
}

function passesOn(directory: string, controller: Controller): boolean {
  const file = join(directory, 'cgroup.subtree_control');
  if (readIfThere(file).split(/\s+/).includes(controller)) return true;
  if (!readIfThere(join(directory, 'cgroup.controllers')).split(/\s+/).includes(controller)) return false;
  try {
    writeFileSync(file, `+${controller}`);
    return true;
  } catch {
    // Not allowed here, for whatever reason: the answer is no, and a limit that needs it is refused with the remedy.
    return false;
  }
}

/** Found out by making a group, because file modes alone do not tell. */
function canLimit(base: string, version: 1 | 2, controller: Controller): boolean {
  const probe = join(base, `${PROBE}${process.pid}`);
  try {
    removeGroups(leftProbes(base));
    mkdirSync(probe, { recursive: true });
  } catch {
    return false;
  }
  try {
    accessSync(join(probe, LIMIT_FILES[version][controller]), constants.W_OK);
    return true;
  } catch {
    return false;
  } finally {
    removeGroups([probe]);
  }
}

/** Of agents that were killed while they found out. */
function leftProbes(base: string): string[] {
  const probes = readdirSync(base).filter(name => name.startsWith(PROBE));
  return probes
    .filter(name => readStat(Number(name.slice(PROBE.length))) === null)
    .map(name => join(base, name));
}

function setLimit(group: string, version: 1 | 2, controller: Controller, limit: number): void {
  const file = join(group, LIMIT_FILES[version][controller]);
  switch (controller) {
    case 'memory':
      writeFileSync(file, String(limit));
      // Swap would be a way round the limit. The file is missing where the kernel does not account for swap.
      if (version === 1) writeIfThere(join(group, 'memory.memsw.limit_in_bytes'), String(limit));
      else writeIfThere(join(group, 'memory.swap.max'), '0');
      break;
    case 'cpu': {
      const quota = Math.max(1000, Math.round(limit * CPU_PERIOD_MICROSECONDS));
      if (version === 1) {
        writeFileSync(join(group, 'cpu.cfs_period_us'), String(CPU_PERIOD_MICROSECONDS));
        writeFileSync(file, String(quota));
      } else {
        writeFileSync(file, `${quota} ${CPU_PERIOD_MICROSECONDS}`);
      }
      break;
    }
    case 'pids':
      writeFileSync(file, String(limit));
      break;
  }
}

function writeIfThere(file: string, text: string): void {
  if (existsSync(file)) writeFileSync(file, text);
}

function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENODEV') return '';
    throw error;
  }
}
