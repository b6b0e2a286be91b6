import { PlanEngine } from '../../src/agent/plans/plan-engine.ts';
import { Supervisor } from '../../src/agent/supervise-loop.ts';
import { stepAgents } from '../../src/drivers/step-agents.ts';
import { defaultPlanLimits, type PlanLimits } from '../../src/model/node-config.ts';
import type {
  ChunkRecord,
  PlanRecord,
  PlanSpec,
  StepRecord,
  StepResult,
  StepSpec,
} from '../../src/model/plan.ts';
import type { PlanView } from '../../src/model/plan-views.ts';
import type { PlanSubmission } from '../../src/ports/plans.ts';
import type { StepTask } from '../../src/ports/step-agents.ts';
import { recordsOf } from '../../src/workflow/chunks.ts';
import { events, member } from '../agent/helpers.ts';
import { FakeBlobs } from './fake-blobs.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeLocalState } from './fake-local-state.ts';
import { FakeEtcd, type FakeStore } from './fake-store.ts';

/** What an attempt comes to: at once, after some time, or never. */
export type Behaviour = (
  task: StepTask,
  node: string,
) => StepResult | { afterMs: number; result: StepResult; whenStopped?: StepResult } | null;

export const completed: StepResult = { kind: 'completed', output: null };
export const failed: StepResult = { kind: 'failed', type: 'RETRYABLE', error: 'it did not work' };

/** An attempt as its agent was asked for it. */
export interface AskedAttempt {
  node: string;
  task: StepTask;
  atMs: number;
  signal: AbortSignal;
}

export interface PlanNode {
  name: string;
  engine: PlanEngine;
  store: FakeStore;
  /** As when its process ends without a word: what its agents do goes on, and tells nobody. */
  crash(): Promise<void>;
  leave(): Promise<void>;
  /** As for an upgrade: its session is there for the next agent. */
  handOver(): Promise<void>;
}

/** Nodes that work at plans, and nothing else, on one fake clock and one fake etcd. */
export class PlanCluster {
  readonly clock = new FakeClock();
  readonly etcd = new FakeEtcd(this.clock);
  readonly nodes: PlanNode[] = [];
  readonly asked: AskedAttempt[] = [];
  /** What a node's next agent finds of the one before, by name. */
  readonly #states = new Map<string, FakeLocalState>();
  readonly blobs = new FakeBlobs(this.clock);
  behave: Behaviour = () => completed;
  /** Of nodes that are added from then on. */
  limits: PlanLimits = defaultPlanLimits;
  /** Whether each node takes itself for the supervisor, whoever is. */
  allSupervise = false;

  static async start(count = 1, behave?: Behaviour): Promise<PlanCluster> {
    const cluster = new PlanCluster();
    if (behave) cluster.behave = behave;
    for (let number = 1; number <= count; number++) await cluster.add(`node-${number}`);
    return cluster;
  }

  async add(name: string, agents = ['noop']): Promise<PlanNode> {
    const { clock, etcd } = this;
    const state = this.#states.get(name) ?? new FakeLocalState();
    this.#states.set(name, state);
    const one = await member({ clock, etcd, node: name, state });
    const supervisor = new Supervisor(one);
    const engine = new PlanEngine({
      ...one,
      limits: this.limits,
      agents: stepAgents(
        agents.map(agent => this.#agent(agent, name)),
        { blobs: this.blobs },
      ),
      blobs: this.blobs,
      elected: () => {
        const [candidate = null] = Object.keys(this.allSupervise ? etcd.contents('supervisor') : {});
        return supervisor.electedAs ?? candidate;
      },
    });
    const stops = [
      one.world.onChange(['supervisor', 'sessions'], () => supervisor.loop.wake()),
      one.keeper.onChange(() => {
        engine.sessionChanged();
        supervisor.loop.wake();
      }),
    ];
    supervisor.loop.start();
    engine.start();
    const end = async (): Promise<void> => {
      for (const stop of stops) stop();
      await Promise.all([engine.stop(), supervisor.loop.stop()]);
      this.nodes.splice(this.nodes.indexOf(node), 1);
    };
    const ends = async (leave: boolean): Promise<void> => {
      await engine.handBack();
      await end();
      await one.keeper.stop({ leave });
      await one.store.close();
    };
    const node: PlanNode = {
      name,
      engine,
      store: one.store,
      crash: async () => {
        one.store.setLink('refused');
        await end();
        await one.keeper.stop({ leave: false });
        await one.store.close();
      },
      leave: () => ends(true),
      handOver: () => ends(false),
    };
    this.nodes.push(node);
    await clock.advance(200);
    return node;
  }

  node(place = 0): PlanNode {
    const node = this.nodes[place];
    if (!node) throw new Error(`there is no node ${place}`);
    return node;
  }

  async submit(steps: StepSpec[] | number, more: Partial<PlanSpec> = {}, on = 0): Promise<string> {
    const { plan } = await this.whileTimePasses(this.node(on).engine.plans.submit(submission(steps, more)));
    return plan.plan;
  }

  /** For work that waits for time to pass. */
  async whileTimePasses<T>(work: Promise<T>, limitMs = 60_000): Promise<T> {
    let done = false;
    const ended = work.finally(() => (done = true));
    ended.catch(() => undefined);
    await this.clock.advanceUntil(() => done, limitMs);
    return ended;
  }

  async ended(plan: string, limitMs = 120_000): Promise<PlanView> {
    await this.clock.advanceUntil(() => typeof this.record(plan)?.settled?.state === 'string', limitMs);
    return this.node().engine.plans.plan(plan);
  }

  record(plan: string): PlanRecord | undefined {
    return this.etcd.contents('plans')[plan];
  }

  chunks(plan: string): ChunkRecord[] {
    return Object.values(this.etcd.contents('steps')).filter(chunk => chunk.plan === plan);
  }

  /** As they are in the store. */
  steps(plan: string): (StepRecord | undefined)[] {
    const chunks = this.chunks(plan);
    return recordsOf(Math.max(...chunks.map(({ first, count }) => first + count)), chunks);
  }

  states(plan: string): string[] {
    return this.steps(plan).map(record => record?.state ?? 'PENDING');
  }

  /** `index attempt` of each attempt that an agent was asked for, in that order. */
  attempts(): string[] {
    return this.asked.map(
      ({ task }) => `${task.index} ${task.attempt}${task.kind === 'undo' ? ' undo' : ''}`,
    );
  }

  events(kind?: string) {
    return events(this.etcd, kind);
  }

  #agent(name: string, node: string) {
    return {
      name,
      check: () => [],
      run: async (task: StepTask, signal: AbortSignal): Promise<StepResult> => {
        this.asked.push({ node, task, atMs: this.clock.now(), signal });
        const how = this.behave(task, node);
        if (how === null) return new Promise<StepResult>(() => undefined);
        if (!('afterMs' in how)) return how;
        await this.clock.sleep(how.afterMs, signal);
        return signal.aborted ? (how.whenStopped ?? { kind: 'stopped' }) : how.result;
      },
    };
  }
}

export function submission(steps: StepSpec[] | number, more: Partial<PlanSpec> = {}): PlanSubmission {
  const spec: PlanSpec = {
    title: null,
    steps: typeof steps === 'number' ? Array.from({ length: steps }, () => noop()) : steps,
    priority: 5,
    sequential: false,
    onFailure: 'stop',
    completeBySeconds: null,
    ...more,
  };
  return { spec, idempotencyKey: null, digest: 'sha256:body', origin: 'test' };
}

export function noop(parts: Partial<StepSpec> = {}): StepSpec {
  return { agent: 'noop', resource: '', ...parts };
}
