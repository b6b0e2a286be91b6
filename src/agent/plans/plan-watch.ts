import type { StepRecord } from '../../model/plan.ts';
import type { PlanEvent } from '../../model/plan-views.ts';
import type { KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';
import { planView, stepView } from './plan-views.ts';
import type { Here } from './unmanned.ts';

export interface WatchedAt {
  /** Up to which revision this node's copy of the steps holds everything: of its own writes it knows sooner. */
  caughtUp: () => bigint;
  here: Here;
}

/**
 * What changes in one plan. Only what changed is remembered until it is asked for, never how often: however slowly somebody reads,
 * it takes no more room than the plan has steps.
 */
export class PlanWatch {
  readonly #book: PlanBook;
  #plan: KnownPlan;
  readonly #steps = new Set<number>();
  readonly #seen: KnownPlan['records'];
  readonly #stop: () => void;
  readonly #node: WatchedAt;
  /** Of the steps all that was written up to this revision has been told. */
  #told: bigint;
  #plans = true;
  #wake: (() => void) | null = null;
  #closed = false;

  /**
   * `after` = only those steps that were written later than that revision, as far as it can be told; null = all of them first; the
   * plan in any case.
   */
  constructor(book: PlanBook, plan: KnownPlan, after: bigint | null, node: WatchedAt) {
    this.#book = book;
    this.#plan = plan;
    this.#node = node;
    this.#told = after ?? 0n;
    this.#seen = plan.records.slice();
    for (const chunk of plan.chunks) {
      if (chunk === undefined || (after !== null && chunk.entry.revision <= after)) continue;
      const { first, count, steps } = chunk.entry.value;
      if (after === null) for (let index = first; index < first + count; index++) this.#steps.add(index);
      else for (const { index } of steps) this.#steps.add(index);
    }
    this.#stop = book.onTouched(changed => {
      if (changed.id === plan.id) this.#look();
    });
  }

  close(): void {
    this.#closed = true;
    this.#stop();
    this.#wake?.();
  }

  async *events(): AsyncGenerator<PlanEvent> {
    try {
      for (;;) {
        // Of an ended plan the steps come before its end: whoever hears of that listens no longer.
        const ended = this.#plan.over;
        const upTo = this.#node.caughtUp();
        for (const index of [...this.#steps]) {
          this.#steps.delete(index);
          const plan = await this.#defined();
          if (this.#over()) return;
          const changed = String(plan.chunks[plan.chunkOf(index)]?.entry.revision ?? plan.newest);
          yield { kind: 'step', revision: String(this.#told), changed, step: stepView(plan, index) };
        }
        if (upTo > this.#told) this.#told = upTo;
        if (this.#mayTellPlan()) {
          this.#plans = false;
          const plan = this.#plan;
          const view = planView(plan, plan.entry.revision, this.#node.here);
          yield { kind: 'plan', revision: String(this.#told), changed: String(plan.newest), plan: view };
        }
        if (this.#over() || (ended && this.#steps.size === 0)) return;
        if (this.#steps.size === 0 && !this.#mayTellPlan()) await this.#changed();
      }
    } finally {
      this.close();
    }
  }

  /** With what its steps are; another, if this node knows it anew meanwhile. */
  async #defined(): Promise<KnownPlan> {
    for (;;) {
      const plan = this.#plan;
      await this.#book.read(plan);
      if (plan === this.#plan) return plan;
    }
  }

  /** It may have ended while somebody took what was told before, or before its steps are known to have: they go first. */
  #mayTellPlan(): boolean {
    return this.#plans && (!this.#plan.settled || (this.#plan.over && this.#steps.size === 0));
  }

  #over(): boolean {
    return this.#closed;
  }

  #changed(): Promise<void> {
    return new Promise(resolve => {
      this.#wake = () => {
        this.#wake = null;
        resolve();
      };
      if (this.#closed) resolve();
    });
  }

  #look(): void {
    const known = this.#book.get(this.#plan.id);
    if (known === undefined) {
      this.close();
      return;
    }
    // A node that lost its session knows every plan anew; what it takes back is told like any other change.
    this.#plan = known;
    const { records } = known;
    for (let index = 0; index < records.length; index++) {
      const seen = this.#seen[index];
      if (records[index] === seen) continue;
      this.#seen[index] = records[index];
      if (!isSame(records[index], seen)) this.#steps.add(index);
    }
    this.#plans = true;
    this.#wake?.();
  }
}

/** What somebody else wrote is read whole: each of its records is another object, and most of them say what they said. */
function isSame(record: StepRecord | undefined, seen: StepRecord | undefined): boolean {
  return record?.state === seen?.state && JSON.stringify(record) === JSON.stringify(seen);
}
