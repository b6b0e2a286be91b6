import { AdminError } from '../../ports/admin.ts';
import { ArtifactError } from '../../ports/artifacts.ts';
import { StoreError } from '../../ports/store.ts';

/** Trying again can't help. */
export class HopelessDeployment extends Error {}

/** Whether what went wrong with a step will go wrong again. */
export function isHopeless(error: unknown): boolean {
  if (error instanceof ArtifactError || error instanceof StoreError) return !error.retryable;
  if (error instanceof AdminError) return error.kind !== 'unavailable';
  return error instanceof HopelessDeployment;
}
