import type { Kind } from '../model/records.ts';
import { StoreError, type Compare, type Write } from '../ports/store.ts';
import { encode } from './codec.ts';
import type { Keyspace } from './keys.ts';
import type { Condition, Operation, TxnRequest } from './wire.ts';

/** etcd's default for each of compares and writes. */
const MOST_OPERATIONS = 128;
/** etcd refuses requests of 1.5 MiB; the rest is room for compares and framing. */
const MOST_BYTES = 1024 * 1024;

/**
 * One transaction: all writes if all compares hold, else a read of the compared keys.
 * @throws StoreError (refused, not retryable) when etcd would refuse it for its shape or size
 */
export function toTxn(keys: Keyspace, compares: Compare[], writes: Write[]): TxnRequest {
  checkCount('compares', compares.length);
  checkCount('writes', writes.length);
  const conditions = compares.map(compare => toCondition(keys, compare));
  const success = writes.map(write => toOperation(keys, write));
  checkKeys(writes);
  checkSize(success, writes);
  const compared = new Set(conditions.map(condition => condition.key));
  return { conditions, success, failure: [...compared].map(key => ({ read: key })) };
}

function checkCount(what: string, count: number): void {
  if (count > MOST_OPERATIONS) {
    throw refused(`a transaction takes at most ${MOST_OPERATIONS} ${what}; this one has ${count}`);
  }
}

function checkKeys(writes: Write[]): void {
  const seen = new Set<string>();
  for (const write of writes) {
    const name = nameOf(write);
    if (seen.has(name)) throw refused(`${name} is written twice in one transaction; write it once`);
    seen.add(name);
  }
}

function checkSize(operations: Operation[], writes: Write[]): void {
  const sizes = operations.map(sizeOf);
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total <= MOST_BYTES) return;
  const largest = sizes.indexOf(Math.max(...sizes));
  const write = writes[largest];
  throw refused(
    `the transaction has ${inWords(total)}; at most ${inWords(MOST_BYTES)} fit` +
      (write ? `; its largest value, ${nameOf(write)}, has ${inWords(sizes[largest] ?? 0)}` : ''),
  );
}

function toCondition(keys: Keyspace, compare: Compare): Condition {
  const key = keys.key(compare.kind, compare.name);
  if ('is' in compare) return { key, is: compare.is };
  return 'revision' in compare ? { key, revision: compare.revision } : { key, lease: compare.lease };
}

function toOperation(keys: Keyspace, write: Write): Operation {
  if ('delete' in write) return { delete: keys.key(write.delete, write.name) };
  const lease = write.lease === undefined ? {} : { lease: write.lease };
  return { put: keys.key(write.put, write.name), text: encode(write.value), ...lease };
}

function sizeOf(operation: Operation): number {
  if ('put' in operation) return Buffer.byteLength(operation.put) + Buffer.byteLength(operation.text);
  return 'delete' in operation ? Buffer.byteLength(operation.delete) : 0;
}

function nameOf(write: Write): string {
  const kind: Kind = 'put' in write ? write.put : write.delete;
  return `${kind}/${write.name}`;
}

function inWords(bytes: number): string {
  const mebibytes = bytes / MOST_BYTES;
  return mebibytes >= 0.1 ? `${Number(mebibytes.toFixed(2))} MiB` : `${bytes} bytes`;
}

function refused(message: string): StoreError {
  return new StoreError(message, { outcome: 'refused', retryable: false });
}
