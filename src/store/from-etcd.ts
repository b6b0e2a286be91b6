import {
  EtcdAuthenticationFailedError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCDeadlineExceededError,
  GRPCFailedPreconditionError,
  GRPCInvalidArgumentError,
  GRPCOutOfRangeError,
  GRPCUnauthenticatedError,
} from 'etcd3';
import { StoreError } from '../ports/store.ts';
import { isTokenRefused, LeaseGoneError, RevisionGoneError } from './errors.ts';

/**
 * Says what became of a request. The client library drops gRPC's status codes, so its error classes and etcd's
 * messages are all there is to go by; whatever is not known to be harmless is `unknown`.
 */
export function toStoreError(cause: unknown, what: string, url: string): StoreError {
  if (cause instanceof StoreError) return cause;
  const error = cause instanceof Error ? cause : new Error(String(cause));
  const text = plain(error.message);
  const say = (words: string, outcome: StoreError['outcome'], retryable: boolean) =>
    new StoreError(`${what}: ${words} (etcd at ${url})`, { outcome, retryable, cause: error });

  if (isNeverSent(error)) return say(`cannot be reached: ${text}`, 'not-sent', true);
  if (/client was already closed|Channel has been shut down/.test(text)) {
    return say('the store has been closed', 'not-sent', false);
  }
  if (error instanceof EtcdLeaseInvalidError) {
    return new LeaseGoneError(`${what}: the lease has expired or was revoked (etcd at ${url})`, {
      outcome: 'refused',
      retryable: false,
      cause: error,
    });
  }
  if (error instanceof GRPCOutOfRangeError) {
    return new RevisionGoneError(`${what}: ${text} (etcd at ${url})`, {
      outcome: 'refused',
      retryable: true,
      cause: error,
    });
  }
  if (text.includes('user name is empty')) {
    const remedy = 'set a user name and password, or a client certificate whose common name is the user';
    return say(`refused: etcd asks who is there: ${remedy}`, 'refused', false);
  }
  if (isTokenRefused(error)) return say(`the authentication token was refused: ${text}`, 'refused', true);
  if (refusals.some(refusal => error instanceof refusal)) return say(`refused: ${text}`, 'refused', false);
  if (/database space exceeded/.test(text)) {
    return say('refused: the database is full; compact, defragment, and disarm its alarm', 'refused', true);
  }
  if (/too many requests/.test(text)) return say(`refused: ${text}`, 'refused', true);
  if (error instanceof GRPCDeadlineExceededError) return say(`no answer in time: ${text}`, 'unknown', true);
  return say(text, 'unknown', true);
}

const refusals = [
  EtcdAuthenticationFailedError,
  EtcdPermissionDeniedError,
  GRPCInvalidArgumentError,
  GRPCFailedPreconditionError,
  GRPCUnauthenticatedError,
];

/** The request cannot have been applied: it never left this process, or was turned away at the door. */
function isNeverSent(error: Error): boolean {
  const text = error.message;
  return (
    /No connection established|Name resolution failed/.test(text) ||
    (error instanceof GRPCDeadlineExceededError && text.includes('Waiting for LB pick')) ||
    // Only etcd's interceptor says this to a unary call, before it proposes anything.
    text.includes('etcdserver: no leader')
  );
}

function plain(message: string): string {
  return message.replace(/^\w*Error: /, '').replace(/^\d+ [A-Z_]+: /, '');
}
