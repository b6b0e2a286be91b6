import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apiClient, type ApiClient } from '../../src/api/client.ts';
import { processDriver } from '../../src/drivers/process-driver.ts';
import { commandsDirectory } from '../../src/main/commands-directory.ts';
import type { InstanceView } from '../../src/model/views.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { endAll, processesOf, type HaproxyProcess } from '../../src/proxy/processes.ts';
import { startEtcd, type Etcd } from './etcd.ts';
import { FakeLog } from './fake-log.ts';
import { appPorts, freePort, type PortRange } from './free-port.ts';
import { until } from './until.ts';

export const ROOT = join(import.meta.dirname, '../..');
export const MAIN = process.env['HOP3_AGENT_MAIN'] ?? join(ROOT, 'dist/main.js');
export const FIXTURE_APP = join(ROOT, 'test/fixtures/app');

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The command line as a person runs it. Never rejects for an exit code. */
export function hop3(args: string[], api?: string): Promise<Ended> {
  const env = { ...process.env, NO_COLOR: '1', ...(api === undefined ? {} : { HOP3_AGENT_API: api }) };
  return new Promise(resolve => {
    execFile(process.execPath, [MAIN, ...args], { env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve({
        code: error === null ? 0 : typeof error.code === 'number' ? error.code : null,
        stdout,
        stderr,
      });
    });
  });
}

export interface NodeSettings {
  /** With `proxy`, the node gets a proxy port of its own. Default: only `apps`. */
  roles?: ('apps' | 'proxy')[];
  /** Instead of a free one. */
  proxyPort?: number;
  labels?: Record<string, string>;
  limits?: { memory?: string; cpu?: number };
  /** Where this node finds etcd, when something stands between. */
  etcdEndpoints?: string[];
  /** Instead of a free one. */
  peerPort?: number;
  /** Where its peers and its apps find it; default: 127.0.0.1. */
  address?: string;
  /** Of instances. Default: one that nobody else of the tests uses. */
  portRange?: PortRange;
  /** How its agent is run, when not as is. */
  agent?: AgentCommand;
}

export interface AgentCommand {
  /** The command that becomes Node.js, as in `['unshare', '--mount']`. */
  before?: string[];
  nodeArgs?: string[];
  env?: Record<string, string>;
  /** Default: `agent.log` in its state directory. */
  logFile?: string;
  /** Where its debugger listens when it is asked to. */
  inspectPort?: number;
}

/** One real agent, as a process of its own with a state directory of its own. */
export class TestNode {
  readonly name: string;
  readonly url: string;
  readonly api: ApiClient;
  readonly stateDir: string;
  /** Of the next start. */
  command: AgentCommand = {};
  /** Where it serves gRPC; empty = nowhere. */
  rpcAddress = '';
  private readonly ownProxyPort: number | null;
  private child: ChildProcess | null = null;

  constructor(name: string, stateDir: string, apiPort: number, proxyPort: number | null = null) {
    this.name = name;
    this.stateDir = stateDir;
    this.ownProxyPort = proxyPort;
    this.url = `http://127.0.0.1:${apiPort}`;
    this.api = apiClient({ url: this.url });
  }

  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`the agent of ${this.name} is not running`);
    return this.child.pid;
  }

  get isRunning(): boolean {
    return this.child?.pid !== undefined;
  }

  get logFile(): string {
    return this.command.logFile ?? join(this.stateDir, 'agent.log');
  }

  get inspectPort(): number {
    if (this.command.inspectPort === undefined) throw new Error(`${this.name} has no place for a debugger`);
    return this.command.inspectPort;
  }

  get proxyPort(): number {
    if (this.ownProxyPort === null) throw new Error(`${this.name} has no proxy`);
    return this.ownProxyPort;
  }

  /** The master and the workers of its HAProxy. */
  proxyProcesses(): Promise<HaproxyProcess[]> {
    return processesOf(join(this.stateDir, 'proxy', 'haproxy.cfg'));
  }

  /** Resolves when it is part of the cluster. */
  async start(): Promise<void> {
    const output = openSync(this.logFile, 'a');
    const { before = [], env = {}, inspectPort } = this.command;
    const inspect = inspectPort === undefined ? [] : [`--inspect-port=${inspectPort}`];
    const nodeArgs = [...inspect, ...(this.command.nodeArgs ?? [])];
    const config = join(this.stateDir, 'agent.yaml');
    const command = [...before, process.execPath, ...nodeArgs, MAIN, 'run', '--config', config];
    this.child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', output, output],
      env: { ...process.env, ...env },
    });
    closeSync(output);
    running.add(this.child);
  }

  async ready(): Promise<void> {
    try {
      await until(`${this.name} is ready`, () =>
        this.api.ready().then(
          ({ ready }) => ready,
          () => false,
        ),
      );
    } catch (error) {
      throw new Error(`${this.name} is not ready; its output ends with\n${await this.lastOutput()}`, {
        cause: error,
      });
    }
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.pid, name);
  }

  /** Ends the agent alone; its apps run on, unless the signal is SIGINT. */
  async end(name: NodeJS.Signals): Promise<void> {
    const child = this.child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill(name);
    await once(child, 'exit');
    running.delete(child);
    this.child = null;
  }

  /** As when its power is cut: the agent and all its apps. */
  async crash(): Promise<void> {
    await this.end('SIGKILL');
    await this.stopApps();
  }

  async stopApps(): Promise<void> {
    for (const stateDir of [this.stateDir, commandsDirectory(this.stateDir)]) {
      const driver = processDriver({ stateDir, clock: systemClock(), log: new FakeLog() });
      for (const unit of await driver.observe()) if (unit.exit === null) await driver.stop(unit.unit, 0);
      await driver.close();
    }
  }

  async stopProxy(): Promise<void> {
    await endAll(join(this.stateDir, 'proxy', 'haproxy.cfg'), 0, systemClock());
  }

  async lastOutput(lines = 30): Promise<string> {
    const text = await readFile(this.logFile, 'utf8').catch(() => '');
    return text.trimEnd().split('\n').slice(-lines).join('\n');
  }
}

/** None outlives a test process that ends without its teardown. */
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach(child => child.kill('SIGKILL')));

/** Real agents over a real etcd on loopback. */
export class TestCluster {
  readonly etcd: Etcd;
  readonly nodes: TestNode[] = [];
  readonly directory: string;
  private readonly leaseTtlSeconds: number;

  constructor(etcd: Etcd, directory: string, leaseTtlSeconds: number) {
    this.etcd = etcd;
    this.directory = directory;
    this.leaseTtlSeconds = leaseTtlSeconds;
  }

  get api(): ApiClient {
    return this.nodes[0]!.api;
  }

  node(name: string): TestNode {
    const found = this.nodes.find(node => node.name === name);
    if (!found) throw new Error(`there is no node ${name}`);
    return found;
  }

  async add(settings: NodeSettings = {}): Promise<TestNode> {
    const name = `node-${this.nodes.length + 1}`;
    const stateDir = join(this.directory, name);
    const apiPort = await freePort();
    const rpcPort = await freePort();
    const roles = settings.roles ?? ['apps'];
    const proxyPort = roles.includes('proxy') ? (settings.proxyPort ?? (await freePort())) : null;
    const [first, last] = settings.portRange ?? (await appPorts(this.nodes.length));
    await mkdir(stateDir, { recursive: true });
    const config = {
      name,
      cluster: 'test',
      'state-dir': stateDir,
      roles,
      ...(proxyPort === null ? {} : { proxy: { listen: `127.0.0.1:${proxyPort}` } }),
      etcd: { endpoints: settings.etcdEndpoints ?? this.etcd.urls },
      'lease-ttl': this.leaseTtlSeconds,
      admin: { listen: `127.0.0.1:${apiPort}` },
      rpc: { listen: `127.0.0.1:${rpcPort}` },
      peer: { listen: `${settings.address ?? '127.0.0.1'}:${settings.peerPort ?? (await freePort())}` },
      'port-range': `${first}-${last}`,
      'probe-interval': 1,
      labels: settings.labels ?? {},
      ...(settings.limits ? { limits: settings.limits } : {}),
    };
    await writeFile(join(stateDir, 'agent.yaml'), JSON.stringify(config));
    const node = new TestNode(name, stateDir, apiPort, proxyPort);
    node.command = settings.agent ?? {};
    node.rpcAddress = `127.0.0.1:${rpcPort}`;
    this.nodes.push(node);
    await node.start();
    return node;
  }

  /** Applies the fixture app under a name, with more manifest keys where given. @throws Error with what was printed */
  async apply(app: string, more: Record<string, unknown> = {}): Promise<void> {
    const file = join(this.directory, `${app}.yaml`);
    const manifest = {
      metadata: { id: app },
      source: { path: FIXTURE_APP },
      run: { start: 'exec node server.cjs' },
      healthcheck: { path: '/', interval: 1, timeout: 1, 'failure-threshold': 2 },
      ...more,
    };
    await writeFile(file, JSON.stringify(manifest));
    const node = this.nodes.find(node => node.isRunning);
    for (;;) {
      const { code, stdout, stderr } = await hop3(['apply', file], node?.url);
      if (code === 0) return;
      const words = `apply exited with ${code}:\n${stdout}\n${stderr}`;
      // One that was slow to renew its session asks to be asked later.
      if (node === undefined || !/has no session/.test(stderr)) throw new Error(words);
      await node.ready();
    }
  }

  instances(app: string): Promise<InstanceView[]> {
    return this.first()
      .instances({ app })
      .then(({ items }) => items);
  }

  /** Resolves with the instances once `count` of them are ready (and meet the condition). */
  async ready(
    app: string,
    count: number,
    condition: (instances: InstanceView[]) => boolean = () => true,
    limitMs = 60_000,
  ): Promise<InstanceView[]> {
    let last: InstanceView[] = [];
    try {
      return await until(
        `${count} instances of ${app} are ready`,
        async () => {
          last = (await this.instances(app).catch(() => [])).filter(instance => instance.ready);
          return last.length === count && condition(last) ? last : null;
        },
        limitMs,
      );
    } catch (error) {
      const seen = await this.instances(app).catch(() => []);
      throw new Error(`${(error as Error).message}\n${JSON.stringify(seen, null, 1)}`, { cause: error });
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map(node => node.end('SIGKILL')));
    await Promise.all(this.nodes.map(node => node.stopApps()));
    await Promise.all(this.nodes.map(node => node.stopProxy()));
    await this.etcd.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  private first(): ApiClient {
    const node = this.nodes.find(node => node.isRunning);
    if (!node) throw new Error('no agent is running');
    return node.api;
  }
}

export async function startCluster(
  options: { nodes?: number; leaseTtlSeconds?: number; settings?: NodeSettings[]; etcdMembers?: 1 | 3 } = {},
): Promise<TestCluster> {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-cluster-'));
  const etcd = await startEtcd({ members: options.etcdMembers ?? 1 });
  const cluster = new TestCluster(etcd, directory, options.leaseTtlSeconds ?? 2);
  const count = options.nodes ?? 3;
  try {
    for (let index = 0; index < count; index++) await cluster.add(options.settings?.[index]);
    await Promise.all(cluster.nodes.map(node => node.ready()));
    await until('every node sees all of them', async () => {
      const seen = await Promise.all(cluster.nodes.map(({ api }) => api.nodes()));
      return seen.every(({ items }) => items.length === count);
    });
  } catch (error) {
    // Nobody else knows of it, and what runs on would keep the test process from ending.
    await cluster.stop();
    throw error;
  }
  return cluster;
}

export async function ask(
  instance: InstanceView,
  path = '/',
  withinMs = 30_000,
): Promise<Record<string, unknown>> {
  const { host, port } = instance.endpoint!;
  const response = await fetch(`http://${host}:${port}${path}`, { signal: AbortSignal.timeout(withinMs) });
  return (await response.json()) as Record<string, unknown>;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
