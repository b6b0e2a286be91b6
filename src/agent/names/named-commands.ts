import type { ProcessSpec } from '../../model/app-spec.ts';
import type { InstantMs } from '../../model/ids.ts';
import type { CommandEnd, CommandRequest } from '../../model/named-agents.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Driver, DriverUnit } from '../../ports/driver.ts';
import type { Guard } from '../../ports/guard.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import type { Session } from '../../ports/store.ts';
import { Exclusive } from '../exclusive.ts';
import { Loop } from '../loop.ts';
import type { Claim } from './name-claim.ts';
import type { RememberedCommand } from './name-memory.ts';

/** How long a command goes on whose command line is gone: its own agent may be the one that is being replaced. */
export const REATTACH_SECONDS = 10;

/** What runs commands for named agents: a driver of its own, so that its units never meet those of instances. */
export interface CommandParts {
  driver: Driver;
  guard: Guard;
  /** Why this machine can't guard anything; null = it can. */
  guardMissing: string | null;
}

/** One command, from when its name is asked for until it is dead. */
export interface NamedCommand {
  readonly id: string;
  readonly claim: Claim;
  readonly stopTimeoutSeconds: number;
  /** null = it was started by an agent before this one. */
  readonly request: CommandRequest | null;
  phase: 'waiting' | 'starting' | 'running' | 'stopping' | 'ended';
  /** null before it is started. */
  unit: string | null;
  begin: string | null;
  /** Why it is stopped, or could not be started; null = it is not. */
  why: string | null;
  end: CommandEnd | null;
  /** Since when nobody has listened to it. */
  aloneSinceMs: InstantMs;
}

export interface NamedCommandsOptions extends CommandParts {
  session: () => Session | null;
  clock: Clock;
  random: Random;
  log: Log;
  /** Puts on file what is claimed and what runs. */
  save: () => Promise<void>;
  /** It is dead, or was never alive: its name can be released. */
  onEnded: (command: NamedCommand, reason: string) => void;
}

const RETRY_MS = 500;

/** Runs the commands of named agents under the guard, and sees them dead before their names are given back. */
export class NamedCommands {
  readonly exclusive: Exclusive;
  readonly #options: NamedCommandsOptions;
  readonly #commands = new Map<string, NamedCommand>();
  readonly #loop: Loop;
  /** Units that live, as of the last look; null before the first. */
  #alive: Set<string> | null = null;
  readonly #confirming = new Set<string>();
  #unlisten: () => void = () => undefined;

  constructor(options: NamedCommandsOptions) {
    const { guard, clock, log } = options;
    this.#options = options;
    this.exclusive = new Exclusive({
      guard,
      session: options.session,
      clock,
      log,
      copies: () =>
        this.all().flatMap(({ unit, phase, stopTimeoutSeconds }) =>
          unit !== null && phase === 'running' ? [{ unit, stopTimeoutSeconds }] : [],
        ),
      anyUnowned: () =>
        this.all().some(
          ({ phase, claim }) => phase !== 'waiting' && phase !== 'ended' && claim.state !== 'Assigned',
        ),
      holdsAny: () => this.all().some(({ claim, phase }) => claim.state === 'Assigned' && phase !== 'ended'),
      stop: ({ unit }, graceSeconds, reason) => {
        const command = this.all().find(other => other.unit === unit);
        if (command) this.#stop(command, graceSeconds, reason);
      },
      onChange: () => this.#loop.wake(),
    });
    this.#loop = new Loop({ name: 'commands', clock, log, everyMs: 2000, round: () => this.#round() });
  }

  all(): NamedCommand[] {
    return [...this.#commands.values()];
  }

  get(claim: Claim): NamedCommand | undefined {
    return this.all().find(command => command.claim === claim);
  }

  add(claim: Claim, request: CommandRequest): NamedCommand {
    const command: NamedCommand = {
      id: request.id,
      claim,
      stopTimeoutSeconds: request.stopTimeoutSeconds,
      request,
      phase: 'waiting',
      unit: null,
      begin: null,
      why: null,
      end: null,
      aloneSinceMs: this.#options.clock.now(),
    };
    this.#commands.set(request.id, command);
    return command;
  }

  /** Of the agent before this one. What had not been started yet never will be. */
  restore(claim: Claim, remembered: RememberedCommand): void {
    const { id, unit, begin, stopTimeoutSeconds, end } = remembered;
    this.#commands.set(id, {
      id,
      claim,
      stopTimeoutSeconds,
      request: null,
      phase: end !== null || unit === null ? 'ended' : 'running',
      unit,
      begin,
      why: null,
      end: end ?? (unit === null ? neverStarted : null),
      aloneSinceMs: this.#options.clock.now(),
    });
  }

  forget(claim: Claim): void {
    const command = this.get(claim);
    if (command) this.#commands.delete(command.id);
  }

  /** Whether something of a name lives here, or may: before the first look nobody knows. */
  liveOf(name: string): boolean {
    if (this.#alive === null) return true;
    const starting = this.all().some(({ claim, phase }) => claim.name === name && phase === 'starting');
    return starting || [...this.#alive].some(unit => nameOfUnit(unit) === name);
  }

  start(): void {
    this.#unlisten = this.#options.driver.onExit(() => this.#loop.wake());
    this.#loop.start();
  }

  wake(): void {
    this.#loop.wake();
  }

  busyMs(): number {
    return this.#loop.busyMs();
  }

  /** Ends the looking after; what runs goes on running, under its guard. */
  async stop(): Promise<void> {
    this.#unlisten();
    await this.#loop.stop();
    this.exclusive.stop();
    await this.#options.driver.close();
  }

  /** By whom it belongs to, or an operator. A second time, and with `kill`, it is in more of a hurry. */
  end(command: NamedCommand, reason: string, kill: boolean): void {
    if (command.phase === 'ended') return;
    if (command.phase === 'waiting' || command.phase === 'starting') {
      command.why ??= reason;
      this.#loop.wake();
      return;
    }
    this.#stop(command, kill ? 0 : command.stopTimeoutSeconds, reason);
  }

  async #round(): Promise<number | null> {
    const { driver, log } = this.#options;
    // What is started while the driver looks may not be in what it saw.
    const before = new Set(this.all().filter(({ phase }) => phase === 'running' || phase === 'stopping'));
    const units = await driver.observe();
    const startedSince = this.all().filter(command => command.phase === 'running' && !before.has(command));
    this.#alive = new Set([
      ...units.filter(({ exit }) => exit === null).map(({ unit }) => unit),
      ...startedSince.flatMap(({ unit }) => unit ?? []),
    ]);
    for (const command of this.all()) {
      const unit = units.find(other => other.unit === command.unit);
      if (command.phase === 'running' || command.phase === 'stopping') {
        if (before.has(command) && (unit === undefined || unit.exit !== null)) {
          void this.#confirmDead(command, unit);
        }
      } else if (command.phase === 'waiting') this.#startOrNot(command);
    }
    for (const { unit } of units) {
      const known = this.all().some(command => command.unit === unit && command.phase !== 'ended');
      if (known || !this.exclusive.settled || this.#confirming.has(unit)) continue;
      // Nobody can tell whose it is: it was started by an agent that could not write it down, or its name is gone.
      this.#confirming.add(unit);
      driver
        .stop(unit, 0)
        .then(() => driver.forget(unit))
        .catch((error: unknown) => log.warn('a command of nobody could not be ended', { unit, error }))
        .finally(() => {
          this.#confirming.delete(unit);
          this.#loop.wake();
        });
    }
    this.exclusive.watch();
    return this.#endAbandoned();
  }

  /** Without anybody to listen to it a command is stopped, and one that waits is not waited with. */
  #endAbandoned(): number | null {
    const nowMs = this.#options.clock.now();
    let nextMs: number | null = null;
    for (const command of this.all()) {
      const { phase, claim } = command;
      const there = phase === 'running' || (phase === 'waiting' && claim.state === 'Assigned');
      if (!there || claim.listening > 0) continue;
      const leftMs = command.aloneSinceMs + REATTACH_SECONDS * 1000 - nowMs;
      if (leftMs > 0) nextMs = Math.min(nextMs ?? leftMs, leftMs);
      else this.end(command, `its command line has been gone for ${REATTACH_SECONDS} s`, false);
    }
    return nextMs;
  }

  #startOrNot(command: NamedCommand): void {
    const { claim } = command;
    if (claim.state !== 'Assigned') return;
    if (command.why !== null) {
      this.#over(command, { code: null, signal: null, reason: command.why });
      return;
    }
    if (!this.#mayStart(command)) return;
    command.phase = 'starting';
    void this.#start(command).catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      this.#over(command, { code: null, signal: null, reason });
    });
  }

  /** Asked once more after every wait. */
  #mayStart({ claim, stopTimeoutSeconds }: NamedCommand): boolean {
    const session = this.#options.session();
    return (
      session !== null &&
      claim.listening > 0 &&
      claim.state === 'Assigned' &&
      claim.ending === null &&
      claim.taken?.incarnation === session.incarnation &&
      this.exclusive.whyNotNow(stopTimeoutSeconds) === null
    );
  }

  async #start(command: NamedCommand): Promise<void> {
    const { driver, random, save } = this.#options;
    const { claim, request } = command;
    if (!request) throw new Error('what it was to run is not known any more');
    const instance = instanceOf(claim.name);
    command.begin = await endOfOutput(driver, instance);
    const unit = `${claim.name}.${random.hex(4)}`;
    command.unit = unit;
    await save();
    if (!this.#mayStart(command) || whyOf(command) !== null) {
      command.unit = null;
      command.phase = 'waiting';
      this.#loop.wake();
      return;
    }
    await driver.start({
      unit,
      instance,
      release: 0,
      version: '0',
      process: processOf(command.stopTimeoutSeconds, request.command),
      directory: request.directory,
      env: { ...request.env, PWD: request.directory, HOP3_AGENT_NAME: claim.name, HOP3_UNIT: unit },
      endpoint: null,
      limits: { memoryBytes: null, cpu: null, processes: null },
      token: claim.taken?.token ?? null,
      guarded: true,
    });
    command.phase = 'running';
    this.#alive?.add(unit);
    this.exclusive.watch();
    claim.changed();
    // It may have been asked to end while it was being started.
    const why = whyOf(command);
    if (why !== null) this.#stop(command, command.stopTimeoutSeconds, why);
    this.#loop.wake();
  }

  #stop(command: NamedCommand, graceSeconds: number, reason: string): void {
    const { driver, log, clock } = this.#options;
    if (command.unit === null) return;
    const unit = command.unit;
    command.phase = 'stopping';
    command.why ??= reason;
    log.info('stopping a command', { unit, graceSeconds, reason });
    command.claim.changed();
    driver.stop(unit, graceSeconds).then(
      () => this.#loop.wake(),
      async (error: unknown) => {
        log.error('a command could not be stopped and is tried again; its guard kills it at the deadline', {
          unit,
          error,
        });
        await clock.sleep(RETRY_MS);
        if (command.phase === 'stopping') this.#stop(command, graceSeconds, reason);
      },
    );
  }

  /** Its first process has ended; the rest of it is waited for. */
  async #confirmDead(command: NamedCommand, found: DriverUnit | undefined): Promise<void> {
    const { driver, log } = this.#options;
    const { unit } = command;
    if (unit === null || this.#confirming.has(unit)) return;
    this.#confirming.add(unit);
    try {
      await driver.stop(unit, 0);
      const { code, signal } = found?.exit ?? { code: null, signal: null };
      this.#alive?.delete(unit);
      this.#over(command, { code, signal, reason: command.why });
      await driver.forget(unit);
    } catch (error) {
      log.warn('the death of a command could not be confirmed and is looked for again', { unit, error });
      this.#loop.wake();
    } finally {
      this.#confirming.delete(unit);
    }
  }

  #over(command: NamedCommand, end: Omit<CommandEnd, 'released'>): void {
    command.phase = 'ended';
    command.end = { ...end, released: false };
    this.#options.onEnded(command, end.reason ?? endText(end));
    command.claim.changed();
  }
}

/** Read afresh: the compiler would take an earlier look for the present. */
function whyOf(command: NamedCommand): string | null {
  return command.why;
}

/** Where commands of a name write: one place, so that what is kept of it is bounded. */
export function instanceOf(name: string): string {
  return `${name}/own/0`;
}

const neverStarted: CommandEnd = {
  code: null,
  signal: null,
  reason: 'the agent was restarted before it was started',
  released: false,
};

function endText({ code, signal }: { code: number | null; signal: string | null }): string {
  if (signal !== null) return `its command was ended by ${signal}`;
  return code === null ? 'its command has ended' : `its command has ended with code ${code}`;
}

function nameOfUnit(unit: string): string {
  return unit.slice(0, unit.lastIndexOf('.'));
}

function processOf(stopTimeoutSeconds: number, command: string[]): ProcessSpec {
  return {
    type: 'own',
    kind: 'command',
    command: `exec ${command.map(quoted).join(' ')}`,
    directory: '',
    scale: 1,
    exclusive: true,
    routed: false,
    startTimeoutSeconds: 0,
    stopTimeoutSeconds,
  };
}

/** As one word of the shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The cursor after everything that earlier commands of the name wrote; null when it can't be told. */
async function endOfOutput(driver: Driver, instance: string): Promise<string | null> {
  let place: string | null = null;
  const signal = new AbortController().signal;
  for await (const line of driver.output(instance, {
    lines: 0,
    follow: false,
    signal,
    onStart: cursor => (place = cursor),
  }))
    place = line.cursor ?? place;
  return place;
}
