/**
 * `npm run bench`: prints a table and writes JSON lines. Times of different machines don't compare: read the ratios
 * to the floor, which is measured in the same run. Nothing here passes or fails. `--quick` takes fewer samples,
 * `--only takeover` just the takeover times, `--only starts` how long crash restarts and ten instances take.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { winstonLog } from '../../src/platform/log.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { openStore } from '../../src/store/open-store.ts';
import { startCluster, type TestCluster } from '../support/cluster.ts';
import { FakeLog } from '../support/fake-log.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import { pathWithTools } from '../tools.ts';
import { namesInProcess, namesOverHttp } from './names.ts';
import { benchBullMq } from './bullmq.ts';
import { benchPlans, type PlanFigure } from './plans.ts';
import { takeovers, takeoverTable } from './takeover.ts';

const ROOT = join(import.meta.dirname, '../..');
const APP = join(ROOT, 'test/fixtures/app');
const quick = process.argv.includes('--quick');
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : null;
const ENDPOINTS_EVERY_MS = 40;
const times = (count: number): number[] =>
  Array.from({ length: quick ? Math.ceil(count / 5) : count }, (_, n) => n);

process.env['PATH'] = await pathWithTools();

interface Row {
  what: string;
  samples: number[];
  unit: string;
  /** What the median is a multiple of. */
  floor: Row | null;
  note: string;
}
const rows: Row[] = [];
const file = join(ROOT, `.cache/bench-${new Date().toISOString().replaceAll(':', '-')}.jsonl`);

async function row(
  what: string,
  unit: string,
  samples: number[],
  floor: Row | null = null,
  note = '',
): Promise<Row> {
  const made = { what, samples, unit, floor, note };
  rows.push(made);
  const { min, median, max } = summary(samples);
  await mkdir(join(ROOT, '.cache'), { recursive: true });
  await appendFile(
    file,
    `${JSON.stringify({ what, unit, n: samples.length, min, median, max, ratio: ratioOf(made), note, samples })}\n`,
  );
  process.stderr.write(`bench: ${what}: ${median} ${unit}\n`);
  return made;
}

if (process.argv.includes('plans')) {
  await plans();
  process.stdout.write(`${table()}\nJSON lines: ${file}\n`);
  process.exit();
}
const oneSpawn = await row('floor: spawn to first answer', 'ms', await series(15, () => spawnMs(1)));
if (only === 'takeover') {
  process.stdout.write(`${await takeover()}\nJSON lines: ${file}\n`);
  process.exit();
}
const tenSpawns = await row('floor: ten spawns at once', 'ms', await series(5, () => spawnMs(10)));
const fiftySpawns =
  only === 'starts'
    ? null
    : await row('floor: fifty spawns at once', 'ms', await series(2, () => spawnMs(50)));

await withCluster({ nodes: 1, leaseTtlSeconds: 10 }, async cluster => {
  await row(
    'agent memory at rest (PSS)',
    'MiB',
    [await pssMebibytes(cluster.nodes[0]!.pid)],
    null,
    `${await nodeProcesses()} node processes share pages`,
  );
  await cluster.apply('bench', { scale: { web: 1 } });
  await cluster.ready('bench', 1);
  // In turn, so that both are measured on the machine as it is at that time.
  const spawns: number[] = [];
  const crashes: number[] = [];
  while (crashes.length < times(15).length) {
    spawns.push(await spawnMs(1));
    crashes.push(await crashRestartMs(cluster));
  }
  const beside = await row('floor: spawn to first answer, beside the crashes', 'ms', spawns);
  await row('crash restart', 'ms', crashes, beside, 'SIGKILL to the first answer of a new pid');
  const onOneNode: number[] = [];
  for (const turn of times(5)) {
    onOneNode.push(await applyMs(cluster, `ten${turn}`, 10));
    await cluster.api.remove(`ten${turn}`);
    await until('it is gone', async () => (await cluster.api.apps()).items.length === 1);
  }
  await row('apply to all of 10 instances answering, one node', 'ms', onOneNode, tenSpawns);
  await cluster.api.scale('bench', { web: 20 });
  await cluster.ready('bench', 20);
  await sleep(5000);
  await row(
    'agent memory with 20 instances (PSS)',
    'MiB',
    [await pssMebibytes(cluster.nodes[0]!.pid)],
    null,
    `${await nodeProcesses()} node processes share pages`,
  );
});

await withCluster({ nodes: 1, leaseTtlSeconds: 10 }, async cluster => {
  if (only === 'starts') return;
  const seconds = quick ? 2 : 5;
  await row(
    'named agent: answers of its owner over HTTP',
    'per s',
    [await namesOverHttp(cluster, seconds), await namesOverHttp(cluster, seconds)],
    null,
    '16 kept connections, asker and agent share this machine; no round to etcd',
  );
  const { looks, requests } = await namesInProcess(seconds);
  await row('named agent: looks at it in the process', 'per s', [looks], null, 'no round to etcd');
  await row(
    'named agent: requests by its holder in the process',
    'per s',
    [requests],
    null,
    'no round to etcd',
  );
});

await withCluster({ nodes: 3, leaseTtlSeconds: 10 }, async cluster => {
  await cluster.apply('warm', { scale: { web: 1 } });
  await cluster.ready('warm', 1);
  for (const [count, floor] of [
    [10, tenSpawns],
    [50, fiftySpawns],
  ] as const) {
    if (floor === null) continue;
    const samples: number[] = [];
    const writes: number[] = [];
    for (const turn of times(count === 10 ? 5 : 2)) {
      const before = await revision(cluster);
      samples.push(await applyMs(cluster, `many${count}x${turn}`, count));
      await until('the observers have judged all', async () => {
        const { items } = await cluster.api.promises({ kind: 'running', app: `many${count}x${turn}` });
        return items.length === count && items.every(({ outcome }) => outcome === 'kept');
      });
      writes.push(((await revision(cluster)) - before) / count);
      await cluster.api.remove(`many${count}x${turn}`);
      await until('it is gone', async () => (await cluster.api.apps()).items.length === 1);
    }
    await row(
      `apply to all of ${count} instances answering`,
      'ms',
      samples,
      floor,
      'on 3 nodes that share this machine',
    );
    await row(
      `etcd transactions per started instance (of ${count})`,
      'txns',
      writes,
      null,
      'claim, promises, assessments, events',
    );
  }
  if (only === 'starts') return;
  await settled(cluster);
  const beforeRest = await revision(cluster);
  const restSeconds = quick ? 20 : 60;
  await sleep(restSeconds * 1000);
  await row(
    'etcd writes per minute at rest',
    'revisions',
    [(((await revision(cluster)) - beforeRest) * 60) / restSeconds],
    null,
    '3 nodes; renewing a lease writes no revision',
  );
  await row(
    'promise written to seen by an observer',
    'ms',
    await promiseSeenMs(cluster),
    null,
    'in one process, over the real etcd',
  );
});

if (only === 'starts') {
  process.stdout.write(`${table()}\n\nJSON lines: ${file}\n`);
  process.exit();
}
for (const ttl of [3, 10]) {
  await withCluster({ nodes: 3, leaseTtlSeconds: ttl }, async cluster => {
    await cluster.apply('bench', { scale: { web: 3 } });
    await cluster.ready('bench', 3);
    const samples: number[] = [];
    while (samples.length < times(ttl === 3 ? 5 : 3).length) samples.push(await nodeLossMs(cluster));
    await row(`node loss to answering elsewhere, TTL ${ttl} s`, 'ms', samples, oneSpawn);
  });
}

await plans();
const takeoverTimes = await takeover();
process.stdout.write(`${table()}\n\n${takeoverTimes}\n\nJSON lines: ${file}\n`);

async function plans(): Promise<void> {
  const options = { steps: quick ? 2_000 : 10_000, runs: times(3).length, latencySeconds: quick ? 5 : 20 };
  const beside = new Map<PlanFigure['work'], Row>();
  const others = {
    ...options,
    cache: join(ROOT, '.cache'),
    log: winstonLog({ level: 'warn', format: 'text' }),
  };
  await benchBullMq(others, async ({ what, unit, samples, note, work }, compared) => {
    const made = await row(what, unit, samples, null, note);
    if (compared) beside.set(work, made);
  }).catch((error: unknown) => {
    process.stderr.write(`bench: no BullMQ to compare with: ${String(error)}\n`);
  });
  await benchPlans(options, async ({ what, unit, samples, note, work }) => {
    const floor = work === undefined ? null : (beside.get(work) ?? null);
    await row(what, unit, samples, floor, floor === null ? note : `${note}; × BullMQ with fsync always`);
  });
}

async function takeover(): Promise<string> {
  const startMs = summary(oneSpawn.samples).median;
  const found = await takeovers(times(10).length, startMs, line => process.stderr.write(`bench: ${line}\n`));
  for (const each of found) await appendFile(file, `${JSON.stringify(each)}\n`);
  return takeoverTable(found);
}

async function withCluster(
  options: Parameters<typeof startCluster>[0],
  work: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster(options);
  try {
    await work(cluster);
  } finally {
    await cluster.stop();
  }
}

async function series(count: number, measure: () => Promise<number>): Promise<number[]> {
  const samples: number[] = [];
  while (samples.length < times(count).length) samples.push(await measure());
  return samples;
}

/** From before the first spawn to the last first answer. */
async function spawnMs(count: number): Promise<number> {
  const ports = await Promise.all(Array.from({ length: count }, () => freePort()));
  const beganMs = performance.now();
  const children = ports.map(port =>
    spawn('/bin/sh', ['-c', 'exec node server.cjs'], {
      cwd: APP,
      stdio: 'ignore',
      env: { PATH: process.env['PATH'], PORT: String(port), BIND_ADDRESS: '127.0.0.1' },
    }),
  );
  await Promise.all(ports.map(port => answers(port)));
  const tookMs = performance.now() - beganMs;
  await Promise.all(children.map(ended));
  return tookMs;
}

async function ended(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function answers(port: number, pidOtherThan: number | null = null): Promise<void> {
  for (;;) {
    const pid = await fetch(`http://127.0.0.1:${port}/`).then(
      async response => ((await response.json()) as { pid: number }).pid,
      () => null,
    );
    if (pid !== null && pid !== pidOtherThan) return;
    await sleep(2);
  }
}

async function crashRestartMs(cluster: TestCluster): Promise<number> {
  const [instance] = await cluster.ready('bench', 1);
  // Long enough for the backoff of the crash before to be over.
  await cluster.api.restart('bench', null);
  const [fresh] = await cluster.ready('bench', 1, all => all[0]!.version !== instance!.version);
  await until('the old copy is gone', async () => (await cluster.instances('bench'))[0]!.state === 'running');
  await sleep(1500);
  const beganMs = performance.now();
  process.kill(fresh!.pid!, 'SIGKILL');
  await answers(fresh!.endpoint!.port, fresh!.pid);
  return performance.now() - beganMs;
}

async function applyMs(cluster: TestCluster, app: string, count: number): Promise<number> {
  // The source is in the cluster and built before: what is measured is what the cluster does with it.
  const [known] = (await cluster.api.apps()).items;
  const yaml = JSON.stringify({
    metadata: { id: app },
    source: { uploaded: known!.artifact },
    run: { start: 'exec node server.cjs' },
    healthcheck: { path: '/', interval: 5, timeout: 2 },
    scale: { web: count },
  });
  const spec = JSON.parse(await specOf(yaml, known!.app, cluster)) as never;
  const beganMs = performance.now();
  for await (const progress of cluster.api.apply({ specs: [spec], ifGeneration: null })) {
    if (progress.kind === 'failed') throw new Error(progress.message);
  }
  // As soon as they are known, the ports are asked as those of the floor are. The agent is not asked more often than needed.
  const endpoints = await until(`${count} endpoints are known`, async () => {
    await sleep(ENDPOINTS_EVERY_MS);
    const found = (await cluster.instances(app)).flatMap(({ endpoint }) => endpoint ?? []);
    return found.length === count ? found : null;
  });
  await Promise.all(endpoints.map(({ port }) => answers(port)));
  return performance.now() - beganMs;
}

/** The spec of a running app under another name and scale, as the store has it. */
async function specOf(yaml: string, from: string, cluster: TestCluster): Promise<string> {
  const wanted = JSON.parse(yaml) as { metadata: { id: string }; scale: { web: number } };
  const text = await cluster.etcd.ctl('get', `/hop3/test/apps/${from}`, '--print-value-only');
  const { spec } = JSON.parse(text) as { spec: { app: string; processes: { scale: number }[] } };
  spec.app = wanted.metadata.id;
  spec.processes[0]!.scale = wanted.scale.web;
  return JSON.stringify(spec);
}

/** Kills a node with its instance, waits for the same instance to answer elsewhere, and brings the node back. */
async function nodeLossMs(cluster: TestCluster): Promise<number> {
  const spread = await cluster.ready('bench', 3);
  const victim = spread.find(({ node }) => node !== 'node-1')!;
  const node = cluster.node(victim.node!);
  const beganMs = performance.now();
  await node.crash();
  await until(
    'it answers elsewhere',
    async () => {
      const now = (await cluster.instances('bench')).find(({ instance }) => instance === victim.instance);
      if (!now?.ready || now.node === victim.node || !now.endpoint) return false;
      await answers(now.endpoint.port);
      return true;
    },
    60_000,
  );
  const tookMs = performance.now() - beganMs;
  await node.start();
  await node.ready();
  await cluster.api.scale('bench', { web: 0 });
  await until('all are gone', async () => (await cluster.instances('bench')).length === 0);
  await cluster.api.scale('bench', { web: 3 });
  await cluster.ready('bench', 3, all => new Set(all.map(instance => instance.node)).size === 3);
  return tookMs;
}

async function promiseSeenMs(cluster: TestCluster): Promise<number[]> {
  const open = () =>
    openStore({
      endpoints: cluster.etcd.urls,
      cluster: 'seen',
      clock: systemClock(),
      log: new FakeLog(),
      random: systemRandom(),
    });
  const [writer, reader] = [open(), open()];
  const mirror = reader.mirror('hostnames');
  await mirror.ready();
  const samples: number[] = [];
  for (const turn of times(200)) {
    const beganMs = performance.now();
    const seen = new Promise<void>(resolve => {
      const stop = mirror.onChange(() => {
        stop();
        resolve();
      });
    });
    await writer.commit([], [{ put: 'hostnames', name: 'seen', value: { v: 1, app: `a${turn}` } }]);
    await seen;
    samples.push(performance.now() - beganMs);
  }
  await Promise.all([writer.close(), reader.close()]);
  return samples;
}

/** No write for 15 s: what the work before has to say has been said. */
async function settled(cluster: TestCluster): Promise<void> {
  let last = await revision(cluster);
  for (let quietSeconds = 0; quietSeconds < 15; quietSeconds++) {
    await sleep(1000);
    const now = await revision(cluster);
    if (now !== last) quietSeconds = 0;
    last = now;
  }
}

async function revision(cluster: TestCluster): Promise<number> {
  const status = JSON.parse(await cluster.etcd.ctl('endpoint', 'status', '--write-out=json')) as {
    Status: { header: { revision: number } };
  }[];
  return status[0]!.Status.header.revision;
}

/** Of the agent, and of the program that starts its processes. */
async function pssMebibytes(agent: number): Promise<number> {
  const children = (await readFile(`/proc/${agent}/task/${agent}/children`, 'utf8')).trim().split(' ');
  const names = await Promise.all(children.map(pid => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
  const spawners = children.filter((_, index) => names[index]?.trim() === 'hop3-spawner');
  const texts = await Promise.all(
    [String(agent), ...spawners].map(pid => readFile(`/proc/${pid}/smaps_rollup`, 'utf8')),
  );
  return texts.reduce((sum, text) => sum + Number(/^Pss:\s+(\d+) kB/m.exec(text)?.[1]) / 1024, 0);
}

async function nodeProcesses(): Promise<number> {
  const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name));
  const names = await Promise.all(pids.map(pid => readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')));
  return names.filter(name => name.trim() === 'node').length;
}

function summary(samples: number[]): { min: number; median: number; max: number } {
  const sorted = samples.toSorted((a, b) => a - b);
  const round = (value: number | undefined): number => Math.round((value ?? Number.NaN) * 10) / 10;
  return {
    min: round(sorted[0]),
    median: round(sorted[Math.floor(sorted.length / 2)]),
    max: round(sorted.at(-1)),
  };
}

function ratioOf({ samples, floor }: Row): number | null {
  if (floor === null) return null;
  return Math.round((summary(samples).median / summary(floor.samples).median) * 100) / 100;
}

function table(): string {
  const cells = [
    ['what', 'n', 'min', 'median', 'max', 'unit', '× floor', 'note'],
    ...rows.map(made => {
      const { min, median, max } = summary(made.samples);
      const ratio = ratioOf(made);
      return [made.what, made.samples.length, min, median, max, made.unit, ratio ?? '', made.note].map(
        String,
      );
    }),
  ];
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map(line => line[column]!.length)));
  return cells
    .map(line =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
