import { constants } from 'node:os';

import type { Limits } from '../model/app-spec.ts';
import type { UnitExit } from '../model/reconciliation.ts';
import type { Clock } from '../ports/clock.ts';
import type { Launch } from '../ports/driver.ts';
import type { Log } from '../ports/log.ts';
import { groupMembers, ranOutOfMemory, removeGroups } from './cgroups.ts';
import type { Gated } from './gated-spawn.ts';
import type { OutputFiles } from './output-files.ts';
import { lastOutput } from './output-reading.ts';
import { membersOf, terminate } from './process-group.ts';
import { isAlive, readStat, sendSignal } from './proc.ts';
import { untilGone } from './unit-ending.ts';
import { memoryLimitText } from './unit-limits.ts';
import type { UnitRecord, UnitRecords } from './unit-records.ts';

export interface ProcessRecord extends UnitRecord {
  bootId: string;
  pid: number;
  /** Clock ticks since boot, as /proc has it. */
  startTime: number;
  output: OutputFiles;
  /** Directories of its control groups; none when it has no limits. */
  cgroups: string[];
  limits: Limits;
  stopRequested: boolean;
}

export interface ProcessUnit {
  readonly record: ProcessRecord;
  /** Whether this driver saw it alive, so that its pid can't have become somebody else's group meanwhile. */
  readonly seenAlive: boolean;
  /** Nothing of its group is left. */
  readonly gone: boolean;
}

/** The units of one process driver: those it started, and those of the driver before it. */
export interface ProcessUnits {
  /** Without the forgotten ones. */
  all(): ProcessUnit[];
  get(name: string): ProcessUnit | undefined;
  /** In the turn in which it was spawned. @throws Error when it can't be put on file; then it is not known */
  add(launch: Launch, gated: Gated, place: Pick<ProcessRecord, 'output' | 'cgroups'>): ProcessUnit;
  /** All who stop one unit wait for the same end; the most hurried counts. False when the driver was closed first. */
  stop(unit: ProcessUnit, killAtMs: number): Promise<boolean>;
  forget(unit: ProcessUnit): void;
  onExit(listener: () => void): () => void;
  /** Resolves, after closing, when nothing is under way. */
  settled(): Promise<void>;
}

interface Tracked extends ProcessUnit {
  /** An adopted one is nobody's child any more: its exit has to be looked for, and its code is not to be had. */
  adopted: boolean;
  seenAlive: boolean;
  gone: boolean;
  forgotten: boolean;
  /** Wakes who waits for its exit. */
  ended: AbortController;
  /** Signals reach it from then on. */
  begun: Promise<void>;
  /** The one ending that all who stop it share. */
  ending: Promise<boolean> | null;
  killAtMs: number;
}

const ADOPTED_POLL_MS = 150;
const AFTER_NEXT_START_MS = 50;
const LAST_LINES = 20;

export function processUnits(options: {
  records: UnitRecords<ProcessRecord>;
  bootId: string;
  clock: Clock;
  log: Log;
  closing: AbortSignal;
}): ProcessUnits {
  const { records, clock, log, closing } = options;
  const units = new Map<string, Tracked>();
  const exitListeners = new Set<() => void>();
  let watching = false;

  for (const record of records.load()) adopt(record);
  watchAdopted();
  closing.addEventListener('abort', () => {
    for (const { ended } of units.values()) ended.abort();
  });

  return {
    all: () => [...units.values()].filter(unit => !unit.forgotten),
    get: name => units.get(name),

    add(launch, gated, place) {
      const record = recordOf(launch, { bootId: options.bootId, pid: gated.pid, ...place });
      records.save(record);
      const unit = track(record, { adopted: false, seenAlive: true, begun: gated.begun });
      gated.onExit((code, signal) => noteExit(unit, code, signal));
      gated.onOrphaned(() => {
        unit.adopted = true;
        watchAdopted();
      });
      return unit;
    },

    stop({ record }, killAtMs) {
      const unit = known(record.unit);
      unit.killAtMs = Math.min(unit.killAtMs, killAtMs);
      if (unit.ending === null) {
        record.stopRequested = true;
        records.note(record);
        void unit.begun.then(() => ask(unit));
      }
      return endingOf(unit);
    },

    forget({ record }) {
      const unit = known(record.unit);
      unit.forgotten = true;
      if (unit.gone) drop(unit);
    },

    onExit(listener) {
      exitListeners.add(listener);
      return () => void exitListeners.delete(listener);
    },

    async settled() {
      await Promise.all([...units.values()].map(async ({ ending }) => ending));
    },
  };

  function adopt(record: ProcessRecord): void {
    const sameBoot = record.bootId === options.bootId;
    const unit = track(record, {
      adopted: true,
      seenAlive: sameBoot && isAlive(record),
      begun: Promise.resolve(),
    });
    if (!sameBoot) unit.gone = true;
    if (unit.seenAlive && record.exit === null) {
      log.info('adopted a running unit', { unit: record.unit, pid: record.pid });
      return;
    }
    unit.killAtMs = clock.now();
    if (record.exit === null) noteExit(unit, null, null);
    else unit.ended.abort();
    if (!unit.gone) void endingOf(unit);
  }

  function track(record: ProcessRecord, facts: Pick<Tracked, 'adopted' | 'seenAlive' | 'begun'>): Tracked {
    const unit: Tracked = {
      record,
      ...facts,
      gone: false,
      forgotten: false,
      ended: new AbortController(),
      ending: null,
      killAtMs: Infinity,
    };
    units.set(record.unit, unit);
    return unit;
  }

  /** One timer for all of them, and none when there are none. */
  function watchAdopted(): void {
    if (
      closing.aborted ||
      watching ||
      ![...units.values()].some(({ adopted, record }) => adopted && record.exit === null)
    )
      return;
    watching = true;
    const cancel = clock.after(ADOPTED_POLL_MS, () => {
      watching = false;
      closing.removeEventListener('abort', cancel);
      try {
        for (const unit of units.values()) hasEnded(unit);
      } catch (error) {
        log.warn('adopted units could not be looked at, trying again', { error });
      }
      watchAdopted();
    });
    closing.addEventListener('abort', cancel);
  }

  function hasEnded(unit: Tracked): boolean {
    if (unit.adopted && unit.record.exit === null && !isAlive(unit.record)) noteExit(unit, null, null);
    return unit.record.exit !== null;
  }

  function noteExit(unit: Tracked, code: number | null, signal: string | null): void {
    // A closed driver leaves it to the next one: two must not write one record.
    if (closing.aborted || unit.record.exit !== null) return;
    const { record } = unit;
    // Most of what it leaves goes now, with its port, before anybody starts the next copy.
    if (unit.seenAlive && !record.stopRequested) sendSignal(-record.pid, 'SIGKILL');
    record.exit = exitOf(record, code, signal);
    records.note(record);
    unit.ended.abort();
    if (!record.stopRequested) unit.killAtMs = clock.now();
    for (const listener of exitListeners) listener();
    if (!unit.gone) void endingOf(unit);
  }

  function endingOf(unit: Tracked): Promise<boolean> {
    unit.ending ??= end(unit);
    return unit.ending;
  }

  function ask(unit: Tracked): void {
    try {
      terminate(unit.record, everythingOf(unit));
    } catch (error) {
      log.warn('could not ask a unit to end, it is killed when its grace is over', {
        unit: unit.record.unit,
        error,
      });
    }
  }

  async function end(unit: Tracked): Promise<boolean> {
    const { record } = unit;
    // A search through all of /proc takes milliseconds, which the start of a next copy gets first.
    if (!record.stopRequested) await clock.sleep(AFTER_NEXT_START_MS, closing);
    const ending = {
      unit: record.unit,
      killAtMs: () => unit.killAtMs,
      ended: () => hasEnded(unit),
      members: () => everythingOf(unit),
      wake: unit.ended.signal,
    };
    unit.gone = await untilGone(ending, { clock, log, closing });
    if (unit.gone) removeGroups(record.cgroups);
    if (unit.gone && unit.forgotten) drop(unit);
    return unit.gone;
  }

  function everythingOf({ record, seenAlive }: Tracked): number[] {
    return [...new Set([...membersOf(record, seenAlive), ...groupMembers(record.cgroups)])];
  }

  function drop({ record }: Tracked): void {
    units.delete(record.unit);
    records.remove(record.unit);
  }

  function known(name: string): Tracked {
    const unit = units.get(name);
    if (unit === undefined) throw new Error(`${name} is not a unit of this driver`);
    return unit;
  }
}

function recordOf(
  { unit, instance, release, version, endpoint, limits, guarded }: Launch,
  where: Pick<ProcessRecord, 'bootId' | 'pid' | 'output' | 'cgroups'>,
): ProcessRecord {
  return {
    v: 1,
    unit,
    instance,
    release,
    version,
    endpoint,
    limits,
    ...where,
    // It can't have been reaped yet, so it is there even if it has ended.
    startTime: readStat(where.pid)?.startTime ?? 0,
    stopRequested: false,
    exit: null,
    ...(guarded === true ? { guarded } : {}),
  };
}

function exitOf(record: ProcessRecord, status: number | null, killedBy: string | null): UnitExit {
  const { code, signal } =
    record.guarded === true ? unwrapped(status, killedBy) : { code: status, signal: killedBy };
  const lines = outputOf(record);
  if (ranOutOfMemory(record.cgroups)) {
    lines.push(`out of memory: the kernel killed it at its limit of ${memoryLimitText(record.limits)}`);
  }
  return { code, signal, lastOutput: lines.slice(-LAST_LINES), requested: record.stopRequested };
}

const SHELL_SIGNAL_BASE = 128;

/** The guard is a shell, and says of a signal what shells say. */
function unwrapped(
  code: number | null,
  signal: string | null,
): { code: number | null; signal: string | null } {
  const number = (code ?? 0) - SHELL_SIGNAL_BASE;
  const name = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  return name === undefined ? { code, signal } : { code: null, signal: name };
}

/** An exit is told even when the reason can't be. */
function outputOf(record: ProcessRecord): string[] {
  try {
    return lastOutput(record.output, LAST_LINES);
  } catch (error) {
    return [`its output can't be read: ${(error as Error).message}`];
  }
}
