import { Agent } from '../../src/agent/agent.ts';
import { portText } from '../../src/model/app-spec.ts';
import { defaultPlanLimits, type NodeConfig } from '../../src/model/node-config.ts';
import type { Log, LogFields } from '../../src/ports/log.ts';
import type { Store } from '../../src/ports/store.ts';
import { EtcdStore } from '../../src/store/etcd-store.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { FakeLocalState } from '../support/fake-local-state.ts';
import { FakeProber, type Reply } from '../support/fake-prober.ts';
import { FakeProxy } from '../support/fake-proxy.ts';
import { FakeRandom } from '../support/fake-random.ts';
import type { SimCluster } from './cluster.ts';
import { Life } from './life.ts';
import { driverOf, guardOf, type Machine } from './machine.ts';
import { SimWire, soundWay, type Link, type Way } from './wire.ts';

const BEAT_MS = 500;
const GIGABYTE = 1024 ** 3;

/** One member of the cluster: its machine, its ways to others, and the agent that it has now, if any. */
export class SimNode {
  readonly name: string;
  readonly address: string;
  readonly machine: Machine;
  readonly way: Way = soundWay();
  /** Other nodes that what is sent from here does not reach. */
  readonly deaf = new Set<SimNode>();
  readonly artifacts: FakeArtifacts;
  life: Life | null = null;
  agent: Agent | null = null;
  private state = new FakeLocalState();
  private readonly proxy = new FakeProxy();
  private readonly cluster: SimCluster;
  private starts = 0;

  constructor(cluster: SimCluster, name: string, number: number, machine: Machine) {
    this.cluster = cluster;
    this.name = name;
    this.address = `10.0.0.${number}`;
    this.machine = machine;
    this.artifacts = new FakeArtifacts(new Reachable(cluster, this));
  }

  /** Whether its agent runs and can be heard. */
  get awake(): boolean {
    return this.life !== null && !this.life.over && !this.life.frozen;
  }

  start(): void {
    if (this.life !== null) return;
    const { timeline, chance, judge, etcd, options } = this.cluster;
    const life = new Life(timeline, this.machine.clock, chance);
    this.life = life;
    timeline.tell(`${this.name} agent starts`);
    const random = new FakeRandom(chance.whole(1, 2 ** 30));
    const wire = new SimWire({
      node: this.name,
      etcd,
      way: this.way,
      life,
      chance,
      timeline,
      mayReadStale: options.staleReads,
    });
    const log = this.logOf(++this.starts);
    const store: Store = new EtcdStore({ wire, clock: life, random, log, cluster: 'sim' });
    const commit = store.commit.bind(store);
    store.commit = async (compares, writes) => {
      const result = await commit(compares, writes);
      judge.acknowledged(this.name, writes, result);
      return result;
    };
    this.agent = new Agent({
      config: this.config(),
      version: '0.1.0',
      user: 'hop3',
      adminUrl: `http://${this.address}:7300`,
      peer: { host: this.address, port: 7400 },
      clock: life,
      random,
      log,
      store,
      state: this.stateOf(life),
      host: {
        name: this.name,
        bootId: `boot-${this.machine.boots}`,
        pid: 100 + this.starts,
        platform: 'linux-x64-node20',
        capacity: () => ({ memoryBytes: 8 * GIGABYTE, cpu: 8 }),
        freePort: async (_host, range, taken) => this.freePort(range, taken),
        whyTaken: async (_host, port) => this.whyTaken(portText(port)),
      },
      driver: driverOf(this.machine, life, chance),
      guard: guardOf(this.machine, life, chance),
      guardMissing: null,
      prober: new FakeProber({ clock: life, otherwise: (host, port) => this.probed(host, port) }),
      artifacts: this.artifacts,
      peers: {
        output: () => {
          throw new Error('nobody asks for output here');
        },
        beats: (peer, onBeat, signal) => this.listen(life, peer.host, onBeat, signal),
      },
      unableTo: () => null,
      proxy: this.proxy,
      doctor: async () => [],
      metrics: async () => '',
      onStaleToken: () => undefined,
      onLeft: () => this.gone(life),
    });
    void this.agent.start();
  }

  /** SIGKILL: nothing of it is there any more, and what it had started runs on. */
  kill(): void {
    this.life?.kill();
    this.life = null;
    this.agent = null;
    this.machine.listeners.clear();
    this.cluster.timeline.tell(`${this.name} agent is killed`);
  }

  /** In good order: the next agent goes on with the session. */
  async restart(): Promise<void> {
    const { life, agent } = this;
    if (!life || !agent) return;
    await agent.stop();
    if (this.life !== life) return;
    this.gone(life);
    this.start();
  }

  /** Its machine loses power. */
  crash(): void {
    this.kill();
    this.machine.lose();
  }

  switchOn(): void {
    if (!this.machine.on) this.machine.boot();
    this.start();
  }

  forgetState(): void {
    this.state = new FakeLocalState();
  }

  setLink(link: Link): void {
    if (this.way.link === 'up' && link !== 'up') this.way.cutMs = this.cluster.timeline.nowMs;
    this.way.link = link;
    this.wayChanged();
  }

  setPaused(paused: boolean): void {
    if (paused && !this.way.paused) this.way.cutMs = this.cluster.timeline.nowMs;
    this.way.paused = paused;
    this.wayChanged();
  }

  /** Where a request from another machine, or this one, ends. */
  reply(port: number): Reply | null {
    for (const unit of this.machine.living()) {
      if (unit.described.endpoint?.port !== port) continue;
      return this.machine.ready(unit) ? { kind: 'http', status: 200 } : { kind: 'refuses' };
    }
    return null;
  }

  reaches(other: SimNode): boolean {
    return !this.deaf.has(other) && !other.deaf.has(this);
  }

  private wayChanged(): void {
    for (const listener of [...this.way.listeners]) listener();
  }

  private gone(life: Life): void {
    if (this.life !== life) return;
    life.kill();
    this.life = null;
    this.agent = null;
    this.cluster.timeline.tell(`${this.name} agent is gone`);
  }

  private probed(host: string, port: number): Reply {
    const other = this.cluster.at(host);
    if (!other || !this.reaches(other) || other.machine.suspended || !other.machine.on)
      return { kind: 'hangs' };
    return other.reply(port) ?? { kind: 'refuses' };
  }

  private async listen(life: Life, host: string, onBeat: () => void, signal: AbortSignal): Promise<void> {
    const other = this.cluster.at(host);
    while (other?.life && !signal.aborted) {
      if (this.reaches(other) && other.awake) onBeat();
      await life.sleep(BEAT_MS, signal);
    }
  }

  private stateOf(life: Life): FakeLocalState {
    const { state } = this;
    const { chance } = this.cluster;
    const slow = new FakeLocalState(state.documents);
    slow.write = (name, value) => life.call(() => state.write(name, value), chance.between(0, 40));
    return slow;
  }

  private logOf(start: number): Log {
    const { timeline } = this.cluster;
    const said = (message: string, fields?: LogFields): void =>
      timeline.remark(() => `${this.name}#${start}: ${message} ${inWords(fields ?? {})}`);
    const log: Log = { debug: () => undefined, info: said, warn: said, error: said, child: () => log };
    return log;
  }

  private freePort([first, last]: [number, number], taken: ReadonlySet<number>): number {
    const used = new Set(this.machine.living().map(unit => unit.described.endpoint?.port));
    for (let port = first; port <= last; port++) if (!taken.has(port) && !used.has(port)) return port;
    throw new Error(`no port from ${first} to ${last} is free`);
  }

  private whyTaken(port: string): string | null {
    const holder = this.machine.living().find(({ launch }) => launch.ports?.map(portText).includes(port));
    return holder === undefined ? null : `port ${port} is in use by ${holder.described.unit}`;
  }

  private config(): NodeConfig {
    return {
      name: this.name,
      cluster: 'sim',
      labels: {},
      roles: ['apps', 'proxy'],
      stateDir: `/sim/${this.name}`,
      etcd: { kind: 'endpoints', endpoints: ['sim://etcd'], tls: null, username: null, password: null },
      leaseTtlSeconds: this.cluster.options.ttlSeconds,
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

/** The artifacts of the nodes that can be asked from here. */
class Reachable extends Map<string, FakeArtifacts> {
  private readonly cluster: SimCluster;
  private readonly from: SimNode;

  constructor(cluster: SimCluster, from: SimNode) {
    super();
    this.cluster = cluster;
    this.from = from;
  }

  override get(peer: string): FakeArtifacts | undefined {
    const other = this.cluster.at(peer.split(':')[0] ?? '');
    return other?.awake && this.from.reaches(other) ? other.artifacts : undefined;
  }
}

function inWords(fields: LogFields): string {
  return JSON.stringify(fields, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value instanceof Error ? value.message : value,
  );
}
