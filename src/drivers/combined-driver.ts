import type { InstanceId } from '../model/ids.ts';
import {
  DriverError,
  type Driver,
  type Launch,
  type OutputLine,
  type OutputOptions,
} from '../ports/driver.ts';

const READ_AHEAD_LINES = 1000;
/** Between the cursors of the parts, which have no two `~` in a row. */
const SEPARATOR = '~~';

/** One driver for all kinds of process: `static` ones go to the static driver, those with a command to the other. */
export function drivers(parts: { process: Driver; static: Driver }): Driver {
  const all = [parts.process, parts.static];
  const partFor = ({ process }: Launch): Driver => (process.kind === 'static' ? parts.static : parts.process);

  return {
    start: launch => partFor(launch).start(launch),
    observe: async () => (await Promise.all(all.map(part => part.observe()))).flat(),
    // A unit is known to one of them; to the others there is nothing to do.
    stop: async (unit, graceSeconds) => {
      await Promise.all(all.map(part => part.stop(unit, graceSeconds)));
    },
    fence: async (unit, token) => {
      await Promise.all(all.map(part => part.fence(unit, token)));
    },
    forget: async unit => {
      await Promise.all(all.map(part => part.forget(unit)));
    },
    onExit(listener) {
      const stops = all.map(part => part.onExit(listener));
      return () => stops.forEach(stop => stop());
    },
    output: (instance, options) => (options.follow ? followAll : readAll)(all, instance, options),
    close: async () => {
      await Promise.all(all.map(part => part.close()));
    },
  };
}

/**
 * Where the parts' outputs are, each by its own cursor; together they are one, unless a part has none to give.
 */
class Places {
  private readonly all: (string | null)[];

  constructor(parts: number) {
    this.all = Array.from({ length: parts }, () => null);
  }

  note(part: number, cursor: string | undefined): void {
    this.all[part] = cursor ?? null;
  }

  text(): string | null {
    return this.all.includes(null) ? null : this.all.join(SEPARATOR);
  }

  /** What a part is to go on after. */
  static of(part: number, after: string | undefined): { after?: string } {
    return after === undefined ? {} : { after: after.split(SEPARATOR)[part] ?? '' };
  }
}

function placed({ unit, stream, text }: OutputLine, cursor: string | null): OutputLine {
  return { unit, stream, text, ...(cursor !== null && { cursor }) };
}

/** An instance may have changed its kind between two releases, so each part is asked. */
async function* readAll(
  all: readonly Driver[],
  instance: InstanceId,
  options: OutputOptions,
): AsyncGenerator<OutputLine> {
  const places = new Places(all.length);
  const lines: { part: number; line: OutputLine }[] = [];
  for (const [part, driver] of all.entries()) {
    const onStart = (cursor: string): void => places.note(part, cursor);
    const own = { ...options, ...Places.of(part, options.after), onStart };
    for await (const line of driver.output(instance, own)) lines.push({ part, line });
  }
  const start = places.text();
  if (start !== null) options.onStart?.(start);
  const passed = options.after === undefined ? Math.max(0, lines.length - options.lines) : 0;
  for (const [index, { part, line }] of lines.entries()) {
    places.note(part, line.cursor);
    if (index >= passed) yield placed(line, places.text());
  }
}

async function* followAll(
  all: readonly Driver[],
  instance: InstanceId,
  options: OutputOptions,
): AsyncGenerator<OutputLine> {
  const leaving = new AbortController();
  const signal = AbortSignal.any([options.signal, leaving.signal]);
  const places = new Places(all.length);
  const waiting: { part: number; line: OutputLine }[] = [];
  let changed = deferred();
  let taken = deferred();
  let open = all.length;
  const failures: unknown[] = [];
  const pumps = all.map((driver, part) => pump(driver, part));
  try {
    while (open > 0 || waiting.length > 0) {
      if (failures.length > 0) {
        throw new DriverError(`output of ${instance} can't be read`, { retryable: true, cause: failures[0] });
      }
      for (const { part, line } of waiting.splice(0)) {
        places.note(part, line.cursor);
        yield placed(line, places.text());
      }
      taken.resolve();
      taken = deferred();
      if (waiting.length === 0 && open > 0) await changed.promise;
      changed = deferred();
    }
  } finally {
    leaving.abort();
    taken.resolve();
    await Promise.all(pumps);
  }

  /** Reads ahead only so far, in case whoever follows is slow. */
  async function pump(driver: Driver, part: number): Promise<void> {
    const onStart = (cursor: string): void => {
      places.note(part, cursor);
      const start = places.text();
      if (start !== null) options.onStart?.(start);
    };
    try {
      const own = { ...options, ...Places.of(part, options.after), onStart, signal };
      for await (const line of driver.output(instance, own)) {
        waiting.push({ part, line });
        changed.resolve();
        if (waiting.length >= READ_AHEAD_LINES) await taken.promise;
        if (leaving.signal.aborted) break;
      }
    } catch (error) {
      failures.push(error);
    }
    open -= 1;
    changed.resolve();
  }
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve: () => void = () => undefined;
  const promise = new Promise<void>(settle => (resolve = settle));
  return { promise, resolve };
}
