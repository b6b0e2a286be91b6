import { notLinearizable, settled, type Operation } from './linearizable.ts';

/** What clients asked of one register, and what they were told. No value is written twice. */
export class History {
  readonly #reads: Operation[] = [];
  readonly #writes: Operation[] = [];
  readonly #unanswered: { to: string; startMs: number }[] = [];

  get operations(): number {
    return this.#reads.length + this.#writes.length + this.#unanswered.length;
  }

  read(value: string | null, startMs: number, endMs: number): void {
    this.#reads.push({ kind: 'read', value, startMs, endMs });
  }

  written(to: string, startMs: number, endMs: number): void {
    this.#writes.push({ kind: 'write', to, startMs, endMs });
  }

  /** Written at any time since, or never. What was refused is told nobody: then nobody may have read it. */
  unanswered(to: string, startMs: number): void {
    this.#unanswered.push({ to, startMs });
  }

  /** Null when all of it could have happened one after the other, else what could not. */
  trouble(): Operation | null {
    const all = [...this.#reads, ...this.#writes, ...settled(this.#unanswered, this.#reads)];
    return notLinearizable(all, null);
  }
}
