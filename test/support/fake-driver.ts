import type { InstanceId, InstantMs, Token } from '../../src/model/ids.ts';
import type { Clock } from '../../src/ports/clock.ts';
import {
  DriverError,
  type Driver,
  type DriverUnit,
  type Launch,
  type OutputLine,
  type OutputOptions,
} from '../../src/ports/driver.ts';
import type { Guard } from '../../src/ports/guard.ts';

/** How a started copy behaves; the default runs until it is asked to stop, and then ends at once. */
export interface Behaviour {
  /** Ends by itself after this time; `exit(...)` ends it at any time. */
  endsAfterMs?: number;
  code?: number;
  prints?: { stream: OutputLine['stream']; text: string }[];
  /** Outlives SIGTERM: ends only when its grace is over. */
  ignoresTerm?: boolean;
  /** The start is refused with this. */
  refuses?: DriverError;
}

interface FakeUnit {
  launch: Launch;
  described: DriverUnit;
  behaviour: Behaviour;
  stopRequested: boolean;
  /** Told when it ends. */
  waiting: (() => void)[];
}

/** What outlives a driver: the copies, and what they wrote. */
export interface FakeWorld {
  units: Map<string, FakeUnit>;
  output: { instance: InstanceId; line: OutputLine }[];
  nextPid: number;
  /** What the token files of the units hold. */
  tokens: Map<string, Token>;
  guard: { untilMs: InstantMs | null; unable: string | null; cancel: () => void };
  exitListeners: Set<() => void>;
}

export function fakeWorld(): FakeWorld {
  return {
    units: new Map(),
    output: [],
    nextPid: 1000,
    tokens: new Map(),
    guard: { untilMs: null, unable: null, cancel: () => undefined },
    exitListeners: new Set(),
  };
}

const POLL_MS = 200;

/** Copies that exist only in memory. Made anew with the same `world`, it knows them all again. */
export class FakeDriver implements Driver {
  /** Every launch, in order. */
  readonly launches: Launch[] = [];
  /** Every stop, in order. */
  readonly stops: { unit: string; graceSeconds: number }[] = [];
  private readonly clock: Clock;
  private readonly world: FakeWorld;
  private readonly behaviourOf: (launch: Launch) => Behaviour;
  private readonly listening = new Set<() => void>();
  private readonly timers = new Set<() => void>();
  private readonly closing = new AbortController();

  constructor(options: { clock: Clock; world?: FakeWorld; behaviour?: (launch: Launch) => Behaviour }) {
    this.clock = options.clock;
    this.world = options.world ?? fakeWorld();
    this.behaviourOf = options.behaviour ?? (() => ({}));
  }

  async start(launch: Launch): Promise<DriverUnit> {
    if (this.world.units.has(launch.unit)) {
      throw new DriverError(`${launch.unit} exists already`, { retryable: false });
    }
    const behaviour = this.behaviourOf(launch);
    if (behaviour.refuses !== undefined) throw behaviour.refuses;
    const guarded = launch.guarded === true;
    if (guarded && (this.world.guard.untilMs ?? -Infinity) <= this.clock.now()) {
      throw new DriverError(`can't start ${launch.unit}: it is exclusive, and its guard is not armed`, {
        retryable: true,
      });
    }
    if (launch.token !== undefined && launch.token !== null) this.world.tokens.set(launch.unit, launch.token);
    this.launches.push(launch);
    const { unit, instance, release, version, endpoint } = launch;
    const pid = launch.process.kind === 'static' ? null : this.world.nextPid++;
    const described = { unit, instance, release, version, pid, endpoint, exit: null, guarded };
    this.world.units.set(unit, { launch, described, behaviour, stopRequested: false, waiting: [] });
    for (const { stream, text } of behaviour.prints ?? []) this.print(unit, stream, text);
    if (behaviour.endsAfterMs !== undefined) {
      this.after(behaviour.endsAfterMs, () => this.exit(unit, { code: behaviour.code ?? 0 }));
    }
    return { ...described };
  }

  async observe(): Promise<DriverUnit[]> {
    return [...this.world.units.values()].map(({ described }) => ({ ...described }));
  }

  async stop(unit: string, graceSeconds: number): Promise<void> {
    const found = this.world.units.get(unit);
    if (found === undefined || found.described.exit !== null) return;
    this.stops.push({ unit, graceSeconds });
    found.stopRequested = true;
    const gone = new Promise<void>(resolve => found.waiting.push(resolve));
    if (found.behaviour.ignoresTerm === true) {
      this.after(graceSeconds * 1000, () => this.exit(unit, { signal: 'SIGKILL' }));
    } else if (found.launch.process.kind === 'static') this.exit(unit, { code: 0 });
    else this.exit(unit, { signal: 'SIGTERM' });
    await gone;
  }

  async fence(unit: string, token: Token): Promise<void> {
    if (this.world.units.get(unit)?.described.exit === null) this.world.tokens.set(unit, token);
  }

  async forget(unit: string): Promise<void> {
    const found = this.world.units.get(unit);
    if (found === undefined) return;
    if (found.described.exit === null) {
      throw new DriverError(`${unit} still runs: stop it first`, { retryable: false });
    }
    this.world.units.delete(unit);
  }

  onExit(listener: () => void): () => void {
    const stop = (): void => {
      this.listening.delete(stop);
      this.world.exitListeners.delete(listener);
    };
    this.world.exitListeners.add(listener);
    this.listening.add(stop);
    return stop;
  }

  async *output(instance: InstanceId, options: OutputOptions): AsyncGenerator<OutputLine> {
    const all = (): OutputLine[] =>
      this.world.output.filter(entry => entry.instance === instance).map(({ line }) => line);
    const signal = AbortSignal.any([options.signal, this.closing.signal]);
    let next =
      options.after === undefined ? Math.max(0, all().length - options.lines) : Number(options.after);
    options.onStart?.(String(next));
    do {
      for (const line of all().slice(next)) yield { ...line, cursor: String(++next) };
      if (options.follow) await this.clock.sleep(POLL_MS, signal);
    } while (options.follow && !signal.aborted);
  }

  async close(): Promise<void> {
    this.closing.abort();
    for (const cancel of this.timers) cancel();
    for (const stop of this.listening) stop();
  }

  /** A copy ends now, by itself or by somebody's signal. */
  exit(unit: string, how: { code?: number; signal?: string }): void {
    end(this.world, unit, how);
  }

  print(unit: string, stream: OutputLine['stream'], text: string): void {
    const found = this.world.units.get(unit);
    if (found === undefined) throw new Error(`no unit ${unit} to print`);
    this.world.output.push({ instance: found.launch.instance, line: { unit, stream, text } });
  }

  /** The copies of an instance that live. */
  running(instance: InstanceId): DriverUnit[] {
    return [...this.world.units.values()]
      .map(({ described }) => described)
      .filter(described => described.instance === instance && described.exit === null);
  }

  private after(durationMs: number, callback: () => void): void {
    const cancel = this.clock.after(durationMs, () => {
      this.timers.delete(cancel);
      callback();
    });
    this.timers.add(cancel);
  }
}

/** Kills what is guarded at the deadline, also when its agent is no more. */
export class FakeGuard implements Guard {
  private readonly clock: Clock;
  private readonly world: FakeWorld;
  /** The next arming fails with this. */
  failure: Error | null = null;

  constructor(options: { clock: Clock; world: FakeWorld }) {
    this.clock = options.clock;
    this.world = options.world;
  }

  async unable(): Promise<string | null> {
    return this.world.guard.unable;
  }

  async arm(deadlineMs: InstantMs): Promise<void> {
    if (this.failure !== null) throw this.failure;
    const { clock, world } = this;
    world.guard.cancel();
    world.guard.untilMs = deadlineMs;
    world.guard.cancel = clock.after(Math.max(0, deadlineMs - clock.now()), () => killGuarded(world));
  }

  armedUntilMs(): InstantMs | null {
    return this.world.guard.untilMs;
  }

  async disarm(): Promise<void> {
    this.world.guard.cancel();
    this.world.guard.untilMs = null;
    killGuarded(this.world);
  }
}

function killGuarded(world: FakeWorld): void {
  for (const [unit, { described }] of world.units) {
    if (described.guarded === true) end(world, unit, { signal: 'SIGKILL' });
  }
}

function end(world: FakeWorld, unit: string, how: { code?: number; signal?: string }): void {
  const found = world.units.get(unit);
  if (found === undefined || found.described.exit !== null) return;
  const own = world.output.filter(({ line }) => line.unit === unit).map(({ line }) => line.text);
  found.described.exit = {
    code: how.code ?? null,
    signal: how.signal ?? null,
    lastOutput: own.slice(-20),
    requested: found.stopRequested,
  };
  for (const listener of world.exitListeners) listener();
  for (const resolve of found.waiting.splice(0)) resolve();
}
