/**
 * `npm run bench`: prints a table and writes JSON lines. Times of different machines don't compare: read the ratios
 * to the floor, which is measured in the same run. Nothing here passes or fails but its own working.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Option } from 'commander';
import { winstonLog } from '../../src/platform/log.ts';
import { startCluster, type TestCluster } from '../support/cluster.ts';
import { developersCommand } from '../support/developers-command.ts';
import { until } from '../support/until.ts';
import { pathWithTools } from '../tools.ts';
import { benchBullMq } from './bullmq.ts';
import {
  applyMs,
  crashRestartMs,
  nodeLossMs,
  nodeProcesses,
  promiseSeenMs,
  pssMebibytes,
  revision,
  settled,
  spawnMs,
} from './measures.ts';
import { namesInProcess, namesOverHttp } from './names.ts';
import { benchPlans, type PlanFigure } from './plans.ts';
import { Rows, summary, type Row } from './rows.ts';
import { takeovers, takeoverTable } from './takeover.ts';

const CACHE = join(import.meta.dirname, '../../.cache');
const ON_THREE = 'on 3 nodes that share this machine';

const parts: Record<string, () => Promise<void>> = {
  starts: async () => {
    await withCluster({ nodes: 1, leaseTtlSeconds: 10 }, startsOnOneNode);
    await withCluster({ nodes: 3, leaseTtlSeconds: 10 }, startsOnThreeNodes);
  },
  names: () => withCluster({ nodes: 1, leaseTtlSeconds: 10 }, names),
  rest: () => withCluster({ nodes: 3, leaseTtlSeconds: 10 }, rest),
  loss: async () => {
    for (const ttl of [3, 10])
      await withCluster({ nodes: 3, leaseTtlSeconds: ttl }, cluster => loss(cluster, ttl));
  },
  plans,
  takeover,
};

const { quick = false, only } = developersCommand(
  'bench',
  'Measures, and prints a table of times and their ratios to a floor.',
)
  .option('--quick', 'takes fewer samples')
  .addOption(new Option('--only <part>', 'measures just this').choices(Object.keys(parts)))
  .parse()
  .opts<{ quick?: true; only?: string }>();
process.env['PATH'] = await pathWithTools();

const rows = new Rows(join(CACHE, `bench-${new Date().toISOString().replaceAll(':', '-')}.jsonl`));
const tables: string[] = [];
const floors = new Map<number, Row>();
for (const [part, measure] of Object.entries(parts)) {
  if (only !== undefined && part !== only) continue;
  // What one part could not measure says nothing of the others.
  await measure().catch((error: unknown) => {
    process.stderr.write(`error: bench ${part}: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  });
}
process.stdout.write(`${[rows.table(), ...tables].join('\n\n')}\n\nJSON lines: ${rows.file}\n`);
// What a part that failed has left open shall not keep this process.
process.exit();

/** So many processes of the sample app started at once, by nobody but the shell; measured when it is first compared with. */
async function floor(count: 1 | 10 | 50): Promise<Row> {
  const known = floors.get(count);
  if (known) return known;
  const many = { 1: 15, 10: 5, 50: 2 };
  const words = { 1: 'spawn to first answer', 10: 'ten spawns at once', 50: 'fifty spawns at once' };
  const made = await rows.add(
    `floor: ${words[count]}`,
    'ms',
    await series(many[count], () => spawnMs(count)),
  );
  floors.set(count, made);
  return made;
}

async function startsOnOneNode(cluster: TestCluster): Promise<void> {
  const agent = cluster.nodes[0]!.pid;
  await memory('agent memory at rest (PSS)', agent);
  await cluster.apply('bench', { scale: { web: 1 } });
  await cluster.ready('bench', 1);
  // In turn, so that both are measured on the machine as it is at that time.
  const spawns: number[] = [];
  const crashes = await series(15, async () => {
    spawns.push(await spawnMs(1));
    return crashRestartMs(cluster);
  });
  const beside = await rows.add('floor: spawn to first answer, beside the crashes', 'ms', spawns);
  await rows.add('crash restart', 'ms', crashes, beside, 'SIGKILL to the first answer of a new pid');
  const tens: number[] = [];
  const onOneNode: number[] = [];
  for (const turn of times(5)) {
    tens.push(await spawnMs(10));
    onOneNode.push(await applyMs(cluster, `ten${turn}`, 10));
    await removed(cluster, `ten${turn}`);
  }
  const ten = await rows.add('floor: ten spawns at once, beside the deployments', 'ms', tens);
  await rows.add('apply to all of 10 instances answering, one node', 'ms', onOneNode, ten);
  await cluster.api.scale('bench', { web: 20 });
  await cluster.ready('bench', 20);
  await sleep(5000);
  await memory('agent memory with 20 instances (PSS)', agent);
}

async function memory(what: string, agent: number): Promise<void> {
  const note = `${await nodeProcesses()} node processes share pages`;
  await rows.add(what, 'MiB', [await pssMebibytes(agent)], null, note);
}

async function startsOnThreeNodes(cluster: TestCluster): Promise<void> {
  await cluster.apply('warm', { scale: { web: 1 } });
  await cluster.ready('warm', 1);
  for (const [count, turns] of [
    [10, 5],
    [50, 2],
  ] as const) {
    const spawns = await floor(count);
    const samples: number[] = [];
    const writes: number[] = [];
    for (const turn of times(turns)) {
      const app = `many${count}x${turn}`;
      const before = await revision(cluster);
      samples.push(await applyMs(cluster, app, count));
      await until('the observers have judged all', async () => {
        const { items } = await cluster.api.promises({ kind: 'running', app });
        return items.length === count && items.every(({ outcome }) => outcome === 'kept');
      });
      writes.push(((await revision(cluster)) - before) / count);
      await removed(cluster, app);
    }
    await rows.add(`apply to all of ${count} instances answering`, 'ms', samples, spawns, ON_THREE);
    const what = `etcd transactions per started instance (of ${count})`;
    await rows.add(what, 'txns', writes, null, 'claim, promises, assessments, events');
  }
}

async function removed(cluster: TestCluster, app: string): Promise<void> {
  await cluster.api.remove(app);
  await until('it is gone', async () => (await cluster.api.apps()).items.length === 1);
}

async function names(cluster: TestCluster): Promise<void> {
  const seconds = quick ? 2 : 5;
  const overHttp = [await namesOverHttp(cluster, seconds), await namesOverHttp(cluster, seconds)];
  const note = '16 kept connections, asker and agent share this machine; no round to etcd';
  await rows.add('named agent: answers of its owner over HTTP', 'per s', overHttp, null, note);
  const { looks, requests } = await namesInProcess(seconds);
  await rows.add('named agent: looks at it in the process', 'per s', [looks], null, 'no round to etcd');
  const what = 'named agent: requests by its holder in the process';
  await rows.add(what, 'per s', [requests], null, 'no round to etcd');
}

async function rest(cluster: TestCluster): Promise<void> {
  await cluster.apply('bench', { scale: { web: 3 } });
  await cluster.ready('bench', 3);
  await settled(cluster);
  const before = await revision(cluster);
  const seconds = quick ? 20 : 60;
  await sleep(seconds * 1000);
  const perMinute = (((await revision(cluster)) - before) * 60) / seconds;
  const note = '3 nodes with an instance each; renewing a lease writes no revision';
  await rows.add('etcd writes per minute at rest', 'revisions', [perMinute], null, note);
  const seen = await promiseSeenMs(cluster, times(200).length);
  await rows.add(
    'promise written to seen by an observer',
    'ms',
    seen,
    null,
    'in one process, over the real etcd',
  );
}

async function loss(cluster: TestCluster, ttl: number): Promise<void> {
  await cluster.apply('bench', { scale: { web: 3 } });
  await cluster.ready('bench', 3);
  const samples = await series(ttl === 3 ? 5 : 3, () => nodeLossMs(cluster));
  await rows.add(`node loss to answering elsewhere, TTL ${ttl} s`, 'ms', samples, await floor(1));
}

async function plans(): Promise<void> {
  const options = { steps: quick ? 2_000 : 10_000, runs: 3, latencySeconds: quick ? 5 : 20 };
  const beside = new Map<PlanFigure['work'], Row>();
  const others = { ...options, cache: CACHE, log: winstonLog({ level: 'warn', format: 'text' }) };
  await benchBullMq(others, async ({ what, unit, samples, note, work }, compared) => {
    const made = await rows.add(what, unit, samples, null, note);
    if (compared) beside.set(work, made);
  }).catch((error: unknown) => {
    process.stderr.write(`bench: no BullMQ to compare with: ${String(error)}\n`);
  });
  await benchPlans(options, async ({ what, unit, samples, note, work }) => {
    const other = work === undefined ? null : (beside.get(work) ?? null);
    const words = other === null ? note : `${note}; × BullMQ with fsync always`;
    await rows.add(what, unit, samples, other, words);
  });
}

async function takeover(): Promise<void> {
  const startMs = summary((await floor(1)).samples).median;
  const found = await takeovers(times(10).length, startMs, line => process.stderr.write(`bench: ${line}\n`));
  for (const each of found) await rows.note(each);
  tables.push(takeoverTable(found));
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

function times(count: number): number[] {
  return Array.from({ length: quick ? Math.ceil(count / 5) : count }, (_, n) => n);
}

async function series(count: number, measure: () => Promise<number>): Promise<number[]> {
  const samples: number[] = [];
  while (samples.length < times(count).length) samples.push(await measure());
  return samples;
}
