import type { InstanceId } from '../model/ids.ts';
import {
  DriverError,
  type Driver,
  type Launch,
  type OutputLine,
  type OutputOptions,
} from '../ports/driver.ts';

const READ_AHEAD_LINES = 1000;

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

/** An instance may have changed its kind between two releases, so each part is asked. */
async function* readAll(
  all: readonly Driver[],
  instance: InstanceId,
  options: OutputOptions,
): AsyncGenerator<OutputLine> {
  const lines: OutputLine[] = [];
  for (const part of all) for await (const line of part.output(instance, options)) lines.push(line);
  yield* lines.slice(Math.max(0, lines.length - options.lines));
}

async function* followAll(
  all: readonly Driver[],
  instance: InstanceId,
  options: OutputOptions,
): AsyncGenerator<OutputLine> {
  const leaving = new AbortController();
  const signal = AbortSignal.any([options.signal, leaving.signal]);
  const waiting: OutputLine[] = [];
  let changed = deferred();
  let taken = deferred();
  let open = all.length;
  const failures: unknown[] = [];
  const pumps = all.map(pump);
  try {
    while (open > 0 || waiting.length > 0) {
      if (failures.length > 0) {
        throw new DriverError(`output of ${instance} can't be read`, { retryable: true, cause: failures[0] });
      }
      yield* waiting.splice(0);
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
  async function pump(part: Driver): Promise<void> {
    try {
      for await (const line of part.output(instance, { ...options, signal })) {
        waiting.push(line);
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
