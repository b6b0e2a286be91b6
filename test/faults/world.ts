import { execFile } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { subjectOfAgent } from '../../src/model/named-agents.ts';
import type { InstanceView } from '../../src/model/views.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import type { Store } from '../../src/ports/store.ts';
import { openStore } from '../../src/store/open-store.ts';
import { TestCluster, type AgentCommand, type TestNode } from '../support/cluster.ts';
import { leaderOf, startEtcd, type EtcdMember } from '../support/etcd.ts';
import { FakeLog } from '../support/fake-log.ts';
import { appPorts, freePort, type PortRange } from '../support/free-port.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { AcknowledgedWrites } from './acknowledged.ts';
import { monotonicMs } from './monotonic.ts';
import { Network } from './network.ts';
import { startResource, type Resource } from './resource.ts';
import type { SharedName } from './shared-name.ts';
import { signsOf, spansOf, type Sign, type Span } from './spans.ts';
import { Watcher } from './watcher.ts';

/** The shortest that leaves room for a stop timeout of 1 s (rule 7). */
export const TTL_SECONDS = 8;
export const TTL_MS = TTL_SECONDS * 1000;
export const WRITERS = ['single/careful/0', 'single/careless/0'];
/** The one whose owner the faults are aimed at. */
export const TARGET = 'single/careless/0';
const WEB = 3;
/** Nodes that keep what an app runs, as the agents see to it: without it whoever takes the app can't start it. */
const COPIES = 2;
const HEALED_WITHIN_MS = 90_000;
const RUN = promisify(execFile);

export interface WorldOptions {
  etcdMembers?: 1 | 3;
  /** How the agent of the first node is run; it is started alone, so that it owns everything at first. */
  first?: (stateDir: string) => AgentCommand | Promise<AgentCommand>;
  /** Each agent keeps its state on a small file system of its own. */
  smallDisks?: boolean;
  web?: boolean;
  /** Of every agent. */
  env?: Record<string, string>;
}

/** A cluster of real agents with something breakable on every link, and a workload that tells on them. */
export class World {
  readonly cluster: TestCluster;
  readonly network: Network;
  readonly etcdNetwork: Network;
  readonly resource: Resource;
  readonly watcher: Watcher;
  readonly witness: string;
  /** That of the run under way. */
  sharedName: SharedName | null = null;
  /** By node, a link to each member of etcd, in their order. */
  readonly links = new Map<string, TcpProxy[]>();
  readonly #mounts: string[] = [];
  readonly #web: boolean;
  static readonly #running = new Set<World>();
  static #over = false;
  #signs: Sign[] = [];
  #readTo = 0;
  #ending: Promise<void> | null = null;

  private constructor(
    parts: Pick<World, 'cluster' | 'network' | 'etcdNetwork' | 'resource' | 'watcher'> & { web: boolean },
  ) {
    this.cluster = parts.cluster;
    this.network = parts.network;
    this.etcdNetwork = parts.etcdNetwork;
    this.resource = parts.resource;
    this.watcher = parts.watcher;
    this.#web = parts.web;
    this.witness = join(this.cluster.directory, 'witness');
    World.#running.add(this);
  }

  /** Nothing is begun after this. */
  static async endAll(): Promise<void> {
    World.#over = true;
    await Promise.all([...World.#running].map(world => world.stop()));
  }

  static async start(options: WorldOptions = {}): Promise<World> {
    if (World.#over) throw new Error('this run is being ended');
    const network = new Network();
    const etcdNetwork = new Network();
    const members = new Map<string, EtcdMember>();
    const pids = (): Map<string, number> =>
      new Map(
        [...members].flatMap(([name, member]) => (pidOf(member) === null ? [] : [[name, pidOf(member)!]])),
      );
    const etcd = await startEtcd({
      members: options.etcdMembers ?? 3,
      between: (member, port) => etcdNetwork.portBefore(member, port, pids),
      onMember: member => members.set(member.name, member),
    }).catch(async (error: unknown) => {
      await etcdNetwork.close();
      throw error;
    });
    const directory = await mkdtemp(join(tmpdir(), 'hop3-faults-'));
    const cluster = new TestCluster(etcd, directory, TTL_SECONDS);
    const watcher = new Watcher(storeAt(etcd.urls, 'test'));
    const resource = await startResource();
    const world = new World({ cluster, network, etcdNetwork, resource, watcher, web: options.web ?? true });
    try {
      await world.#fill(options);
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  get etcd(): TestCluster['etcd'] {
    return this.cluster.etcd;
  }

  get nodes(): TestNode[] {
    return this.cluster.nodes;
  }

  /** Those beside it that run: from and to a dead one there is nothing to lose. */
  others(node: TestNode): TestNode[] {
    return this.nodes.filter(other => other !== node && other.isRunning);
  }

  /** Of the writers, since they were last forgotten. */
  signs(): Sign[] {
    // In one turn: whoever else asks goes on where this one ended.
    if (!existsSync(this.witness)) return this.#signs;
    const file = openSync(this.witness, 'r');
    const bytes = Buffer.alloc(fstatSync(file).size - this.#readTo);
    readSync(file, bytes, 0, bytes.length, this.#readTo);
    closeSync(file);
    // The last line may still be on its way.
    const whole = bytes.subarray(0, bytes.lastIndexOf('\n') + 1);
    this.#readTo += whole.length;
    this.#signs.push(...signsOf(whole.toString('latin1')));
    return this.#signs;
  }

  forgetSigns(): void {
    this.signs();
    this.#signs = [];
  }

  spans(): Span[] {
    return spansOf(this.signs());
  }

  /** What apps can be made from. */
  async source(): Promise<string> {
    const entry = await this.watcher.store.get('apps', 'single');
    const digest = entry?.value.artifact?.digest;
    if (digest === undefined) throw new Error('the writers have no source');
    return digest;
  }

  /** As a node that no fault touches sees it. */
  async instances(app: string, from: TestNode = this.nodes[0]!): Promise<InstanceView[]> {
    const { items } = await from.api.instances({ app }, AbortSignal.timeout(5000));
    return items;
  }

  async ownerOf(instance: string): Promise<TestNode> {
    const owner = await this.#owner(`instance/${instance}`);
    if (owner === null) throw new Error(`nobody owns ${instance}`);
    return owner;
  }

  /** The node whose program has the name at this moment: it goes from one to the other. */
  ownerOfName(): Promise<TestNode> {
    const { sharedName } = this;
    if (sharedName === null) throw new Error('no programs share a name');
    return until(`somebody has ${sharedName.name}`, () => this.#owner(subjectOfAgent(sharedName.name)));
  }

  /** The pid of the guard that runs it. */
  async guardPid(instance: string): Promise<number> {
    const owner = await this.ownerOf(instance);
    const view = (await this.instances('single', owner)).find(each => each.instance === instance);
    const pid = view?.pid ?? null;
    if (pid === null) throw new Error(`${instance} does not run`);
    return pid;
  }

  async supervisor(): Promise<TestNode> {
    const { entries } = await this.watcher.store.list('supervisor');
    const [first] = entries.toSorted((a, b) => (a.createRevision < b.createRevision ? -1 : 1));
    if (!first) throw new Error('nobody supervises');
    return this.cluster.node(first.value.node);
  }

  leader(): Promise<EtcdMember> {
    return leaderOf(this.etcd);
  }

  async #owner(subject: string): Promise<TestNode | null> {
    const entry = await this.watcher.store.get('owners', subject);
    return entry?.value.released === null ? this.cluster.node(entry.value.node) : null;
  }

  /** Links of all nodes to one member of etcd. */
  linksTo(member: EtcdMember): TcpProxy[] {
    const index = this.etcd.members.indexOf(member);
    return this.nodes.map(node => this.links.get(node.name)![index]!);
  }

  /** Has one node ask this member of etcd and no other: what befalls it is felt. */
  async putToUse(member: EtcdMember): Promise<void> {
    const index = this.etcd.members.indexOf(member);
    const links = this.links.get(this.nodes[0]!.name)!;
    const link = links[index]!;
    const others = links.filter(other => other !== link);
    const before = link.passedBytes;
    for (const other of others) await other.set('refuse');
    try {
      await until(`${this.nodes[0]!.name} asks ${member.name}`, () => link.passedBytes > before);
    } finally {
      for (const other of others) await other.set('pass');
    }
  }

  /** A store of its own over the links of one node. */
  storeBeside(node: TestNode): Store {
    return storeAt(
      this.links.get(node.name)!.map(({ url }) => url),
      'register',
    );
  }

  /** Everything that is wanted runs, is seen to, and nothing is left of what was before. */
  async healed(): Promise<void> {
    let last = 'nothing';
    // Signs from before tell nothing of what was just broken.
    const sinceMs = monotonicMs() + 500;
    try {
      await until(
        'all is well',
        async () => {
          last = (await this.#ailment(sinceMs).catch((error: unknown) => (error as Error).message)) ?? '';
          if (last !== '') await sleep(200);
          return last === '';
        },
        HEALED_WITHIN_MS,
      );
    } catch (error) {
      throw new Error(`it did not recover: ${last}`, { cause: error });
    }
  }

  /** Whatever of it can't be ended, the rest is. @throws AggregateError with what went wrong */
  stop(): Promise<void> {
    this.#ending ??= this.#stop();
    return this.#ending;
  }

  /** Leaves no block free on the disk that a node keeps its state on. @throws Error when it can't, as on one that is not small */
  async fillDisk(node: TestNode): Promise<void> {
    if (!this.#mounts.includes(node.stateDir)) throw new Error(`the disk of ${node.name} is not its own`);
    const full = async (): Promise<boolean> => {
      await appendUntilFull(join(node.stateDir, 'filler'));
      return (await statfs(node.stateDir)).bavail === 0;
    };
    await until(`the disk of ${node.name} is full`, full, 5000);
  }

  async emptyDisk(node: TestNode): Promise<void> {
    await rm(join(node.stateDir, 'filler'), { force: true });
  }

  async #stop(): Promise<void> {
    for (const node of this.nodes) signalIfThere(node, 'SIGCONT');
    const steps: (() => Promise<unknown>[])[] = [
      () => this.nodes.map(node => node.end('SIGKILL')),
      () => this.nodes.map(node => node.stopApps()),
      () => [this.watcher.close(), ...[...this.links.values()].flat().map(link => link.stop())],
      () => [this.network.close(), this.resource.close()],
      () => [this.etcd.stop()],
      () => [this.etcdNetwork.close()],
      () => this.#mounts.map(mount => RUN('umount', ['--lazy', mount])),
      () => [rm(this.cluster.directory, { recursive: true, force: true })],
    ];
    const failures: Error[] = [];
    for (const step of steps) {
      for (const done of await Promise.allSettled(step()))
        if (done.status === 'rejected') failures.push(done.reason as Error);
    }
    World.#running.delete(this);
    if (failures.length > 0)
      throw new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  }

  async #fill(options: WorldOptions): Promise<void> {
    const first = await this.#add(options, options.first);
    await first.ready();
    await this.watcher.start();
    const base = { source: { path: join(import.meta.dirname, 'app') }, healthcheck: undefined };
    await this.cluster.apply('single', {
      ...base,
      run: {
        'stop-timeout': 1,
        workers: { careful: 'exec node writer.cjs', careless: 'exec node writer.cjs' },
      },
      exclusive: ['careful', 'careless'],
      env: { WITNESS: this.witness, RESOURCE: this.resource.url },
    });
    await until('the first node owns the writers', async () =>
      (await this.instances('single')).every(({ ready }) => ready),
    );
    await this.#add(options);
    await this.#add(options);
    await Promise.all(this.nodes.map(node => node.ready()));
    if (this.#web) {
      await AcknowledgedWrites.prepare(first, await this.source());
      await this.cluster.apply('shop', { scale: { web: WEB } });
    }
    await this.healed();
  }

  async #add(options: WorldOptions, how?: WorldOptions['first']): Promise<TestNode> {
    const index = this.nodes.length;
    const name = `node-${index + 1}`;
    const stateDir = join(this.cluster.directory, name);
    if (options.smallDisks === true) await this.#mountAt(stateDir);
    const links = await Promise.all(this.etcd.members.map(({ port }) => startTcpProxy(port)));
    this.links.set(name, links);
    const all = await Promise.all([0, 1, 2].map(appPorts));
    const ranges = all.filter((_, each) => each !== index);
    const via = await this.network.portFor(
      name,
      port => `node-${1 + all.findIndex(range => within(port, range))}`,
    );
    const agent = (await how?.(stateDir)) ?? {};
    const [firstPort, lastPort] = all[index]!;
    return this.cluster.add({
      etcdEndpoints: links.map(({ url }) => url),
      peerPort: lastPort,
      portRange: [firstPort, lastPort - 1],
      agent: {
        before: agent.before ?? [],
        nodeArgs: ['--require', join(import.meta.dirname, 'app/route-peers.cjs')],
        // Not on the disk that may be filled.
        logFile: join(this.cluster.directory, `${name}.log`),
        inspectPort: await freePort(),
        env: { ...options.env, ...agent.env, PEER_ROUTES: JSON.stringify({ via, ranges }) },
      },
    });
  }

  async #mountAt(directory: string): Promise<void> {
    await mkdir(directory, { recursive: true });
    await RUN('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', directory]);
    this.#mounts.push(directory);
  }

  async #copiesOf(digest: string): Promise<number> {
    const { entries } = await this.watcher.store.list('promises');
    return entries.filter(({ name }) => name.endsWith(`/holding:${digest}`)).length;
  }

  async #ailment(sinceMs: number): Promise<string | null> {
    for (const node of this.nodes) {
      const { ready, reason } = await node.api.ready(AbortSignal.timeout(2000));
      if (!ready) return `${node.name} is not ready: ${reason}`;
      const { items } = await node.api.nodes(AbortSignal.timeout(2000));
      if (items.length !== this.nodes.length) return `${node.name} sees ${items.length} nodes`;
    }
    const freshMs = Math.max(sinceMs, monotonicMs() - 1000);
    const working = new Set(
      this.signs()
        .filter(({ atMs }) => atMs > freshMs)
        .map(({ instance }) => instance),
    );
    const idle = WRITERS.find(writer => !working.has(writer));
    if (idle !== undefined) return `${idle} is not at work`;
    const kept = await this.#copiesOf(await this.source());
    if (kept < COPIES) return `${kept} nodes keep what the writers run`;
    if (!this.#web) return null;
    for (const node of this.nodes) {
      const shop = await this.instances('shop', node);
      const bad = shop.find(({ ready, mayStillRun }) => !ready || mayStillRun.length > 0);
      if (bad) return `${bad.instance} is ${bad.state}, may still run on ${bad.mayStillRun.join(', ')}`;
      if (shop.length !== WEB) return `${shop.length} instances of shop`;
    }
    return null;
  }
}

export function storeAt(endpoints: string[], cluster: string): Store {
  return openStore({ endpoints, cluster, clock: systemClock(), log: new FakeLog(), random: systemRandom() });
}

function within(port: number, [first, last]: PortRange): boolean {
  return first <= port && port <= last;
}

async function appendUntilFull(file: string): Promise<void> {
  const megabyte = Buffer.alloc(1 << 20);
  try {
    for (;;) await appendFile(file, megabyte);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
  }
}

function signalIfThere(node: TestNode, signal: NodeJS.Signals): void {
  try {
    node.signal(signal);
  } catch {
    // It was killed.
  }
}

function pidOf(member: EtcdMember): number | null {
  try {
    return member.pid;
  } catch {
    return null;
  }
}
