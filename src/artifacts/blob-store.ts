import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Digest, InstantMs } from '../model/ids.ts';
import type { Clock } from '../ports/clock.ts';
import { ContentStore } from './cas.ts';

/** As large as a step's payload may be. */
const MOST_BYTES = 64 * 1024 * 1024;

/** What is named by a plan that is just being written is not in it yet. */
const KEPT_UNNAMED_MS = 15 * 60_000;

/** The blobs of one node, in `blobs/` below its state directory. */
export class BlobStore {
  private readonly store: ContentStore;
  private readonly clock: Clock;
  private readonly unnamedSinceMs = new Map<Digest, InstantMs>();

  constructor(stateDir: string, clock: Clock) {
    this.store = new ContentStore(join(stateDir, 'blobs'), MOST_BYTES, randomBytes(4).toString('hex'), '');
    this.clock = clock;
  }

  /** @throws ArtifactError when the bytes are not `digest`, or too many */
  async receive(stream: AsyncIterable<Uint8Array>, digest: Digest): Promise<void> {
    this.unnamedSinceMs.delete(digest);
    await this.store.put(stream, digest);
  }

  /** Whoever asks is about to name it. */
  has(digest: Digest): Promise<boolean> {
    this.unnamedSinceMs.delete(digest);
    return this.store.has(digest);
  }

  /** null when it is not here. What is not what its name says is removed. */
  async read(digest: Digest): Promise<Uint8Array | null> {
    if (!(await this.has(digest))) return null;
    const bytes = await this.whole(digest).catch((error: unknown) => this.unlessGone(digest, error));
    if (bytes === null || digestOf(bytes) === digest) return bytes;
    await this.store.remove(digest);
    return null;
  }

  /** Removes what has been named by nobody for a while, and gives what else is here. */
  async collect(inUse: ReadonlySet<Digest>): Promise<{ removed: number; kept: Digest[] }> {
    const nowMs = this.clock.now();
    const kept: Digest[] = [];
    let removed = 0;
    for (const { digest } of await this.store.list()) {
      if (inUse.has(digest)) this.unnamedSinceMs.delete(digest);
      const sinceMs = inUse.has(digest) ? nowMs : (this.unnamedSinceMs.get(digest) ?? nowMs);
      if (nowMs - sinceMs >= KEPT_UNNAMED_MS) {
        await this.store.remove(digest);
        this.unnamedSinceMs.delete(digest);
        removed += 1;
        continue;
      }
      if (!inUse.has(digest)) this.unnamedSinceMs.set(digest, sinceMs);
      kept.push(digest);
    }
    await this.store.removeLeftovers();
    return { removed, kept };
  }

  private async whole(digest: Digest): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await this.store.read(digest)).stream) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** It may have been removed while it was read. */
  private async unlessGone(digest: Digest, error: unknown): Promise<null> {
    if (await this.store.has(digest)) throw error;
    return null;
  }
}

export function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
