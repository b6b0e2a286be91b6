import { AdminError } from '../../ports/admin.ts';
import type { Pace, Turn } from '../../ports/pace.ts';
import type { PlanFeeds, TellBatch } from '../../ports/plan-feeds.ts';
import type { Plans } from '../../ports/plans.ts';
import { PlanFeed, type Batch } from './plan-feed.ts';

const MOST_WATCHERS = 10_000;

export class FanOut implements PlanFeeds {
  readonly #plans: Pick<Plans, 'watch'>;
  readonly #pace: Pace;
  readonly #watched = new Map<string, WatchedPlan>();
  #watchers = 0;

  constructor({ plans, pace }: { plans: Pick<Plans, 'watch'>; pace: Pace }) {
    this.#plans = plans;
    this.#pace = pace;
  }

  get watchers(): number {
    return this.#watchers;
  }

  async watch(plan: string, from: bigint | null, tell: TellBatch, signal: AbortSignal): Promise<void> {
    if (this.#watchers >= MOST_WATCHERS) {
      throw new AdminError('full', `${MOST_WATCHERS} streams watch at this node: ask another`);
    }
    this.#watchers += 1;
    try {
      await this.#watchedPlan(plan).join(from, tell, signal);
    } finally {
      this.#watchers -= 1;
    }
  }

  #watchedPlan(plan: string): WatchedPlan {
    const known = this.#watched.get(plan);
    if (known !== undefined) return known;
    const watched = new WatchedPlan(this.#pace, () => {
      if (this.#watched.get(plan) === watched) this.#watched.delete(plan);
    });
    this.#watched.set(plan, watched);
    void watched.follow(signal => this.#plans.watch(plan, null, signal));
    return watched;
  }
}

class WatchedPlan implements Turn {
  readonly feed = new PlanFeed();
  /** Whether the first picture is there. */
  begun = false;
  ended: { error: unknown } | null = null;
  readonly #pace: Pace;
  readonly #done: () => void;
  readonly #watchers = new Set<Watcher>();
  /** Those that have heard all there is. */
  readonly #waiting = new Set<Watcher>();
  readonly #left = new AbortController();

  constructor(pace: Pace, done: () => void) {
    this.#pace = pace;
    this.#done = done;
  }

  async follow(watch: (signal: AbortSignal) => ReturnType<Plans['watch']>): Promise<void> {
    let error: unknown = null;
    try {
      for await (const event of watch(this.#left.signal)) {
        this.feed.add(event);
        if (!this.begun && this.feed.complete) this.#begin();
        if (this.begun && this.#waiting.size > 0) this.#pace.ask(this);
      }
      if (!this.begun) this.#begin();
    } catch (failure) {
      error = failure;
    }
    this.ended = { error };
    // Whoever comes from now on asks anew.
    this.#done();
    this.#pace.ask(this);
  }

  async join(from: bigint | null, tell: TellBatch, signal: AbortSignal): Promise<void> {
    const watcher = new Watcher(this, this.#pace, from, tell, signal);
    this.#watchers.add(watcher);
    this.#waiting.add(watcher);
    this.#pace.ask(this);
    try {
      await watcher.over;
    } finally {
      this.#watchers.delete(watcher);
      this.#waiting.delete(watcher);
      if (this.#watchers.size === 0) {
        this.#left.abort();
        this.#done();
      }
    }
  }

  /** For all that wait. */
  take(): void {
    if (!this.begun && this.ended === null) return;
    for (const watcher of this.#waiting) this.#pace.ask(watcher);
    this.#waiting.clear();
  }

  wait(watcher: Watcher): void {
    this.#waiting.add(watcher);
  }

  #begin(): void {
    this.feed.sort();
    this.begun = true;
  }
}

class Watcher implements Turn {
  readonly over: Promise<void>;
  readonly #plan: WatchedPlan;
  readonly #pace: Pace;
  readonly #from: bigint | null;
  readonly #tell: TellBatch;
  readonly #signal: AbortSignal;
  #place: number | null = null;
  /** Until there it hears the first picture. */
  #pictureEnd = 0;
  #resolve: () => void = () => undefined;
  #reject: (error: unknown) => void = () => undefined;

  constructor(plan: WatchedPlan, pace: Pace, from: bigint | null, tell: TellBatch, signal: AbortSignal) {
    this.#plan = plan;
    this.#pace = pace;
    this.#from = from;
    this.#tell = tell;
    this.#signal = signal;
    this.over = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    signal.addEventListener('abort', this.#resolve, { once: true });
    if (signal.aborted) this.#resolve();
  }

  /** The next batch, one at a time: the one after comes when the client has taken this. */
  take(): void {
    if (this.#signal.aborted) return;
    const { feed, begun, ended } = this.#plan;
    const batch = begun ? feed.from(this.#placeIn(feed)) : null;
    if (batch !== null) void this.#told(batch);
    else if (ended === null) this.#plan.wait(this);
    else if (ended.error === null) this.#resolve();
    else this.#reject(ended.error);
  }

  async #told(batch: Batch): Promise<void> {
    this.#place = batch.next;
    try {
      await this.#tell(batch, batch.next >= this.#pictureEnd ? batch.revision : 0n);
      this.#pace.ask(this);
    } catch (error) {
      this.#reject(error);
    }
  }

  #placeIn(feed: PlanFeed): number {
    if (this.#place !== null) return this.#place;
    this.#pictureEnd = feed.end;
    return feed.placeOf(this.#from ?? 0n);
  }
}
