import { createHash } from 'node:crypto';
import type { Digest } from '../../src/model/ids.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import type { Blobs } from '../../src/ports/blobs.ts';
import type { Clock } from '../../src/ports/clock.ts';

const KEPT_UNNAMED_MS = 15 * 60_000;

/** The blobs of one node in memory, and those of the nodes it reaches. */
export class FakeBlobs implements Blobs {
  /** Whom this one asks and gives second copies to, in that order. */
  others: FakeBlobs[] = [];
  readonly held = new Map<Digest, Uint8Array>();
  private readonly unnamedSinceMs = new Map<Digest, number>();
  private readonly clock: Pick<Clock, 'now'>;

  constructor(clock: Pick<Clock, 'now'>) {
    this.clock = clock;
  }

  put(bytes: Uint8Array): Promise<{ digest: Digest; bytes: number }> {
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const kept = Uint8Array.from(bytes);
    this.keep(digest, kept);
    this.others[0]?.keep(digest, kept);
    return Promise.resolve({ digest, bytes: bytes.length });
  }

  get(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    const found = [this, ...this.others]
      .map(({ held }) => held.get(digest))
      .find(bytes => bytes !== undefined);
    if (found === undefined) {
      return Promise.reject(new ArtifactError(`cannot get ${digest} from another node`, { retryable: true }));
    }
    this.keep(digest, found);
    return Promise.resolve(Uint8Array.from(found));
  }

  tend(inUse: ReadonlySet<Digest>): Promise<{ removed: number; copied: number }> {
    const nowMs = this.clock.now();
    let removed = 0;
    let copied = 0;
    for (const [digest, bytes] of this.held) {
      if (!inUse.has(digest)) {
        const sinceMs = this.unnamedSinceMs.get(digest) ?? nowMs;
        this.unnamedSinceMs.set(digest, sinceMs);
        if (nowMs - sinceMs < KEPT_UNNAMED_MS) continue;
        this.held.delete(digest);
        this.unnamedSinceMs.delete(digest);
        removed += 1;
        continue;
      }
      this.unnamedSinceMs.delete(digest);
      const [second] = this.others;
      if (second === undefined || this.others.some(({ held }) => held.has(digest))) continue;
      second.keep(digest, bytes);
      copied += 1;
    }
    return Promise.resolve({ removed, copied });
  }

  private keep(digest: Digest, bytes: Uint8Array): void {
    this.unnamedSinceMs.delete(digest);
    this.held.set(digest, bytes);
  }
}
