/** A worker of BullMQ: within the bench, or as a process of its own that tells its parent what it does (`LIBRARY PORT`). */
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { WAITING } from './plans.ts';

/** As the measurements it is known by were made: more at once is no faster on two cores. */
const CONCURRENCY = 50;

interface Connection {
  connection: { host: string; port: number };
}
interface Closed {
  close(): Promise<void>;
}
interface Job {
  waitUntilFinished(events: unknown): Promise<unknown>;
}
interface Library {
  Queue: new (
    name: string,
    options: Connection,
  ) => Closed & {
    add(name: string, data: object): Promise<Job>;
    addBulk(jobs: { name: string; data: object }[]): Promise<Job[]>;
  };
  Worker: new (
    queue: string,
    work: () => Promise<unknown>,
    options: Connection & { concurrency: number },
  ) => Closed & { on(event: 'completed', listener: (job: { name: string }) => void): unknown };
  QueueEvents: new (name: string, options: Connection) => Closed & { waitUntilReady(): Promise<unknown> };
  FlowProducer: new (options: Connection) => Closed & { addBulk(flows: object[]): Promise<unknown> };
}

/** Jobs that were done, by their name. */
export type Done = Record<string, number>;

export function load(library: string): Library {
  return createRequire(library)('bullmq') as Library;
}

export function at(port: number): Connection {
  return { connection: { host: '127.0.0.1', port } };
}

/** One for jobs that do nothing, and one for those that wait. Now and then it says what was done since it last did. */
export function startWorkers(library: string, port: number, onDone: (done: Done) => void): Closed[] {
  const { Worker } = load(library);
  const { atOnce, waitMs } = WAITING;
  const workers = [
    new Worker('bench', () => Promise.resolve(null), { ...at(port), concurrency: CONCURRENCY }),
    new Worker('waiting', () => sleep(waitMs), { ...at(port), concurrency: atOnce }),
  ];
  let done: Done | null = null;
  const say = (): void => {
    onDone(done ?? {});
    done = null;
  };
  for (const worker of workers) {
    worker.on('completed', ({ name }) => {
      if (done === null) setImmediate(say);
      done ??= {};
      done[name] = (done[name] ?? 0) + 1;
    });
  }
  return workers;
}

const [, self, library, port] = process.argv;
if (self === import.meta.filename && library !== undefined) {
  startWorkers(library, Number(port), done => process.send?.(done));
  process.send?.('ready');
}
