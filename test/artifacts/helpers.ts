import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { ExecutionContext } from 'ava';
import { Header } from 'tar';
import { localArtifacts, type ArtifactLimits } from '../../src/artifacts/local-artifacts.ts';
import { packDirectory } from '../../src/artifacts/pack.ts';
import type { AppSpec, BuildSpec, ProcessSpec } from '../../src/model/app-spec.ts';
import type { Artifacts } from '../../src/ports/artifacts.ts';
import type { Clock } from '../../src/ports/clock.ts';
import type { PeerCredentials } from '../../src/ports/peers.ts';
import { FakeLog } from '../support/fake-log.ts';

export const never = new AbortController().signal;

export const realClock: Clock = {
  now: () => performance.now(),
  timestamp: () => new Date().toISOString(),
  sleep: (durationMs, signal) =>
    new Promise(resolve => {
      const timer = setTimeout(resolve, durationMs);
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    }),
  after: (durationMs, callback) => {
    const timer = setTimeout(callback, durationMs);
    return () => clearTimeout(timer);
  },
};

/** Removed when the test ends. */
export async function temporaryDirectory(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-artifacts-'));
  // What a tool leaves running, as go does for its telemetry, may still write there for a moment.
  t.teardown(() => rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
  return directory;
}

export async function tree(
  t: ExecutionContext,
  files: Record<string, string>,
  modes: Record<string, number> = {},
): Promise<string> {
  const directory = await temporaryDirectory(t);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), content, { mode: modes[path] ?? 0o644 });
  }
  return directory;
}

export async function artifactsIn(
  t: ExecutionContext,
  options: {
    limits?: Partial<ArtifactLimits>;
    env?: Record<string, string>;
    stateDir?: string;
    peerTls?: PeerCredentials;
    clock?: Clock;
  } = {},
): Promise<{ artifacts: Artifacts; stateDir: string; log: FakeLog }> {
  const stateDir = options.stateDir ?? (await temporaryDirectory(t));
  const log = new FakeLog();
  const artifacts = localArtifacts({
    stateDir,
    clock: options.clock ?? realClock,
    log,
    limits: { keepUnusedSeconds: 0, ...options.limits },
    ...(options.env ? { env: options.env } : {}),
    ...(options.peerTls ? { peerTls: options.peerTls } : {}),
  });
  return { artifacts, stateDir, log };
}

export async function upload(artifacts: Artifacts, directory: string): Promise<string> {
  const packed = await packDirectory(directory, { ignore: [] });
  try {
    return (
      await artifacts.receive(createReadStream(packed.filePath) as AsyncIterable<Buffer>, packed.digest)
    ).digest;
  } finally {
    await packed.remove();
  }
}

export interface TarEntry {
  path: string;
  type?: 'File' | 'Directory' | 'SymbolicLink' | 'Link' | 'CharacterDevice' | 'FIFO';
  content?: string;
  target?: string;
  mode?: number;
}

/** A hand-made archive, as an attacker would send it: nothing is checked or cleaned here. */
export function tarball(entries: TarEntry[]): Buffer {
  const blocks = entries.flatMap(({ path, type = 'File', content = '', target, mode = 0o644 }) => {
    const body = Buffer.from(content);
    const header = new Header({
      path,
      type,
      mode,
      size: type === 'File' ? body.length : 0,
      ...(target === undefined ? {} : { linkpath: target }),
    });
    header.encode();
    const padding = Buffer.alloc((512 - (body.length % 512)) % 512);
    return [header.block!, ...(type === 'File' ? [body, padding] : [])];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

export async function* streamOf(...chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

export function spec(
  changes: Partial<Omit<AppSpec, 'build'>> & { build?: Partial<BuildSpec> } = {},
): AppSpec {
  const { build, ...rest } = changes;
  return {
    app: 'shop',
    title: null,
    version: null,
    source: null,
    beforeRun: [],
    processes: [],
    crons: [],
    env: {},
    hostnames: [],
    healthcheck: { path: null, contains: null, intervalSeconds: 5, timeoutSeconds: 2, failureThreshold: 3 },
    restart: { policy: 'on-failure', max: 5 },
    limits: { memoryBytes: null, cpu: null, processes: null },
    placement: { requires: {}, spread: null },
    dependsOn: [],
    deploy: { strategy: 'rolling', maxSurge: 1, maxUnavailable: 0, healthyDeadlineSeconds: 120 },
    ports: [],
    volumes: [],
    addons: [],
    ...rest,
    build: {
      builder: 'auto',
      toolchain: 'auto',
      beforeBuild: [],
      build: [],
      afterBuild: [],
      ignore: [],
      pipInstall: [],
      ...build,
    },
  };
}

export function webProcess(changes: Partial<ProcessSpec> = {}): ProcessSpec {
  return {
    type: 'web',
    kind: 'command',
    command: 'true',
    directory: '',
    scale: 1,
    exclusive: false,
    routed: true,
    startTimeoutSeconds: 60,
    stopTimeoutSeconds: 10,
    ...changes,
  };
}
