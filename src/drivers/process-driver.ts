import { statSync } from 'node:fs';
import { join } from 'node:path';

import type { UnitExit } from '../model/reconciliation.ts';
import type { Clock } from '../ports/clock.ts';
import { DriverError, type Driver, type DriverUnit, type Launch } from '../ports/driver.ts';
import type { Log } from '../ports/log.ts';
import { spawnGated } from './gated-spawn.ts';
import {
  outputDirectory,
  outputFilesFor,
  pruneOutput,
  rotate,
  STREAMS,
  type OutputFiles,
  type RotationLimits,
} from './output-files.ts';
import { lastOutput, readOutput } from './output-reading.ts';
import { bootId, isAlive, readStat, sendSignal } from './proc.ts';
import { membersOf, signalAll } from './process-group.ts';
import { unitRecords, type UnitRecord } from './unit-records.ts';

export interface ProcessDriverOptions {
  /** Absolute; `units/` and `logs/` in it are this driver's. One driver at a time. */
  stateDir: string;
  clock: Clock;
  log: Log;
  /** Whom the processes run as; the agent must be root to choose. */
  user?: { uid: number; gid: number };
  rotation?: RotationLimits;
}

interface ProcessRecord extends UnitRecord {
  bootId: string;
  pid: number;
  startTime: number;
  output: OutputFiles;
  stopRequested: boolean;
}

/** A unit as this driver holds it. */
interface Tracked {
  record: ProcessRecord;
  /** True for one this driver did not start: its exit has to be looked for, and its code is nobody's to know. */
  adopted: boolean;
  /** Whether this driver saw it alive, so that its pid can't have become somebody else's group meanwhile. */
  seenAlive: boolean;
  /** Its exit wakes whoever waits for it. */
  ended: AbortController;
  /** The one ending of the whole group that all who stop it share. */
  ending: Promise<boolean> | null;
  killAtMs: number;
  /** Nothing of its group is left. */
  gone: boolean;
  forgotten: boolean;
}

const ADOPTED_POLL_MS = 150;
const ENDING_POLL_MS = 25;
const STUBBORN_WARNING_MS = 5000;
const ROTATION_CHECK_MS = 1000;
const LAST_LINES = 20;
const ROTATION: RotationLimits = { bytes: 1024 * 1024, files: 5 };

/**
 * Runs commands as plain processes, each in a session of its own, which live on when the agent ends. Knows the units of
 * the driver before it by boot id, pid and start time. Group members left by a process that ended are killed.
 */
export function processDriver(options: ProcessDriverOptions): Driver {
  const { stateDir, clock, log } = options;
  const rotation = options.rotation ?? ROTATION;
  const records = unitRecords<ProcessRecord>(join(stateDir, 'units', 'process'), log);
  const logs = join(stateDir, 'logs');
  const thisBoot = bootId();
  const units = new Map<string, Tracked>();
  const exitListeners = new Set<() => void>();
  const truncationListeners = new Set<(file: string) => void>();
  const closing = new AbortController();

  for (const record of records.load()) adopt(record);
  every(ADOPTED_POLL_MS, lookAfterAdopted);
  every(ROTATION_CHECK_MS, rotateOutput);
  rotateOutput();

  return {
    // Everything in one turn of the event loop: no moment is wasted between asking and running.
    async start(launch) {
      refuseUnstartable(launch);
      const directory = outputDirectory(logs, launch.instance);
      const files = outputFilesFor(directory, launch.unit, clock.timestamp());
      const spawned = spawnGated(launch, files, options.user);
      const gated = spawned instanceof Promise ? await spawned : spawned;
      const tracked = track(recordOf(launch, gated.pid, files), { adopted: false });
      gated.onExit((code, signal) => noteExit(tracked, code, signal));
      try {
        records.save(tracked.record);
      } catch (error) {
        units.delete(launch.unit);
        sendSignal(gated.pid, 'SIGKILL');
        throw new DriverError(`can't record ${launch.unit}: ${(error as Error).message}`, {
          retryable: true,
          cause: error,
        });
      }
      gated.open();
      return describe(tracked);
    },

    observe: () => Promise.resolve([...units.values()].filter(tracked => !tracked.forgotten).map(describe)),

    async stop(unit, graceSeconds) {
      const tracked = units.get(unit);
      if (tracked === undefined || tracked.gone) return;
      // Whoever is in the greatest hurry decides, also when they come later.
      tracked.killAtMs = Math.min(tracked.killAtMs, clock.now() + graceSeconds * 1000);
      if (tracked.ending === null) {
        tracked.record.stopRequested = true;
        records.save(tracked.record);
        signalAll(membersOf(tracked.record, tracked.seenAlive), 'SIGTERM');
      }
      tracked.ending ??= endGroup(tracked);
      if (!(await tracked.ending)) {
        throw new DriverError(`the driver was closed before ${unit} had ended`, { retryable: true });
      }
    },

    async forget(unit) {
      const tracked = units.get(unit);
      if (tracked === undefined) return Promise.resolve();
      if (tracked.record.exit === null) {
        throw new DriverError(`${unit} still runs: stop it first`, { retryable: false });
      }
      tracked.forgotten = true;
      if (tracked.gone) drop(tracked);
    },

    onExit(listener) {
      exitListeners.add(listener);
      return () => void exitListeners.delete(listener);
    },

    output: (instance, outputOptions) =>
      readOutput(
        outputDirectory(logs, instance),
        { ...outputOptions, signal: AbortSignal.any([outputOptions.signal, closing.signal]) },
        {
          clock,
          isLive: unit => units.get(unit)?.record.exit === null,
          onTruncation(listener) {
            truncationListeners.add(listener);
            return () => void truncationListeners.delete(listener);
          },
        },
      ),

    async close() {
      closing.abort();
      for (const { ended } of units.values()) ended.abort();
      await Promise.all([...units.values()].map(async ({ ending }) => ending));
    },
  };

  function refuseUnstartable(launch: Launch): void {
    if (closing.signal.aborted) throw new DriverError('the driver is closed', { retryable: false });
    if (units.has(launch.unit)) throw new DriverError(`${launch.unit} exists already`, { retryable: false });
    if (statSync(launch.directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
      throw new DriverError(`can't start ${launch.unit}: ${launch.directory} is not a directory`, {
        retryable: false,
      });
    }
  }

  function recordOf(launch: Launch, pid: number, output: OutputFiles): ProcessRecord {
    const { unit, instance, release, version, endpoint } = launch;
    // Read in the turn of the spawn: the process can't have been reaped, so it is there even if it has ended.
    const startTime = readStat(pid)?.startTime ?? 0;
    const identity = { bootId: thisBoot, pid, startTime };
    return {
      v: 1,
      unit,
      instance,
      release,
      version,
      endpoint,
      ...identity,
      output,
      stopRequested: false,
      exit: null,
    };
  }

  function track(record: ProcessRecord, { adopted }: { adopted: boolean }): Tracked {
    const tracked: Tracked = {
      record,
      adopted,
      seenAlive: !adopted,
      ended: new AbortController(),
      ending: null,
      killAtMs: Infinity,
      gone: false,
      forgotten: false,
    };
    units.set(record.unit, tracked);
    return tracked;
  }

  function adopt(record: ProcessRecord): void {
    const tracked = track(record, { adopted: true });
    if (record.bootId !== thisBoot) tracked.gone = true;
    else if (isAlive(record)) tracked.seenAlive = true;
    if (tracked.seenAlive && record.exit === null) {
      log.info('adopted a running unit', { unit: record.unit, pid: record.pid });
      return;
    }
    tracked.killAtMs = clock.now();
    if (record.exit === null) noteExit(tracked, null, null);
    else tracked.ended.abort();
    if (!tracked.gone) tracked.ending ??= endGroup(tracked);
  }

  function noteExit(tracked: Tracked, code: number | null, signal: string | null): void {
    if (closing.signal.aborted || tracked.record.exit !== null) return;
    const { record } = tracked;
    // Most of what it leaves goes now, with its port, before anybody starts the next copy.
    if (tracked.seenAlive && !record.stopRequested) sendSignal(-record.pid, 'SIGKILL');
    const exit: UnitExit = {
      code,
      signal,
      lastOutput: lastOutput(record.output, LAST_LINES),
      requested: record.stopRequested,
    };
    record.exit = exit;
    records.save(record);
    tracked.ended.abort();
    for (const listener of exitListeners) listener();
    if (!record.stopRequested) tracked.killAtMs = clock.now();
    if (!tracked.gone) tracked.ending ??= endGroup(tracked);
    pruneOutput(outputDirectory(logs, record.instance), liveUnits());
  }

  /** Waits for the group's end until `killAtMs`, then kills, until nothing of it lives or the driver is closed. */
  async function endGroup(tracked: Tracked): Promise<boolean> {
    const { record } = tracked;
    let warnAtMs = Infinity;
    // Leave the turn of the event loop in which an exit was noted: its listeners may want to start the next copy.
    await Promise.resolve();
    while (!closing.signal.aborted) {
      const nowMs = clock.now();
      if (tracked.adopted && record.exit === null && !isAlive(record)) noteExit(tracked, null, null);
      if (record.exit !== null || nowMs >= tracked.killAtMs) {
        const members = membersOf(record, tracked.seenAlive);
        if (members.length === 0 && record.exit !== null) {
          tracked.gone = true;
          if (tracked.forgotten) drop(tracked);
          return true;
        }
        if (nowMs >= tracked.killAtMs) {
          signalAll(members, 'SIGKILL');
          if (warnAtMs === Infinity) warnAtMs = nowMs + STUBBORN_WARNING_MS;
        }
        if (nowMs >= warnAtMs) {
          log.warn('killed processes do not end, still waiting', { unit: record.unit, pids: members });
          warnAtMs = nowMs + STUBBORN_WARNING_MS;
        }
      }
      await clock.sleep(ENDING_POLL_MS, record.exit === null ? tracked.ended.signal : closing.signal);
    }
    return false;
  }

  function lookAfterAdopted(): void {
    for (const tracked of units.values()) {
      const { adopted, record } = tracked;
      if (adopted && record.exit === null && !isAlive(record)) noteExit(tracked, null, null);
    }
  }

  function rotateOutput(): void {
    for (const { record } of units.values()) {
      if (record.exit !== null) continue;
      for (const { key } of STREAMS) {
        rotate(record.output[key], rotation, file => {
          for (const listener of truncationListeners) listener(file);
        });
      }
    }
  }

  function drop(tracked: Tracked): void {
    units.delete(tracked.record.unit);
    records.remove(tracked.record.unit);
  }

  function liveUnits(): Set<string> {
    return new Set(
      [...units.values()].filter(({ record }) => record.exit === null).map(({ record }) => record.unit),
    );
  }

  function every(intervalMs: number, work: () => void): void {
    let cancel = clock.after(intervalMs, tick);
    closing.signal.addEventListener('abort', () => cancel());

    function tick(): void {
      work();
      cancel = clock.after(intervalMs, tick);
    }
  }
}

function describe({ record }: Tracked): DriverUnit {
  const { unit, instance, release, version, pid, endpoint, exit } = record;
  return { unit, instance, release, version, pid, endpoint, exit };
}
