import { execFile, fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Log } from '../../src/ports/log.ts';
import { provideTool } from '../../src/platform/tools.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import { at, load, startWorkers, type Done } from './bullmq-worker.ts';
import { fiftyASecond, onceWarm, percentile } from './pace.ts';
import { WAITING, type PlanBenchOptions, type PlanFigure } from './plans.ts';

const PACKAGES = { bullmq: '6.7.0', ioredis: '6.0.0' };

interface Redis {
  /** Where BullMQ is installed. */
  library: string;
  port: number;
}

/**
 * BullMQ on a Redis of this machine, told to keep what it was given as etcd does (`always`), and as most people run it. Of several
 * workers each is a process of its own, the first that which adds, as with nodes.
 */
export async function benchBullMq(
  options: PlanBenchOptions & { cache: string; log: Log },
  tell: (figure: PlanFigure, beside: boolean) => Promise<void>,
): Promise<void> {
  const library = await installed(options.cache);
  for (const [fsync, workers] of [
    ['always', 1],
    ['always', 3],
    ['everysec', 1],
  ] as const) {
    const words = `BullMQ, Redis, appendfsync ${fsync}, ${workers === 1 ? 'one worker' : `${workers} workers`}`;
    await withRedis(options, fsync, async port => {
      const figures = await measure({ library, port }, workers, options);
      for (const figure of figures)
        await tell({ ...figure, what: `${words}: ${figure.what}` }, fsync === 'always');
    });
  }
}

async function measure(
  redis: Redis,
  workers: 1 | 3,
  { steps, runs, latencySeconds }: PlanBenchOptions,
): Promise<PlanFigure[]> {
  const { Queue, QueueEvents, FlowProducer } = load(redis.library);
  const to = at(redis.port);
  const awaited = { name: '', jobs: 0, end: (): void => undefined };
  const count = (done: Done): void => {
    awaited.jobs -= done[awaited.name] ?? 0;
    if (awaited.jobs <= 0) awaited.end();
  };
  const others = await Promise.all(Array.from({ length: workers - 1 }, () => other(redis, count)));
  const queue = new Queue('bench', to);
  const waiting = new Queue('waiting', to);
  const producer = new FlowProducer(to);
  const events = new QueueEvents('bench', to);
  const parts = [...startWorkers(redis.library, redis.port, count), producer, events, queue, waiting];
  await events.waitUntilReady();
  const seconds = async (name: string, jobs: number, add: () => Promise<unknown>): Promise<number> => {
    const ended = new Promise<void>(resolve => Object.assign(awaited, { name, jobs, end: resolve }));
    const beganMs = performance.now();
    await add();
    await ended;
    return (performance.now() - beganMs) / 1000;
  };
  const many = (name: string, jobs: number) => Array.from({ length: jobs }, () => ({ name, data: {} }));
  const bulk = (jobs: number) => seconds('noop', jobs, () => queue.addBulk(many('noop', jobs)));
  const child = { name: 'child', queueName: 'bench', data: {} };
  const flow = { ...child, name: 'all', children: Array.from({ length: steps / 10 }, () => child) };
  const fan = () => seconds('all', 10, () => producer.addBulk(Array.from({ length: 10 }, () => flow)));
  const rates = await onceWarm(runs, async () => steps / (await bulk(steps)));
  const fans = await onceWarm(runs, async () => (steps + 10) / (await fan()));
  const note = 'adding included';
  const figures: PlanFigure[] = [
    {
      what: `${steps} jobs added in bulk`,
      samples: rates,
      unit: 'steps/s',
      note,
      work: `one plan, ${workers}`,
    },
    { what: `flow 10 x ${steps / 10}`, samples: fans, unit: 'steps/s', note, work: `fan-out, ${workers}` },
  ];
  const { jobs, waitMs, atOnce } = WAITING;
  const took = await seconds('waiting', jobs, () => waiting.addBulk(many('waiting', jobs)));
  figures.push({
    what: `jobs that wait ${waitMs} ms, ${atOnce} at once in a worker`,
    samples: [jobs / took],
    unit: 'steps/s',
    note,
    work: `waiting, ${workers}`,
  });
  if (workers === 1) {
    const latenciesMs = await fiftyASecond(latencySeconds, async () =>
      (await queue.add('noop', {})).waitUntilFinished(events),
    );
    for (const share of [50, 99] as const) {
      const samples = [percentile(latenciesMs, share)];
      const what = `add to done at 50 a second, p${share}`;
      figures.push({ what, unit: 'ms', samples, note: `${latenciesMs.length} jobs`, work: `p${share}` });
    }
  }
  for (const child of others) child.kill('SIGKILL');
  for (const part of parts) await part.close();
  return figures;
}

async function other({ library, port }: Redis, count: (done: Done) => void): Promise<ChildProcess> {
  const file = join(import.meta.dirname, 'bullmq-worker.ts');
  const child = fork(file, [library, String(port)], { execArgv: ['--import=tsx'] });
  await once(child, 'message');
  child.on('message', message => count(message as Done));
  return child;
}

/** Beside the project, which does not need it. Gives where. */
async function installed(cache: string): Promise<string> {
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
  return file;
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
