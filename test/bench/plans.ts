import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { defaultPlanLimits } from '../../src/model/node-config.ts';
import type { PlanSpec, StepSpec } from '../../src/model/plan.ts';
import type { Plans } from '../../src/ports/plans.ts';
import type { Store, Write } from '../../src/ports/store.ts';
import { startEtcd } from '../support/etcd.ts';
import { submission } from '../support/plan-cluster.ts';
import { fiftyASecond, onceWarm, percentile } from './pace.ts';
import { benchStore, startNoopNode } from './plan-node.ts';

export interface PlanFigure {
  what: string;
  unit: string;
  samples: number[];
  note: string;
  /** What is compared with others that do the same. */
  work?: `${'one plan' | 'fan-out' | 'waiting'}, ${1 | 3}` | 'p50' | 'p99';
}

export interface PlanBenchOptions {
  steps: number;
  runs: number;
  /** For how long plans of one step are added, 50 a second. */
  latencySeconds: number;
}

/** Steps of which a node, or a worker, has so many at once: how long they take is what bounds it. */
export const WAITING = { jobs: 3_000, waitMs: 50, atOnce: 16 };

type Tell = (figure: PlanFigure) => Promise<void>;

/** Steps that do nothing: what a plan costs by itself. etcd as it comes: every transaction is on disk before it counts. */
export async function benchPlans(options: PlanBenchOptions, tell: Tell): Promise<void> {
  const { atOnce } = defaultPlanLimits;
  for (const nodes of [1, 3] as const)
    await withNodes(nodes, atOnce, node => measure(node, nodes, options, tell));
  const rates: number[] = [];
  for (const nodes of [1, 3] as const)
    await withNodes(nodes, WAITING.atOnce, async ({ plans }) => {
      rates.push(await waiting(plans, nodes, rates[0] ?? null, tell));
    });
}

interface Node {
  plans: Plans;
  figures: () => { claims: number; writes: number };
  /** Of its etcd. */
  endpoint: string;
}

async function measure(node: Node, nodes: 1 | 3, options: PlanBenchOptions, tell: Tell): Promise<void> {
  const { steps, runs } = options;
  const on = wordsOf(nodes);
  const transactions: number[] = [];
  const rates = await onceWarm(runs, async () => {
    const before = node.figures();
    const rate = steps / (await run(node.plans, [plan(steps)]));
    const after = node.figures();
    transactions.push(((after.claims - before.claims + after.writes - before.writes) * 1000) / steps);
    return rate;
  });
  const added = 'adding included';
  await tell({
    what: `plans: ${steps} steps in one plan, ${on}`,
    unit: 'steps/s',
    samples: rates,
    note: added,
    work: `one plan, ${nodes}`,
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
  const plans = Array.from({ length: 10 }, () => fan(steps / 10));
  const fans = await onceWarm(runs, async () => (steps + 10) / (await run(node.plans, plans)));
  await tell({
    what: `plans: fan-out 10 x ${steps / 10}, ${on}`,
    unit: 'steps/s',
    samples: fans,
    note: added,
    work: `fan-out, ${nodes}`,
  });
  if (nodes > 1) return;
  await latency(node, options.latencySeconds, tell);
  const megabytes = process.memoryUsage().rss / 2 ** 20;
  await tell({
    what: 'plans: memory of the process after it',
    unit: 'MiB',
    samples: [megabytes],
    note: 'RSS',
  });
}

/** In turn with what two writes cost by themselves, so that both are measured on the machine as it is at that time. */
async function latency({ plans, endpoint }: Node, seconds: number, tell: Tell): Promise<void> {
  const store = benchStore(endpoint);
  const pairsMs: number[] = [];
  const plansMs: number[] = [];
  let pairs = 0;
  for (let second = 0; second < seconds; second++) {
    pairsMs.push(...(await fiftyASecond(1, () => twoWrites(store, String(pairs++)))));
    plansMs.push(...(await fiftyASecond(1, () => run(plans, [plan(1)]))));
  }
  await store.close();
  for (const share of [50, 99] as const) {
    const floorMs = percentile(pairsMs, share);
    const planMs = percentile(plansMs, share);
    await tell({
      what: `floor: two etcd transactions one after the other, 50 a second, p${share}`,
      unit: 'ms',
      samples: [floorMs],
      note: `${pairsMs.length} of two, by the same client`,
    });
    await tell({
      what: `plans: add to done at 50 a second, p${share}`,
      unit: 'ms',
      samples: [planMs],
      note: `${plansMs.length} plans of one step, ${(planMs / floorMs).toFixed(2)} × two transactions`,
      work: `p${share}`,
    });
  }
}

/** As a plan of one step takes at least: that it runs is written before it is started, and then what it came to. */
async function twoWrites(store: Store, name: string): Promise<void> {
  const value = { v: 1, plan: name, digest: 'sha256:floor' } as const;
  const put: Write = { put: 'idempotency', name, value };
  const { revision } = await store.commit([{ kind: 'idempotency', name, is: 'absent' }], [put]);
  await store.commit([{ kind: 'idempotency', name, revision }], [put]);
}

/** Gives the steps a second. */
async function waiting(plans: Plans, nodes: 1 | 3, alone: number | null, tell: Tell): Promise<number> {
  const { jobs, waitMs, atOnce } = WAITING;
  const step: StepSpec = { agent: 'noop', resource: '', arguments: { 'delay-ms': String(waitMs) } };
  const { spec } = submission(Array.from({ length: jobs }, () => step));
  await run(plans, [plan(1_000)]);
  const rate = jobs / (await run(plans, [spec]));
  const most = (nodes * atOnce * 1000) / waitMs;
  const grown = alone === null ? '' : `, ${(rate / alone).toFixed(2)} × one node`;
  await tell({
    what: `plans: steps that wait ${waitMs} ms, ${atOnce} at once on a node, ${wordsOf(nodes)}`,
    unit: 'steps/s',
    samples: [rate],
    note: `${jobs} in one plan, at most ${most} can be${grown}`,
    work: `waiting, ${nodes}`,
  });
  return rate;
}

function wordsOf(nodes: 1 | 3): string {
  return nodes === 1 ? 'one node' : `${nodes} nodes that share this machine`;
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

async function withNodes(count: number, atOnce: number, work: (node: Node) => Promise<void>): Promise<void> {
  const etcd = await startEtcd({ members: 1, fsync: true });
  const others: ChildProcess[] = [];
  try {
    const endpoint = etcd.urls[0]!;
    for (let number = 2; number <= count; number++)
      others.push(await other(endpoint, `node-${number}`, atOnce));
    const first = await startNoopNode(endpoint, 'node-1', atOnce);
    const { engine } = first;
    await work({ plans: engine.plans, figures: () => engine.figures(), endpoint });
    await first.stop();
  } finally {
    for (const child of others) child.kill('SIGKILL');
    await etcd.stop();
  }
}

async function other(endpoint: string, name: string, atOnce: number): Promise<ChildProcess> {
  const file = join(import.meta.dirname, 'plan-node.ts');
  const child = spawn(process.execPath, ['--import=tsx', file, endpoint, name, String(atOnce)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}
