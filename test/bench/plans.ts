import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PlanSpec, StepSpec } from '../../src/model/plan.ts';
import type { Plans } from '../../src/ports/plans.ts';
import { startEtcd } from '../support/etcd.ts';
import { submission } from '../support/plan-cluster.ts';
import { startNoopNode } from './plan-node.ts';

export interface PlanFigure {
  what: string;
  unit: string;
  samples: number[];
  note: string;
  /** What is compared with others that do the same. */
  work?: 'one plan' | 'fan-out' | 'p50' | 'p99';
}

export interface PlanBenchOptions {
  steps: number;
  runs: number;
  /** For how long plans of one step are added, 50 a second. */
  latencySeconds: number;
}

type Tell = (figure: PlanFigure) => Promise<void>;

/** Steps that do nothing: what a plan costs by itself. etcd as it comes: every transaction is on disk before it counts. */
export async function benchPlans(options: PlanBenchOptions, tell: Tell): Promise<void> {
  for (const nodes of [1, 3]) await withNodes(nodes, plans => measure(plans, nodes, options, tell));
}

interface Node {
  plans: Plans;
  figures: () => { claims: number; writes: number };
}

async function measure(node: Node, nodes: number, options: PlanBenchOptions, tell: Tell): Promise<void> {
  const { steps, runs } = options;
  const on = nodes === 1 ? 'one node' : `${nodes} nodes that share this machine`;
  const rates: number[] = [];
  const transactions: number[] = [];
  await run(node.plans, [plan(1_000)]);
  for (let turn = 0; turn < runs; turn++) {
    const before = node.figures();
    rates.push(steps / (await run(node.plans, [plan(steps)])));
    const after = node.figures();
    transactions.push(((after.claims - before.claims + after.writes - before.writes) * 1000) / steps);
  }
  const added = 'adding included';
  await tell({
    what: `plans: ${steps} steps in one plan, ${on}`,
    unit: 'steps/s',
    samples: rates,
    note: added,
    work: 'one plan',
  });
  if (nodes === 1) {
    const note = 'submission left out';
    await tell({
      what: 'plans: etcd transactions for 1,000 steps',
      unit: 'txns',
      samples: transactions,
      note,
    });
  }
  const fans: number[] = [];
  for (let turn = 0; turn < runs; turn++) {
    const seconds = await run(
      node.plans,
      Array.from({ length: 10 }, () => fan(steps / 10)),
    );
    fans.push((steps + 10) / seconds);
  }
  await tell({
    what: `plans: fan-out 10 x ${steps / 10}, ${on}`,
    unit: 'steps/s',
    samples: fans,
    note: added,
    work: 'fan-out',
  });
  if (nodes > 1) return;
  const latencies = await addToDone(node.plans, options.latencySeconds);
  for (const share of [50, 99] as const) {
    await tell({
      what: `plans: add to done at 50 a second, p${share}`,
      unit: 'ms',
      samples: [latencies[Math.floor((latencies.length * share) / 100)] ?? NaN],
      note: `${latencies.length} plans of one step`,
      work: `p${share}`,
    });
  }
  const megabytes = process.memoryUsage().rss / 2 ** 20;
  await tell({
    what: 'plans: memory of the process after it',
    unit: 'MiB',
    samples: [megabytes],
    note: 'RSS',
  });
}

function plan(steps: number): PlanSpec {
  return submission(steps).spec;
}

/** Many, and one that waits for all of them. */
function fan(steps: number): PlanSpec {
  const all: StepSpec[] = Array.from({ length: steps }, () => ({ agent: 'noop', resource: '' }));
  all.push({ agent: 'noop', resource: '', dependsOn: all.map((_, index) => index) });
  return submission(all).spec;
}

/** Seconds from before they are added until all have ended. */
async function run(plans: Plans, specs: PlanSpec[]): Promise<number> {
  const beganMs = performance.now();
  await Promise.all(
    specs.map(async spec => ended(plans, (await plans.submit({ ...submission(1), spec })).plan.plan)),
  );
  return (performance.now() - beganMs) / 1000;
}

async function ended(plans: Plans, id: string): Promise<void> {
  const { signal } = new AbortController();
  const { revision } = await plans.plan(id);
  for await (const event of plans.watch(id, revision, signal)) {
    if (event.kind !== 'plan' || event.plan.endedAt === null) continue;
    if (event.plan.state !== 'COMPLETED') throw new Error(`plan ${id} is ${event.plan.state}`);
    return;
  }
}

/** In ascending order. */
async function addToDone(plans: Plans, seconds: number): Promise<number[]> {
  const latencies: number[] = [];
  const all: Promise<void>[] = [];
  for (let turn = 0; turn < seconds * 50; turn++) {
    all.push(run(plans, [plan(1)]).then(took => void latencies.push(took * 1000)));
    await sleep(20);
  }
  await Promise.all(all);
  return latencies.sort((a, b) => a - b);
}

async function withNodes(count: number, work: (node: Node) => Promise<void>): Promise<void> {
  const etcd = await startEtcd({ members: 1, fsync: true });
  const others: ChildProcess[] = [];
  try {
    const endpoint = etcd.urls[0]!;
    for (let number = 2; number <= count; number++) others.push(await other(endpoint, `node-${number}`));
    const first = await startNoopNode(endpoint, 'node-1');
    await work({ plans: first.engine.plans, figures: () => first.engine.figures() });
    await first.stop();
  } finally {
    for (const child of others) child.kill('SIGKILL');
    await etcd.stop();
  }
}

async function other(endpoint: string, name: string): Promise<ChildProcess> {
  const file = join(import.meta.dirname, 'plan-node.ts');
  const child = spawn(process.execPath, ['--import=tsx', file, endpoint, name], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}
