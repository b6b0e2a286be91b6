import { createHash, type Hash } from 'node:crypto';

interface Moment {
  atMs: number;
  order: number;
  act: (() => void) | null;
}

/** Of a world that goes on. What is woken again and again at one moment would keep this process for ever. */
const MOST_STEPS_AT_ONCE = 100_000;

/**
 * The one true clock, which nobody in the simulated world can read. Events happen in order of their time, then of their making,
 * and everything that one of them set in motion (promises only) has settled before the next.
 */
export class Timeline {
  nowMs = 0;
  steps = 0;
  private readonly heap: Moment[] = [];
  private made = 0;
  private readonly hash: Hash = createHash('sha256');
  private readonly kept: string[] | null;
  private stepsAtOnce = 0;

  constructor(options: { keep?: boolean } = {}) {
    this.kept = options.keep === true ? [] : null;
  }

  /** Returns how to call it off. */
  after(durationMs: number, act: () => void): () => void {
    const moment: Moment = { atMs: this.nowMs + Math.max(0, durationMs), order: this.made++, act };
    this.push(moment);
    return () => (moment.act = null);
  }

  /** A line of what happened; two runs that tell the same are the same run. */
  tell(line: string): void {
    const told = `${this.nowMs.toFixed(3)} ${line}\n`;
    this.hash.update(told);
    this.kept?.push(told);
  }

  /** Of what the same run tells too, but nobody wants to read. */
  mix(line: string): void {
    this.hash.update(line);
  }

  /** For the reader only. */
  remark(line: () => string): void {
    this.kept?.push(`${this.nowMs.toFixed(3)}   ${line()}\n`);
  }

  /** To be asked once, at the end. */
  digest(): string {
    return this.hash.digest('hex');
  }

  told(): readonly string[] {
    return this.kept ?? [];
  }

  /** Lets time pass until a moment, or until `done`. Rejects with what an event throws. */
  run(untilMs: number, done: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      const step = (): void => {
        try {
          const next = this.heap[0];
          if (done()) {
            resolve();
            return;
          }
          if (next === undefined || next.atMs > untilMs) {
            this.nowMs = untilMs;
            resolve();
            return;
          }
          this.pop();
          if (next.act !== null) {
            this.stepsAtOnce = next.atMs > this.nowMs ? 0 : this.stepsAtOnce + 1;
            if (this.stepsAtOnce > MOST_STEPS_AT_ONCE)
              throw new Error(`time stands still at ${next.atMs} ms`);
            this.nowMs = next.atMs;
            this.steps++;
            next.act();
          }
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
          return;
        }
        // Promises settle between two immediates.
        setImmediate(step);
      };
      setImmediate(step);
    });
  }

  private push(moment: Moment): void {
    const { heap } = this;
    let at = heap.push(moment) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      if (!before(moment, heap[above]!)) break;
      heap[at] = heap[above]!;
      at = above;
    }
    heap[at] = moment;
  }

  private pop(): void {
    const { heap } = this;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      if (below >= heap.length) break;
      if (below + 1 < heap.length && before(heap[below + 1]!, heap[below]!)) below++;
      if (!before(heap[below]!, last)) break;
      heap[at] = heap[below]!;
      at = below;
    }
    heap[at] = last;
  }
}

function before(a: Moment, b: Moment): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs;
}
