import type { NodeName, Timestamp } from '../model/ids.ts';
import type { EventRecord } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Store, Write } from '../ports/store.ts';

const FLUSH_AFTER_MS = 150;
const RETRY_MS = 1000;
const PER_TRANSACTION = 60;
const KEPT_WHILE_AWAY = 2000;

export interface LedgerNote {
  kind: string;
  subject: string;
  message: string;
  details?: Record<string, unknown>;
}

/**
 * This node's pen for the cluster's ledger of events. Notes are gathered and written together, with the next promise
 * where that can be; while the store is away they wait, and the oldest are dropped beyond a bound, which is counted.
 */
export class Ledger {
  readonly #node: NodeName;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  #pending: { name: string; value: EventRecord }[] = [];
  #counter = 0;
  #dropped = 0;
  #closed = false;
  #cancel: (() => void) | null = null;
  #flushing: Promise<void> | null = null;

  constructor(options: { node: NodeName; store: Store; clock: Clock; log: Log }) {
    this.#node = options.node;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /** How many notes wait to be written, and how many never will be: too many came while the store was away. */
  backlog(): { waiting: number; dropped: number } {
    return { waiting: this.#pending.length, dropped: this.#dropped };
  }

  note(note: LedgerNote): void {
    this.#pending.push(this.#compose(note));
    this.#dropOldest();
    this.#flushLater(FLUSH_AFTER_MS);
  }

  /** An event that stands or falls with the transaction it tells of, and does not wait when that fails. */
  draft(note: LedgerNote): Write {
    const { name, value } = this.#compose(note);
    return { put: 'events', name, value };
  }

  /** Hands over up to `count` waiting notes as writes, for a transaction that is about to be made anyway. */
  take(count: number): { writes: Write[]; putBack: () => void } {
    const taken = this.#pending.splice(0, count);
    return {
      writes: taken.map(event => ({ put: 'events' as const, name: event.name, value: event.value })),
      putBack: () => {
        this.#pending.unshift(...taken);
        this.#dropOldest();
        this.#flushLater(RETRY_MS);
      },
    };
  }

  /** Writes what waits. Resolves when that is done, or has failed and been put back to wait. */
  async flush(): Promise<void> {
    this.#flushing ??= this.#write().finally(() => (this.#flushing = null));
    await this.#flushing;
  }

  /** Writes what waits, once more; what is noted from then on, or could not be written, is lost. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#cancel?.();
    await this.flush();
  }

  async #write(): Promise<void> {
    while (this.#pending.length > 0) {
      const { writes, putBack } = this.take(PER_TRANSACTION);
      try {
        // Names are unique and puts idempotent, so an unknown outcome may simply be written again.
        await this.#store.commit([], writes);
      } catch (error) {
        putBack();
        this.#log.warn('events wait for the store', {
          waiting: this.#pending.length,
          dropped: this.#dropped,
          error,
        });
        return;
      }
    }
  }

  #compose(note: LedgerNote): { name: string; value: EventRecord } {
    this.#log.info(note.message, { event: note.kind, subject: note.subject, ...note.details });
    const at = this.#clock.timestamp();
    return {
      name: eventName(at, this.#node, this.#counter++),
      value: {
        v: 1,
        at,
        node: this.#node,
        kind: note.kind,
        subject: note.subject,
        message: note.message,
        details: note.details ?? {},
      },
    };
  }

  #flushLater(inMs: number): void {
    if (this.#closed) return;
    this.#cancel ??= this.#clock.after(inMs, () => {
      this.#cancel = null;
      void this.flush();
    });
  }

  #dropOldest(): void {
    const surplus = this.#pending.length - KEPT_WHILE_AWAY;
    if (surplus <= 0) return;
    this.#pending.splice(0, surplus);
    this.#dropped += surplus;
  }
}

/** Sorts by time; unique through node and counter. */
export function eventName(at: Timestamp, node: NodeName, counter: number): string {
  return `${at}-${node}-${String(counter).padStart(8, '0')}`;
}
