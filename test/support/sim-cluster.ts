import { Agent } from '../../src/agent/agent.ts';
import type { StaleUse } from '../../src/agent/stale-tokens.ts';
import { portText, type AppSpec } from '../../src/model/app-spec.ts';
import { subjectOfInstance, type InstanceId, type NodeName } from '../../src/model/ids.ts';
import { defaultPlanLimits, type NodeConfig } from '../../src/model/node-config.ts';
import type { RunningBody } from '../../src/model/node-promise.ts';
import type { AssessmentRecord, Capacity, EventRecord, OwnerRecord } from '../../src/model/records.ts';
import type { DeployProgress } from '../../src/model/views.ts';
import type { DriverUnit, Launch } from '../../src/ports/driver.ts';
import type { Host } from '../../src/ports/host.ts';
import type { StepAgents } from '../../src/ports/step-agents.ts';
import { FakeArtifacts } from './fake-artifacts.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeDriver, FakeGuard, fakeWorld, type Behaviour, type FakeWorld } from './fake-driver.ts';
import { FakeLocalState } from './fake-local-state.ts';
import { FakeLog } from './fake-log.ts';
import { FakeProber, type Reply } from './fake-prober.ts';
import { FakeProxy } from './fake-proxy.ts';
import { FakeRandom } from './fake-random.ts';
import { FakeEtcd, type FakeStore, type Link } from './fake-store.ts';
import { appSpec } from './nouns.ts';

/** How a copy behaves once started: ready at once and for ever, unless said otherwise. */
export interface SimBehaviour extends Behaviour {
  /** Accepts no connection before this much time has passed since its start. */
  readyAfterMs?: number;
}

export interface SimSettings {
  ttlSeconds?: number;
  roles?: ('apps' | 'proxy')[];
  labels?: Record<string, string>;
  /** What is built there runs only on others of it; absent = what is built on one node runs on all. */
  platform?: string;
  capacity?: Capacity;
  bootId?: string;
  /** What it does steps of plans by, beside its agent's own. */
  stepAgents?: (node: SimNode) => StepAgents;
}

/** Whole agents on one fake clock and one FakeEtcd: no real time, no I/O. */
export class SimCluster {
  readonly clock = new FakeClock();
  readonly etcd = new FakeEtcd(this.clock);
  readonly nodes = new Map<NodeName, SimNode>();
  readonly network = new Map<string, FakeArtifacts>();
  /** Read when a copy starts. */
  behaviour: (launch: Launch) => SimBehaviour = () => ({});
  /** By unit: what a copy answers from now on instead of 200. */
  readonly replies = new Map<string, Reply>();

  constructor(names: NodeName[] = ['node-1', 'node-2', 'node-3'], settings: SimSettings = {}) {
    for (const name of names) this.add(name, settings);
  }

  add(name: NodeName, settings: SimSettings = {}): SimNode {
    const node = new SimNode(this, name, this.nodes.size + 1, settings);
    this.nodes.set(name, node);
    this.network.set(`${node.address}:7400`, node.artifacts);
    return node;
  }

  node(name: NodeName): SimNode {
    const found = this.nodes.get(name);
    if (!found) throw new Error(`there is no ${name}`);
    return found;
  }

  /** Starts the agents of these nodes, all when none is named, and waits until they are members. */
  async start(...names: NodeName[]): Promise<void> {
    const starting = names.length > 0 ? names : [...this.nodes.keys()];
    for (const name of starting) await this.node(name).start();
    await this.until(() => {
      const there = Object.values(this.etcd.contents('sessions')).map(session => session.node);
      return starting.every(name => there.includes(name));
    });
  }

  async stop(): Promise<void> {
    await Promise.all([...this.nodes.values()].map(node => this.whileTimePasses(node.stop())));
  }

  advance(durationMs: number): Promise<void> {
    return this.clock.advance(durationMs);
  }

  until(condition: () => boolean, limitMs = 60_000, stepMs = 10): Promise<void> {
    return this.clock.advanceUntil(condition, limitMs, stepMs);
  }

  /** For work that waits for time to pass. */
  async whileTimePasses<T>(work: Promise<T>, limitMs = 120_000): Promise<T> {
    let done = false;
    const ended = work.finally(() => (done = true));
    ended.catch(() => undefined);
    await this.until(() => done, limitMs);
    return ended;
  }

  /** Deploys through one node's admin API, as an uploaded source tree whose content is `content`. */
  async apply(spec: AppSpec, options: { on?: NodeName; content?: string } = {}): Promise<DeployProgress[]> {
    const node = this.node(options.on ?? 'node-1');
    const digest = node.artifacts.hold(options.content ?? `${spec.app} 1`);
    return this.applyAsItIs({ ...spec, source: spec.source ?? { kind: 'uploaded', digest } }, node.name);
  }

  async applyAsItIs(spec: AppSpec, on: NodeName): Promise<DeployProgress[]> {
    const said: DeployProgress[] = [];
    const request = { specs: [spec], ifGeneration: null };
    const telling = this.node(on).agent.admin.apply(request, new AbortController().signal);
    await this.whileTimePasses(
      (async () => {
        for await (const progress of telling) said.push(progress);
      })(),
    );
    return said;
  }

  /** Deploys, and waits until every instance is ready by the word of its owner. */
  async run(spec: AppSpec, options: { on?: NodeName; content?: string } = {}): Promise<void> {
    await this.apply(spec, options);
    await this.until(() => this.settled(spec.app));
  }

  /** Whether all wanted instances of the app are owned, ready, and at the version wanted. */
  settled(app: string, by?: NodeName): boolean {
    const node = by === undefined ? this.anyRunning() : this.node(by);
    const known = node.agent.admin.apps().items.find(view => view.app === app);
    return known?.conditions.some(({ reason }) => reason === 'AllReady') === true;
  }

  owner(instance: InstanceId): OwnerRecord | undefined {
    return this.etcd.contents('owners')[subjectOfInstance(instance)];
  }

  /** What a node says of an instance, as it stands in the store. */
  said(node: NodeName, instance: InstanceId): RunningBody | null {
    const body = this.etcd.contents('promises')[`${node}/running:${instance}`]?.promise.body;
    return body?.kind === 'running' ? body : null;
  }

  assessments(promise: string): AssessmentRecord['assessment'][] {
    return Object.values(this.etcd.contents('assessments'))
      .map(({ assessment }) => assessment)
      .filter(assessment => `${assessment.promiser}/${assessment.promise}` === promise);
  }

  /** The ledger, oldest first. */
  events(kind?: string): EventRecord[] {
    return Object.entries(this.etcd.contents('events'))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, event]) => event)
      .filter(event => kind === undefined || event.kind === kind);
  }

  /** The living copies of an instance, wherever they are. */
  copies(instance: InstanceId): { node: SimNode; unit: DriverUnit }[] {
    return [...this.nodes.values()].flatMap(node =>
      node.driver.running(instance).map(unit => ({ node, unit })),
    );
  }

  /** What is found at an address by another machine that reaches it. */
  reply(host: string, port: number): Reply {
    for (const node of this.nodes.values()) {
      if (node.address !== host || node.offline) continue;
      const reply = node.reply(port);
      if (reply !== null) return reply;
    }
    return { kind: 'refuses' };
  }

  private anyRunning(): SimNode {
    const found = [...this.nodes.values()].find(node => node.running);
    if (!found) throw new Error('no agent is running');
    return found;
  }
}

/** One machine: what outlives its agent, and the agent that runs now. */
export class SimNode {
  readonly name: NodeName;
  readonly address: string;
  readonly log = new FakeLog();
  readonly artifacts: FakeArtifacts;
  readonly state = new FakeLocalState();
  readonly proxy: FakeProxy;
  settings: SimSettings;
  agent!: Agent;
  store!: FakeStore;
  driver: FakeDriver;
  /** Runs what runs under names. */
  commands: FakeDriver;
  running = false;
  /** Why its machine can run nothing. */
  unable: string | null = null;
  /** Why its machine can guard nothing. */
  unguarded: string | null = null;
  left = false;
  /** What its agents refused for a stale token, oldest first. */
  readonly staleUses: StaleUse[] = [];
  /** Ports on which another program of its machine listens. */
  readonly foreignPorts = new Set<string>();
  /** True = its network is gone: it reaches no other node and none reaches it. The way to the store is another. */
  offline = false;
  /** The nodes that it does not reach though others do; they may reach it. */
  readonly deafTo = new Set<NodeName>();
  private readonly cluster: SimCluster;
  private readonly units: FakeWorld = fakeWorld();
  readonly guard: FakeGuard;
  private readonly commandUnits: FakeWorld = fakeWorld();
  readonly commandGuard: FakeGuard;
  private readonly startedMs = new Map<string, { atMs: number; readyAfterMs: number }>();
  private starts = 0;

  constructor(cluster: SimCluster, name: NodeName, number: number, settings: SimSettings) {
    this.cluster = cluster;
    this.name = name;
    this.address = `10.0.0.${number}`;
    this.settings = settings;
    this.artifacts = new FakeArtifacts(cluster.network);
    this.proxy = new FakeProxy();
    this.driver = this.newDriver();
    this.commands = this.newDriver(this.commandUnits);
    this.guard = new FakeGuard({ clock: cluster.clock, world: this.units });
    this.commandGuard = new FakeGuard({ clock: cluster.clock, world: this.commandUnits });
  }

  /** A new agent on what the machine has. */
  async start(link: Link = 'up'): Promise<void> {
    const { clock, etcd } = this.cluster;
    this.store = etcd.client(this.name, { log: this.log });
    this.store.setLink(link);
    this.artifacts.platform = this.settings.platform ?? null;
    this.driver = this.newDriver();
    this.commands = this.newDriver(this.commandUnits);
    const withProxy = (this.settings.roles ?? ['apps', 'proxy']).includes('proxy');
    this.agent = new Agent({
      config: this.config(),
      version: '0.1.0',
      user: 'hop3',
      adminUrl: `http://${this.address}:7300`,
      peer: { host: this.address, port: 7400 },
      clock,
      random: new FakeRandom(this.starts++ * 1000 + Number(this.address.split('.').at(-1))),
      log: this.log,
      store: this.store,
      state: this.state,
      host: this.host(),
      driver: this.driver,
      guard: this.guard,
      guardMissing: this.unguarded,
      commands: { driver: this.commands, guard: this.commandGuard, guardMissing: this.unguarded },
      prober: new FakeProber({
        clock,
        otherwise: (host, port) => {
          if (host === this.address) return this.reply(port) ?? { kind: 'refuses' };
          const deaf = [...this.deafTo].some(name => this.cluster.node(name).address === host);
          return this.offline || deaf ? { kind: 'refuses' } : this.cluster.reply(host, port);
        },
      }),
      artifacts: this.artifacts,
      peers: {
        output: (peer, instance, options) => {
          const other = this.reached(peer.host);
          if (!other) throw new Error(`${peer.host} does not answer`);
          return other.driver.output(instance, options);
        },
        beats: async (peer, onBeat, signal) => {
          while (this.reached(peer.host) && !signal.aborted) {
            onBeat();
            await clock.sleep(500, signal);
          }
        },
      },
      unableTo: () => this.unable,
      proxy: withProxy ? this.proxy : null,
      ...(this.settings.stepAgents ? { stepAgents: this.settings.stepAgents(this) } : {}),
      doctor: async () => [],
      metrics: async () => '',
      onStaleToken: use => this.staleUses.push(use),
      onLeft: () => (this.left = true),
    });
    this.running = true;
    await this.agent.start();
  }

  /** Hands over: what runs goes on. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.running = false;
    await this.agent.stop();
  }

  async leave(): Promise<void> {
    await this.agent.admin.leave();
    this.running = false;
  }

  /** A new agent in place of the old one, which goes in good order. */
  async restart(settings: Partial<SimSettings> = {}): Promise<void> {
    await this.cluster.whileTimePasses(this.stop());
    this.settings = { ...this.settings, ...settings };
    await this.start();
  }

  /** The machine is gone, and everything that ran on it; its session is found dead when its lease runs out. */
  async crash(): Promise<void> {
    this.store.setLink('refused');
    await this.cluster.whileTimePasses(this.stop());
    this.units.units.clear();
    this.commandUnits.units.clear();
    await this.guard.disarm();
    await this.commandGuard.disarm();
  }

  reply(port: number): Reply | null {
    for (const { described } of this.units.units.values()) {
      if (described.endpoint?.port !== port || described.exit !== null) continue;
      const started = this.startedMs.get(described.unit);
      if (started && this.cluster.clock.now() < started.atMs + started.readyAfterMs)
        return { kind: 'refuses' };
      return this.cluster.replies.get(described.unit) ?? { kind: 'http', status: 200 };
    }
    return null;
  }

  /** The node at an address, if its agent runs and nothing lies between. */
  private reached(address: string): SimNode | null {
    const other = [...this.cluster.nodes.values()].find(node => node.address === address);
    if (!other || this.deafTo.has(other.name)) return null;
    return other.running && !other.offline && !this.offline ? other : null;
  }

  private newDriver(world = this.units): FakeDriver {
    return new FakeDriver({
      clock: this.cluster.clock,
      world,
      behaviour: launch => {
        const behaviour = this.cluster.behaviour(launch);
        const atMs = this.cluster.clock.now();
        this.startedMs.set(launch.unit, { atMs, readyAfterMs: behaviour.readyAfterMs ?? 0 });
        return behaviour;
      },
    });
  }

  private host(): Host {
    const used = (): Set<number> =>
      new Set(
        [...this.units.units.values()].flatMap(({ described }) =>
          described.endpoint && described.exit === null ? [described.endpoint.port] : [],
        ),
      );
    return {
      name: this.name,
      bootId: this.settings.bootId ?? 'boot-1',
      pid: 100 + this.starts,
      platform: this.settings.platform ?? 'linux-x64-node20',
      capacity: () => this.settings.capacity ?? { memoryBytes: 8 * 1024 ** 3, cpu: 8 },
      freePort: async (_host, [first, last], taken) => {
        for (let port = first; port <= last; port++) if (!taken.has(port) && !used().has(port)) return port;
        throw new Error(`no port from ${first} to ${last} is free`);
      },
      whyTaken: async (_host, port) => {
        const foreign = this.foreignPorts.has(portText(port)) ? 'process 812 (nginx)' : null;
        const own = [...this.units.units.values()].find(
          ({ launch, described }) =>
            described.exit === null && launch.ports?.some(other => portText(other) === portText(port)),
        );
        const holder = foreign ?? own?.described.instance;
        return holder === undefined ? null : `port ${portText(port)} is in use by ${holder}`;
      },
    };
  }

  private config(): NodeConfig {
    return {
      name: this.name,
      cluster: 'test',
      labels: this.settings.labels ?? {},
      roles: this.settings.roles ?? ['apps', 'proxy'],
      stateDir: `/fake/${this.name}`,
      etcd: { kind: 'endpoints', endpoints: ['fake://etcd'], tls: null, username: null, password: null },
      leaseTtlSeconds: this.settings.ttlSeconds ?? 10,
      admin: { host: this.address, port: 7300, tls: null, socket: null, tokens: [] },
      rpc: { host: this.address, port: 7500, tls: null, tokens: [] },
      peer: { host: this.address, port: 7400, tls: null },
      driver: 'process',
      plans: { commands: 'apps', ...defaultPlanLimits },
      proxy: { host: this.address, port: 8080, backends: 8, slots: 8 },
      capacity: { memoryBytes: null, cpu: null },
      portRange: [4000, 4999],
      probeIntervalSeconds: 5,
      logLevel: 'debug',
    };
  }
}

/** An app with `scale` instances of `web`. */
export function webApp(scale: number, parts: Partial<AppSpec> = {}): AppSpec {
  const spec = appSpec(parts);
  return { ...spec, processes: spec.processes.map(process => ({ ...process, scale })) };
}
