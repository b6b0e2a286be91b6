import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { apiClient } from '../api/client.ts';
import { processDriver } from '../drivers/process-driver.ts';
import { lastLines } from '../platform/output-file.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { commandsDirectory } from './commands-directory.ts';

/** For an agent that hangs: one that has ended is waited for no more. */
const READY_WITHIN_MS = 120_000;
const LEAVE_WITHIN_MS = 30_000;
/** From a node's API port to its peer port. */
export const PEER_PORT_ABOVE = 100;
/** From a node's API port to where it serves gRPC. */
export const RPC_PORT_ABOVE = 200;

export interface DevNodeOptions {
  name: string;
  cluster: string;
  stateDir: string;
  etcd: string;
  apiPort: number;
  /** Where its peers and its apps find it: of the loopback network, so that fixed ports of two nodes are two. */
  address: string;
  portRange: [number, number];
  leaseTtlSeconds: number | null;
  logLevel: string | null;
  clock: Clock;
  log: Log;
  say: (text: string) => void;
}

export function configFile(stateDir: string): string {
  return join(stateDir, 'agent.yaml');
}

/** One node of a development cluster: a real agent in a process and a folder of its own. */
export class DevNode {
  readonly name: string;
  readonly url: string;
  readonly #options: DevNodeOptions;
  #child: ChildProcess | null = null;
  #ending = false;

  constructor(options: DevNodeOptions) {
    this.#options = options;
    this.name = options.name;
    this.url = `http://127.0.0.1:${options.apiPort}`;
  }

  async start(): Promise<void> {
    const { stateDir, say } = this.#options;
    await mkdir(stateDir, { recursive: true });
    const config = configFile(stateDir);
    await writeFile(config, this.#configuration());
    const output = openSync(this.#logFile(), 'a');
    // Detached: Ctrl-C in this terminal is ours to pass on, once.
    const child = spawn(
      process.execPath,
      [...process.execArgv, process.argv[1] ?? '', 'run', '--config', config],
      {
        detached: true,
        stdio: ['ignore', output, output],
      },
    );
    closeSync(output);
    this.#child = child;
    child.once('exit', (code, signal) => {
      if (this.#child === child) this.#child = null;
      if (!this.#ending)
        say(
          `the agent of ${this.name} ended (${signal ?? `code ${code ?? 0}`}); its output is in ${this.#logFile()}`,
        );
    });
    await once(child, 'spawn');
  }

  /** Resolves when its admin API says it is ready. @throws Error with the last lines of its output */
  async ready(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const until = clock.now() + READY_WITHIN_MS;
    while (!signal.aborted) {
      const ready = await fetch(`${this.url}/readyz`).then(
        response => response.ok,
        () => false,
      );
      if (ready) return;
      if (this.#child === null || clock.now() > until) {
        const lines = await lastLines(this.#logFile(), 10);
        throw new Error(
          `${this.name} did not become ready within ${READY_WITHIN_MS / 1000} s:\n${lines.join('\n')}`,
        );
      }
      await clock.sleep(30, signal);
    }
  }

  /** How many nodes it sees in the cluster. */
  async knownNodes(): Promise<number> {
    const { items } = await apiClient({ url: this.url }).nodes();
    return items.filter(({ state }) => state === 'Active').length;
  }

  /** As if its power were cut: agent and apps at once. */
  async kill(): Promise<string> {
    const child = this.#child;
    this.#ending = true;
    if (child) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    await this.#stopApps(0);
    this.#ending = false;
    return `${this.name} is dead, with all its apps`;
  }

  async startAgain(): Promise<string> {
    if (this.#child) return `${this.name} runs already`;
    await this.start();
    await this.ready(new AbortController().signal);
    return `${this.name} is back`;
  }

  /** Leaves the cluster with its apps; what does not go by itself is ended. */
  async leave(): Promise<void> {
    const child = this.#child;
    this.#ending = true;
    if (child?.exitCode === null && child.signalCode === null) {
      child.kill('SIGINT');
      const exited = once(child, 'exit');
      await Promise.race([exited, this.#options.clock.sleep(LEAVE_WITHIN_MS)]);
      child.kill('SIGKILL');
      await exited;
    }
    await this.#stopApps(0);
  }

  /** What the agent, had it been there, would have stopped. */
  async #stopApps(graceSeconds: number): Promise<void> {
    const { stateDir, clock, log } = this.#options;
    for (const directory of [stateDir, commandsDirectory(stateDir)]) {
      const driver = processDriver({ stateDir: directory, clock, log });
      for (const unit of await driver.observe())
        if (unit.exit === null) await driver.stop(unit.unit, graceSeconds);
      await driver.close();
    }
  }

  #logFile(): string {
    return join(this.#options.stateDir, 'agent.log');
  }

  #configuration(): string {
    const { name, cluster, stateDir, etcd, apiPort, address, portRange, leaseTtlSeconds, logLevel } =
      this.#options;
    const config = {
      name,
      cluster,
      'state-dir': stateDir,
      roles: ['apps'],
      plans: { commands: 'all' },
      etcd: { endpoints: [etcd] },
      admin: { listen: `127.0.0.1:${apiPort}` },
      rpc: { listen: `127.0.0.1:${apiPort + RPC_PORT_ABOVE}` },
      peer: { listen: `${address}:${apiPort + PEER_PORT_ABOVE}` },
      'port-range': `${portRange[0]}-${portRange[1]}`,
      ...(leaseTtlSeconds === null ? {} : { 'lease-ttl': leaseTtlSeconds }),
      ...(logLevel === null ? {} : { 'log-level': logLevel }),
    };
    // JSON is YAML.
    return `${JSON.stringify(config, null, 2)}\n`;
  }
}
