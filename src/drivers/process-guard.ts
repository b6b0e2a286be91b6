import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { InstantMs } from '../model/ids.ts';
import { GuardError, type Guard } from '../ports/guard.ts';
import { GUARD_SCRIPT } from './guard-script.ts';

export interface ProcessGuard extends Guard {
  /** What a guarded command is spawned as. */
  command(command: string): [file: string, ...args: string[]];
}

/** Not looked up in the app's own PATH. */
export const UNSHARE = '/usr/bin/unshare';
/** `-p`: nothing in the app's environment changes what the guard does. */
const BASH = ['/bin/bash', '-p', '-c'];
export const NAMESPACE = ['--pid', '--fork', '--kill-child=SIGKILL', '--mount-proc'];
const WHY_NOT_MS = 5000;

/**
 * Each guarded command has a guard of its own: process 1 of a PID namespace that dies with it, reading the deadline that
 * all of them share from a file (ownership rule 6, process driver). A write that comes too late for one finds it dead.
 */
export function processGuard(options: { stateDir: string; bootId: string; asRoot: boolean }): ProcessGuard {
  const directory = join(options.stateDir, 'guard');
  const file = join(directory, 'deadline');
  const flags = options.asRoot ? NAMESPACE : ['--user', '--map-current-user', ...NAMESPACE];
  let armedUntilMs = readDeadline();
  let able: Promise<string | null> | null = null;

  return {
    unable: () => (able ??= whyNot(flags)),

    arm(deadlineMs) {
      try {
        mkdirSync(directory, { recursive: true, mode: 0o755 });
        // Cut to whole milliseconds, towards the earlier one.
        writeFileSync(`${file}.tmp`, `${options.bootId} ${Math.floor(deadlineMs)}\n`);
        renameSync(`${file}.tmp`, file);
        armedUntilMs = Math.floor(deadlineMs);
        return Promise.resolve();
      } catch (error) {
        return Promise.reject(
          new GuardError(`the guard can't be armed: ${(error as Error).message}`, { cause: error }),
        );
      }
    },

    armedUntilMs: () => armedUntilMs,

    disarm() {
      try {
        rmSync(file, { force: true });
        armedUntilMs = null;
        return Promise.resolve();
      } catch (error) {
        return Promise.reject(
          new GuardError(`the guard can't be disarmed: ${(error as Error).message}`, { cause: error }),
        );
      }
    },

    command: command => [UNSHARE, ...flags, ...BASH, GUARD_SCRIPT, 'guard', file, command, options.bootId],
  };

  function readDeadline(): InstantMs | null {
    try {
      const [bootId, atMs] = readFileSync(file, 'utf8').trim().split(' ');
      return bootId === options.bootId ? Number(atMs) : null;
    } catch {
      return null;
    }
  }
}

/** Tried once, for real. */
function whyNot(flags: string[]): Promise<string | null> {
  return new Promise(resolve => {
    execFile(UNSHARE, [...flags, ...BASH, ':'], { timeout: WHY_NOT_MS }, (error, _, stderr) => {
      const words = stderr.trim().split('\n').at(-1) ?? '';
      resolve(
        error === null
          ? null
          : `a PID namespace, which guards exclusive processes, can't be had here (${words || error.message})`,
      );
    });
  });
}
