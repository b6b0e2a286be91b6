import { StoreError } from '../ports/store.ts';

/** The revision asked for has been compacted away: list again from the present. */
export class RevisionGoneError extends StoreError {}

/** The lease of a write does not exist (any more). */
export class LeaseGoneError extends StoreError {}

/** Another endpoint may do better: this one is unreachable, hung, or has no leader. */
export function isHostTrouble(error: StoreError): boolean {
  return error.outcome !== 'refused' && error.retryable;
}

/** etcd forgets simple tokens when it restarts, and outdates all of them when a role changes. */
export function isTokenRefused(error: unknown): boolean {
  const text = error instanceof Error ? error.message : String(error);
  return /token was refused|user name is empty|revision of auth store is old/.test(text);
}

/**
 * Somebody changed a user or a role between the arrival of the request and its turn: it was not done. Also said to who is known by
 * a certificate and has no token.
 */
export function isAuthOutdated(error: unknown): boolean {
  return /revision of auth store is old/.test(error instanceof Error ? error.message : String(error));
}
