import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../ports/log.ts';
import { isolatedApt, ownMirrors, releaseOf, type Apt } from './apt.ts';
import { installAsRoot } from './apt-install.ts';
import { runCommand } from './run-command.ts';
import type { Tool } from './tool.ts';
import { toolVersion } from './tool-version.ts';

export interface DebianOptions {
  tool: Tool;
  /** Packages are unpacked into `<toolsDir>/<name>-<version>`. */
  toolsDir: string;
  log: Log;
  env: Record<string, string>;
  isRoot: boolean;
  signal?: AbortSignal | undefined;
}

/** Newest first, by the names that stay when a release comes out. */
const NEWER_SUITES = ['unstable', 'testing', 'stable'];
const UNPACK_MS = 120_000;

/**
 * Gets the tool from Debian's packages: into the system when root, else unpacked under `toolsDir`. One that should be
 * the newest in the archive is unpacked for root too, because this release's apt would not install that; nor is there
 * a stock service to keep still then.
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
      options.log.info(`${options.tool.name} could not be had this way`, { way: attempt.way, error });
    }
  }
  throw new AggregateError(failures, failures.map(error => (error as Error).message).join('; '));
}

interface Attempt {
  way: string;
  run(): Promise<void>;
}

async function attemptsFor(options: DebianOptions): Promise<Attempt[]> {
  const { tool, env, signal } = options;
  const unpackOwn: Attempt = {
    way: 'unpacking this release’s packages',
    run: () => unpack(options, {}),
  };
  if (tool.newest) {
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
    run: () => installAsRoot({ package: tool.package, service: tool.service, env, signal }),
  };
  return [install, unpackOwn];
}

async function unpack(
  options: DebianOptions,
  from: { suite?: { mirror: string; name: string } },
): Promise<void> {
  const { tool, toolsDir, env, signal } = options;
  const work = await mkdtemp(join(toolsDir, 'unpacking-'));
  try {
    const apt = await isolatedApt({ directory: join(work, 'apt'), env, signal, ...from });
    await apt.update();
    const root = join(work, 'tool');
    await mkdir(root);
    // Packages of another release may ask for newer libraries than they need: run it and see.
    const wanted = from.suite === undefined ? await closure(apt, tool) : [tool.package];
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

async function closure(apt: Apt, tool: Tool): Promise<string[]> {
  const missing = await apt.missingWith(tool.package);
  return missing.length > 0 ? missing : [tool.package];
}

/** Proves that the program runs, then puts it where `findTool` looks. */
async function settle(options: DebianOptions, root: string): Promise<void> {
  const { tool, toolsDir } = options;
  await writeLauncher(root, root, tool);
  const version = await toolVersion(tool, join(root, tool.name));
  const home = join(toolsDir, `${tool.name}-${version}`);
  await writeLauncher(root, home, tool);
  await rm(home, { recursive: true, force: true });
  await rename(root, home);
}

/** A program outside the system's directories does not find the libraries unpacked beside it by itself. */
async function writeLauncher(root: string, home: string, tool: Tool): Promise<void> {
  const libraries = (await libraryDirectories(root)).map(directory => join(home, directory)).join(':');
  const environment = {
    ...(libraries === '' ? {} : { LD_LIBRARY_PATH: libraries }),
    ...tool.environment?.(home),
  };
  const exports = Object.entries(environment).map(([name, value]) => `export ${name}=${quoted(value)}\n`);
  const program = quoted(join(home, tool.program));
  const script = `#!/bin/sh\n${exports.join('')}exec ${program} "$@"\n`;
  await writeFile(join(root, tool.name), script, { mode: 0o755 });
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
