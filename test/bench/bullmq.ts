import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Log } from '../../src/ports/log.ts';
import { provideTool } from '../../src/platform/tools.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import type { PlanBenchOptions, PlanFigure } from './plans.ts';

/** As the measurements it is known by were made: more at once is no faster on two cores. */
const CONCURRENCY = 50;
const PACKAGES = { bullmq: '6.7.0', ioredis: '6.0.0' };

interface Connection {
  connection: { host: string; port: number };
}
interface Job {
  waitUntilFinished(events: unknown): Promise<unknown>;
}
interface Closed {
  close(): Promise<void>;
}
interface Library {
  Queue: new (
    name: string,
    options: Connection,
  ) => Closed & {
    add(name: string, data: object): Promise<Job>;
    addBulk(jobs: { name: string; data: object }[]): Promise<Job[]>;
    obliterate(options: { force: boolean }): Promise<void>;
  };
  Worker: new (
    name: string,
    work: () => Promise<null>,
    options: Connection & { concurrency: number },
  ) => Closed & { on(event: string, listener: (job: { name: string }) => void): unknown };
  QueueEvents: new (name: string, options: Connection) => Closed & { waitUntilReady(): Promise<unknown> };
  FlowProducer: new (options: Connection) => Closed & { addBulk(flows: object[]): Promise<unknown> };
}

/** BullMQ on a Redis of this machine, told to keep what it was given as etcd does (`always`), and as most people run it. */
export async function benchBullMq(
  options: PlanBenchOptions & { cache: string; log: Log },
  tell: (figure: PlanFigure, beside: boolean) => Promise<void>,
): Promise<void> {
  const bullmq = await library(options.cache);
  for (const fsync of ['always', 'everysec'] as const) {
    await withRedis(options, fsync, async port => {
      const kept = `Redis, appendfsync ${fsync}`;
      const beside = fsync === 'always';
      for (const figure of await measure(bullmq, { connection: { host: '127.0.0.1', port } }, options))
        await tell({ ...figure, what: `BullMQ, ${kept}: ${figure.what}` }, beside);
    });
  }
}

async function measure(
  { Queue, Worker, QueueEvents, FlowProducer }: Library,
  at: Connection,
  { steps, runs, latencySeconds }: PlanBenchOptions,
): Promise<PlanFigure[]> {
  const queue = new Queue('bench', at);
  const ended = { jobs: 0, flows: 0 };
  const worker = new Worker('bench', () => Promise.resolve(null), { ...at, concurrency: CONCURRENCY });
  worker.on('completed', ({ name }) => {
    if (name === 'all') ended.flows += 1;
    else ended.jobs += 1;
  });
  const producer = new FlowProducer(at);
  const events = new QueueEvents('bench', at);
  await events.waitUntilReady();
  const bulk = async (count: number): Promise<number> => {
    ended.jobs = 0;
    const beganMs = performance.now();
    await queue.addBulk(Array.from({ length: count }, () => ({ name: 'noop', data: {} })));
    await until('all jobs are done', () => ended.jobs === count, 120_000);
    return (performance.now() - beganMs) / 1000;
  };
  const fan = async (children: number): Promise<number> => {
    ended.flows = 0;
    const job = { name: 'noop', queueName: 'bench', data: {} };
    const flow = {
      name: 'all',
      queueName: 'bench',
      data: {},
      children: Array.from({ length: children }, () => job),
    };
    const beganMs = performance.now();
    await producer.addBulk(Array.from({ length: 10 }, () => flow));
    await until('all flows are done', () => ended.flows === 10, 120_000);
    return (performance.now() - beganMs) / 1000;
  };
  const rates: number[] = [];
  const fans: number[] = [];
  await bulk(1_000);
  for (let run = 0; run < runs; run++) rates.push(steps / (await bulk(steps)));
  for (let run = 0; run < runs; run++) fans.push((steps + 10) / (await fan(steps / 10)));
  const latencies: number[] = [];
  const all: Promise<void>[] = [];
  for (let turn = 0; turn < latencySeconds * 50; turn++) {
    const beganMs = performance.now();
    const done = queue.add('noop', {}).then(job => job.waitUntilFinished(events));
    all.push(done.then(() => void latencies.push(performance.now() - beganMs)));
    await sleep(20);
  }
  await Promise.all(all);
  latencies.sort((a, b) => a - b);
  for (const part of [worker, producer, events, queue]) await part.close();
  const note = 'adding included';
  return [
    { what: `${steps} jobs added in bulk`, unit: 'steps/s', samples: rates, note, work: 'one plan' },
    { what: `flow 10 x ${steps / 10}`, unit: 'steps/s', samples: fans, note, work: 'fan-out' },
    ...([50, 99] as const).map((share): PlanFigure => {
      const samples = [latencies[Math.floor((latencies.length * share) / 100)] ?? NaN];
      const what = `add to done at 50 a second, p${share}`;
      return { what, unit: 'ms', samples, note: `${latencies.length} jobs`, work: `p${share}` };
    }),
  ];
}

/** Installed beside the project, which does not need it. */
async function library(cache: string): Promise<Library> {
  const home = join(cache, 'bullmq');
  const list = JSON.stringify({ private: true, dependencies: PACKAGES });
  const file = join(home, 'package.json');
  if ((await readFile(file, 'utf8').catch(() => null)) !== list) {
    await mkdir(home, { recursive: true });
    await writeFile(file, '{"private":true}');
    const packages = Object.entries(PACKAGES).map(([name, version]) => `${name}@${version}`);
    await promisify(execFile)('npm', ['install', '--no-save', '--no-audit', '--no-fund', ...packages], {
      cwd: home,
    });
    await writeFile(file, list);
  }
  return createRequire(file)('bullmq') as Library;
}

async function withRedis(
  { cache, log }: { cache: string; log: Log },
  fsync: 'always' | 'everysec',
  work: (port: number) => Promise<void>,
): Promise<void> {
  const redis = {
    name: 'redis-server',
    package: 'redis-server',
    program: 'usr/bin/redis-server',
    version: { arguments: ['--version'], answer: /v=(\d+\.\d+\.\d+)/ },
    service: null,
    newest: false,
    advice: 'install Redis and put redis-server on PATH',
  };
  const { path } = await provideTool({ tool: redis, stateDir: cache, log, env: process.env });
  const directory = await mkdtemp(join(tmpdir(), 'hop3-redis-'));
  const port = await freePort();
  const settings = {
    port,
    bind: '127.0.0.1',
    dir: directory,
    appendonly: 'yes',
    appendfsync: fsync,
    save: '',
  };
  const child = spawn(
    path,
    Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
    {
      stdio: 'ignore',
    },
  );
  const end = (): boolean => child.kill('SIGKILL');
  process.once('exit', end);
  try {
    await until('Redis answers', () => answers(port));
    await work(port);
  } finally {
    process.off('exit', end);
    await ended(child);
    await rm(directory, { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise(resolve => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exit;
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('connect', () => socket.end());
  });
}
