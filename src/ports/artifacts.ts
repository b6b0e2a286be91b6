import type { AppSpec } from '../model/app-spec.ts';
import type { Digest } from '../model/ids.ts';
import type { Endpoint } from '../model/node-promise.ts';
import type { ArtifactRef } from '../model/records.ts';

/** A line of progress, or of a command's output. */
export interface BuildNote {
  step: 'fetch' | 'build' | 'pack' | 'before-run';
  text: string;
}

export interface UnpackedArtifact {
  /** Absolute. */
  directory: string;
  /** Absolute; made if need be, and kept from release to release. */
  dataDirectory: string;
  env: Record<string, string>;
  pathPrepend: string[];
}

/**
 * The content-addressed store of one node: source trees and built artifacts, as gzipped tar files named by the
 * sha256 of their bytes.
 */
export interface Artifacts {
  /** Takes an uploaded source tree. @throws ArtifactError when it is not one, is unsafe, or too large */
  receive(
    stream: AsyncIterable<Uint8Array>,
    expected: Digest | null,
  ): Promise<{ digest: Digest; bytes: number }>;
  has(digest: Digest): Promise<boolean>;
  list(): Promise<{ digest: Digest; bytes: number }[]>;
  /** Called when something has come or gone. Returns how to stop. */
  onChange(listener: () => void): () => void;
  /** @throws ArtifactError when it is not here */
  read(digest: Digest): Promise<{ bytes: number; stream: AsyncIterable<Uint8Array> }>;
  /**
   * From a peer that promises to hold it, tried in order; the digest is checked before it is kept.
   * @throws ArtifactError naming each peer and why it failed
   */
  fetch(digest: Digest, holders: { node: string; peer: Endpoint }[], signal: AbortSignal): Promise<void>;
  /**
   * Brings the spec's source (git, archive, or uploaded) here as a packed tree, and gives its digest: the same tree
   * has the same digest wherever it came from. @throws ArtifactError, also for an uploaded one that is not here
   */
  obtain(spec: AppSpec, note: (note: BuildNote) => void, signal: AbortSignal): Promise<Digest>;
  /** What a source tree that is here holds, for completing a spec without processes. @throws ArtifactError */
  inspect(digest: Digest): Promise<{ packageStart: boolean; files: string[] }>;
  /**
   * Gets the spec's source (as `obtain` does), builds it, and keeps the result; built before = answered
   * from the cache. @throws ArtifactError whose `output` has the last lines of what failed
   */
  build(spec: AppSpec, note: (note: BuildNote) => void, signal: AbortSignal): Promise<ArtifactRef>;
  /** What `build` would give at once, of that source; null = it would have to be built. */
  builtBefore(spec: AppSpec, source: Digest): Promise<ArtifactRef | null>;
  /** Unpacks into a directory of its own for one release of an app, once. */
  unpack(digest: Digest, app: string, release: number): Promise<UnpackedArtifact>;
  /** Runs the commands in order in the unpacked directory, 300 s each. @throws ArtifactError */
  runHooks(
    commands: string[],
    place: { directory: string; env: Record<string, string> },
    note: (note: BuildNote) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Removes unpacked releases and artifacts that are not in use. */
  collect(inUse: {
    digests: Digest[];
    releases: { app: string; release: number }[];
  }): Promise<{ removed: number }>;
}

export class ArtifactError extends Error {
  readonly retryable: boolean;
  /** The last lines (at most 20) of the command that failed. */
  readonly output: string[];
  constructor(message: string, options: { retryable: boolean; output?: string[]; cause?: unknown }) {
    super(message, { cause: options.cause });
    this.name = 'ArtifactError';
    this.retryable = options.retryable;
    this.output = options.output ?? [];
  }
}
