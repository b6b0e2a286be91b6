import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';

import type { UnitExit } from '../model/reconciliation.ts';
import type { Driver, DriverUnit, Launch } from '../ports/driver.ts';

const SHELL_SIGNAL_BASE = 128;

/**
 * A driver whose commands write down how they ended, each in a file of `directory`: a driver made anew can't see the exit of
 * what is not its child. What was killed before it could write is as unseen as before. For drivers whose processes run as
 * this user; other kinds of process are passed on as they are.
 */
export function rememberingExits(driver: Driver, directory: string): Driver {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const fileOf = (unit: string): string => join(directory, encodeURIComponent(unit));

  return {
    start: launch =>
      driver.start(launch.process.kind === 'command' ? writing(launch, fileOf(launch.unit)) : launch),
    async observe() {
      // What is written while the driver looks may be of a unit that it did not see.
      const written = readdirSync(directory);
      const units = await driver.observe();
      const known = new Set(units.map(({ unit }) => encodeURIComponent(unit)));
      // Whoever else is looking may have removed it.
      for (const name of written) if (!known.has(name)) rmSync(join(directory, name), { force: true });
      return units.map(unit => withExit(unit, fileOf(unit.unit)));
    },
    stop: (unit, graceSeconds) => driver.stop(unit, graceSeconds),
    fence: (unit, token) => driver.fence(unit, token),
    forget: unit => driver.forget(unit),
    onExit: listener => driver.onExit(listener),
    output: (instance, options) => driver.output(instance, options),
    close: () => driver.close(),
  };
}

/** The shell outlives a signal to its whole group for as long as it takes to write. */
function writing(launch: Launch, file: string): Launch {
  const script = [
    'trap : TERM INT HUP',
    `( ${launch.process.command} )`,
    'code=$?',
    `echo "$code" > '${file.replaceAll("'", `'\\''`)}'`,
    'exit "$code"',
  ];
  return { ...launch, process: { ...launch.process, command: script.join('\n') } };
}

function withExit(unit: DriverUnit, file: string): DriverUnit {
  const { exit } = unit;
  if (exit === null || exit.signal !== null) return unit;
  const status = exit.code ?? readStatus(file);
  return status === null ? unit : { ...unit, exit: { ...exit, ...codeOrSignal(status) } };
}

function readStatus(file: string): number | null {
  try {
    const text = readFileSync(file, 'utf8').trim();
    return /^\d+$/.test(text) ? Number(text) : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function codeOrSignal(status: number): Pick<UnitExit, 'code' | 'signal'> {
  const number = status - SHELL_SIGNAL_BASE;
  const signal = Object.entries(constants.signals).find(([, value]) => value === number)?.[0] ?? null;
  return signal === null ? { code: status, signal: null } : { code: null, signal };
}
