import type { Digest } from '../model/ids.ts';

/** Bytes by what they are, shared by the nodes: what is too large for the store (payloads and outputs of steps). */
export interface Blobs {
  /** Kept here, and told to the others. @throws ArtifactError */
  put(bytes: Uint8Array): Promise<{ digest: Digest; bytes: number }>;
  /** From here, or from a node that has it. @throws ArtifactError when nobody in reach has */
  get(digest: Digest, signal: AbortSignal): Promise<Uint8Array>;
}
