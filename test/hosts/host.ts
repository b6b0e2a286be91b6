import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { until } from '../support/until.ts';

export const BRIDGE = 'hop3br0';
const CGROUPS = '/sys/fs/cgroup';
const BOOT_LIMIT_MS = 60_000;
/** systemd itself gives a service 90 s to stop. */
const DOWN_LIMIT_MS = 120_000;
/** As on a server. npm puts directories before it in which other programs have the names of those that are meant. */
export const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Run as process 1 of a host: hands it the hierarchies of version 1, which the container manager leaves read-only. */
const INIT = `for c in memory cpu cpuacct pids; do
  [ ! -d ${CGROUPS}/$c ] || mount -o remount,bind,rw ${CGROUPS}/$c
done
exec /lib/systemd/systemd`;

export interface HostOptions {
  name: string;
  address: string;
  /** What it boots from; only read. */
  tree: string;
  /** Its own files are kept here, and end with the memory they are in. */
  directory: string;
  /** Directories and files of this machine, by their path in the host. */
  binds?: { from: string; to: string; writable?: boolean }[];
}

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A Debian server of its own: systemd as process 1, its own address, disk, journal and limits. */
export class Host {
  readonly name: string;
  readonly address: string;
  /** Its root directory, as seen from here. */
  readonly root: string;
  readonly #options: HostOptions;
  #manager: ChildProcess | null = null;

  constructor(options: HostOptions) {
    this.name = options.name;
    this.address = options.address;
    this.root = join(options.directory, options.name, 'root');
    this.#options = options;
  }

  /** Makes its disk: the tree, with a layer of its own above. */
  async make(): Promise<void> {
    const own = join(this.#options.directory, this.name);
    const [upper, work] = [join(own, 'upper'), join(own, 'work')];
    for (const directory of [upper, work, this.root]) await mkdir(directory, { recursive: true });
    const layers = `lowerdir=${this.#options.tree},upperdir=${upper},workdir=${work}`;
    await must('mount', ['-t', 'overlay', 'overlay', '-o', layers, this.root]);
    await this.write('/etc/hostname', `${this.name}\n`);
    await this.write('/etc/hosts', `127.0.0.1 localhost\n::1 localhost\n${this.address} ${this.name}\n`);
    await this.write(
      '/etc/systemd/network/10-host.network',
      `[Match]\nName=host0\n[Network]\nAddress=${this.address}/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n`,
    );
  }

  /** Resolves when it has booted. */
  async start(): Promise<void> {
    if (this.#manager !== null) throw new Error(`${this.name} runs already`);
    const binds = [{ from: process.execPath, to: '/usr/local/bin/node' }, ...(this.#options.binds ?? [])];
    const args = [
      ...['--quiet', '--register=no', '--keep-unit', '--link-journal=no', '--timezone=off'],
      ...['--resolv-conf=off', '--console=pipe', `--machine=${this.name}`, `--directory=${this.root}`],
      `--network-bridge=${BRIDGE}`,
      ...binds.map(bind => `--bind${isWritable(bind) ? '' : '-ro'}=${bind.from}:${bind.to}`),
      ...['/bin/sh', '-c', INIT],
    ];
    const cgroups = await ownCgroups(this.name);
    // In groups of its own: a container manager outside of systemd would share those it was started in.
    const enter = 'for c in $CGROUPS_OWN; do echo 0 > "$c/cgroup.procs"; done; exec systemd-nspawn "$@"';
    const child = spawn('/bin/sh', ['-c', enter, 'sh', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH, CGROUPS_OWN: cgroups.join(' ') },
    });
    const console = join(dirname(this.root), 'console.log');
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => void appendFile(console, chunk));
    }
    this.#manager = child;
    child.once('exit', () => {
      if (this.#manager === child) this.#manager = null;
    });
    await this.#booted();
  }

  get isRunning(): boolean {
    return this.#manager !== null;
  }

  /** Turns it off in order, as `poweroff` does. */
  async powerOff(): Promise<void> {
    const ended = this.#ended('power off');
    await this.run(['systemctl', 'poweroff']);
    await ended;
  }

  /** As when the plug is pulled: everything in it is gone at once. */
  async pullThePlug(): Promise<void> {
    const ended = this.#ended('end at once');
    process.kill(await this.#leader(), 'SIGKILL');
    await ended;
  }

  /** Resolves when it has booted again. */
  async reboot(): Promise<void> {
    // With --keep-unit the container manager ends at a reboot, and leaves starting again to who started it.
    const ended = this.#ended('go down for a reboot');
    await this.run(['systemctl', 'reboot']);
    await ended;
    await this.start();
  }

  /** Runs a command as root in the host. Never rejects for an exit code. */
  async run(command: string[], { env = {}, cwd = '/', timeoutMs = 120_000 }: RunOptions = {}): Promise<Ran> {
    const [file, ...args] = await this.#entering(command, env, cwd);
    return run(file!, args, timeoutMs);
  }

  /** As `run`, with this process' own input and output. Gives the exit code. */
  async attach(command: string[], { env = {}, cwd = '/' }: RunOptions = {}): Promise<number> {
    const [file, ...args] = await this.#entering(command, env, cwd);
    const child = spawn(file!, args, { stdio: 'inherit' });
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? 1;
  }

  /** As `run`. @throws Error with what it printed when it fails */
  async must(command: string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(command, options);
    if (code !== 0)
      throw new Error(`${this.name}: ${command.join(' ')} ended with ${String(code)}: ${stderr || stdout}`);
    return stdout;
  }

  /** Rules for its own network, in nft's words; null = none. */
  async filter(rules: string | null): Promise<void> {
    const table = `table inet cut {}\ndelete table inet cut\n${rules === null ? '' : `table inet cut {\n${rules}\n}\n`}`;
    const leader = String(await this.#leader());
    const child = spawn('nsenter', ['--target', leader, '--net', 'nft', '-f', '-'], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    child.stdin.end(table);
    const [code] = (await once(child, 'exit')) as [number | null];
    if (code !== 0) throw new Error(`nft refused the rules for ${this.name}: ${table}`);
  }

  /** How many packets each chain of these rules has counted so far. */
  async filtered(): Promise<Map<string, number>> {
    const leader = String(await this.#leader());
    const table = await must('nsenter', ['--target', leader, '--net', 'nft', 'list', 'table', 'inet', 'cut']);
    const chains = table.split(/^\s*chain /m).slice(1);
    return new Map(
      chains.map(chain => {
        const packets = [...chain.matchAll(/counter packets (\d+)/g)].map(([, number]) => Number(number));
        return [/^\S+/.exec(chain)?.[0] ?? '', packets.reduce((sum, number) => sum + number, 0)];
      }),
    );
  }

  async write(path: string, text: string, mode = 0o644): Promise<void> {
    const file = join(this.root, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { mode });
  }

  async #entering(command: string[], env: Record<string, string>, cwd: string): Promise<string[]> {
    const words = Object.entries({ PATH, HOME: '/root', LANG: 'C.UTF-8', ...env });
    const enter = [
      'nsenter',
      '--target',
      String(await this.#leader()),
      '--all',
      `--wd=${join(this.root, cwd)}`,
    ];
    return [...enter, 'env', '-i', ...words.map(([name, value]) => `${name}=${value}`), ...command];
  }

  /** Its process 1, as seen from here. It changes when it reboots. */
  async #leader(): Promise<number> {
    return until(`${this.name} has a process 1`, async () => (await this.#leaderNow()) ?? null);
  }

  async #leaderNow(): Promise<number | undefined> {
    const pid = this.#manager?.pid;
    if (pid === undefined) throw new Error(`${this.name} is not running`);
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return children.trim() === '' ? undefined : Number(children.trim().split(' ')[0]);
  }

  async #booted(): Promise<void> {
    const booted = async (): Promise<boolean> => {
      if (!this.isRunning) throw new Error(`${this.name} did not boot: ${await this.console()}`);
      if ((await this.#leaderNow()) === undefined) return false;
      const { stdout } = await this.run(['systemctl', 'is-active', 'multi-user.target', 'systemd-networkd']);
      return stdout === 'active\nactive\n';
    };
    await until(`${this.name} has booted`, booted, BOOT_LIMIT_MS).catch(async (error: unknown) => {
      throw new Error(`${(error as Error).message}; ${await this.console()}`, { cause: error });
    });
  }

  /** The last of what it printed while it booted. */
  async console(): Promise<string> {
    const text = await readFile(join(dirname(this.root), 'console.log'), 'utf8').catch(() => '');
    return text.slice(-2000);
  }

  async #ended(how: string): Promise<void> {
    if (this.#manager === null) throw new Error(`${this.name} is not running`);
    const ended = once(this.#manager, 'exit', { signal: AbortSignal.timeout(DOWN_LIMIT_MS) });
    await ended.catch(async (error: unknown) => {
      const limit = `${this.name} did not ${how} within ${DOWN_LIMIT_MS} ms`;
      throw new Error(`${limit}: ${await this.console()}`, { cause: error });
    });
  }
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  timeoutMs?: number;
}

/** The network of the hosts: a bridge, on which this machine has an address of its own. */
export async function makeNetwork(address: string): Promise<void> {
  await must('ip', ['link', 'set', 'lo', 'up']);
  await must('ip', ['link', 'add', BRIDGE, 'type', 'bridge']);
  await must('ip', ['addr', 'add', `${address}/24`, 'dev', BRIDGE]);
  await must('ip', ['link', 'set', BRIDGE, 'up']);
}

/** @throws Error with what it printed when it fails */
export async function must(file: string, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(file, args, 60_000);
  if (code !== 0) throw new Error(`${file} ${args.join(' ')} ended with ${String(code)}: ${stderr}`);
  return stdout;
}

function run(file: string, args: string[], timeoutMs: number): Promise<Ran> {
  return new Promise(resolve => {
    const options = { maxBuffer: 64 << 20, timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
    execFile(file, args, options, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null;
      resolve({ code, stdout, stderr });
    });
  });
}

function isWritable(bind: { writable?: boolean }): boolean {
  return bind.writable === true;
}

/** One in every hierarchy, below a group that `sweepCgroups` removes. */
async function ownCgroups(name: string): Promise<string[]> {
  const group = process.env['HOP3_HOSTS_CGROUP'];
  if (group === undefined) throw new Error('hosts are booted by inside.ts');
  const paths = (await hierarchies()).map(hierarchy => join(hierarchy, group, name));
  for (const path of paths) {
    await mkdir(path, { recursive: true });
    // Of this hierarchy nothing can enter a group before it says which processors and memory it has.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const parent = dirname(path);
      for (const directory of [parent, path]) {
        if (!existsSync(join(directory, file))) continue;
        await writeFile(join(directory, file), await readFile(join(dirname(directory), file), 'utf8'));
      }
    }
  }
  return paths;
}

/** The mounted hierarchies of control groups: several of version 1, or the one of version 2. */
export async function hierarchies(): Promise<string[]> {
  if (existsSync(join(CGROUPS, 'cgroup.controllers'))) return [CGROUPS];
  const names = await readdir(CGROUPS);
  return names.map(name => join(CGROUPS, name)).filter(path => existsSync(join(path, 'cgroup.procs')));
}
