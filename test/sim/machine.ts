import type { InstanceId, InstantMs, Token } from '../../src/model/ids.ts';
import {
  DriverError,
  type Driver,
  type DriverUnit,
  type Launch,
  type OutputLine,
} from '../../src/ports/driver.ts';
import { GuardError, type Guard } from '../../src/ports/guard.ts';
import type { Chance } from './chance.ts';
import { KernelClock, type Life } from './life.ts';
import type { Timeline } from './timeline.ts';

/** One copy that runs, or ran, on one machine. */
export interface SimUnit {
  node: string;
  launch: Launch;
  described: DriverUnit;
  /** What its token file says, or what it was started with. */
  token: Token | null;
  readyAtMs: number;
  ignoresTerm: boolean;
  stopRequested: boolean;
  waiting: (() => void)[];
}

export interface UnitHabits {
  readyAfterMs: number;
  ignoresTerm: boolean;
  /** Null = it runs until it is stopped. */
  endsAfterMs: number | null;
}

export interface MachineParts {
  name: string;
  timeline: Timeline;
  chance: Chance;
  rate: number;
  habits: () => UnitHabits;
  /** False once nothing ends by itself any more. */
  troubled: () => boolean;
  onStarted: (unit: SimUnit) => void;
  onEnded: (unit: SimUnit, why: string) => void;
}

/** How long after its time a guard's kill has been seen to come, at most. */
const GUARD_LATE_MS = 20;
const LOCAL_MS = 40;

/** A host: its kernel's clock, what runs on it, and its guard. All of it goes on while its agent is frozen or gone. */
export class Machine {
  readonly name: string;
  readonly units = new Map<string, SimUnit>();
  readonly listeners = new Set<() => void>();
  clock: KernelClock;
  boots = 1;
  guardUntilMs: InstantMs | null = null;
  guardFailureProbability = 0;
  /** False from losing power until it is switched on. */
  on = true;
  /** The whole host is suspended: nothing runs on it, its clock goes on. */
  suspended = false;
  private readonly parts: MachineParts;
  private cancelGuard: () => void = () => undefined;
  private nextPid = 1000;

  constructor(parts: MachineParts) {
    this.parts = parts;
    this.name = parts.name;
    this.clock = this.newClock();
  }

  /** The power is gone, and everything that ran with it. */
  lose(): void {
    this.on = false;
    for (const unit of this.living()) this.end(unit, { signal: 'SIGKILL' }, 'its machine is gone');
    this.units.clear();
    this.listeners.clear();
    this.guardUntilMs = null;
    this.cancelGuard();
  }

  boot(): void {
    this.on = true;
    this.boots++;
    this.clock = this.newClock();
  }

  living(): SimUnit[] {
    return [...this.units.values()].filter(unit => unit.described.exit === null);
  }

  start(launch: Launch): DriverUnit {
    if (this.units.has(launch.unit)) {
      throw new DriverError(`${launch.unit} exists already`, { retryable: false });
    }
    const guarded = launch.guarded === true;
    if (guarded && (this.guardUntilMs ?? -Infinity) <= this.clock.now()) {
      throw new DriverError(`${launch.unit} is exclusive, and its guard is not armed`, { retryable: true });
    }
    const { unit, instance, release, version, endpoint } = launch;
    const { readyAfterMs, ignoresTerm, endsAfterMs } = this.parts.habits();
    const pid = this.nextPid++;
    const made: SimUnit = {
      node: this.name,
      launch,
      described: { unit, instance, release, version, pid, endpoint, exit: null, guarded },
      token: launch.token ?? null,
      readyAtMs: this.parts.timeline.nowMs + readyAfterMs,
      ignoresTerm,
      stopRequested: false,
      waiting: [],
    };
    this.units.set(unit, made);
    if (endsAfterMs !== null) {
      this.clock.after(endsAfterMs, () => {
        if (this.parts.troubled()) this.end(made, { code: 1 }, 'by itself');
      });
    }
    this.parts.onStarted(made);
    return { ...made.described };
  }

  async stop(name: string, graceSeconds: number): Promise<void> {
    const unit = this.units.get(name);
    if (!unit || unit.described.exit !== null) return;
    const gone = new Promise<void>(resolve => unit.waiting.push(resolve));
    unit.stopRequested = true;
    // It is the machine that sees to the end of it, as systemd does; a frozen agent's guard would, otherwise.
    const inMs = unit.ignoresTerm ? graceSeconds * 1000 : this.parts.chance.between(0, 50);
    const signal = unit.ignoresTerm ? 'SIGKILL' : 'SIGTERM';
    this.clock.after(inMs, () => this.end(unit, { signal }, 'asked to stop'));
    await gone;
  }

  arm(deadlineMs: InstantMs): void {
    this.cancelGuard();
    this.guardUntilMs = deadlineMs;
    const lateMs = this.parts.chance.between(0, GUARD_LATE_MS);
    this.cancelGuard = this.clock.after(deadlineMs - this.clock.now() + lateMs, () => this.strike());
  }

  disarm(): void {
    this.cancelGuard();
    this.guardUntilMs = null;
  }

  end(unit: SimUnit, how: { code?: number; signal?: string }, why: string): void {
    if (unit.described.exit !== null) return;
    unit.described.exit = {
      code: how.code ?? null,
      signal: how.signal ?? null,
      lastOutput: [],
      requested: unit.stopRequested,
    };
    this.parts.onEnded(unit, why);
    for (const listener of [...this.listeners]) listener();
    for (const resolve of unit.waiting.splice(0)) resolve();
  }

  ready(unit: SimUnit): boolean {
    return unit.described.exit === null && this.parts.timeline.nowMs >= unit.readyAtMs;
  }

  resume(): void {
    this.suspended = false;
    if (this.guardUntilMs !== null && this.guardUntilMs <= this.clock.now()) this.strike();
  }

  private strike(): void {
    if (this.suspended) return;
    for (const unit of this.living()) {
      if (unit.described.guarded === true) this.end(unit, { signal: 'SIGKILL' }, 'by the guard');
    }
  }

  private newClock(): KernelClock {
    const { timeline, rate, chance } = this.parts;
    return new KernelClock(timeline, rate, chance.whole(1_000, 9_000_000));
  }
}

/** What one agent reaches of its machine. Each call takes its time, and a frozen agent does not make it. */
export function driverOf(machine: Machine, life: Life, chance: Chance): Driver {
  const listening = new Set<() => void>();
  const read = <T>(act: () => T): Promise<T> =>
    chance.happens(0.1) ? life.call(act, LOCAL_MS) : Promise.resolve(act());
  return {
    start: launch => life.call(() => machine.start(launch), LOCAL_MS),
    observe: () => read(() => [...machine.units.values()].map(({ described }) => ({ ...described }))),
    stop: (unit, graceSeconds) => life.call(() => machine.stop(unit, graceSeconds), LOCAL_MS),
    fence: (unit, token) =>
      life.call(() => {
        const found = machine.units.get(unit);
        if (found?.described.exit === null) found.token = token;
      }, LOCAL_MS),
    forget: unit =>
      read(() => {
        if (machine.units.get(unit)?.described.exit === null) {
          throw new DriverError(`${unit} still runs: stop it first`, { retryable: false });
        }
        machine.units.delete(unit);
      }),
    onExit: listener => {
      const heard = (): void => life.deliver(listener);
      machine.listeners.add(heard);
      const stop = (): void => {
        machine.listeners.delete(heard);
        listening.delete(stop);
      };
      listening.add(stop);
      return stop;
    },
    output: () => noOutput(),
    close: async () => listening.forEach(stop => stop()),
  };
}

export function guardOf(machine: Machine, life: Life, chance: Chance): Guard {
  return {
    unable: async () => null,
    arm: deadlineMs =>
      life.call(() => {
        if (chance.happens(machine.guardFailureProbability))
          throw new GuardError('the guard does not answer');
        machine.arm(deadlineMs);
      }, LOCAL_MS),
    armedUntilMs: () => machine.guardUntilMs,
    disarm: () => life.call(() => machine.disarm(), LOCAL_MS),
  };
}

export function copiesOf(machines: Iterable<Machine>, instance: InstanceId): SimUnit[] {
  return [...machines].flatMap(machine =>
    machine.living().filter(unit => unit.described.instance === instance),
  );
}

async function* noOutput(): AsyncGenerator<OutputLine> {
  yield* [];
}
