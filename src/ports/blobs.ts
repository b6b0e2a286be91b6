import type { Digest } from '../model/ids.ts';

/** Bytes by what they are, shared by the nodes: what is too large for the store (payloads and outputs of steps). */
export interface Blobs {
  /**
   * Kept here and, unless no other node takes it, on a second one: then the loss of either loses nothing.
   * @throws ArtifactError when it is too large, or can't be kept here
   */
  put(bytes: Uint8Array): Promise<{ digest: Digest; bytes: number }>;
  /** From here, or from a node that has it. @throws ArtifactError when nobody in reach has */
  get(digest: Digest, signal: AbortSignal): Promise<Uint8Array>;
  /**
   * Looks after those that are here, given all that any plan names as of now: what has been named by none for a quarter of an hour
   * is removed, and what is, but has lost its second copy, gets another one.
   */
  tend(inUse: ReadonlySet<Digest>, signal: AbortSignal): Promise<{ removed: number; copied: number }>;
}
