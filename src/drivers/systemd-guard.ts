import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { InstantMs } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import { GuardError, type Guard } from '../ports/guard.ts';
import type { SystemdNames } from './systemd-names.ts';
import { dropUnits, listUnits, numberOf, runTool, runUnit, showUnits } from './systemd-tools.ts';

export interface SystemdGuard extends Guard {
  /** What a guarded unit is started with. */
  readonly properties: readonly string[];
}

/** The kill begins this early: for the steps of the boot clock (10 ms), the timer's (10 ms), and killing on a busy machine. */
const EARLY_MS = 100;
/** The next time of a timer that has none. */
const NEVER = 2n ** 64n - 1n;
const STEP_MICROSECONDS = 1000n;
const LEASE_TRIES = 5;
const LEASE_AGAIN_MS = 20;

/**
 * Everything guarded requires the lease unit, and a timer of systemd's ends the lease at the deadline: process 1 then kills
 * all that requires it by itself, without starting any program, and refuses to start more (ownership rule 6). Nothing
 * of it needs the agent. The timer counts on the monotonic clock, which stands still while the machine is suspended.
 */
export function systemdGuard(options: {
  stateDir: string;
  bootId: string;
  names: SystemdNames;
  clock: Clock;
}): SystemdGuard {
  const { names, clock, bootId } = options;
  const directory = join(options.stateDir, 'guard');
  const file = join(directory, 'deadline');
  let armedUntilMs = readDeadline();
  /** Every timer that may be left; null = not asked for yet. */
  let timers: Set<string> | null = null;
  /** Of what systemd calls the boot, on the monotonic clock: it is not 0 in a container. */
  let bootMicroseconds = 0n;
  let last: Promise<unknown> = Promise.resolve();

  return {
    properties: [
      `Slice=${names.guardedSlice}`,
      `Requisite=${names.lease}`,
      `After=${names.lease}`,
      // For a stop by systemd itself, which is the guard's: the driver's own begins with SIGTERM.
      'KillSignal=SIGKILL',
    ],

    unable: () => Promise.resolve(null),

    arm: deadlineMs =>
      inTurn("the guard can't be armed", async () => {
        const wantedMs = Math.floor(deadlineMs);
        const left = await leftTimers();
        const early = wantedMs - EARLY_MS;
        const timer = early <= clock.now() ? null : await setTimer(left, monotonicOf(early));
        if (timer === null) await end(left);
        else {
          await holdLease();
          await dropTimers([...left].filter(each => each !== timer));
        }
        note(wantedMs);
      }),

    armedUntilMs: () => armedUntilMs,

    disarm: () =>
      inTurn("the guard can't be disarmed", async () => {
        await end(await leftTimers());
        rmSync(file, { force: true });
        armedUntilMs = null;
      }),
  };

  /** What is asked for while something else is under way waits for that. */
  function inTurn(what: string, work: () => Promise<void>): Promise<void> {
    const done = last.then(work).catch((error: unknown) => {
      throw new GuardError(`${what}: ${(error as Error).message}`, { cause: error });
    });
    last = done.catch(() => undefined);
    return done;
  }

  async function leftTimers(): Promise<Set<string>> {
    timers ??= new Set(await listUnits(names.guardTimers));
    return timers;
  }

  /** Returns the one that is known to be in force; null when its time was over before that was known. */
  async function setTimer(left: Set<string>, atMicroseconds: bigint): Promise<string | null> {
    for (let tries = 0; tries < 2; tries++) {
      const timer = names.guardTimer(process.hrtime.bigint().toString(36));
      left.add(timer);
      await startTimer(timer, atMicroseconds - bootMicroseconds);
      const readBack = await numberOf(timer, 'Timer', 'NextElapseUSecMonotonic').catch((error: unknown) => {
        if (process.hrtime.bigint() / 1000n < atMicroseconds) throw error;
        return NEVER;
      });
      if (readBack === NEVER) return null;
      if (readBack <= atMicroseconds + STEP_MICROSECONDS) return timer;
      // In a container, where it counts from the start of that: now it is known from when.
      bootMicroseconds += readBack - atMicroseconds;
      await dropTimers([timer]);
    }
    throw new Error('the timer that was set would be too late');
  }

  async function startTimer(timer: string, afterBootMicroseconds: bigint): Promise<void> {
    await runTool('systemd-run', [
      ...['--quiet', '--collect', `--unit=${timer.replace(/\.timer$/, '')}`, `--slice=${names.slice}`],
      ...[`--on-boot=${afterBootMicroseconds}us`, '--timer-property=AccuracySec=10ms'],
      // The stop of the lease is systemd's own work. The command is for what might be in the slice without the lease.
      ...[`--property=Conflicts=${names.lease}`, '--property=Type=oneshot'],
      ...['--', '/usr/bin/systemctl', 'kill', '--signal=SIGKILL', names.guardedSlice],
    ]);
  }

  async function holdLease(): Promise<void> {
    for (let tries = 1; ; tries++) {
      const [lease] = await showUnits([names.lease], ['LoadState', 'ActiveState']);
      if (lease?.['ActiveState'] === 'active') return;
      try {
        await startLease(lease?.['LoadState'] === 'loaded');
        return;
      } catch (error) {
        // It may be on its way out still, or have been unloaded since it was looked at.
        if (tries === LEASE_TRIES) throw error;
        await clock.sleep(LEASE_AGAIN_MS);
      }
    }
  }

  /** What has failed may still refer to one that has ended, and then that stays loaded. */
  async function startLease(loaded: boolean): Promise<void> {
    if (loaded) {
      // Never instead of a stop that is under way.
      await runTool('systemctl', ['start', '--job-mode=fail', '--', names.lease]);
      return;
    }
    await runUnit(names.lease, {
      flags: ['--collect', `--slice=${names.slice}`],
      properties: ['Type=oneshot', 'RemainAfterExit=yes', 'StartLimitIntervalSec=0'],
      command: ['/bin/true'],
    });
  }

  /** Whatever is guarded dies with the lease. */
  async function end(left: Set<string>): Promise<void> {
    await dropUnits([names.lease]);
    await dropTimers([...left]);
  }

  async function dropTimers(gone: readonly string[]): Promise<void> {
    if (gone.length === 0) return;
    await dropUnits(gone);
    for (const timer of gone) timers?.delete(timer);
  }

  function monotonicOf(atMs: InstantMs): bigint {
    const leftMs = atMs - clock.now();
    return process.hrtime.bigint() / 1000n + BigInt(Math.floor(leftMs * 1000));
  }

  function note(untilMs: InstantMs): void {
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    writeFileSync(`${file}.tmp`, `${bootId} ${untilMs}\n`);
    renameSync(`${file}.tmp`, file);
    armedUntilMs = untilMs;
  }

  function readDeadline(): InstantMs | null {
    try {
      const [id, atMs] = readFileSync(file, 'utf8').trim().split(' ');
      return id === bootId ? Number(atMs) : null;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }
}
