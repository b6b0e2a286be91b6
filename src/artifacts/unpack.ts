import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Digest } from '../model/ids.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import { readArchive, type ArchiveEntry, type ArchiveLimits } from './archive.ts';

/** A stored file whose bytes are not what its name says. */
export class DamagedArtifact extends ArtifactError {
  constructor(expected: Digest, actual: Digest) {
    super(`the stored copy of ${expected} is damaged: its bytes are those of ${actual}`, { retryable: true });
    this.name = 'DamagedArtifact';
  }
}

/**
 * Unpacks an archive from anybody into `directory`, which must not exist: beside it first, then renamed, so that a
 * half-done one is never seen. Owner, setuid bits and write permission of others are not taken over.
 * `prepare` may change the tree before it is seen. @throws ArtifactError also when the bytes are not those of `digest`
 */
export async function unpackArchive(
  source: AsyncIterable<Uint8Array>,
  directory: string,
  options: {
    limits: ArchiveLimits;
    digest?: Digest;
    prepare?: (temporary: string) => Promise<void>;
    signal?: AbortSignal;
  },
): Promise<void> {
  const temporary = join(
    dirname(directory),
    `.unpacking-${basename(directory)}-${randomBytes(6).toString('hex')}`,
  );
  await mkdir(temporary, { recursive: true, mode: 0o755 });
  try {
    const made = new Set<string>();
    const { digest } = await readArchive(
      source,
      options.limits,
      entry => writeEntry(temporary, entry, made),
      options.signal,
    );
    if (options.digest !== undefined && digest !== options.digest) {
      throw new DamagedArtifact(options.digest, digest);
    }
    await options.prepare?.(temporary);
    await rename(temporary, directory);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw error;
  }
}

async function writeEntry(root: string, entry: ArchiveEntry, made: Set<string>): Promise<void> {
  const path = join(root, entry.path);
  const parent = entry.kind === 'directory' ? path : dirname(path);
  if (!made.has(parent)) {
    await mkdir(parent, { recursive: true, mode: 0o755 });
    made.add(parent);
  }
  switch (entry.kind) {
    case 'directory':
      return;
    case 'file':
      return writeFile(path, entry);
    case 'hardlink':
      return link(join(root, entry.target), path);
    case 'symlink':
      return symlink(entry.target, path);
  }
}

async function writeFile(path: string, entry: ArchiveEntry & { kind: 'file' }): Promise<void> {
  const file = await open(path, 'wx', entry.executable ? 0o755 : 0o644);
  try {
    for await (const chunk of entry.body) await file.writeFile(chunk);
    if (entry.mtime) await file.utimes(entry.mtime, entry.mtime);
  } finally {
    await file.close();
  }
}
