import { join } from 'node:path';

import type { InstanceId } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { Clock } from '../ports/clock.ts';
import { DriverError, type Driver, type DriverUnit, type Launch } from '../ports/driver.ts';
import type { Log } from '../ports/log.ts';
import { requestJournal, type RequestJournal } from './request-journal.ts';
import { listenStatic, type StaticServer } from './static-server.ts';
import { unitRecords, type UnitRecord } from './unit-records.ts';

interface StaticRecord extends UnitRecord {
  endpoint: Endpoint;
  directory: string;
}

interface Served {
  record: StaticRecord;
  /** null once it has ended. */
  server: StaticServer | null;
}

/**
 * Serves the directories of static instances from inside the agent. They stop with it, and are served again, at
 * the same endpoint, by the driver made anew on the same state directory. Their output is one line a request, kept in memory.
 */
export async function staticDriver(options: { stateDir: string; clock: Clock; log: Log }): Promise<Driver> {
  const { clock, log } = options;
  const records = unitRecords<StaticRecord>(join(options.stateDir, 'units', 'static'), log);
  const units = new Map<string, Served>();
  const exitListeners = new Set<() => void>();
  const journals = new Map<InstanceId, RequestJournal>();
  const closing = new AbortController();

  await Promise.all(records.load().map(restore));

  return {
    async start(launch) {
      const record = recordOf(launch);
      // Its place is taken before the first wait, so that it can't be started twice.
      const served: Served = { record, server: null };
      units.set(launch.unit, served);
      try {
        served.server = await serve(record);
        records.save(record);
      } catch (error) {
        units.delete(launch.unit);
        await served.server?.stop(0);
        throw cannotServe(record, error as NodeJS.ErrnoException);
      }
      return describe(served);
    },

    observe: () => Promise.resolve([...units.values()].filter(isStarted).map(describe)),

    async stop(unit, graceSeconds) {
      const served = units.get(unit);
      if (served === undefined || served.server === null) return;
      await served.server.stop(graceSeconds);
      noteExit(served, { code: 0, lastOutput: journalOf(served.record.instance).last(20), requested: true });
    },

    // Static files are nobody's to fence.
    fence: () => Promise.resolve(),

    async forget(unit) {
      const served = units.get(unit);
      if (served === undefined) return Promise.resolve();
      if (served.record.exit === null) {
        throw new DriverError(`${unit} is still being served: stop it first`, { retryable: false });
      }
      units.delete(unit);
      records.remove(unit);
    },

    onExit(listener) {
      exitListeners.add(listener);
      return () => void exitListeners.delete(listener);
    },

    output: (instance, options) =>
      journalOf(instance).read({ ...options, signal: AbortSignal.any([options.signal, closing.signal]) }),

    async close() {
      closing.abort();
      await Promise.all([...units.values()].map(async ({ server }) => server?.stop(0)));
    },
  };

  async function restore(record: StaticRecord): Promise<void> {
    const served: Served = { record, server: null };
    units.set(record.unit, served);
    if (record.exit !== null) return;
    try {
      served.server = await serve(record);
    } catch (error) {
      noteExit(served, {
        code: null,
        lastOutput: [cannotServe(record, error as Error).message],
        requested: false,
      });
    }
  }

  function serve(record: StaticRecord): Promise<StaticServer> {
    const { directory, endpoint, version, unit, instance } = record;
    const journal = journalOf(instance);
    const onRequest = (line: string): void => journal.add(unit, line);
    return listenStatic({ directory, endpoint, version, clock, log: log.child({ unit }), onRequest });
  }

  function recordOf(launch: Launch): StaticRecord {
    const { unit, instance, release, version, endpoint, directory } = launch;
    if (closing.signal.aborted) throw new DriverError('the driver is closed', { retryable: false });
    if (units.has(unit)) throw new DriverError(`${unit} exists already`, { retryable: false });
    if (endpoint === null) {
      throw new DriverError(`can't serve ${unit}: a static process needs an endpoint`, { retryable: false });
    }
    return { v: 1, unit, instance, release, version, endpoint, directory, exit: null };
  }

  function noteExit(
    served: Served,
    exit: { code: number | null; lastOutput: string[]; requested: boolean },
  ): void {
    if (served.record.exit !== null || closing.signal.aborted) return;
    served.server = null;
    served.record.exit = { ...exit, signal: null };
    records.note(served.record);
    for (const listener of exitListeners) listener();
  }

  function journalOf(instance: InstanceId): RequestJournal {
    const journal = journals.get(instance) ?? requestJournal(clock);
    journals.set(instance, journal);
    return journal;
  }
}

function isStarted({ record, server }: Served): boolean {
  return server !== null || record.exit !== null;
}

function describe({ record }: Served): DriverUnit {
  const { unit, instance, release, version, endpoint, exit } = record;
  return { unit, instance, release, version, pid: null, endpoint, exit };
}

function cannotServe({ unit, directory, endpoint }: StaticRecord, error: NodeJS.ErrnoException): DriverError {
  const place = `${endpoint.host}:${endpoint.port}`;
  const why =
    error.code === 'ENOENT' || error.code === 'ENOTDIR'
      ? `${directory} is not a directory`
      : `${place}: ${error.message}`;
  return new DriverError(`can't serve ${unit}: ${why}`, {
    retryable: error.code === 'EADDRINUSE',
    cause: error,
  });
}
