import type { Change, Mirror, Store } from '../../src/ports/store.ts';
import type { Kind } from '../../src/model/records.ts';
import { monotonicMs } from './monotonic.ts';

export interface OwnerChange {
  atMs: number;
  subject: string;
  /** Of what is there afterwards; null = the key is gone. */
  token: bigint | null;
  node: string | null;
  revision: bigint;
}

export interface SessionEnd {
  atMs: number;
  node: string;
  incarnation: string;
}

/** Sees what the store says of owners and sessions, over links that no fault touches. */
export class Watcher {
  readonly store: Store;
  readonly owners: OwnerChange[] = [];
  readonly ends: SessionEnd[] = [];
  readonly #mirrors: { close(): void }[] = [];
  readonly #taken = new Set<(change: OwnerChange) => void>();

  constructor(store: Store) {
    this.store = store;
  }

  async start(): Promise<void> {
    const owners = this.#mirror('owners', ({ name, after }) => {
      const change = {
        atMs: monotonicMs(),
        subject: name,
        token: after ? BigInt(after.value.token ?? after.revision) : null,
        node: after?.value.released === null ? after.value.node : null,
        revision: after?.revision ?? 0n,
      };
      this.owners.push(change);
      for (const listener of this.#taken) listener(change);
    });
    const sessions = this.#mirror('sessions', ({ before, after }) => {
      if (after || !before) return;
      const { node, incarnation } = before.value;
      this.ends.push({ atMs: monotonicMs(), node, incarnation });
    });
    await Promise.all([owners.ready(), sessions.ready()]);
  }

  /** Resolves with the node that takes a subject next. */
  nextTaker(subject: string, after: string): Promise<string> {
    return new Promise(resolve => {
      const listener = ({ subject: taken, node }: OwnerChange): void => {
        if (taken !== subject || node === null || node === after) return;
        this.#taken.delete(listener);
        resolve(node);
      };
      this.#taken.add(listener);
    });
  }

  /** Owner keys whose token went down. */
  tokenTrouble(): string[] {
    const highest = new Map<string, bigint>();
    return this.owners.flatMap(({ subject, token, node }) => {
      const before = highest.get(subject) ?? 0n;
      if (token === null || token >= before) {
        if (token !== null) highest.set(subject, token);
        return [];
      }
      return [`the owner key of ${subject} went from token ${before} to ${token} (${node ?? 'released'})`];
    });
  }

  async close(): Promise<void> {
    for (const mirror of this.#mirrors) mirror.close();
    await this.store.close();
  }

  #mirror<K extends Kind>(kind: K, see: (change: Change<K>) => void): Mirror<K> {
    const mirror = this.store.mirror(kind);
    mirror.onChange(changes => changes.forEach(see));
    this.#mirrors.push(mirror);
    return mirror;
  }
}
