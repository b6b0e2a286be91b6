import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from './free-port.ts';
import { until } from './until.ts';

/** None outlives a test process that ends without its teardown. */
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach(child => child.kill('SIGKILL')));

export interface EtcdTls {
  ca: string;
  cert: string;
  key: string;
}

/** One member of a real etcd, as a child process. */
export class EtcdMember {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  private readonly healthUrl: string;
  private readonly args: string[];
  private readonly logPath: string;
  private child: ChildProcess | null = null;

  constructor(
    name: string,
    at: { port: number; metricsPort: number; scheme: string; args: string[]; logPath: string },
  ) {
    this.name = name;
    this.port = at.port;
    this.url = `${at.scheme}://127.0.0.1:${at.port}`;
    this.healthUrl = `http://127.0.0.1:${at.metricsPort}/health`;
    this.args = at.args;
    this.logPath = at.logPath;
  }

  get pid(): number {
    if (this.child?.pid === undefined) throw new Error(`etcd ${this.name} is not running`);
    return this.child.pid;
  }

  async start(): Promise<void> {
    const log = await open(this.logPath, 'a');
    this.child = spawn('etcd', this.args, { stdio: ['ignore', log.fd, log.fd] });
    running.add(this.child);
    await once(this.child, 'spawn');
    await log.close();
  }

  /** Resolves when it answers with a leader behind it. */
  async healthy(): Promise<void> {
    try {
      await until(`etcd ${this.name} is healthy`, () => this.answers());
    } catch (cause) {
      const lines = (await readFile(this.logPath, 'utf8')).trimEnd().split('\n').slice(-20);
      throw new Error(`etcd ${this.name} did not become healthy:\n${lines.join('\n')}`, { cause });
    }
  }

  /** SIGKILL: nothing is flushed, nobody is told. */
  kill(): Promise<void> {
    return this.end('SIGKILL');
  }

  stop(): Promise<void> {
    return this.end('SIGTERM');
  }

  /** SIGSTOP: its connections stay open, and silent. */
  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
    await this.healthy();
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.child;
    this.child = null;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
    running.delete(child);
  }

  private async answers(): Promise<boolean> {
    try {
      const reply = await fetch(this.healthUrl, { signal: AbortSignal.timeout(1_000) });
      return ((await reply.json()) as { health: string }).health === 'true';
    } catch {
      return false;
    }
  }
}

export class Etcd {
  readonly members: EtcdMember[];
  private readonly directory: string;
  private readonly tls: EtcdTls | null;

  constructor(members: EtcdMember[], directory: string, tls: EtcdTls | null) {
    this.members = members;
    this.directory = directory;
    this.tls = tls;
  }

  get urls(): string[] {
    return this.members.map(member => member.url);
  }

  get first(): EtcdMember {
    return this.members[0]!;
  }

  /** Runs etcdctl against all members and gives what it printed. */
  async ctl(...args: string[]): Promise<string> {
    const tls = this.tls ? ['--cacert', this.tls.ca, '--cert', this.tls.cert, '--key', this.tls.key] : [];
    const patience = ['--dial-timeout=30s', '--command-timeout=60s'];
    const all = ['--endpoints', this.urls.join(','), ...patience, ...tls, ...args];
    const { stdout } = await promisify(execFile)('etcdctl', all, {
      env: { ...process.env, ETCDCTL_API: '3' },
    });
    return stdout.trim();
  }

  /** Forgets all history up to now. */
  async compact(): Promise<void> {
    const status = await this.ctl('endpoint', 'status', '--write-out=json');
    const [first] = JSON.parse(status) as { Status: { header: { revision: number } } }[];
    await this.ctl('compact', String(first!.Status.header.revision));
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map(member => member.kill()));
    await rm(this.directory, { recursive: true, force: true });
  }
}

/**
 * Starts an etcd of its own on free loopback ports, with its data in a temporary directory. Nothing is fsynced unless asked for, and elections are
 * quick, which also lowers the shortest lease to 1 s. Members with `tls` want client certificates.
 */
export async function startEtcd(
  options: {
    members?: 1 | 3;
    tls?: EtcdTls;
    /** Everything is on disk before it counts, as it is when etcd is used for real. */
    fsync?: boolean;
    /** Gives the port at which the other members are to reach this one, for something that stands between them. */
    between?: (member: string, peerPort: number) => Promise<number>;
    /** Before it is started. */
    onMember?: (member: EtcdMember) => void;
  } = {},
): Promise<Etcd> {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-etcd-'));
  const tls = options.tls ?? null;
  const scheme = tls ? 'https' : 'http';
  const places = await Promise.all(
    Array.from({ length: options.members ?? 1 }, async (_, index) => {
      const name = `m${index + 1}`;
      const peerPort = await freePort();
      const reachedAt = (await options.between?.(name, peerPort)) ?? peerPort;
      return { name, port: await freePort(), peerPort, reachedAt, metricsPort: await freePort() };
    }),
  );
  const initial = places.map(({ name, reachedAt }) => `${name}=http://127.0.0.1:${reachedAt}`).join(',');
  const members = places.map(({ name, port, peerPort, reachedAt, metricsPort }) => {
    const client = `${scheme}://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    const flags = {
      name,
      'data-dir': join(directory, name),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': `http://127.0.0.1:${reachedAt}`,
      'initial-cluster': initial,
      'listen-metrics-urls': `http://127.0.0.1:${metricsPort}`,
      'heartbeat-interval': '50',
      'election-timeout': '500',
      ...(tls
        ? {
            'cert-file': tls.cert,
            'key-file': tls.key,
            'trusted-ca-file': tls.ca,
            'client-cert-auth': 'true',
          }
        : {}),
    };
    const unsafe = options.fsync === true ? [] : ['--unsafe-no-fsync'];
    const args = [...unsafe, ...Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`)];
    return new EtcdMember(name, { port, metricsPort, scheme, args, logPath: join(directory, `${name}.log`) });
  });
  for (const member of members) options.onMember?.(member);
  const etcd = new Etcd(members, directory, tls);
  try {
    await Promise.all(members.map(member => member.start()));
    await Promise.all(members.map(member => member.healthy()));
    return etcd;
  } catch (error) {
    await etcd.stop();
    throw error;
  }
}

export async function leaderOf(etcd: Etcd): Promise<EtcdMember> {
  const text = await etcd.ctl('endpoint', 'status', '--write-out=json');
  const all = JSON.parse(text) as {
    Endpoint: string;
    Status: { leader: number; header: { member_id: number } };
  }[];
  const led = all.find(({ Status }) => Status.leader === Status.header.member_id);
  const member = etcd.members.find(({ url }) => url === led?.Endpoint);
  if (!member) throw new Error('etcd has no leader');
  return member;
}
