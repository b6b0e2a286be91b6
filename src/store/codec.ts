import type { Kind, Records } from '../model/records.ts';
import type { Log } from '../ports/log.ts';
import { StoreError, type Entry } from '../ports/store.ts';
import type { Keyspace } from './keys.ts';
import type { KeyValue } from './wire.ts';

const SUPPORTED = 1;

/** Values are JSON objects with `v: 1`; fields nobody here knows are kept. */
export function encode(value: Records[Kind]): string {
  return JSON.stringify(value);
}

/** @throws StoreError (refused, not retryable) naming key, found and supported version. */
export function decode<K extends Kind>(kind: K, keys: Keyspace, stored: KeyValue): Entry<K> {
  return {
    kind,
    name: keys.nameOf(kind, stored.key),
    value: parseValue(stored) as Records[K],
    createRevision: stored.createRevision,
    revision: stored.revision,
    lease: stored.lease,
  };
}

/** Decodes what it can: what it cannot is left out of lists and mirrors, and said once per written version. */
export class Decoder {
  private readonly keys: Keyspace;
  private readonly log: Log;
  private readonly reported = new Map<string, bigint>();

  constructor(keys: Keyspace, log: Log) {
    this.keys = keys;
    this.log = log;
  }

  decode<K extends Kind>(kind: K, stored: KeyValue): Entry<K> | null {
    try {
      return decode(kind, this.keys, stored);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (this.reported.get(stored.key) !== stored.revision) {
        this.reported.set(stored.key, stored.revision);
        this.log.error('an entry of the store cannot be read and is left out', { key: stored.key, error });
      }
      return null;
    }
  }
}

function parseValue(stored: KeyValue): unknown {
  let value: unknown;
  try {
    value = JSON.parse(stored.text);
  } catch (cause) {
    throw unreadable(`the value of ${stored.key} is not JSON`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unreadable(`the value of ${stored.key} is not a JSON object`);
  }
  const version = 'v' in value ? value.v : undefined;
  if (version !== SUPPORTED) {
    const found = version === undefined ? 'no version' : `version ${JSON.stringify(version)}`;
    throw unreadable(
      `the value of ${stored.key} has ${found}; this agent supports version ${SUPPORTED}: ` +
        'a newer agent wrote it, upgrade this one',
    );
  }
  return value;
}

function unreadable(message: string, cause?: unknown): StoreError {
  return new StoreError(message, { outcome: 'refused', retryable: false, cause });
}
