import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { request, type IncomingHttpHeaders } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { apiClient, type ApiClient } from '../../src/api/client.ts';
import { PEER_PORT_ABOVE, RPC_PORT_ABOVE } from '../../src/main/dev-node.ts';
import { portHolder } from '../../src/platform/port-holder.ts';
import { MAIN, ROOT } from './cluster.ts';
import { freePort, freePorts } from './free-port.ts';
import { until } from './until.ts';

const NODES = 3;

/** What `npm run demo` starts, with ports and a state directory of its own. */
export class Demo {
  readonly stateDir: string;
  readonly apiPort: number;
  readonly proxyPort: number;
  output = '';
  private child: ChildProcess | null = null;

  private constructor(stateDir: string, apiPort: number, proxyPort: number) {
    this.stateDir = stateDir;
    this.apiPort = apiPort;
    this.proxyPort = proxyPort;
  }

  static async make(): Promise<Demo> {
    const stateDir = await mkdtemp(join(tmpdir(), 'hop3-demo-'));
    return new Demo(stateDir, await freeApiPort(), await freePort());
  }

  /** The API of one of the nodes, 1 to 3. */
  api(node: number): ApiClient {
    return apiClient({ url: `http://127.0.0.1:${this.apiPort + node - 1}` });
  }

  /** Resolves once it has shown its table. @throws Error with what it said, when it ends before */
  async start(): Promise<void> {
    const names = (await readdir(join(ROOT, 'manifests'))).filter(name => name.endsWith('.yaml'));
    const files = names.map(name => join('manifests', name));
    this.output = '';
    const child = this.command(...files, '--lease-ttl', '3');
    this.child = child;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    const shown = () => this.output.includes('Ctrl-C stops everything');
    await until('the demo shows its table, or ends', () => shown() || hasEnded(child), 150_000);
    if (!shown()) throw new Error(`the demo ended:\n${this.output}`);
  }

  /** Another `hop3-agent dev` in the same place, to its end. */
  async order(...args: string[]): Promise<{ code: number | null; said: string }> {
    const child = this.command(...args);
    let said = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (said += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
    await once(child, 'close');
    return { code: child.exitCode, said };
  }

  /** As Ctrl-C in its terminal does. */
  interrupt(): void {
    this.child!.kill('SIGINT');
  }

  /** Its exit code, once it has ended. */
  async ended(): Promise<number | null> {
    const child = this.child!;
    await until('the demo has ended', () => hasEnded(child), 60_000);
    this.child = null;
    return child.exitCode;
  }

  /** Asks for a page of an app by its host name, through the proxy. */
  get(host: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const headers = { host };
      const sent = request({ host: '127.0.0.1', port: this.proxyPort, headers, agent: false }, response => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.once('error', reject);
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      });
      sent.setTimeout(30_000, () => sent.destroy(new Error(`${host} did not answer`)));
      sent.once('error', reject).end();
    });
  }

  /** The processes that run from its state directory or were given it. */
  async processes(): Promise<{ pid: number; words: string }[]> {
    const pids = (await readdir('/proc')).filter(entry => /^\d+$/.test(entry));
    const found = pids.map(async entry => {
      const words = (await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ');
      const directory = await readlink(`/proc/${entry}/cwd`).catch(() => '');
      const ours = words.includes(this.stateDir) || directory.startsWith(this.stateDir);
      return ours ? [{ pid: Number(entry), words }] : [];
    });
    return (await Promise.all(found)).flat();
  }

  /** Ends what a failed test left, and forgets everything. */
  async clear(): Promise<void> {
    if (this.child !== null) {
      this.interrupt();
      await this.ended().catch(() => this.child?.kill('SIGKILL'));
    }
    for (const { pid } of await this.processes()) process.kill(pid, 'SIGKILL');
    await rm(this.stateDir, { recursive: true, force: true });
  }

  private command(...args: string[]): ChildProcess {
    const ports = ['--api-port', String(this.apiPort), '--proxy-port', String(this.proxyPort)];
    return spawn(process.execPath, [MAIN, 'dev', ...args, '--state-dir', this.stateDir, ...ports], {
      cwd: ROOT,
      env: { ...process.env, NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** The nodes take ports that follow each other, for their peers as many again a hundred above, and for gRPC two hundred. */
async function freeApiPort(): Promise<number> {
  return until('a row of ports is free', async () => {
    const first = await freePorts(RPC_PORT_ABOVE + NODES);
    const row = Array.from({ length: NODES }, (_, index) =>
      [0, PEER_PORT_ABOVE, RPC_PORT_ABOVE].map(above => first + above + index),
    ).flat();
    const holders = await Promise.all(row.map(portHolder));
    return holders.every(holder => holder === null) ? first : null;
  });
}
