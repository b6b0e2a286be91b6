import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chunkToken, type StepSpec } from '../../src/model/plan.ts';
import type { Entry, Mirror, Store } from '../../src/ports/store.ts';
import { startCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { leaderOf } from '../support/etcd.ts';
import { submission } from '../support/plan-cluster.ts';
import { StepResource } from '../support/step-resource.ts';
import { until } from '../support/until.ts';
import { PlanHistory, type Progress, type StepSeen } from './plan-history.ts';
import { storeAt } from './world.ts';

const TTL_SECONDS = 3;
const STEPS = 1_000;
/** Steps of a layer wait for one each of the layer before. */
const LAYER = 100;
/** So that ten layers of them are at work for longer than what is broken lasts. */
const STEP_MS = 1_000;
const ENDS_WITHIN_MS = 120_000;
/** A worker that says nothing is given up after 8 s. */
const LONGER_THAN_SILENCE_MS = 10_000;

/** One plan of a thousand steps after the other, something broken in the middle of each. */
export interface PlanRow {
  what: string;
  cycles: number;
  steps: number;
  /** At the resource, which did each effect once: asked for again, and refused for an old token. */
  repeated: number;
  refused: number;
  /** Results that came when they no longer counted, and were refused by the agents. */
  late: number;
  longestSeconds: number;
  trouble: string[];
}

interface PlanFault {
  /** In the short form, too. */
  quick?: boolean;
  agent?: 'http' | 'remote';
  /** No attempt may fail of it. */
  harmless?: boolean;
  /** What nothing is proved without, in all cycles together. */
  mustShow?: 'repeated' | 'late';
  /** `began` each time that something is in force, the first time in the middle of the plan. */
  run: (world: PlanWorld, began: () => void) => Promise<void>;
}

export const planFaults: Record<string, PlanFault> = {
  'owner SIGKILL': {
    mustShow: 'repeated',
    run: async ({ owner }, began) => restarted(await owner(), 'SIGKILL', began),
  },
  'owner SIGSTOP 2 TTL': {
    mustShow: 'late',
    run: async ({ owner }, began) => frozen(await owner(), began),
  },
  'each agent upgraded in turn': {
    quick: true,
    harmless: true,
    run: async ({ cluster }, began) => {
      for (const node of cluster.nodes) await restarted(node, 'SIGTERM', began);
    },
  },
  'submitting node SIGKILL': {
    mustShow: 'repeated',
    run: ({ cluster }, began) => restarted(cluster.nodes[0]!, 'SIGKILL', began),
  },
  'submitting node SIGSTOP 2 TTL': {
    mustShow: 'late',
    run: ({ cluster }, began) => frozen(cluster.nodes[0]!, began),
  },
  'supervisor SIGKILL': {
    mustShow: 'repeated',
    run: async ({ supervisor }, began) => restarted(await supervisor(), 'SIGKILL', began),
  },
  'supervisor SIGSTOP 2 TTL': {
    mustShow: 'late',
    run: async ({ supervisor }, began) => {
      const elected = await supervisor();
      await frozen(elected, began);
      await followed(elected, supervisor);
    },
  },
  'etcd leader SIGKILL': {
    quick: true,
    run: async ({ cluster }, began) => {
      const leader = await leaderOf(cluster.etcd);
      await leader.kill();
      began();
      await sleep(1.5 * TTL_SECONDS * 1000);
      await leader.start();
      await leader.healthy();
      await followed(leader, () => leaderOf(cluster.etcd));
    },
  },
  'etcd leader SIGSTOP 1.5 TTL': {
    run: async ({ cluster }, began) => {
      const leader = await leaderOf(cluster.etcd);
      leader.pause();
      began();
      await sleep(1.5 * TTL_SECONDS * 1000);
      leader.resume();
      await followed(leader, () => leaderOf(cluster.etcd));
    },
  },
  'remote worker SIGKILL': {
    quick: true,
    agent: 'remote',
    mustShow: 'repeated',
    run: async (world, began) => {
      world.workers[0]!.kill('SIGKILL');
      began();
      await world.addWorker(1);
    },
  },
  'remote worker SIGSTOP': {
    agent: 'remote',
    mustShow: 'late',
    run: async ({ workers }, began) => {
      workers[0]!.kill('SIGSTOP');
      began();
      await sleep(LONGER_THAN_SILENCE_MS);
      workers[0]!.kill('SIGCONT');
    },
  },
};

/** Or it was not missed: then nothing is proved. */
async function followed<T>(former: T, now: () => Promise<T>): Promise<void> {
  await until('another is in its place', async () => (await now().catch(() => former)) !== former);
}

async function restarted(node: TestNode, signal: NodeJS.Signals, began: () => void): Promise<void> {
  const ended = node.end(signal);
  began();
  await ended;
  await node.start();
  await node.ready();
}

async function frozen(node: TestNode, began: () => void): Promise<void> {
  node.signal('SIGSTOP');
  began();
  await sleep(2 * TTL_SECONDS * 1000);
  node.signal('SIGCONT');
}

/** Real agents, an etcd of three, two remote workers, and a resource that fences. */
export class PlanWorld {
  readonly cluster: TestCluster;
  readonly workers: ChildProcess[] = [];
  readonly #resource: StepResource;
  readonly #url: string;
  readonly #store: Store;
  readonly #chunks: Mirror<'steps'>;

  private constructor(cluster: TestCluster, resource: StepResource, url: string) {
    this.cluster = cluster;
    this.#resource = resource;
    this.#url = url;
    this.#store = storeAt(cluster.etcd.urls, 'test');
    this.#chunks = this.#store.mirror('steps');
  }

  static async start(): Promise<PlanWorld> {
    const resource = new StepResource({ takesMs: STEP_MS });
    const url = await resource.listen();
    const cluster = await startCluster({ nodes: 3, leaseTtlSeconds: TTL_SECONDS, etcdMembers: 3 });
    const world = new PlanWorld(cluster, resource, url);
    for (const place of [1, 2]) await world.addWorker(place);
    await world.#chunks.ready();
    return world;
  }

  async stop(): Promise<void> {
    for (const worker of this.workers) worker.kill('SIGKILL');
    this.#chunks.close();
    await this.#store.close();
    await this.cluster.stop();
    this.#resource.close();
  }

  async addWorker(place: number): Promise<void> {
    const args = ['--import=tsx', join(import.meta.dirname, 'plan-worker.ts')];
    const { rpcAddress } = this.cluster.nodes[place]!;
    const worker = spawn(process.execPath, [...args, rpcAddress, `worker-${this.workers.length}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(worker.stdout, 'data');
    this.workers.unshift(worker);
  }

  /** One that works at it, and not the one through which it was submitted. */
  owner = async (): Promise<TestNode> => {
    const { items } = await this.cluster.api.plans({ limit: 1 });
    const plan = items[0]?.plan ?? '';
    return until('another node works at it', async () => {
      const { items: running } = await this.cluster.api.stepsOf(plan, { states: ['RUNNING'] });
      const [, ...others] = this.cluster.nodes;
      return others.find(({ name }) => running.some(({ lockedBy }) => lockedBy === name));
    });
  };

  supervisor = async (): Promise<TestNode> => {
    const { node } = await this.cluster.api.supervisor();
    if (node === null) throw new Error('there is no supervisor');
    return this.cluster.node(node);
  };

  /** @throws Error when it could not be done: then nothing is proved */
  async cycle(what: string, fault: PlanFault): Promise<PlanRow> {
    const resource = this.#resource;
    const { repeated, refused, letIn } = resource;
    const [before, lateBefore] = [letIn.length, await this.#late()];
    const { api } = this.cluster.nodes[0]!;
    const beganMs = performance.now();
    const steps = this.#steps(fault);
    const { plan } = await api.submitPlan(submission(steps).spec, null);
    const { history, stop } = this.#watch(plan, steps);
    const struck: Progress[] = [];
    try {
      await until('it is at work', () => history.progress.ended > STEPS / 10);
      await fault.run(this, () => struck.push(history.progress));
      await until('it has ended', () => history.progress.open === 0, ENDS_WITHIN_MS);
      const longestSeconds = (performance.now() - beganMs) / 1000;
      await this.#agreed(plan);
      const trouble = [
        // Where several are broken in turn, how long that takes is the machine's affair.
        ...struck.slice(0, 1).flatMap(notInTheMiddle),
        ...history.judge(letIn.slice(before)),
        ...(fault.harmless === true ? await this.#failures(plan) : []),
      ];
      const late = (await this.#late()).map((now, node) => sinceThen(now, lateBefore[node] ?? 0));
      return {
        ...{ what, cycles: 1, steps: STEPS, longestSeconds, trouble },
        ...{ repeated: resource.repeated - repeated, refused: resource.refused - refused },
        late: late.reduce((sum, each) => sum + each, 0),
      };
    } finally {
      stop();
    }
  }

  /** Follows a plan in the store, from now on. */
  #watch(plan: string, steps: StepSpec[]): { history: PlanHistory; stop: () => void } {
    const history = new PlanHistory(plan, steps);
    const see = (entries: (Entry<'steps'> | undefined)[]): void =>
      history.saw(entries.flatMap(entry => (entry?.value.plan === plan ? seenIn(entry) : [])));
    see(this.#chunks.all());
    const stop = this.#chunks.onChange(changes => see(changes.map(({ after }) => after)));
    return { history, stop };
  }

  async #failures(plan: string): Promise<string[]> {
    const { items } = await this.cluster.api.stepsOf(plan);
    const failures = items.reduce((sum, step) => sum + step.failures, 0);
    return failures === 0 ? [] : [`${failures} attempts failed of it`];
  }

  /** Results that each node has refused since its agent began. */
  #late(): Promise<number[]> {
    return Promise.all(
      this.cluster.nodes.map(async ({ url }) => {
        const metrics = await (await fetch(`${url}/metrics`)).text();
        const counted = metrics.matchAll(
          /^(?:hop3_plan_stale_results|hop3_rpc_worker_results_total\{[^}]*verdict="stale"[^}]*\}) (\d+)$/gm,
        );
        return [...counted].reduce((sum, [, count]) => sum + Number(count), 0);
      }),
    );
  }

  #steps({ agent = 'http' }: PlanFault): StepSpec[] {
    return Array.from({ length: STEPS }, (_, index) => ({
      agent,
      resource: `${this.#url}/work`,
      ...(agent === 'http' ? { arguments: { method: 'POST' } } : {}),
      ...(index >= LAYER ? { dependsOn: [index - LAYER] } : {}),
      retry: { attempts: 10, firstWaitSeconds: 0.1, factor: 1, longestWaitSeconds: 0.1, jitter: 0 },
      timeoutSeconds: 30,
    }));
  }

  async #agreed(plan: string): Promise<void> {
    for (const { name, api } of this.cluster.nodes) {
      await until(`${name} knows its end`, async () => {
        const now = await api.planOf(plan).catch(() => null);
        return now?.state === 'COMPLETED' && now.counts.COMPLETED === STEPS;
      });
    }
  }
}

function seenIn(entry: Entry<'steps'>): StepSeen[] {
  const token = chunkToken(entry);
  return entry.value.steps.map(record => ({ record, token }));
}

function notInTheMiddle({ ended, running, open }: Progress): string[] {
  if (ended > 0 && running > 0 && open > running) return [];
  return [`${ended} steps had ended, and ${running} of ${open} were running: nothing is proved`];
}

/** Of what begins again at 0 with each agent. */
function sinceThen(now: number, before: number): number {
  return now < before ? now : now - before;
}

/** What all cycles of a row have not shown, so that it proves nothing; null = there is nothing like that. */
export function notShown(rows: readonly PlanRow[]): string | null {
  const mustShow = planFaults[rows[0]?.what ?? '']?.mustShow;
  const isShown = mustShow === undefined || rows.some(row => row[mustShow] > 0);
  return isShown ? null : `nothing was ${mustShow} in ${rows.length} cycles: nothing is proved`;
}

export function allOf(rows: readonly PlanRow[]): PlanRow {
  const missing = notShown(rows);
  const sum = rows.reduce((all, row) => ({
    what: row.what,
    cycles: all.cycles + row.cycles,
    steps: all.steps + row.steps,
    repeated: all.repeated + row.repeated,
    refused: all.refused + row.refused,
    late: all.late + row.late,
    longestSeconds: Math.max(all.longestSeconds, row.longestSeconds),
    trouble: [...all.trouble, ...row.trouble],
  }));
  return missing === null ? sum : { ...sum, trouble: [...sum.trouble, missing] };
}

export function brokenPlanRow(what: string, error: unknown): PlanRow {
  const trouble = [`it broke off: ${(error as Error).message}`];
  return { what, cycles: 1, steps: 0, repeated: 0, refused: 0, late: 0, longestSeconds: 0, trouble };
}
