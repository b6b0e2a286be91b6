import { access, constants, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Log } from '../ports/log.ts';
import { toolFromDebian } from './debian-packages.ts';
import { withFileLock } from './file-lock.ts';
import { tools, type Tool, type ToolName } from './tool.ts';
import { newer, toolVersion } from './tool-version.ts';

export interface ProvideToolOptions {
  tool: Tool;
  stateDir: string;
  log: Log;
  /** PATH, and the variables that name web proxies, are used. */
  env: Record<string, string | undefined>;
  /** Searched after PATH, which often lacks those for the administrator. */
  systemDirectories?: readonly string[];
  signal?: AbortSignal;
}

export interface FindToolOptions extends Omit<ProvideToolOptions, 'tool'> {
  name: ToolName;
}

export interface FoundTool {
  path: string;
  version: string;
}

/** The tool is not there and could not be had. The message says what to install. */
export class ToolError extends Error {
  readonly retryable: boolean;
  constructor(message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'ToolError';
    this.retryable = options.retryable;
  }
}

const SYSTEM_DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/**
 * The newer of what is on PATH and what was unpacked into `stateDir/tools` before; when there is neither, the tool is
 * taken from Debian's packages. Versions are remembered by file, so a second call takes milliseconds. Several
 * callers, in several processes, may call at once.
 *
 * @throws ToolError
 */
export function findTool({ name, ...options }: FindToolOptions): Promise<FoundTool> {
  return provideTool({ ...options, tool: tools[name] });
}

/** What `findTool` would give without installing anything; null when there is none. @throws ToolError when it does not run */
export function installedTool(options: Omit<FindToolOptions, 'log' | 'signal'>): Promise<FoundTool | null> {
  return findInstalled(tools[options.name], pathOf(options), join(options.stateDir, 'tools'));
}

/** The same for any tool. @throws ToolError */
export async function provideTool(options: ProvideToolOptions): Promise<FoundTool> {
  const { tool, log } = options;
  const { name } = tool;
  const searchPath = pathOf(options);
  const toolsDir = join(options.stateDir, 'tools');
  const before = await findInstalled(tool, searchPath, toolsDir);
  if (before !== null) return before;
  if ((await findOnPath('apt-get', searchPath)) === null) {
    throw new ToolError(`${name} is not on PATH, and there is no apt-get to take it from: ${tool.advice}`, {
      retryable: false,
    });
  }
  await mkdir(toolsDir, { recursive: true });
  return withFileLock(join(toolsDir, 'lock'), options.signal, async () => {
    const meanwhile = await findInstalled(tool, searchPath, toolsDir);
    if (meanwhile !== null) return meanwhile;
    log.info(`${name} is not installed: taking it from Debian's packages`, { toolsDir });
    await fetchTool(options, toolsDir, searchPath);
    const found = await findInstalled(tool, searchPath, toolsDir);
    if (found === null)
      throw new ToolError(`${name} was installed but cannot be found`, { retryable: false });
    log.info(`${name} is ready`, { ...found });
    return found;
  });
}

/** The first executable of that name, or null. Only absolute directories count. */
export async function findOnPath(name: string, searchPath: string | undefined): Promise<string | null> {
  for (const directory of (searchPath ?? '').split(delimiter).filter(isAbsolute)) {
    const path = join(directory, name);
    const usable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (usable && (await stat(path)).isFile()) return path;
  }
  return null;
}

function pathOf(options: Pick<ProvideToolOptions, 'env' | 'systemDirectories'>): string {
  return [options.env['PATH'] ?? '', ...(options.systemDirectories ?? SYSTEM_DIRECTORIES)].join(delimiter);
}

async function findInstalled(tool: Tool, searchPath: string, toolsDir: string): Promise<FoundTool | null> {
  const { name } = tool;
  const path = await findOnPath(name, searchPath);
  const onPath = path === null ? [] : [{ path, version: await rememberedVersion(tool, path, toolsDir) }];
  const prefix = `${name}-`;
  const unpacked = (await namesIn(toolsDir))
    .filter(entry => entry.startsWith(prefix))
    .map(entry => ({ path: join(toolsDir, entry, name), version: entry.slice(prefix.length) }));
  // The data of a newer etcd can't be read by an older one: one that came to PATH later must not take over.
  return [...onPath, ...unpacked].reduce<FoundTool | null>(
    (best, tool) => (best === null || newer(tool.version, best.version) ? tool : best),
    null,
  );
}

/** Asking a program costs tens of milliseconds: the answer is kept for as long as the file is the same. */
async function rememberedVersion(tool: Tool, path: string, toolsDir: string): Promise<string> {
  const { mtimeMs, size } = await stat(path);
  const stamp = `${path} ${mtimeMs} ${size}`;
  const memory = join(toolsDir, `${tool.name}.version`);
  const [known, version] = (await readFile(memory, 'utf8').catch(() => '')).split('\n');
  if (known === stamp && version) return version;
  const asked = await toolVersion(tool, path).catch((error: unknown) => {
    const message = `${path} does not run: ${(error as Error).message}. Mend or remove it`;
    throw new ToolError(message, { retryable: false, cause: error });
  });
  await mkdir(toolsDir, { recursive: true });
  await writeFile(`${memory}.${process.pid}`, `${stamp}\n${asked}\n`);
  await rename(`${memory}.${process.pid}`, memory);
  return asked;
}

async function fetchTool(options: ProvideToolOptions, toolsDir: string, searchPath: string): Promise<void> {
  const { tool, log, signal } = options;
  try {
    await toolFromDebian({
      tool,
      toolsDir,
      log,
      signal,
      isRoot: process.getuid?.() === 0,
      env: { ...webProxies(options.env), PATH: searchPath, LC_ALL: 'C' },
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new ToolError(
      `${tool.name} is not on PATH and could not be taken from Debian's packages: ${(error as Error).message}. ` +
        `Mend that, or ${tool.advice}`,
      { retryable: true, cause: error },
    );
  }
}

function webProxies(env: Record<string, string | undefined>): Record<string, string> {
  const entries = Object.entries(env).filter(([name]) => /^(https?|no|all)_proxy$|^APT_CONFIG$/i.test(name));
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
