import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StepSpec } from '../../src/model/plan.ts';
import { startCluster, type TestCluster, type TestNode } from '../support/cluster.ts';
import { leaderOf } from '../support/etcd.ts';
import { submission } from '../support/plan-cluster.ts';
import { StepResource } from '../support/step-resource.ts';
import { until } from '../support/until.ts';

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
  longestSeconds: number;
  trouble: string[];
}

interface PlanFault {
  /** In the short form, too. */
  quick?: boolean;
  agent?: 'http' | 'remote';
  /** No attempt may fail of it. */
  harmless?: boolean;
  /** `began` once it is in force. */
  run: (world: PlanWorld, began: () => void) => Promise<void>;
}

export const planFaults: Record<string, PlanFault> = {
  'owner SIGKILL': { run: async ({ owner }, began) => restarted(await owner(), 'SIGKILL', began) },
  'owner SIGSTOP 2 TTL': { run: async ({ owner }, began) => frozen(await owner(), began) },
  'each agent upgraded in turn': {
    quick: true,
    harmless: true,
    run: async ({ cluster }, began) => {
      for (const node of cluster.nodes) await restarted(node, 'SIGTERM', began);
    },
  },
  'submitting node SIGKILL': { run: ({ cluster }, began) => restarted(cluster.nodes[0]!, 'SIGKILL', began) },
  'supervisor SIGKILL': {
    run: async ({ supervisor }, began) => restarted(await supervisor(), 'SIGKILL', began),
  },
  'supervisor SIGSTOP 2 TTL': { run: async ({ supervisor }, began) => frozen(await supervisor(), began) },
  'etcd leader SIGKILL': {
    quick: true,
    run: async ({ cluster }, began) => {
      const leader = await leaderOf(cluster.etcd);
      await leader.kill();
      began();
      await sleep(1.5 * TTL_SECONDS * 1000);
      await leader.start();
      await leader.healthy();
    },
  },
  'etcd leader SIGSTOP 1.5 TTL': {
    run: async ({ cluster }, began) => {
      const leader = await leaderOf(cluster.etcd);
      leader.pause();
      began();
      await sleep(1.5 * TTL_SECONDS * 1000);
      leader.resume();
    },
  },
  'remote worker SIGKILL': {
    quick: true,
    agent: 'remote',
    run: async (world, began) => {
      world.workers[0]!.kill('SIGKILL');
      began();
      await world.addWorker(1);
    },
  },
  'remote worker SIGSTOP': {
    agent: 'remote',
    run: async ({ workers }, began) => {
      workers[0]!.kill('SIGSTOP');
      began();
      await sleep(LONGER_THAN_SILENCE_MS);
      workers[0]!.kill('SIGCONT');
    },
  },
};

async function restarted(node: TestNode, signal: NodeJS.Signals, began: () => void): Promise<void> {
  await node.end(signal);
  began();
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

  private constructor(cluster: TestCluster, resource: StepResource, url: string) {
    this.cluster = cluster;
    this.#resource = resource;
    this.#url = url;
  }

  static async start(): Promise<PlanWorld> {
    const resource = new StepResource({ takesMs: STEP_MS });
    const url = await resource.listen();
    const cluster = await startCluster({ nodes: 3, leaseTtlSeconds: TTL_SECONDS, etcdMembers: 3 });
    const world = new PlanWorld(cluster, resource, url);
    for (const place of [1, 2]) await world.addWorker(place);
    return world;
  }

  async stop(): Promise<void> {
    for (const worker of this.workers) worker.kill('SIGKILL');
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
    const before = {
      effects: resource.effects.length,
      repeated: resource.repeated,
      refused: resource.refused,
    };
    const { api } = this.cluster.nodes[0]!;
    const beganMs = performance.now();
    const { plan } = await api.submitPlan(submission(this.#steps(fault)).spec, null);
    const done = (): number => resource.effects.length - before.effects;
    await until('it is at work', () => done() > STEPS / 10);
    let doneBefore = STEPS;
    await fault.run(this, () => (doneBefore = Math.min(doneBefore, done())));
    const trouble =
      doneBefore < STEPS - LAYER ? [] : [`${doneBefore} steps were done before: nothing is proved`];
    const view = await until(
      'it has ended',
      async () => {
        const now = await api.planOf(plan).catch(() => null);
        return now === null || now.endedAt === null ? null : now;
      },
      ENDS_WITHIN_MS,
    );
    const longestSeconds = (performance.now() - beganMs) / 1000;
    if (view.counts.COMPLETED !== STEPS) trouble.push(`it is ${view.state}: ${JSON.stringify(view.counts)}`);
    const effects = resource.effects.slice(before.effects);
    const placeOf = new Map(effects.map((key, place) => [key, place]));
    if (effects.length !== STEPS || placeOf.size !== STEPS)
      trouble.push(`${effects.length} effects of ${placeOf.size} steps`);
    for (let index = LAYER; index < STEPS; index++) {
      const [own, parent] = [index, index - LAYER].map(each => placeOf.get(`${plan}/${each}`) ?? -1);
      if (own! <= parent!) trouble.push(`step ${index} was done before step ${index - LAYER}`);
    }
    const { items } = await api.stepsOf(plan);
    const failures = items.reduce((sum, step) => sum + step.failures, 0);
    if (fault.harmless === true && failures > 0) trouble.push(`${failures} attempts failed of it`);
    await this.#agreed(plan);
    const { repeated, refused } = resource;
    return {
      ...{ what, cycles: 1, steps: STEPS, longestSeconds, trouble },
      ...{ repeated: repeated - before.repeated, refused: refused - before.refused },
    };
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

export function allOf(rows: readonly PlanRow[]): PlanRow {
  return rows.reduce((sum, row) => ({
    what: row.what,
    cycles: sum.cycles + row.cycles,
    steps: sum.steps + row.steps,
    repeated: sum.repeated + row.repeated,
    refused: sum.refused + row.refused,
    longestSeconds: Math.max(sum.longestSeconds, row.longestSeconds),
    trouble: [...sum.trouble, ...row.trouble],
  }));
}

export function brokenPlanRow(what: string, error: unknown): PlanRow {
  const trouble = [`it broke off: ${(error as Error).message}`];
  return { what, cycles: 1, steps: 0, repeated: 0, refused: 0, longestSeconds: 0, trouble };
}
