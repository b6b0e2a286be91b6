import { createHash } from 'node:crypto';
import type { AppSpec } from '../../src/model/app-spec.ts';
import type { Digest } from '../../src/model/ids.ts';
import type { Endpoint } from '../../src/model/node-promise.ts';
import type { ArtifactRef } from '../../src/model/records.ts';
import {
  ArtifactError,
  type Artifacts,
  type BuildNote,
  type UnpackedArtifact,
} from '../../src/ports/artifacts.ts';

/**
 * One node's artifacts in memory. Other nodes are other fakes, found in `network` by their endpoint (`host:port`);
 * taking one out of it makes that node unreachable. Nothing is unpacked: directories are names only.
 */
export class FakeArtifacts implements Artifacts {
  readonly stored = new Map<Digest, Uint8Array>();
  /** `<app>/<release>` to the digest unpacked there. */
  readonly releases = new Map<string, Digest>();
  /** Every before-run command that was run, oldest first. */
  readonly hooksRun: string[] = [];
  /** Every digest that was really fetched, oldest first. */
  readonly fetched: Digest[] = [];
  /** Specs that were really built, oldest first. */
  readonly built: string[] = [];
  /** What came of it, by what went into it. */
  readonly #results = new Map<string, ArtifactRef>();
  /** Builds of this app fail with this error. */
  readonly failingBuilds = new Map<string, ArtifactError>();
  /** What unpacking gives besides the directory, by digest. */
  readonly runtimes = new Map<Digest, { env: Record<string, string>; pathPrepend: string[] }>();
  /** What is found at an address now. */
  readonly origins = new Map<string, string>();
  /** What is built here runs on; null = anywhere, and an uploaded tree needs no build. */
  platform: string | null = null;
  facts = { packageStart: false, files: [] as string[] };
  private readonly listeners = new Set<() => void>();
  private readonly network: Map<string, FakeArtifacts>;

  constructor(network = new Map<string, FakeArtifacts>()) {
    this.network = network;
  }

  /** Puts bytes in as if they had been uploaded. */
  hold(content: string): Digest {
    // Every gzip file starts so, and what does not is refused.
    const bytes = Buffer.concat([Buffer.from([0x1f, 0x8b]), Buffer.from(content)]);
    this.keep(digestOf(bytes), bytes);
    return digestOf(bytes);
  }

  async receive(
    stream: AsyncIterable<Uint8Array>,
    expected: Digest | null,
  ): Promise<{ digest: Digest; bytes: number }> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    const digest = digestOf(bytes);
    if (expected !== null && digest !== expected) {
      throw new ArtifactError(`expected ${expected}, but the bytes are those of ${digest}`, {
        retryable: true,
      });
    }
    if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) {
      throw new ArtifactError('this is not a whole gzipped tar file', { retryable: false });
    }
    this.keep(digest, bytes);
    return { digest, bytes: bytes.length };
  }

  async has(digest: Digest): Promise<boolean> {
    return this.stored.has(digest);
  }

  async list(): Promise<{ digest: Digest; bytes: number }[]> {
    return [...this.stored]
      .map(([digest, bytes]) => ({ digest, bytes: bytes.length }))
      .toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async read(digest: Digest): Promise<{ bytes: number; stream: AsyncIterable<Uint8Array> }> {
    const bytes = this.stored.get(digest);
    if (bytes === undefined) throw new ArtifactError(`${digest} is not on this node`, { retryable: true });
    return { bytes: bytes.length, stream: once(bytes) };
  }

  async fetch(
    digest: Digest,
    holders: { node: string; peer: Endpoint }[],
    signal: AbortSignal,
  ): Promise<void> {
    signal.throwIfAborted();
    if (this.stored.has(digest)) return;
    const failures: string[] = [];
    for (const { node, peer } of holders) {
      const other = this.network.get(`${peer.host}:${peer.port}`);
      const bytes = other?.stored.get(digest);
      if (bytes !== undefined && digestOf(bytes) === digest) {
        this.keep(digest, bytes);
        this.fetched.push(digest);
        return;
      }
      const why = other === undefined ? 'no answer' : bytes === undefined ? 'HTTP 404' : 'wrong bytes';
      failures.push(`${node} (${peer.host}:${peer.port}): ${why}`);
    }
    const reasons = failures.length === 0 ? 'no node promises to hold it' : failures.join('; ');
    throw new ArtifactError(`cannot get ${digest} from a peer: ${reasons}`, { retryable: true });
  }

  /** A git or archive source is what it is called, until a test changes `origins`. */
  async obtain(spec: AppSpec, note: (note: BuildNote) => void, signal: AbortSignal): Promise<Digest> {
    signal.throwIfAborted();
    const { source } = spec;
    if (source === null) throw new ArtifactError(`${spec.app} has no source to build`, { retryable: false });
    if (source.kind === 'path') {
      throw new ArtifactError(`the source ${source.path} is a directory on another machine`, {
        retryable: false,
      });
    }
    if (source.kind === 'uploaded') {
      await this.read(source.digest);
      return source.digest;
    }
    note({ step: 'fetch', text: source.url });
    return this.hold(this.origins.get(source.url) ?? JSON.stringify(source));
  }

  async build(spec: AppSpec, note: (note: BuildNote) => void, signal: AbortSignal): Promise<ArtifactRef> {
    signal.throwIfAborted();
    const failure = this.failingBuilds.get(spec.app);
    if (failure !== undefined) throw failure;
    const source = await this.obtain(spec, note, signal);
    const made = spec.source?.kind !== 'uploaded' || this.platform !== null;
    if (made) this.built.push(spec.app);
    const digest = made ? this.hold(JSON.stringify([source, spec.build, this.platform])) : source;
    const result = { digest, bytes: this.stored.get(digest)?.length ?? 0, platform: this.platform };
    this.#results.set(this.#inputs(spec, source, made), result);
    return result;
  }

  async builtBefore(spec: AppSpec, source: Digest): Promise<ArtifactRef | null> {
    const results = [true, false].map(made => this.#results.get(this.#inputs(spec, source, made)));
    return results.find(result => result && this.stored.has(result.digest)) ?? null;
  }

  #inputs({ app, build }: AppSpec, source: Digest, made: boolean): string {
    return JSON.stringify([source, build, this.platform, made ? app : null]);
  }

  async unpack(digest: Digest, app: string, release: number): Promise<UnpackedArtifact> {
    await this.read(digest);
    this.releases.set(`${app}/${release}`, digest);
    const { env, pathPrepend } = this.runtimes.get(digest) ?? { env: {}, pathPrepend: [] };
    return {
      directory: `/fake/apps/${app}/releases/${release}/src`,
      dataDirectory: `/fake/apps/${app}/data`,
      env,
      pathPrepend,
    };
  }

  /** Knows `echo TEXT`, `exit CODE`, `true` and `false`; nothing runs in what was built for another platform. */
  async runHooks(
    commands: string[],
    { directory }: { directory: string; env: Record<string, string> },
    note: (note: BuildNote) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const [, app = '', release = ''] = /^\/fake\/apps\/(.*)\/releases\/(\d+)\/src$/.exec(directory) ?? [];
    const unpacked = this.stored.get(this.releases.get(`${app}/${release}`) ?? '') ?? new Uint8Array();
    if (
      this.platform !== null &&
      !Buffer.from(unpacked)
        .toString()
        .endsWith(`${JSON.stringify(this.platform)}]`)
    )
      throw new ArtifactError('Exec format error', { retryable: false });
    const output: string[] = [];
    for (const command of commands) {
      signal.throwIfAborted();
      this.hooksRun.push(command);
      note({ step: 'before-run', text: `$ ${command}` });
      const echoed = /^echo (.*)$/.exec(command)?.[1];
      if (echoed !== undefined) {
        output.push(echoed);
        note({ step: 'before-run', text: echoed });
      }
      const code = command === 'false' ? '1' : (/^exit (\d+)$/.exec(command)?.[1] ?? '0');
      if (code !== '0') {
        throw new ArtifactError(`\`${command}\` failed with exit code ${code}`, { retryable: false, output });
      }
    }
  }

  async collect(inUse: {
    digests: Digest[];
    releases: { app: string; release: number }[];
  }): Promise<{ removed: number }> {
    const wanted = new Set(inUse.releases.map(({ app, release }) => `${app}/${release}`));
    const unused = {
      digests: [...this.stored.keys()].filter(digest => !inUse.digests.includes(digest)),
      releases: [...this.releases.keys()].filter(name => !wanted.has(name)),
    };
    for (const digest of unused.digests) this.stored.delete(digest);
    if (unused.digests.length > 0) this.tell();
    for (const name of unused.releases) this.releases.delete(name);
    return { removed: unused.digests.length + unused.releases.length };
  }

  async inspect(digest: Digest): Promise<{ packageStart: boolean; files: string[] }> {
    await this.read(digest);
    return this.facts;
  }

  private keep(digest: Digest, bytes: Uint8Array): void {
    this.stored.set(digest, bytes);
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
