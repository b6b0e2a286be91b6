import { setMaxListeners } from 'node:events';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

import type { AppName } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import { DriverError, type Driver, type DriverUnit, type Launch } from '../ports/driver.ts';
import type { Log } from '../ports/log.ts';
import type { Enforceable } from './cgroups.ts';
import { bootId } from './proc.ts';
import { isPassing } from './gated-spawn.ts';
import { requireStartable } from './startable.ts';
import { environmentFile } from './systemd-environment.ts';
import { systemdGuard, type SystemdGuard } from './systemd-guard.ts';
import { journaled } from './systemd-journal.ts';
import { triedLimits } from './systemd-limits.ts';
import { systemdNames } from './systemd-names.ts';
import { systemdOutput } from './systemd-output.ts';
import { limitProperties, sandboxProperties, TOKEN_PLACE } from './systemd-sandbox.ts';
import { ranAtAll, type SystemdRecord } from './systemd-states.ts';
import { runUnit, ToolError } from './systemd-tools.ts';
import { systemdUnits, type SystemdUnit } from './systemd-units.ts';
import { appUsers, type AppUser } from './systemd-users.ts';
import { tokenFiles, type TokenFiles } from './token-files.ts';
import { unitRecords } from './unit-records.ts';

export interface SystemdDriverOptions {
  /** Absolute; `units/systemd*`, `tokens/systemd/` and `guard/` in it are this driver's. One driver at a time. */
  stateDir: string;
  clock: Clock;
  log: Log;
}

export interface SystemdDriver extends Driver {
  readonly guard: SystemdGuard;
  /** Whom the app runs as here; what is root's in its own directories is given to it. @throws ToolError */
  userOf(app: AppName, own: string[], release: number): Promise<string>;
  /** Which limits this node can hold an instance to: what it must not take otherwise. */
  limitsEnforceable(): Promise<Enforceable>;
}

interface Machine {
  /** Whether systemd is its process 1. */
  systemd: boolean;
  root: boolean;
}

const TOKEN_FILE = 'fencing-token';
/** What systemd says of a start that requires the lease, when that has ended. */
const NO_LEASE = /dependency|-lease\.service/i;

/**
 * Runs commands as transient units of systemd's, one a copy: each app as a system user of its own, in a sandbox, with limits
 * held by control groups and output in the journal. systemd keeps them when the agent ends, and how they ended until
 * they are forgotten. They are transient, not files, so that no reboot starts what this node has no right to any more.
 * @throws DriverError where systemd does not run, or for anybody but root
 */
export function systemdDriver(options: SystemdDriverOptions): SystemdDriver {
  const reason = whyNoSystemd(thisMachine());
  if (reason !== null) throw new DriverError(reason, { retryable: false });
  const { stateDir, clock, log } = options;
  const thisBoot = bootId();
  const names = systemdNames(stateDir);
  const users = appUsers(names);
  const output = systemdOutput({ names, users, clock });
  const closing = new AbortController();
  // One for each unit on its way out.
  setMaxListeners(0, closing.signal);
  const guard = systemdGuard({ stateDir, bootId: thisBoot, names, clock });
  const units = systemdUnits({
    records: unitRecords<SystemdRecord>(join(stateDir, 'units', 'systemd'), log),
    names,
    output,
    bootId: thisBoot,
    clock,
    log,
    closing: closing.signal,
  });
  const tokensRoot = join(stateDir, 'tokens', 'systemd');
  const environments = join(stateDir, 'units', 'systemd-environment');
  const starting = new Set<string>();
  let loading: Promise<void> | null = null;
  let limits: Promise<Enforceable> | null = null;

  return {
    guard,

    async start(launch) {
      await load();
      refuseUnstartable(launch);
      starting.add(launch.unit);
      try {
        await refuseUnlimitable(launch);
        return describe(await started(launch));
      } finally {
        starting.delete(launch.unit);
      }
    },

    async observe() {
      await load();
      return units.all().map(describe);
    },

    async stop(name, graceSeconds) {
      await load();
      const unit = units.get(name);
      if (unit === undefined || unit.gone) return;
      if (closing.signal.aborted) throw new DriverError('the driver is closed', { retryable: false });
      const killAtMs = clock.now() + graceSeconds * 1000;
      if (!(await units.stop(unit, killAtMs))) {
        throw new DriverError(`the driver was closed before ${name} had ended`, { retryable: true });
      }
    },

    async fence(name, token) {
      await load();
      if (units.get(name)?.record.exit === null) tokensOf(name).write(TOKEN_FILE, token);
    },

    async forget(name) {
      await load();
      const unit = units.get(name);
      if (unit === undefined) return;
      if (unit.record.exit === null) {
        throw new DriverError(`${name} still runs: stop it first`, { retryable: false });
      }
      removeTokens(name);
      units.forget(unit);
    },

    onExit: listener => units.onExit(listener),

    output: (instance, wanted) =>
      output.read(instance, { ...wanted, signal: AbortSignal.any([wanted.signal, closing.signal]) }),

    limitsEnforceable,

    async userOf(app, own, release) {
      const user = await users.ensure(`${app}/step/0`);
      await users.give(user, own, release);
      return user.name;
    },

    async close() {
      closing.abort();
      await units.settled();
    },
  };

  function load(): Promise<void> {
    loading ??= units
      .load()
      .then(removeLeftFiles)
      .catch((error: unknown) => {
        loading = null;
        throw error;
      });
    return loading;
  }

  /** What an agent that was killed could not take away: secrets among it. */
  function removeLeftFiles(): void {
    rmSync(environments, { recursive: true, force: true });
    const known = new Set(units.all().map(({ record }) => encodeURIComponent(record.unit)));
    mkdirSync(tokensRoot, { recursive: true, mode: 0o711 });
    for (const name of readdirSync(tokensRoot))
      if (!known.has(name)) rmSync(join(tokensRoot, name), { recursive: true });
  }

  function limitsEnforceable(): Promise<Enforceable> {
    limits ??= triedLimits().catch((error: unknown) => {
      limits = null;
      throw error;
    });
    return limits;
  }

  function refuseUnstartable(launch: Launch): void {
    if (closing.signal.aborted) throw new DriverError('the driver is closed', { retryable: false });
    if (units.get(launch.unit) !== undefined || starting.has(launch.unit)) {
      throw new DriverError(`${launch.unit} exists already`, { retryable: false });
    }
    requireStartable(launch, guard, clock);
  }

  /** A declared limit is a guarantee: one that can't be enforced is refused. */
  async function refuseUnlimitable(launch: Launch): Promise<void> {
    const wanted = {
      memory: launch.limits.memoryBytes,
      cpu: launch.limits.cpu,
      processes: launch.limits.processes,
    };
    if (Object.values(wanted).every(limit => limit === null)) return;
    const able = await limitsEnforceable();
    for (const [name, limit] of Object.entries(wanted)) {
      if (limit === null || able[name as keyof Enforceable]) continue;
      throw new DriverError(
        `can't start ${launch.unit}: its ${name} limit (${limit}) can't be enforced on this node, whose systemd has no ` +
          `${name} control group: take the limit out of the manifest, or run it on another node`,
        { retryable: false },
      );
    }
  }

  async function started(launch: Launch): Promise<SystemdUnit> {
    const record = recordOf(launch);
    try {
      const user = await users.ensure(launch.instance);
      await users.give(user, launch.own ?? [], launch.release);
      units.announce(record);
      await run(launch, user, record.service).catch(async (error: unknown) => {
        // An exit so soon that systemd saw it before it saw the start.
        if (!(await ranAtAll(record.service))) throw error;
      });
      return await units.add(record);
    } catch (error) {
      await units.revoke(record);
      removeTokens(launch.unit);
      throw cannotStart(launch, record.service, error as Error);
    }
  }

  async function run(launch: Launch, user: AppUser, service: string): Promise<void> {
    const { unit, instance, directory, guarded, process: spec } = launch;
    const env: Record<string, string> = { ...launch.env };
    if (env['USER'] !== undefined) env['USER'] = user.name;
    const token = launch.token ?? null;
    if (token !== null) {
      tokensOf(unit).write(TOKEN_FILE, token);
      env['HOP3_FENCING_TOKEN_FILE'] = join(TOKEN_PLACE, TOKEN_FILE);
      if (guarded === true) env['HOP3_FENCING_TOKEN'] = token;
    }
    const environment = environmentFile(environments, unit, env);
    try {
      output.starting(instance, unit);
      await runUnit(service, {
        properties: [
          `Description=${instance} (${unit}) of hop3-agent`,
          'Type=exec',
          // How it ended stays known until it is stopped; what it leaves is ended with it.
          ...['RemainAfterExit=yes', 'Restart=no', 'KillMode=control-group'],
          `TimeoutStopSec=${Math.max(1, spec.stopTimeoutSeconds)}s`,
          `User=${user.name}`,
          ...(guarded === true ? guard.properties : [`Slice=${names.slice}`]),
          ...environment.properties,
          ...sandboxProperties({
            directory,
            own: launch.own ?? [],
            tokens: token === null ? null : tokensDirectory(unit),
            lowPort: launch.ports?.some(({ number }) => number < 1024) === true,
          }),
          ...limitProperties(launch.limits),
        ],
        command: journaled(names.identifier(instance, unit), spec.command),
      });
    } finally {
      environment.remove();
    }
  }

  function recordOf(launch: Launch): SystemdRecord {
    const { unit, instance, release, version, endpoint, limits: limited } = launch;
    return {
      ...{ v: 1, unit, instance, release, version, endpoint, exit: null },
      ...(launch.guarded === true ? { guarded: true } : {}),
      ...{ bootId: thisBoot, service: names.service(unit), main: null, group: null },
      ...{ limits: limited, stopRequested: false },
    };
  }

  function tokensDirectory(unit: string): string {
    return join(tokensRoot, encodeURIComponent(unit));
  }

  /** A directory for each, because a unit is shown its own only, and sees a file that is replaced. */
  function tokensOf(unit: string): TokenFiles {
    mkdirSync(tokensRoot, { recursive: true, mode: 0o711 });
    return tokenFiles(tokensDirectory(unit));
  }

  function removeTokens(unit: string): void {
    rmSync(tokensDirectory(unit), { recursive: true, force: true });
  }
}

/** Why units can't be run on a machine; null = they can. */
export function whyNoSystemd({ systemd, root }: Machine): string | null {
  if (!systemd) {
    return 'the systemd driver needs a machine that systemd runs, which this is not: use the process driver';
  }
  if (root) return null;
  return 'the systemd driver needs the rights of root: run the agent as root, or use the process driver';
}

function thisMachine(): Machine {
  return {
    systemd: statSync('/run/systemd/system', { throwIfNoEntry: false }) !== undefined,
    root: process.getuid?.() === 0,
  };
}

function describe({ record }: SystemdUnit): DriverUnit {
  const { unit, instance, release, version, main, endpoint, exit, guarded } = record;
  return {
    unit,
    instance,
    release,
    version,
    pid: main?.pid ?? null,
    endpoint,
    exit,
    guarded: guarded === true,
  };
}

function cannotStart(launch: Launch, service: string, error: Error): DriverError {
  const retryable = error instanceof DriverError ? error.retryable : isPassing(error);
  return new DriverError(`can't start ${launch.unit}: ${reasonIn(launch, service, error)}`, {
    retryable,
    cause: error,
  });
}

function reasonIn({ guarded }: Launch, service: string, error: Error): string {
  if (!(error instanceof ToolError)) return error.message;
  if (guarded === true && NO_LEASE.test(error.message)) return 'it is exclusive, and its guard is not armed';
  return `${error.message} (journalctl --unit=${service} may tell more)`;
}
