import { setMaxListeners } from 'node:events';
import { join } from 'node:path';

import type { Clock } from '../ports/clock.ts';
import { DriverError, type Driver, type DriverUnit, type Launch } from '../ports/driver.ts';
import type { Log } from '../ports/log.ts';
import { cgroups, enterGroups, removeGroups, type Cgroups, type Enforceable } from './cgroups.ts';
import { cannotStart, gatedCommand, spawnGated, type Gated } from './gated-spawn.ts';
import { outputDirectory, outputFilesFor, type OutputFiles } from './output-files.ts';
import { outputKeeper } from './output-keeper.ts';
import type { RotationLimits } from './output-pieces.ts';
import { readOutput } from './output-reading.ts';
import { processUnits, type ProcessRecord, type ProcessUnit } from './process-units.ts';
import { bootId } from './proc.ts';
import { processGuard, type ProcessGuard } from './process-guard.ts';
import { canSpawn, spawner } from './spawner.ts';
import { requireStartable } from './startable.ts';
import { tokenFiles } from './token-files.ts';
import { groupPrefix, limitGroups, removeLeftGroups } from './unit-limits.ts';
import { unitRecords } from './unit-records.ts';

export interface ProcessDriverOptions {
  /** Absolute; `units/process/`, `tokens/process/`, `guard/` and `logs/` in it are this driver's. One driver at a time. */
  stateDir: string;
  clock: Clock;
  log: Log;
  /** Whom the processes run as; only root may choose. */
  user?: { uid: number; gid: number };
  rotation?: RotationLimits;
  cgroups?: Cgroups;
}

export interface ProcessDriver extends Driver {
  readonly guard: ProcessGuard;
  /** Which limits this node can hold an instance to: what it must not take otherwise. */
  limitsEnforceable(): Promise<Enforceable>;
}

const ROTATION: RotationLimits = { bytes: 1024 * 1024, files: 5 };

/**
 * Runs commands as plain processes, each in a session of its own, which live on when the agent ends. Knows the units of
 * the driver before it by boot id, pid and start time. What a process that ended leaves behind is killed; limits
 * are held by control groups.
 */
export function processDriver(options: ProcessDriverOptions): ProcessDriver {
  const { stateDir, clock, log } = options;
  const groups = options.cgroups ?? cgroups();
  const prefix = groupPrefix(stateDir);
  const logs = join(stateDir, 'logs');
  const thisBoot = bootId();
  const closing = new AbortController();
  // One for each unit on its way out.
  setMaxListeners(0, closing.signal);
  const asRoot = process.getuid?.() === 0 && options.user === undefined;
  const guard = processGuard({ stateDir, bootId: thisBoot, asRoot });
  const spawns = canSpawn() ? spawner() : null;
  const tokens = tokenFiles(join(stateDir, 'tokens', 'process'));
  const units = processUnits({
    records: unitRecords<ProcessRecord>(join(stateDir, 'units', 'process'), log),
    bootId: thisBoot,
    closing: closing.signal,
    clock,
    log,
  });
  const output = outputKeeper({
    logs,
    rotation: options.rotation ?? ROTATION,
    clock,
    log,
    closing: closing.signal,
  });
  output.keep(() => units.all().map(({ record }) => record));
  removeLeftGroups(groups, prefix);
  tokens.keepOnly(units.all().map(({ record }) => record.unit));

  return {
    guard,

    async start(launch) {
      refuseUnstartable(launch);
      const directories = limitGroups(groups, prefix, launch);
      const files = outputFilesFor(outputDirectory(logs, launch.instance), launch.unit, clock.timestamp());
      let gated: Gated;
      try {
        gated = await brought(fenced(launch), files);
      } catch (error) {
        removeGroups(directories);
        tokens.remove(launch.unit);
        throw error instanceof DriverError ? error : cannotStart(launch, error as NodeJS.ErrnoException);
      }
      try {
        enterGroups(directories, gated.pid);
        const unit = units.add(launch, gated, { output: files, cgroups: directories });
        gated.open();
        return describe(unit);
      } catch (error) {
        gated.onExit(() => removeGroups(directories));
        tokens.remove(launch.unit);
        // Not killed: what is guarded may be making the process that waits at the gate, and that would outlive it.
        gated.shut();
        throw new DriverError(`can't start ${launch.unit}: ${(error as Error).message}`, {
          retryable: true,
          cause: error,
        });
      }
    },

    observe: () => Promise.resolve(units.all().map(describe)),

    async stop(name, graceSeconds) {
      const unit = units.get(name);
      if (unit === undefined || unit.gone) return;
      if (closing.signal.aborted) throw new DriverError('the driver is closed', { retryable: false });
      const killAtMs = clock.now() + graceSeconds * 1000;
      if (!(await units.stop(unit, killAtMs))) {
        throw new DriverError(`the driver was closed before ${name} had ended`, { retryable: true });
      }
    },

    fence(name, token) {
      if (units.get(name)?.record.exit === null) tokens.write(name, token);
      return Promise.resolve();
    },

    async forget(name) {
      const unit = units.get(name);
      if (unit === undefined) return Promise.resolve();
      if (unit.record.exit === null) {
        throw new DriverError(`${name} still runs: stop it first`, { retryable: false });
      }
      tokens.remove(name);
      units.forget(unit);
    },

    onExit: listener => units.onExit(listener),

    output: (instance, options) =>
      readOutput(
        outputDirectory(logs, instance),
        { ...options, signal: AbortSignal.any([options.signal, closing.signal]) },
        {
          clock,
          isLive: name => units.get(name)?.record.exit === null,
          onTruncation: listener => output.onTruncation(listener),
        },
      ),

    limitsEnforceable: () => Promise.resolve(groups.enforceable),

    async close() {
      closing.abort();
      await units.settled();
      spawns?.close();
    },
  };

  function refuseUnstartable(launch: Launch): void {
    if (closing.signal.aborted) throw new DriverError('the driver is closed', { retryable: false });
    if (units.get(launch.unit) !== undefined) {
      throw new DriverError(`${launch.unit} exists already`, { retryable: false });
    }
    requireStartable(launch, guard, clock);
  }

  /** To its gate. What is guarded gets there in this very turn, in which it was seen that the guard is armed. */
  function brought(launch: Launch, files: OutputFiles): Gated | Promise<Gated> {
    const {
      guarded,
      process: { command },
    } = launch;
    if (guarded === true) return spawnGated(launch, guard.command(command), files, options.user);
    return spawns === null
      ? spawnGated(launch, gatedCommand(command), files, options.user)
      : spawns.spawn(launch, files, options.user);
  }

  function fenced(launch: Launch): Launch {
    const token = launch.token ?? null;
    if (token === null) return launch;
    const file = tokens.write(launch.unit, token);
    const env: Record<string, string> = { ...launch.env, HOP3_FENCING_TOKEN_FILE: file };
    if (launch.guarded === true) env['HOP3_FENCING_TOKEN'] = token;
    return { ...launch, env };
  }
}

function describe({ record }: ProcessUnit): DriverUnit {
  const { unit, instance, release, version, pid, endpoint, exit, guarded } = record;
  return { unit, instance, release, version, pid, endpoint, exit, guarded: guarded === true };
}
