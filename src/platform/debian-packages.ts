import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../ports/log.ts';
import { isolatedApt, ownMirrors, releaseOf, type Apt } from './apt.ts';
import { installAsRoot } from './apt-install.ts';
import { runCommand } from './run-command.ts';
import { toolVersion, type ToolName } from './tool-version.ts';

export interface DebianOptions {
  name: ToolName;
  /** Packages are unpacked into `<toolsDir>/<name>-<version>`. */
  toolsDir: string;
  log: Log;
  env: Record<string, string>;
  isRoot: boolean;
  signal?: AbortSignal | undefined;
}

interface Package {
  package: string;
  program: string;
}

const packages: Readonly<Record<ToolName, Package>> = {
  etcd: { package: 'etcd-server', program: 'usr/bin/etcd' },
  haproxy: { package: 'haproxy', program: 'usr/sbin/haproxy' },
};
/** Newest first, by the names that stay when a release comes out. */
const NEWER_SUITES = ['unstable', 'testing', 'stable'];
const UNPACK_MS = 120_000;

/**
 * Gets the tool from Debian's packages: into the system when root and it is HAProxy, else unpacked under `toolsDir`.
 * etcd is unpacked for root too, because what is wanted is the newest in the archive, which this release's apt would
 * not install; nor is there a stock service to keep still then.
 *
 * @throws AggregateError with what was tried
 */
export async function toolFromDebian(options: DebianOptions): Promise<void> {
  const failures: unknown[] = [];
  for (const attempt of await attemptsFor(options)) {
    options.signal?.throwIfAborted();
    try {
      await attempt.run();
      return;
    } catch (error) {
      options.signal?.throwIfAborted();
      failures.push(error);
      options.log.info(`${options.name} could not be had this way`, { way: attempt.way, error });
    }
  }
  throw new AggregateError(failures, failures.map(error => (error as Error).message).join('; '));
}

interface Attempt {
  way: string;
  run(): Promise<void>;
}

async function attemptsFor(options: DebianOptions): Promise<Attempt[]> {
  const { name, env, signal } = options;
  const unpackOwn: Attempt = {
    way: 'unpacking this release’s packages',
    run: () => unpack(options, {}),
  };
  if (name === 'etcd') {
    const mirrors = (await releaseOf()).id === 'debian' ? await ownMirrors(env, signal) : [];
    const newer = mirrors.flatMap(mirror =>
      NEWER_SUITES.map(suite => ({
        way: `unpacking the package of ${suite}`,
        run: () => unpack(options, { suite: { mirror, name: suite } }),
      })),
    );
    return [...newer, unpackOwn];
  }
  if (!options.isRoot) return [unpackOwn];
  const install: Attempt = {
    way: 'apt-get install',
    run: () => installAsRoot({ package: packages[name].package, service: name, env, signal }),
  };
  return [install, unpackOwn];
}

async function unpack(
  options: DebianOptions,
  from: { suite?: { mirror: string; name: string } },
): Promise<void> {
  const { name, toolsDir, env, signal } = options;
  const work = await mkdtemp(join(toolsDir, 'unpacking-'));
  try {
    const apt = await isolatedApt({ directory: join(work, 'apt'), env, signal, ...from });
    await apt.update();
    const root = join(work, 'tool');
    await mkdir(root);
    // Packages of another release may ask for newer libraries than they need: run it and see.
    const wanted = from.suite === undefined ? await closure(apt, name) : [packages[name].package];
    await apt.download(wanted);
    for (const file of (await readdir(apt.directory)).filter(entry => entry.endsWith('.deb'))) {
      await runCommand('dpkg-deb', ['--extract', join(apt.directory, file), root], {
        env,
        timeoutMs: UNPACK_MS,
        signal,
      });
    }
    await settle(options, root);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function closure(apt: Apt, name: ToolName): Promise<string[]> {
  const missing = await apt.missingWith(packages[name].package);
  return missing.length > 0 ? missing : [packages[name].package];
}

/** Proves that the program runs, then puts it where `findTool` looks. */
async function settle(options: DebianOptions, root: string): Promise<void> {
  const { name, toolsDir } = options;
  await writeLauncher(root, root, name);
  const version = await toolVersion(name, join(root, name));
  const home = join(toolsDir, `${name}-${version}`);
  await writeLauncher(root, home, name);
  await rm(home, { recursive: true, force: true });
  await rename(root, home);
}

/** A program outside the system's directories does not find the libraries unpacked beside it by itself. */
async function writeLauncher(root: string, home: string, name: ToolName): Promise<void> {
  const libraries = (await libraryDirectories(root)).map(directory => join(home, directory)).join(':');
  const environment = libraries === '' ? '' : `export LD_LIBRARY_PATH=${quoted(libraries)}\n`;
  const program = quoted(join(home, packages[name].program));
  await writeFile(join(root, name), `#!/bin/sh\n${environment}exec ${program} "$@"\n`, { mode: 0o755 });
}

async function libraryDirectories(root: string): Promise<string[]> {
  const files = await readdir(root, { recursive: true, withFileTypes: true });
  const holding = files
    .filter(entry => /\.so(\.|$)/.test(entry.name) && !entry.isDirectory())
    .map(entry => entry.parentPath.slice(root.length + 1));
  return [...new Set(holding)];
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
