import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What a small Debian server has, and what an app or a test may ask for. */
const PACKAGES = [
  'systemd',
  'systemd-sysv',
  'dbus',
  'iproute2',
  'procps',
  'util-linux',
  'openssl',
  'curl',
  'ca-certificates',
  'etcd-server',
  'etcd-client',
  'haproxy',
  'git',
  'python3-minimal',
];
const MIRROR = 'http://deb.debian.org/debian';
/** Stock services of packages that the agent uses: the agent's installer has units of its own. */
const UNUSED = ['etcd.service', 'haproxy.service', 'apt-daily.timer', 'apt-daily-upgrade.timer'];

/** The programs that the machine needs to boot hosts, each with Debian's package. */
const TOOLS = {
  debootstrap: 'debootstrap',
  'systemd-nspawn': 'systemd-container',
  nft: 'nftables',
  ip: 'iproute2',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  openssl: 'openssl',
};

/** Why hosts can't be booted here, or null. */
export function whyNot(): string | null {
  if (process.platform !== 'linux') return 'hosts are booted as containers of Linux';
  if (process.getuid?.() !== 0) return 'booting hosts needs root';
  if (!existsSync('/usr/bin/apt-get')) return 'hosts are made of Debian packages: this needs apt-get';
  return null;
}

/** Takes from Debian's packages what this machine lacks. @throws Error with what apt said */
export async function provideTools(): Promise<void> {
  const missing: string[] = [];
  for (const [tool, name] of Object.entries(TOOLS)) {
    const found = await run('sh', ['-c', `command -v ${tool}`]).catch(() => null);
    if (found === null) missing.push(name);
  }
  if (missing.length === 0) return;
  await loudly('apt-get', ['update', '-q']);
  await loudly('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...missing]);
}

/** A Debian 12 that hosts boot from, made once; hosts only read it. Gives its directory. */
export async function debianTree(cache: string): Promise<string> {
  const wanted = createHash('sha256')
    .update(JSON.stringify([PACKAGES, UNUSED]))
    .digest('hex')
    .slice(0, 12);
  const tree = join(cache, `debian-12-${wanted}`);
  if (existsSync(tree)) return tree;
  const making = `${tree}.making`;
  await rm(making, { recursive: true, force: true });
  await mkdir(cache, { recursive: true });
  const include = `--include=${PACKAGES.join(',')}`;
  process.stderr.write('making a Debian 12 for the hosts: about a minute\n');
  await quietly('debootstrap', ['--variant=minbase', include, 'bookworm', making, MIRROR]);
  const disable = ['--root', making, '--quiet', 'disable', ...UNUSED];
  await loudly('systemctl', disable);
  await loudly('systemctl', ['--root', making, '--quiet', 'enable', 'systemd-networkd.service']);
  // Each host gets its own at its first boot.
  await writeFile(join(making, 'etc/machine-id'), '');
  await rm(join(making, 'var/cache/apt/archives'), { recursive: true, force: true });
  await rename(making, tree);
  return tree;
}

/** @throws Error with the end of its output when it fails */
async function quietly(file: string, args: string[]): Promise<void> {
  try {
    await run(file, args, { maxBuffer: 64 << 20 });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    const lines = `${stdout}\n${stderr}`.trim().split('\n').slice(-40);
    throw new Error(`${file} failed; it said last:\n${lines.join('\n')}`, { cause: error });
  }
}

/** Its output goes to standard error. @throws Error when it fails */
function loudly(file: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    const child = spawn(file, args, { env, stdio: ['ignore', 2, 2] });
    child.once('error', reject);
    child.once('exit', code =>
      code === 0 ? resolve() : reject(new Error(`${file} ${args.join(' ')} ended with ${String(code)}`)),
    );
  });
}
