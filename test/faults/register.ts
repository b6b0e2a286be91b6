import { setTimeout as sleep } from 'node:timers/promises';
import { StoreError, type Entry, type Store } from '../../src/ports/store.ts';
import { notLinearizable, type Operation } from './linearizable.ts';

const PAUSE_MS = 60;

export interface RegisterVerdict {
  operations: number;
  /** Reads that etcd answered with what had been replaced before they began: a known defect of some versions. */
  staleReads: boolean;
  trouble: string | null;
}

/** One compare-and-swap register that several clients drive through the real store, each over links of its own. */
export class Register {
  readonly #clients: Store[];
  readonly #name: string;
  readonly #operations: Operation[] = [];
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;
  #next = 0;

  constructor(clients: Store[], name: string) {
    this.#clients = clients;
    this.#name = name;
    this.#running = Promise.all(this.#clients.map((store, index) => this.#drive(store, index)));
  }

  async end(): Promise<RegisterVerdict> {
    this.#stop.abort();
    await this.#running;
    const all = this.#operations;
    const wrong = notLinearizable(all, null);
    if (!wrong) return { operations: all.length, staleReads: false, trouble: null };
    // What is written goes through the log of etcd, whatever its reads do.
    const written = all.filter(operation => operation.kind === 'swap' && operation.outcome !== 'refused');
    const still = notLinearizable(written, null);
    return {
      operations: all.length,
      staleReads: still === null,
      trouble: `the register is not linearizable at ${JSON.stringify(still ?? wrong)}`,
    };
  }

  async #drive(store: Store, index: number): Promise<void> {
    let known: Entry<'hostnames'> | null = null;
    for (let turn = 0; !this.#stop.signal.aborted; turn++) {
      try {
        known = turn % 2 === 0 ? await this.#read(store) : await this.#swap(store, known, index);
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        known = null;
        turn = 1;
      }
      await sleep(PAUSE_MS);
    }
  }

  async #read(store: Store): Promise<Entry<'hostnames'> | null> {
    const startMs = performance.now();
    const entry = await store.get('hostnames', this.#name);
    this.#operations.push({ kind: 'read', value: valueOf(entry), startMs, endMs: performance.now() });
    return entry;
  }

  async #swap(
    store: Store,
    known: Entry<'hostnames'> | null,
    index: number,
  ): Promise<Entry<'hostnames'> | null> {
    const swap = { kind: 'swap' as const, from: valueOf(known), to: `${index}-${this.#next++}` };
    const at = { kind: 'hostnames' as const, name: this.#name };
    const startMs = performance.now();
    try {
      const result = await store.commit(
        [known ? { ...at, revision: known.revision } : { ...at, is: 'absent' }],
        [{ put: 'hostnames', name: this.#name, value: { v: 1, app: swap.to } }],
      );
      const endMs = performance.now();
      if (result.kind === 'committed') {
        this.#operations.push({ ...swap, outcome: 'done', startMs, endMs });
      } else {
        const found = valueOf(result.current[0] as Entry<'hostnames'> | undefined);
        this.#operations.push({ ...swap, outcome: 'refused', found, startMs, endMs });
      }
      return null;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.outcome === 'unknown') {
        this.#operations.push({ ...swap, outcome: 'unknown', startMs, endMs: performance.now() });
      }
      throw error;
    }
  }
}

function valueOf(entry: Entry<'hostnames'> | null | undefined): string | null {
  return entry?.value.app ?? null;
}
