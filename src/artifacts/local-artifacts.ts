import { randomBytes } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AppSpec } from '../model/app-spec.ts';
import type { Digest } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { ArtifactRef } from '../model/records.ts';
import { ArtifactError, type Artifacts, type BuildNote, type UnpackedArtifact } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { PeerCredentials } from '../ports/peers.ts';
import { readArchive } from './archive.ts';
import {
  buildArtifact,
  builtBefore,
  obtainArtifactSource,
  removeOldBuilds,
  type BuildRoom,
} from './build.ts';
import { forgetLost } from './build-cache.ts';
import { buildEnvironment } from './build-environment.ts';
import { ContentStore } from './cas.ts';
import { runCommand, shellCommand } from './command.ts';
import { DEFAULT_MAX_SOURCE_BYTES, factsOf, PackError, type SourceFacts } from './pack.ts';
import { fetchFromPeers } from './peer-fetch.ts';
import { releasesHere, unpackRelease, type ReleaseRoom } from './releases.ts';
import { SingleFlight } from './single-flight.ts';
import { DamagedArtifact } from './unpack.ts';

export interface ArtifactLimits {
  /** Of a source tree's content, and of a downloaded archive. */
  maxSourceBytes: number;
  /** Of a built tree's content. */
  maxBytes: number;
  maxEntries: number;
  /** One command of a build. */
  commandSeconds: number;
  /** One before-run command. */
  hookSeconds: number;
  /** Another node, or an archive's server, that sends nothing for so long is given up. */
  stallSeconds: number;
  /** What came or was used so recently is not collected: a deployment may be about to name it. */
  keepUnusedSeconds: number;
}

const DEFAULT_LIMITS: ArtifactLimits = {
  maxSourceBytes: DEFAULT_MAX_SOURCE_BYTES,
  maxBytes: 4 * 1024 ** 3,
  maxEntries: 250_000,
  commandSeconds: 15 * 60,
  hookSeconds: 300,
  stallSeconds: 15,
  keepUnusedSeconds: 15 * 60,
};

/**
 * The artifacts of one node, below its state directory: `artifacts/` (the store), `apps/<app>/releases/<n>/src`
 * (unpacked), `builds/` (being built), `build-cache/` (what was built from what), `cache/` (of the package managers).
 */
export function localArtifacts(options: {
  stateDir: string;
  clock: Clock;
  log: Log;
  limits?: Partial<ArtifactLimits>;
  peerTls?: PeerCredentials | null;
  /** The agent's environment, of which builds get PATH and the package managers' settings. */
  env?: Record<string, string | undefined>;
  platform?: string;
}): Artifacts {
  return new DirectoryArtifacts(options);
}

class DirectoryArtifacts implements Artifacts {
  private readonly store: ContentStore;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly limits: ArtifactLimits;
  private readonly tls: PeerCredentials | null;
  private readonly buildRoom: BuildRoom;
  private readonly releaseRoom: ReleaseRoom;
  private readonly fetches = new SingleFlight<void>();
  private readonly unpacks = new SingleFlight<UnpackedArtifact>();
  /** By app and release, so that an instance that starts again need not wait for the disk. */
  private readonly unpacked = new Map<string, { digest: Digest; unpacked: UnpackedArtifact }>();
  /** Of artifacts by their digests, and of unpacked releases by `<app>/<release>`. */
  private readonly lastUsedMs = new Map<string, number>();
  /** By `<app>/<release>`: what is to be unpacked there waits until what was there is gone. */
  private readonly removals = new Map<string, Promise<void>>();

  constructor(options: Parameters<typeof localArtifacts>[0]) {
    const { stateDir, clock, log } = options;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    // What half-done things are named by: those of another run were left by a crash.
    const run = randomBytes(4).toString('hex');
    const cacheDirectory = join(stateDir, 'cache');
    const env = buildEnvironment(cacheDirectory, options.env ?? process.env);
    const directory = join(stateDir, 'artifacts');
    const store = new ContentStore(directory, limits.maxBytes, run, '.tar.gz', digest => this.touch(digest));
    this.store = store;
    this.clock = clock;
    this.log = log;
    this.limits = limits;
    this.tls = options.peerTls ?? null;
    this.buildRoom = {
      store,
      clock,
      run,
      limits,
      env,
      buildsDirectory: join(stateDir, 'builds'),
      cacheDirectory: join(stateDir, 'build-cache'),
      platform: options.platform ?? platformOf(process),
    };
    this.releaseRoom = {
      store,
      run,
      limits,
      cacheDirectory,
      appsDirectory: join(stateDir, 'apps'),
      path: env.PATH,
    };
  }

  async receive(
    stream: AsyncIterable<Uint8Array>,
    expected: Digest | null,
  ): Promise<{ digest: Digest; bytes: number }> {
    const limits = { maxBytes: this.limits.maxSourceBytes, maxEntries: this.limits.maxEntries };
    return this.store.put(stream, expected, async path => {
      await readArchive(createReadStream(path) as AsyncIterable<Buffer>, limits, () => Promise.resolve());
    });
  }

  has(digest: Digest): Promise<boolean> {
    return this.store.has(digest);
  }

  list(): Promise<{ digest: Digest; bytes: number }[]> {
    return this.store.list();
  }

  onChange(listener: () => void): () => void {
    return this.store.onChange(listener);
  }

  read(digest: Digest): Promise<{ bytes: number; stream: AsyncIterable<Uint8Array> }> {
    return this.store.read(digest);
  }

  async fetch(
    digest: Digest,
    holders: { node: string; peer: Endpoint }[],
    signal: AbortSignal,
  ): Promise<void> {
    this.touch(digest);
    if (await this.store.has(digest)) return;
    const room = {
      store: this.store,
      clock: this.clock,
      stallSeconds: this.limits.stallSeconds,
      tls: this.tls,
    };
    await this.fetches.run(digest, signal, async shared => {
      await fetchFromPeers(digest, holders, room, shared);
      this.log.info('artifact fetched from a peer', { digest });
    });
    this.touch(digest);
  }

  async obtain(spec: AppSpec, note: (note: BuildNote) => void, signal: AbortSignal): Promise<Digest> {
    try {
      const digest = await obtainArtifactSource(spec, this.buildRoom, note, signal);
      this.touch(digest);
      return digest;
    } catch (error) {
      signal.throwIfAborted();
      throw asArtifactError(error, `cannot get the source of ${spec.app}`);
    }
  }

  async build(spec: AppSpec, note: (note: BuildNote) => void, signal: AbortSignal): Promise<ArtifactRef> {
    try {
      if (spec.source?.kind === 'uploaded') this.touch(spec.source.digest);
      const ref = await buildArtifact(spec, this.buildRoom, note, signal);
      this.touch(ref.digest);
      this.log.info('artifact ready', { app: spec.app, digest: ref.digest, bytes: ref.bytes });
      return ref;
    } catch (error) {
      signal.throwIfAborted();
      throw asArtifactError(error, `cannot build ${spec.app}`);
    }
  }

  async builtBefore(spec: AppSpec, source: Digest): Promise<ArtifactRef | null> {
    const ref = await builtBefore(source, spec, this.buildRoom);
    if (ref !== null) this.touch(ref.digest);
    return ref;
  }

  async unpack(digest: Digest, app: string, release: number): Promise<UnpackedArtifact> {
    this.touch(digest);
    const key = `${app}/${release}/${digest}`;
    const place = `${app}/${release}`;
    this.touch(place);
    const known = this.unpacked.get(place);
    if (known?.digest === digest && isThere(known.unpacked)) return known.unpacked;
    return this.unpacks.run(key, new AbortController().signal, async () => {
      try {
        this.unpacked.delete(place);
        await this.removals.get(place);
        const unpacked = await unpackRelease(digest, app, release, this.releaseRoom);
        this.unpacked.set(place, { digest, unpacked });
        return unpacked;
      } catch (error) {
        const failure = asArtifactError(error, `cannot unpack release ${release} of ${app}`);
        // A damaged copy is worth nothing: without it, the next attempt fetches a whole one.
        if (error instanceof DamagedArtifact) await this.store.remove(digest);
        throw failure;
      }
    });
  }

  async runHooks(
    commands: string[],
    place: { directory: string; env: Record<string, string> },
    note: (note: BuildNote) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const env = { PATH: this.releaseRoom.path, ...place.env };
    for (const text of commands) {
      note({ step: 'before-run', text: `$ ${text}` });
      const command = shellCommand(text, {
        directory: place.directory,
        env,
        timeoutSeconds: this.limits.hookSeconds,
      });
      await runCommand(command, this.clock, line => note({ step: 'before-run', text: line }), signal);
    }
  }

  async collect(inUse: {
    digests: Digest[];
    releases: { app: string; release: number }[];
  }): Promise<{ removed: number }> {
    this.unpacked.clear();
    let removed = await this.removeReleases(inUse.releases);
    const wanted = new Set(inUse.digests);
    for (const { digest } of await this.store.list()) {
      if (wanted.has(digest) || this.usedRecently(digest)) continue;
      await this.store.remove(digest);
      this.lastUsedMs.delete(digest);
      removed += 1;
    }
    await this.store.removeLeftovers();
    await forgetLost(this.buildRoom.cacheDirectory, this.store);
    await removeOldBuilds(this.buildRoom);
    if (removed > 0) this.log.info('unused artifacts and releases removed', { removed });
    return { removed };
  }

  async inspect(digest: Digest): Promise<SourceFacts> {
    this.touch(digest);
    const { stream } = await this.store.read(digest);
    const files: string[] = [];
    const packageJson: Buffer[] = [];
    await readArchive(stream, this.limits, async entry => {
      if (entry.kind !== 'directory') files.push(entry.path);
      if (entry.kind !== 'file' || entry.path !== 'package.json') return;
      for await (const chunk of entry.body) packageJson.push(chunk);
    });
    return factsOf(files, Buffer.concat(packageJson).toString('utf8'));
  }

  /** Gives how many went. */
  private async removeReleases(inUse: { app: string; release: number }[]): Promise<number> {
    const wanted = new Set(inUse.map(({ app, release }) => `${app}/${release}`));
    let removed = 0;
    for (const { app, release, directory } of await releasesHere(this.releaseRoom)) {
      const place = `${app}/${release}`;
      if (wanted.has(place) || this.usedRecently(place)) continue;
      // Begun in the same turn as it was looked at: whoever wants it from now on waits.
      const removal = rm(directory, { recursive: true, force: true });
      this.removals.set(place, removal);
      await removal.finally(() => this.removals.delete(place));
      this.lastUsedMs.delete(place);
      removed += 1;
    }
    return removed;
  }

  private touch(used: string): void {
    this.lastUsedMs.set(used, this.clock.now());
  }

  private usedRecently(used: string): boolean {
    const usedMs = this.lastUsedMs.get(used);
    return usedMs !== undefined && this.clock.now() - usedMs < this.limits.keepUnusedSeconds * 1000;
  }
}

function isThere({ directory, dataDirectory }: UnpackedArtifact): boolean {
  return existsSync(directory) && existsSync(dataDirectory);
}

/** `linux-x64-node20`: what artifacts built here run on. */
function platformOf(host: { platform: string; arch: string; versions: { node: string } }): string {
  return `${host.platform}-${host.arch}-node${host.versions.node.split('.')[0] ?? ''}`;
}

function asArtifactError(error: unknown, what: string): ArtifactError {
  if (error instanceof ArtifactError) return error;
  const retryable = !(error instanceof PackError);
  return new ArtifactError(`${what}: ${(error as Error).message}`, { retryable, cause: error });
}
