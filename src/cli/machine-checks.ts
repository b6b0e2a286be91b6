import { execFile } from 'node:child_process';
import { access, constants, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Doctor } from '../model/views.ts';
import { defaultStateDir } from './state-dir.ts';

type Check = Doctor['checks'][number];
type Env = Readonly<Record<string, string | undefined>>;

/** What can be said of this machine without an agent. `stateDir` null = the one an agent here would use. */
export async function checkMachine(options: {
  env: Env;
  stateDir: string | null;
  etcdDefects: (version: string) => Promise<string[]>;
}): Promise<Check[]> {
  const { env, stateDir, etcdDefects } = options;
  const [etcd, haproxy, place] = await Promise.all([
    checkProgram(env, 'etcd', ['--version'], 'apt-get install etcd-server, or name one with --etcd URL'),
    checkProgram(env, 'haproxy', ['-v'], 'apt-get install haproxy; only nodes with the proxy role need it'),
    checkStateDir(stateDir ?? defaultStateDir(env)),
  ]);
  const defects = etcd.version === null ? [] : await etcdDefects(etcd.version);
  return [
    checkNode(process.versions.node),
    etcd.check,
    ...defects.map((message): Check => ({ name: 'etcd version', status: 'warn', message, hint: null })),
    haproxy.check,
    place,
  ];
}

function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const good = major > 20 || (major === 20 && minor >= 19);
  return {
    name: 'node',
    status: good ? 'ok' : 'fail',
    message: `Node.js ${version}`,
    hint: good ? null : 'Node.js 20.19 or newer is needed',
  };
}

async function checkProgram(
  env: Env,
  name: string,
  versionArguments: string[],
  hint: string,
): Promise<{ check: Check; version: string | null }> {
  const path = await onPath(env, name);
  if (path === null)
    return { check: { name, status: 'warn', message: 'not found on PATH', hint }, version: null };
  try {
    const { stdout, stderr } = await promisify(execFile)(path, versionArguments, { timeout: 10_000 });
    const version = /\d+\.\d+\.\d+/.exec(`${stdout}${stderr}`)?.[0] ?? null;
    const message = `${version ?? 'of unknown version'} (${path})`;
    return { check: { name, status: 'ok', message, hint: null }, version };
  } catch (error) {
    const message = `${path} does not run: ${(error as Error).message}`;
    return { check: { name, status: 'fail', message, hint }, version: null };
  }
}

/** As the agent finds it: Debian keeps daemons in sbin, which is not on everybody's PATH. */
async function onPath(env: Env, name: string): Promise<string | null> {
  const directories = [...(env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin'];
  for (const directory of directories.filter(directory => directory !== '')) {
    const path = join(directory, name);
    if (await may(path, constants.X_OK)) return path;
  }
  return null;
}

async function checkStateDir(directory: string): Promise<Check> {
  const name = 'state directory';
  const existing = await nearestExisting(directory);
  const wanted = existing === directory ? directory : `${directory} (to be made in ${existing})`;
  const isDirectory = (await stat(existing)).isDirectory();
  return isDirectory && (await may(existing, constants.W_OK))
    ? { name, status: 'ok', message: `${wanted} is writable`, hint: null }
    : {
        name,
        status: 'fail',
        message: `${wanted} is not writable`,
        hint: 'HOP3_AGENT_STATE_DIR or --state-dir names another',
      };
}

async function nearestExisting(directory: string): Promise<string> {
  const found = await stat(directory).catch(() => null);
  if (found !== null || dirname(directory) === directory) return directory;
  return nearestExisting(dirname(directory));
}

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
