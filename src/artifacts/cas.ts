import { randomBytes } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Digest } from '../model/ids.ts';
import { ArtifactError } from '../ports/artifacts.ts';
import { saveStream } from './save-stream.ts';

const HEX = /^[0-9a-f]{64}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export interface Stored {
  digest: Digest;
  bytes: number;
}

/**
 * Files named by the sha256 of their bytes. What is in the folder under such a name is whole: it is written beside,
 * flushed and renamed. Any number of writers may bring the same digest at once.
 */
export class ContentStore {
  private readonly directory: string;
  private readonly maxBytes: number;
  private readonly run: string;
  private readonly suffix: string;
  private readonly arrives: (digest: Digest) => void;
  private readonly listeners = new Set<() => void>();

  /**
   * `run` names what this run of the agent is writing; `suffix` is the end of every file's name. What arrives is told before it
   * is there: whoever clears up must never find what its owner has not spoken for yet.
   */
  constructor(
    directory: string,
    maxBytes: number,
    run: string,
    suffix = '.tar.gz',
    arrives: (digest: Digest) => void = () => undefined,
  ) {
    this.directory = directory;
    this.maxBytes = maxBytes;
    this.run = run;
    this.suffix = suffix;
    this.arrives = arrives;
  }

  /**
   * Keeps the stream's bytes if `check` (given the path of the whole file) lets them pass.
   * @throws ArtifactError when they are not `expected`, or more than the store takes
   */
  async put(
    stream: AsyncIterable<Uint8Array>,
    expected: Digest | null,
    check: (path: string) => Promise<void> = () => Promise.resolve(),
  ): Promise<Stored> {
    await mkdir(this.directory, { recursive: true });
    const temporary = join(this.directory, `.incoming-${this.run}-${randomBytes(8).toString('hex')}`);
    try {
      const stored = await saveStream(stream, temporary, this.maxBytes);
      if (expected !== null && stored.digest !== expected) {
        throw new ArtifactError(`expected ${expected}, but the bytes are those of ${stored.digest}`, {
          retryable: true,
        });
      }
      await check(temporary);
      this.arrives(stored.digest);
      await rename(temporary, this.pathOf(stored.digest));
      await flushDirectory(this.directory);
      this.tell();
      return stored;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** Takes over a file on the same file system that is known to have this digest; the original stays. */
  async adopt(filePath: string, digest: Digest): Promise<Stored> {
    await mkdir(this.directory, { recursive: true });
    this.arrives(digest);
    await link(filePath, this.pathOf(digest)).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    });
    await flushDirectory(this.directory);
    this.tell();
    return { digest, bytes: (await stat(this.pathOf(digest))).size };
  }

  /** Asked before every start, so without a turn through the thread pool. */
  has(digest: Digest): Promise<boolean> {
    return Promise.resolve(DIGEST.test(digest) && existsSync(this.pathOf(digest)));
  }

  async list(): Promise<Stored[]> {
    const stored = await Promise.all(
      (await this.hexNames()).map(async hex => {
        const digest = `sha256:${hex}`;
        const bytes = await this.bytesOf(digest);
        return bytes === null ? [] : [{ digest, bytes }];
      }),
    );
    return stored.flat().toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  }

  /** @throws ArtifactError when it is not here */
  async read(digest: Digest): Promise<{ bytes: number; stream: AsyncIterable<Uint8Array> }> {
    const bytes = await this.bytesOf(digest);
    if (bytes === null) throw new ArtifactError(`${digest} is not on this node`, { retryable: true });
    // Opened when it is read, so that a stream nobody reads holds no file open.
    return { bytes, stream: readLazily(this.pathOf(digest)) };
  }

  async remove(digest: Digest): Promise<void> {
    await rm(this.pathOf(digest), { force: true });
    this.tell();
  }

  /** Called when a file has come or gone. Returns how to stop. */
  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Removes what a crash left half-written. */
  async removeLeftovers(): Promise<void> {
    for (const name of await this.names()) {
      if (!name.startsWith('.incoming-') || name.startsWith(`.incoming-${this.run}-`)) continue;
      await rm(join(this.directory, name), { force: true });
    }
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }

  private pathOf(digest: Digest): string {
    if (!DIGEST.test(digest)) {
      throw new ArtifactError(`"${digest}" is no digest: expected sha256: and 64 hexadecimal digits`, {
        retryable: false,
      });
    }
    return join(this.directory, digest.slice('sha256:'.length) + this.suffix);
  }

  private async bytesOf(digest: Digest): Promise<number | null> {
    if (!DIGEST.test(digest)) return null;
    return stat(this.pathOf(digest)).then(
      found => found.size,
      (error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      },
    );
  }

  private async hexNames(): Promise<string[]> {
    const names = await this.names();
    return names
      .filter(name => name.endsWith(this.suffix))
      .map(name => name.slice(0, name.length - this.suffix.length))
      .filter(hex => HEX.test(hex));
  }

  private async names(): Promise<string[]> {
    try {
      return await readdir(this.directory);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }
}

async function* readLazily(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path) as AsyncIterable<Buffer>;
}

async function flushDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
