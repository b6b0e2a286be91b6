import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { Parser, type ReadEntry } from 'tar';
import type { Digest } from '../model/ids.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import { leavesTree } from './links.ts';

/** One entry that has been found safe; `path` is relative, normal, and passes through no link. */
export type ArchiveEntry =
  | { kind: 'directory'; path: string }
  /** `mtime` is null for files of a source tree, which have no time. What is not read of `body` is skipped. */
  | { kind: 'file'; path: string; executable: boolean; mtime: Date | null; body: AsyncIterable<Buffer> }
  | { kind: 'symlink'; path: string; target: string }
  /** `target` is a file that came before. */
  | { kind: 'hardlink'; path: string; target: string };

export interface ArchiveLimits {
  /** Of all files together, unpacked. */
  maxBytes: number;
  maxEntries: number;
}

/**
 * Reads a gzipped tar from anybody, one entry at a time and in order, and gives the digest of its bytes. Symbolic
 * links come last, once the whole tree is known: no file can be written through one.
 * @throws ArtifactError at the first entry that is not safe, when a limit is passed, or when it is no such archive
 */
export async function readArchive(
  source: AsyncIterable<Uint8Array>,
  limits: ArchiveLimits,
  visit: (entry: ArchiveEntry) => Promise<void>,
  signal?: AbortSignal,
): Promise<{ digest: Digest }> {
  const hash = createHash('sha256');
  const checker = new EntryChecker(limits);
  const compressed = Readable.from(hashed(source, hash));
  const gunzip = createGunzip();
  compressed.on('error', error => gunzip.destroy(error));
  compressed.pipe(gunzip);
  try {
    await parse(limitedBytes(gunzip, limits), entry => visitEntry(entry, checker, visit), signal);
    if (!compressed.readableEnded) throw unsafe('it has bytes after its end');
    for (const link of checker.symlinks()) await visit(link);
  } catch (error) {
    signal?.throwIfAborted();
    throw asArchiveError(error);
  } finally {
    compressed.destroy();
    gunzip.destroy();
  }
  return { digest: `sha256:${hash.digest('hex')}` };
}

async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: { update(chunk: Uint8Array): unknown },
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

/** A gzip bomb of nothing but padding has no entries to count; and a compressed file inside would be unpacked uncounted. */
async function* limitedBytes(chunks: AsyncIterable<Buffer>, limits: ArchiveLimits): AsyncGenerator<Buffer> {
  const maxStreamBytes = limits.maxBytes + limits.maxEntries * 2048 + 64 * 1024;
  let bytes = 0;
  for await (const chunk of chunks) {
    if (bytes === 0 && chunk[0] === 0x1f) throw unsafe('it is compressed twice');
    bytes += chunk.length;
    if (bytes > maxStreamBytes) throw unsafe(`it unpacks to more than ${limits.maxBytes} bytes`);
    yield chunk;
  }
}

async function parse(
  chunks: AsyncIterable<Buffer>,
  onEntry: (entry: ReadEntry) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const parser = new Parser({ strict: true, zstd: false, brotli: false });
  let fail: (error: unknown) => void = () => undefined;
  const failed = new Promise<never>((_resolve, reject) => {
    fail = reject;
  });
  failed.catch(() => undefined);
  const ended = new Promise<void>(resolve => parser.once('end', resolve));
  let work = Promise.resolve();
  let current: ReadEntry | null = null;
  parser.on('error', fail);
  parser.on('ignoredEntry', (entry: ReadEntry) => fail(unsafe(`${entry.path} is a ${entry.type}`)));
  parser.on('entry', (entry: ReadEntry) => {
    current = entry;
    // Its reader hears of it too; without one it is no reason to crash.
    entry.on('error', () => undefined);
    work = work.then(() => onEntry(entry));
    work.catch(fail);
  });
  try {
    for await (const chunk of chunks) {
      signal?.throwIfAborted();
      if (parser.write(chunk)) continue;
      await Promise.race([failed, new Promise<void>(resolve => parser.once('drain', resolve))]);
    }
    parser.end();
    await Promise.race([failed, ended]);
    await work;
  } catch (error) {
    // Whoever waits for the rest of this entry must not wait for ever, nor write after we are gone.
    (current as ReadEntry | null)?.destroy(error);
    await work.catch(() => undefined);
    throw error;
  }
}

async function visitEntry(
  entry: ReadEntry,
  checker: EntryChecker,
  visit: (entry: ArchiveEntry) => Promise<void>,
): Promise<void> {
  const checked = checker.check(entry);
  if (checked === null || checked.kind === 'symlink') {
    entry.resume();
    return;
  }
  if (checked.kind !== 'file') entry.resume();
  await visit(checked);
  // A visitor may not have wanted the content.
  entry.resume();
}

/** Knows what came before, because an entry is only safe together with the others. */
class EntryChecker {
  private readonly kinds = new Map<string, ArchiveEntry['kind']>();
  private readonly links = new Map<string, string>();
  private readonly limits: ArchiveLimits;
  private bytes = 0;
  private entries = 0;

  constructor(limits: ArchiveLimits) {
    this.limits = limits;
  }

  /** null = the root itself, of which there is nothing to do. @throws ArtifactError */
  check(entry: ReadEntry): ArchiveEntry | null {
    if (++this.entries > this.limits.maxEntries) {
      throw unsafe(`it has more than ${this.limits.maxEntries} entries`);
    }
    this.bytes += entry.size;
    if (this.bytes > this.limits.maxBytes)
      throw unsafe(`it unpacks to more than ${this.limits.maxBytes} bytes`);
    const path = safePath(entry.path);
    const checked = checkedEntry(entry, path);
    if (path === '') {
      if (checked.kind !== 'directory') throw unsafe('its root is not a directory');
      return null;
    }
    this.place(path, checked.kind);
    if (checked.kind === 'symlink') this.links.set(path, checked.target);
    if (checked.kind === 'hardlink' && this.kinds.get(checked.target) !== 'file') {
      throw unsafe(`${path} is a hard link to ${checked.target}, which is no file of the archive before it`);
    }
    return checked;
  }

  /** @throws ArtifactError for one that leads out of the tree */
  symlinks(): ArchiveEntry[] {
    return [...this.links].map(([path, target]) => {
      if (leavesTree(path, target, this.links)) throw unsafe(`${path} is a link out of it, to ${target}`);
      return { kind: 'symlink', path, target };
    });
  }

  private place(path: string, kind: ArchiveEntry['kind']): void {
    const parts = path.split('/');
    for (let length = 1; length < parts.length; length++) {
      const parent = parts.slice(0, length).join('/');
      const parentKind = this.kinds.get(parent) ?? 'directory';
      if (parentKind !== 'directory') throw unsafe(`${path} lies inside ${parent}, which is a ${parentKind}`);
      this.kinds.set(parent, 'directory');
    }
    const before = this.kinds.get(path);
    if (before !== undefined && !(before === 'directory' && kind === 'directory')) {
      throw unsafe(`${path} is in it twice`);
    }
    this.kinds.set(path, kind);
  }
}

function checkedEntry(entry: ReadEntry, path: string): ArchiveEntry {
  switch (entry.type) {
    case 'Directory':
      return { kind: 'directory', path };
    case 'File':
    case 'OldFile':
    case 'ContiguousFile':
      return {
        kind: 'file',
        path,
        executable: ((entry.mode ?? 0) & 0o100) !== 0,
        mtime: entry.mtime && entry.mtime.getTime() > 0 ? entry.mtime : null,
        body: entry,
      };
    case 'SymbolicLink':
      return { kind: 'symlink', path, target: safeText(entry.linkpath ?? '') };
    case 'Link':
      return { kind: 'hardlink', path, target: safePath(entry.linkpath ?? '') };
    default:
      throw unsafe(`${entry.path} is a ${entry.type}`);
  }
}

function safePath(path: string): string {
  const parts = safeText(path)
    .split('/')
    .filter(part => part !== '.');
  if (path.startsWith('/')) throw unsafe(`${path} is an absolute path`);
  if (parts.includes('..')) throw unsafe(`${path} leads out of it`);
  return parts.filter(part => part !== '').join('/');
}

function safeText(text: string): string {
  if (text.includes('\0')) throw unsafe(`${JSON.stringify(text)} is no file name`);
  return text;
}

function unsafe(what: string): ArtifactError {
  return new ArtifactError(`the archive is refused: ${what}`, { retryable: false });
}

function asArchiveError(error: unknown): ArtifactError {
  if (error instanceof ArtifactError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (code?.startsWith('Z_') || code?.startsWith('TAR_')) {
    return new ArtifactError(`this is not a whole gzipped tar file: ${message}`, {
      retryable: false,
      cause: error,
    });
  }
  return new ArtifactError(`cannot unpack: ${message}`, { retryable: true, cause: error });
}
