import { createHash, randomBytes } from 'node:crypto';
import type { Stats } from 'node:fs';
import { lstat, open, readFile, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve, sep } from 'node:path';
import ignore from 'ignore';
import { Pack } from 'tar';
import type { Digest } from '../model/ids.ts';
import { leavesTree } from './links.ts';

/** Never part of a source tree, wherever they are in it: made again by the build, or nobody else's business. */
const ALWAYS_LEFT_OUT = ['.git', 'node_modules', 'venv', '.venv', '__pycache__', '.hop3'];

const MOST_TRIES = 3;

export const DEFAULT_MAX_SOURCE_BYTES = 512 * 1024 * 1024;

export interface Packed {
  filePath: string;
  digest: Digest;
  bytes: number;
  /** Removes the file; doing so twice is no error. */
  remove(): Promise<void>;
}

/** The directory cannot be packed, or should not be; the message says what to change. */
export class PackError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'PackError';
  }
}

/**
 * Packs a source directory into a gzipped tar file whose bytes depend on nothing but the names, contents and
 * executable bits in it. Left out: `ALWAYS_LEFT_OUT`, then what the top-level `.gitignore` says (unless `gitignore` is
 * false), then `ignore` (gitignore syntax; a later `!pattern` brings back what an earlier pattern left out).
 * @throws PackError for links that lead out of the directory, and for more than `maxBytes` of content
 */
export async function packDirectory(
  directory: string,
  options: { ignore: string[]; gitignore?: boolean; maxBytes?: number; into?: string; signal?: AbortSignal },
): Promise<Packed> {
  const rules = ignore();
  if (options.gitignore ?? true) rules.add(await textOf(join(directory, '.gitignore')));
  rules.add(options.ignore);
  const leftOut = new Set(ALWAYS_LEFT_OUT);
  return packTree(directory, {
    ...options,
    keepTimes: false,
    include: (path, isDirectory) =>
      !leftOut.has(path.slice(path.lastIndexOf('/') + 1)) && !rules.ignores(isDirectory ? `${path}/` : path),
    onLinkOut: (path, target) => {
      throw new PackError(
        `${join(directory, path)} is a link out of the directory, to ${target}: ` +
          'copy what it points to, or leave it out with build.ignore',
      );
    },
  });
}

interface TreeOptions {
  include: (path: string, isDirectory: boolean) => boolean;
  onLinkOut: (path: string, target: string) => void;
  keepTimes: boolean;
  maxBytes?: number;
  into?: string;
  signal?: AbortSignal;
}

/**
 * Packs everything `include` lets through. Sockets, pipes and devices are left out. `onLinkOut` may throw;
 * when it returns, the link is left out. `keepTimes`: Python trusts a compiled file only if its source's time is the same.
 */
export function packTree(directory: string, options: TreeOptions): Promise<Packed> {
  const root = resolve(directory);
  return anewWhenSomethingGoes(root, () => packAsItIs(root, options));
}

async function packAsItIs(root: string, options: TreeOptions): Promise<Packed> {
  const found = await findEntries(root, options.include);
  checkSize(root, found, options.maxBytes ?? DEFAULT_MAX_SOURCE_BYTES);
  const links = new Map(
    found.flatMap(entry => (entry.target === null ? [] : [[entry.path, entry.target] as const])),
  );
  const paths = found.flatMap(({ path, target }) => {
    if (target === null || !leavesTree(path, target, links)) return [path];
    options.onLinkOut(path, target);
    return [];
  });
  const filePath = join(
    options.into ?? tmpdir(),
    `.packing-${process.pid}-${randomBytes(6).toString('hex')}`,
  );
  try {
    return {
      ...(await writeArchive(root, paths, filePath, options)),
      remove: () => rm(filePath, { force: true }),
    };
  } catch (error) {
    await rm(filePath, { force: true });
    if (error instanceof PackError || options.signal?.aborted) throw error;
    throw cannotPack(root, error);
  }
}

/** What editors and tools have in a directory for a moment may go while it is read. @throws PackError */
async function anewWhenSomethingGoes<T>(root: string, read: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await read();
    } catch (error) {
      if (tries < MOST_TRIES && (isGone(error) || isGone((error as Error).cause))) continue;
      throw isGone(error) ? cannotPack(root, error) : error;
    }
  }
}

function isGone(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
}

function cannotPack(root: string, error: unknown): PackError {
  return new PackError(`cannot pack ${root}: ${(error as Error).message}`, { cause: error });
}

/** Texts of a directory by path relative to it; what is not there is left out. @throws PackError when one can't be read */
export async function readAppFiles(
  directory: string,
  paths: readonly string[],
): Promise<Record<string, string>> {
  await requireDirectory(directory);
  const files: Record<string, string> = {};
  for (const path of paths) {
    const text = await optionalText(join(directory, path));
    if (text !== null) files[path] = text;
  }
  return files;
}

/** What a spec without processes is completed from. */
export interface SourceFacts {
  /** Whether package.json has a `start` script. */
  packageStart: boolean;
  /** Relative paths of all files, sorted; at most 10 000. */
  files: string[];
}

/** @throws PackError when there is no such directory */
export async function sourceFacts(directory: string): Promise<SourceFacts> {
  const root = resolve(directory);
  const leftOut = new Set(ALWAYS_LEFT_OUT);
  const include = (path: string): boolean => !leftOut.has(path.slice(path.lastIndexOf('/') + 1));
  const found = await anewWhenSomethingGoes(root, () => findEntries(root, include));
  const files = found.filter(entry => !entry.isDirectory).map(entry => entry.path);
  return factsOf(files, await optionalText(join(root, 'package.json')));
}

export function factsOf(files: string[], packageJson: string | null): SourceFacts {
  return { packageStart: hasStartScript(packageJson ?? ''), files: files.toSorted().slice(0, 10_000) };
}

interface Found {
  path: string;
  isDirectory: boolean;
  bytes: number;
  /** Of a symbolic link, relative to where it lies; null for everything else. */
  target: string | null;
}

async function findEntries(
  root: string,
  include: (path: string, isDirectory: boolean) => boolean,
): Promise<Found[]> {
  await requireDirectory(root);
  const found: Found[] = [];
  const visit = async (directory: string): Promise<void> => {
    const names = (await readdir(join(root, directory))).toSorted();
    for (const name of names) {
      const path = directory === '' ? name : `${directory}/${name}`;
      const stat = await lstat(join(root, path));
      if (!include(path, stat.isDirectory())) continue;
      const entry = await foundEntry(root, path, stat);
      if (entry === null) continue;
      found.push(entry);
      if (entry.isDirectory) await visit(path);
    }
  };
  await visit('');
  return found;
}

async function foundEntry(root: string, path: string, stat: Stats): Promise<Found | null> {
  if (stat.isSymbolicLink()) {
    const target = await readlink(join(root, path));
    return { path, isDirectory: false, bytes: 0, target: relativeTarget(root, path, target) };
  }
  if (!stat.isFile() && !stat.isDirectory()) return null;
  return { path, isDirectory: stat.isDirectory(), bytes: stat.isFile() ? stat.size : 0, target: null };
}

/** Tools like to write absolute links; one that stays inside is the same as a relative one, and survives a move. */
function relativeTarget(root: string, path: string, target: string): string {
  if (target !== root && !target.startsWith(root + sep)) return target;
  return relative(dirname(join(root, path)), target) || '.';
}

function checkSize(root: string, found: Found[], maxBytes: number): void {
  const bytes = found.reduce((sum, entry) => sum + entry.bytes, 0);
  if (bytes <= maxBytes) return;
  const largest = found.toSorted((a, b) => b.bytes - a.bytes).slice(0, 3);
  throw new PackError(
    `${root} holds ${mebibytes(bytes)}, more than the limit of ${mebibytes(maxBytes)}; the largest files are ` +
      `${largest.map(entry => `${entry.path} (${mebibytes(entry.bytes)})`).join(', ')}: ` +
      'leave out what the app does not need with .gitignore or build.ignore',
  );
}

async function writeArchive(
  root: string,
  paths: string[],
  filePath: string,
  options: { keepTimes: boolean; signal?: AbortSignal },
): Promise<{ filePath: string; digest: Digest; bytes: number }> {
  const pack = new Pack({
    cwd: root,
    portable: true,
    gzip: { level: 6 },
    noDirRecurse: true,
    strict: true,
    ...(options.keepTimes ? {} : { mtime: new Date(0) }),
    filter: (_path, stat) => {
      // The umask of whoever checked it out and hard links made by tools say nothing about the content.
      if ('nlink' in stat) stat.nlink = 1;
      stat.mode = ((stat.mode ?? 0) & ~0o7777) | ((stat.mode ?? 0) & 0o100 ? 0o755 : 0o644);
      return true;
    },
    onWriteEntry: entry => {
      if (entry.linkpath !== undefined) entry.linkpath = relativeTarget(root, entry.path, entry.linkpath);
    },
  });
  // Whoever reads it hears of it, too; between two reads nobody does, and that would end the process.
  pack.on('error', () => undefined);
  for (const path of paths) pack.add(path);
  pack.end();
  const hash = createHash('sha256');
  let bytes = 0;
  const file = await open(filePath, 'wx', 0o600);
  try {
    for await (const chunk of pack) {
      options.signal?.throwIfAborted();
      hash.update(chunk);
      bytes += chunk.length;
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { filePath, digest: `sha256:${hash.digest('hex')}`, bytes };
}

async function requireDirectory(directory: string): Promise<void> {
  const stat = await lstat(resolve(directory) + sep).catch(() => null);
  if (!stat?.isDirectory()) throw new PackError(`${directory} is not a directory`);
}

async function textOf(path: string): Promise<string> {
  return (await optionalText(path)) ?? '';
}

async function optionalText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw new PackError(`cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
}

function hasStartScript(packageJson: string): boolean {
  try {
    const parsed = JSON.parse(packageJson) as { scripts?: { start?: unknown } } | null;
    return typeof parsed?.scripts?.start === 'string';
  } catch {
    // A package.json that npm cannot read either has no start script; the build says what is wrong with it.
    return false;
  }
}

function mebibytes(bytes: number): string {
  return `${Math.ceil((bytes / 1024 / 1024) * 10) / 10} MiB`;
}
