import type { PlanEvent } from '../../model/plan-views.ts';
import type { PlanBatch } from '../../ports/plan-feeds.ts';

/** What is told at once, at most: a large plan comes in many pieces, and a watcher that stands still holds no more than one. */
const MOST_CHANGES = 100;

interface Entry {
  /** Its place; grows with every change of any thing. */
  place: number;
  event: PlanEvent;
}

export interface Batch extends PlanBatch {
  /** Where the next batch begins. */
  next: number;
  /** A later stream may go on from this revision: what changed before it has been told. */
  revision: bigint;
}

/**
 * The last state of each thing of one plan, by when it last changed. A watcher is a place in it: however far it is behind, it
 * costs no memory here, and when it goes on it hears once of what changed a hundred times.
 */
export class PlanFeed {
  /** In the order of places. An entry that is not its thing's latest has been overtaken. */
  #log: Entry[] = [];
  readonly #latest = new Map<string, Entry>();
  #nextPlace = 0;
  #revision = 0n;
  /** By where they begin; until something changes, whoever is as far hears the same. */
  readonly #batches = new Map<number, Batch>();

  /** The place after all there is. */
  get end(): number {
    return this.#nextPlace;
  }

  /** Whether the plan and every step of it have been heard of. */
  get complete(): boolean {
    const plan = this.#latest.get('plan')?.event;
    return plan?.kind === 'plan' && this.#latest.size > plan.plan.steps;
  }

  add(event: PlanEvent): void {
    const entry = { place: this.#nextPlace++, event };
    this.#log.push(entry);
    this.#latest.set(event.kind === 'plan' ? 'plan' : String(event.step.index), entry);
    const revision = BigInt(event.revision);
    if (revision > this.#revision) this.#revision = revision;
    this.#batches.clear();
    if (this.#log.length > 2 * this.#latest.size + MOST_CHANGES) this.#log = this.#log.filter(this.#isLatest);
  }

  /** The first picture may come in any order: from here on, older changes are before newer ones. */
  sort(): void {
    this.#log = this.#log.filter(this.#isLatest).sort((a, b) => compare(a.event, b.event));
    for (const entry of this.#log) entry.place = this.#nextPlace++;
    this.#batches.clear();
  }

  /** Where whoever has heard of all changes before that revision goes on; what has been heard of may be among what comes. */
  placeOf(revision: bigint): number {
    return this.#log.find(({ event }) => BigInt(event.changed) >= revision)?.place ?? this.end;
  }

  /** What comes from that place on; null = nothing yet. */
  from(place: number): Batch | null {
    if (place >= this.end) return null;
    const known = this.#batches.get(place);
    if (known !== undefined) return known;
    const batch = this.#batchFrom(place);
    this.#batches.set(place, batch);
    return batch;
  }

  #batchFrom(place: number): Batch {
    const events: PlanEvent[] = [];
    for (let at = this.#firstFrom(place); at < this.#log.length; at++) {
      const entry = this.#log[at];
      if (entry === undefined || !this.#isLatest(entry)) continue;
      if (events.length === MOST_CHANGES)
        return { events, next: entry.place, revision: this.#revisionBefore(at) };
      events.push(entry.event);
    }
    return { events, next: this.end, revision: this.#revision };
  }

  /** Up to which all that changed is told, when what is in the log from that index on is not. */
  #revisionBefore(index: number): bigint {
    let revision = this.#revision;
    for (let at = index; at < this.#log.length; at++) {
      const entry = this.#log[at];
      if (entry === undefined || !this.#isLatest(entry)) continue;
      const changed = BigInt(entry.event.changed);
      if (changed < revision) revision = changed;
    }
    return revision;
  }

  /** The index of the first entry at that place or after it. */
  #firstFrom(place: number): number {
    let [low, high] = [0, this.#log.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#log[middle]?.place ?? Infinity) < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  readonly #isLatest = (entry: Entry): boolean =>
    this.#latest.get(entry.event.kind === 'plan' ? 'plan' : String(entry.event.step.index)) === entry;
}

function compare(a: PlanEvent, b: PlanEvent): number {
  const [first, second] = [BigInt(a.changed), BigInt(b.changed)];
  return first < second ? -1 : first > second ? 1 : 0;
}
