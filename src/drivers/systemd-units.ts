import type { UnitExit } from '../model/reconciliation.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { isAlive } from './proc.ts';
import { signalAll } from './process-group.ts';
import { membersOfGroup, watchGroup } from './systemd-groups.ts';
import type { SystemdNames } from './systemd-names.ts';
import type { SystemdOutput } from './systemd-output.ts';
import {
  endIn,
  endUnit,
  identify,
  isStarting,
  lastLines,
  settledState,
  statesOf,
  type SystemdRecord,
} from './systemd-states.ts';
import { dropUnits, listUnits, type UnitProperties } from './systemd-tools.ts';
import { untilGone } from './unit-ending.ts';
import type { UnitRecords } from './unit-records.ts';

export interface SystemdUnit {
  readonly record: SystemdRecord;
  /** Nothing of its control group is left. */
  readonly gone: boolean;
}

/** The units of one systemd driver: those it started, and those of the driver before it. */
export interface SystemdUnits {
  /** Knows what the driver before left, once; ends what nobody has a record of. @throws ToolError */
  load(): Promise<void>;
  /** Without the forgotten ones. */
  all(): SystemdUnit[];
  get(name: string): SystemdUnit | undefined;
  /** Puts on file what is about to be started. @throws Error when it can't be; then it is not known */
  announce(record: SystemdRecord): void;
  /** systemd has started it. @throws ToolError */
  add(record: SystemdRecord): Promise<SystemdUnit>;
  /** It could not be started. What may be left of it stays known until systemd has confirmed that it is gone. */
  revoke(record: SystemdRecord): Promise<void>;
  /** All who stop one unit wait for the same end; the most hurried counts. False when the driver was closed first. */
  stop(unit: SystemdUnit, killAtMs: number): Promise<boolean>;
  forget(unit: SystemdUnit): void;
  onExit(listener: () => void): () => void;
  /** Resolves, after closing, when nothing is under way. */
  settled(): Promise<void>;
}

interface Tracked extends SystemdUnit {
  gone: boolean;
  forgotten: boolean;
  /** Wakes who waits for its exit. */
  ended: AbortController;
  /** Aborts when it is asked to stop. */
  asked: AbortController;
  /** Finding out how it ended, while that is under way. */
  noting: Promise<void> | null;
  /** The one ending that all who stop it share. */
  ending: Promise<boolean> | null;
  killAtMs: number;
}

const POLL_MS = 100;
const REVOKE_AGAIN_MS = 250;

export function systemdUnits(options: {
  records: UnitRecords<SystemdRecord>;
  names: SystemdNames;
  output: SystemdOutput;
  bootId: string;
  clock: Clock;
  log: Log;
  closing: AbortSignal;
}): SystemdUnits {
  const { records, names, output, clock, log, closing } = options;
  const units = new Map<string, Tracked>();
  const exitListeners = new Set<() => void>();
  const dropping = new Set<Promise<void>>();
  let watching = false;
  let loading: Promise<void> | null = null;

  closing.addEventListener('abort', () => {
    for (const { ended } of units.values()) ended.abort();
  });

  return {
    load() {
      loading ??= adoptAll().catch((error: unknown) => {
        loading = null;
        throw error;
      });
      return loading;
    },
    all: () => [...units.values()].filter(unit => !unit.forgotten),
    get: name => units.get(name),
    announce: record => records.save(record),

    async add(record) {
      const [state] = await statesOf([record.service]);
      identify(record, state);
      records.save(record);
      return track(record);
    },

    async revoke(record) {
      try {
        await endUnit(record.service);
        records.remove(record.unit);
      } catch (error) {
        log.warn('a unit that could not be started can not be ended, trying again', {
          unit: record.unit,
          error,
        });
        keepUntilRevoked(record);
      }
    },

    stop({ record }, killAtMs) {
      const unit = known(record.unit);
      unit.killAtMs = Math.min(unit.killAtMs, killAtMs);
      unit.asked.abort();
      if (unit.ending === null) {
        record.stopRequested = true;
        records.note(record);
        signalEverything(unit, 'SIGTERM');
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
      const unsettled = [...units.values()].map(async ({ noting, ending }) => {
        await noting;
        await ending;
      });
      await Promise.all(unsettled);
      await Promise.all(dropping);
    },
  };

  async function adoptAll(): Promise<void> {
    const all = records.load();
    const left = new Set(await listUnits(names.services));
    for (const { service } of all) left.delete(service);
    for (const service of left) {
      log.warn('a unit that nobody has a record of is ended', { service });
      await endUnit(service);
    }
    const states = await statesAtRest(all.map(({ service }) => service));
    for (const [index, record] of all.entries()) adopt(record, states[index] ?? {});
  }

  /** The driver before this one may have been ended in the middle of a start, which goes on without it. */
  async function statesAtRest(services: readonly string[]): Promise<UnitProperties[]> {
    for (;;) {
      const states = await statesOf(services);
      if (!states.some(isStarting) || closing.aborted) return states;
      await clock.sleep(POLL_MS, closing);
    }
  }

  function adopt(record: SystemdRecord, state: UnitProperties): void {
    const known = record.bootId === options.bootId && state['LoadState'] === 'loaded';
    if (known && record.main === null) identify(record, state);
    const unit = track(record);
    if (!known) {
      unit.gone = true;
      if (record.exit === null) tell(unit, { code: null, signal: null, lastOutput: [] });
    } else if (record.exit !== null) {
      unit.killAtMs = clock.now();
      void endingOf(unit);
    } else if (!hasEnded(unit)) {
      log.info('adopted a unit', { unit: record.unit, pid: record.main?.pid });
    }
  }

  function track(record: SystemdRecord): Tracked {
    const unit: Tracked = {
      record,
      gone: false,
      forgotten: false,
      ended: new AbortController(),
      asked: new AbortController(),
      noting: null,
      ending: null,
      killAtMs: Infinity,
    };
    units.set(record.unit, unit);
    if (record.exit !== null) unit.ended.abort();
    else {
      wakeAtEnd(unit);
      if (!watching) watchAll();
    }
    return unit;
  }

  /** Its control group may not be known, so systemd itself ends it. */
  function keepUntilRevoked(record: SystemdRecord): void {
    record.stopRequested = true;
    records.note(record);
    const unit = track(record);
    unit.killAtMs = clock.now();
    unit.ending = untilRevoked(unit);
    unit.noting = unit.ending.then(() => undefined);
  }

  async function untilRevoked(unit: Tracked): Promise<boolean> {
    const { service } = unit.record;
    while (!unit.gone) {
      await clock.sleep(REVOKE_AGAIN_MS, closing);
      // Left to the next driver: two must not write one record.
      if (closing.aborted) return false;
      unit.gone = await endUnit(service).then(
        () => true,
        () => false,
      );
    }
    tell(unit, { code: null, signal: 'SIGKILL', lastOutput: [] });
    if (unit.forgotten) drop(unit);
    return true;
  }

  /** At once where the kernel tells of the end of a control group; the timer finds it where it does not. */
  function wakeAtEnd(unit: Tracked): void {
    if (unit.record.group === null) return;
    watchGroup(unit.record.group, () => hasEnded(unit), unit.ended.signal);
  }

  /** One timer for all of them, and none when there are none. */
  function watchAll(): void {
    watching = !closing.aborted && [...units.values()].some(({ record }) => record.exit === null);
    if (!watching) return;
    const cancel = clock.after(POLL_MS, () => {
      closing.removeEventListener('abort', cancel);
      for (const unit of units.values()) hasEnded(unit);
      watchAll();
    });
    closing.addEventListener('abort', cancel);
  }

  function hasEnded(unit: Tracked): boolean {
    if (unit.record.exit === null && !closing.aborted && unit.noting === null && !hasMain(unit)) {
      unit.noting = noteExit(unit)
        .catch((error: unknown) => {
          log.warn('how a unit ended can not be found out, trying again', { unit: unit.record.unit, error });
        })
        .finally(() => (unit.noting = null));
    }
    return unit.record.exit !== null;
  }

  /** Who can't be looked at, as when no descriptor is left, is not known to have ended: the timer looks again. */
  function hasMain({ record: { unit, main } }: Tracked): boolean {
    try {
      return main !== null && isAlive(main);
    } catch (error) {
      log.warn('whether a unit lives could not be looked at, trying again', { unit, error });
      return true;
    }
  }

  async function noteExit(unit: Tracked): Promise<void> {
    const { record } = unit;
    // What it leaves goes now, with its port, before anybody starts the next copy.
    if (!record.stopRequested) signalEverything(unit, 'SIGKILL');
    const state = await settledState(record.service, { clock, signal: closing });
    // What holds up a stop of something exclusive holds up its next owner, too.
    const reading = record.guarded === true ? AbortSignal.any([closing, unit.asked.signal]) : closing;
    const lastOutput = await lastLines(record, { state, output, clock, signal: reading });
    // A closed driver leaves it to the next one: two must not write one record.
    if (state === null || closing.aborted) return;
    tell(unit, { ...endIn(state), lastOutput });
    if (!record.stopRequested) unit.killAtMs = clock.now();
    void endingOf(unit);
  }

  function tell({ record, ended }: Tracked, exit: Omit<UnitExit, 'requested'>): void {
    record.exit = { ...exit, requested: record.stopRequested };
    records.note(record);
    ended.abort();
    for (const listener of exitListeners) listener();
  }

  function endingOf(unit: Tracked): Promise<boolean> {
    unit.ending ??= untilEnded(unit);
    return unit.ending;
  }

  async function untilEnded(unit: Tracked): Promise<boolean> {
    const ending = {
      unit: unit.record.unit,
      killAtMs: () => unit.killAtMs,
      ended: () => hasEnded(unit),
      members: () => everythingOf(unit),
      wake: unit.ended.signal,
    };
    unit.gone = await untilGone(ending, { clock, log, closing });
    if (unit.gone && unit.forgotten) drop(unit);
    return unit.gone;
  }

  function everythingOf({ record: { group } }: Tracked): number[] {
    return group === null ? [] : membersOfGroup(group);
  }

  /** Each process once, also those that are born meanwhile: many take a second SIGTERM for impatience. */
  function signalEverything(unit: Tracked, signal: NodeJS.Signals): void {
    const told = new Set<number>();
    for (;;) {
      const untold = everythingOf(unit).filter(pid => !told.has(pid));
      if (untold.length === 0) return;
      signalAll(untold, signal);
      for (const pid of untold) told.add(pid);
    }
  }

  /** Of what systemd still knows of it nobody has any more use. */
  function drop(unit: Tracked): void {
    const { record } = unit;
    units.delete(record.unit);
    records.remove(record.unit);
    const dropped = dropUnits([record.service])
      .catch((error: unknown) => {
        log.warn('systemd could not be told to forget a unit', { unit: record.unit, error });
      })
      .finally(() => dropping.delete(dropped));
    dropping.add(dropped);
  }

  function known(name: string): Tracked {
    const unit = units.get(name);
    if (unit === undefined) throw new Error(`${name} is not a unit of this driver`);
    return unit;
  }
}
