import type { InstantMs } from '../../model/ids.ts';
import {
  chunkName,
  type PlanSpec,
  type PlanState,
  type StepRecord,
  type StepState,
} from '../../model/plan.ts';
import type { Entry } from '../../ports/store.ts';
import { shapeOf, type PlanShape } from '../../workflow/shape.ts';
import { hasEnded } from '../../workflow/step-machine.ts';
import { planState, survey, surveyAfter, type Changed, type Survey } from '../../workflow/survey.ts';

/** A chunk as this node last saw it. */
export interface KnownChunk {
  entry: Entry<'steps'>;
  /** Of its steps, those whose own work has not ended. */
  open: number;
  /** Since when this node has seen a step run, or wait, as it does now: by index. */
  since: Map<number, { key: string; sinceMs: InstantMs }>;
  /** Since when nobody owns it, as far as this node knows; null = somebody does. */
  freeSinceMs: InstantMs | null;
  /** Before then this node does not try to claim it again. */
  notBeforeMs: InstantMs;
}

/** What changed for whom: chunks whose owner, or who might become it, should look again. */
export type Touched = Set<number> | 'all';

/**
 * One plan as this node knows it: by its copies of the store, and by its own writes, which it knows of before they come back.
 * Kept up with by the change, so that a plan of many steps is not gone through whenever one of them moves.
 */
export class KnownPlan {
  readonly id: string;
  entry: Entry<'plans'>;
  readonly chunks: (KnownChunk | undefined)[];
  /** By index; absent = nothing has happened yet. */
  records: (StepRecord | undefined)[] = [];
  planSinceMs: InstantMs;
  cancelSinceMs: InstantMs | null = null;
  #spec: PlanSpec | null;
  #shape: PlanShape | null = null;
  /** null = to be taken. */
  #survey: Survey | null = null;
  #chunkOf = new Int32Array(0);
  #missing: number;
  #open = 0;
  #bad = 0;
  readonly #counts = new Map<StepState, number>();

  constructor(entry: Entry<'plans'>, nowMs: InstantMs) {
    const { spec, steps, chunks, plan, cancel } = entry.value;
    this.id = plan;
    this.entry = entry;
    this.planSinceMs = nowMs;
    if (cancel) this.cancelSinceMs = nowMs;
    this.#spec = steps === null ? null : { ...spec, steps };
    this.chunks = new Array<KnownChunk | undefined>(chunks).fill(undefined);
    this.#missing = chunks;
  }

  get priority(): number {
    return this.entry.value.spec.priority;
  }

  get settled(): boolean {
    return this.entry.value.settled !== null;
  }

  /** All of its chunks are here. */
  get whole(): boolean {
    return this.#missing === 0;
  }

  /** The revision of its newest part that is known here. */
  get newest(): bigint {
    return this.chunks.reduce(
      (newest, chunk) =>
        chunk !== undefined && chunk.entry.revision > newest ? chunk.entry.revision : newest,
      this.entry.revision,
    );
  }

  /** It has ended, and so is all of it known here: its end was written with a chunk, and its record may have come before. */
  get over(): boolean {
    return this.settled && this.chunks.some(chunk => chunk && chunk.entry.revision >= this.entry.revision);
  }

  /** Every step's own work has ended, and the plan has not. */
  get undoing(): boolean {
    return this.whole && this.#open === 0 && !this.settled;
  }

  get steps(): number {
    return this.records.length;
  }

  get spec(): PlanSpec | null {
    return this.#spec;
  }

  /** null = its definitions have not been read yet. */
  get shape(): PlanShape | null {
    if (this.#shape === null && this.#spec !== null) this.#shape = shapeOf(this.#spec);
    return this.#shape;
  }

  /** Its steps, counted. */
  survey(shape: PlanShape): Survey {
    this.#survey ??= survey(shape, this.records);
    return this.#survey;
  }

  /** Of a plan whose definitions lie apart. */
  define(spec: PlanSpec): void {
    this.#spec = spec;
  }

  /** What an ended plan is not needed for any more can be read again. */
  undefine(): void {
    if (this.entry.value.steps === null) this.#spec = null;
    this.#shape = null;
    this.#survey = null;
  }

  state(): PlanState {
    const { settled, cancel } = this.entry.value;
    if (settled !== null) return settled.state;
    const { shape } = this;
    if (this.whole && this.#open > 0 && this.count('PENDING') < this.steps) return 'RUNNING';
    if (shape === null) return this.records.every(record => record === undefined) ? 'PENDING' : 'RUNNING';
    return planState(shape, this.survey(shape), cancel);
  }

  /** Steps in that state. */
  count(state: StepState): number {
    return this.#counts.get(state) ?? 0;
  }

  /** Those states that any is in. */
  counts(): Partial<Record<StepState, number>> {
    const counted = [...this.#counts].filter(([, count]) => count > 0);
    return Object.fromEntries(counted);
  }

  /** No step has failed, or been given up or undone. */
  get sound(): boolean {
    return this.#bad === 0;
  }

  /** Takes over a newer version of the plan's record. */
  learnPlan(entry: Entry<'plans'>, nowMs: InstantMs): boolean {
    if (entry.revision <= this.entry.revision) return false;
    const before = this.entry.value;
    this.entry = entry;
    const { settled, cancel } = entry.value;
    // Taken up again by hand, its time starts anew.
    if (before.settled !== null && settled === null) this.planSinceMs = nowMs;
    if (cancel === null) this.cancelSinceMs = null;
    else this.cancelSinceMs ??= nowMs;
    return true;
  }

  chunkOf(index: number): number {
    return this.#chunkOf[index] ?? 0;
  }

  /** Takes over a newer version of a chunk, and says who should look again. */
  learnChunk(entry: Entry<'steps'>, nowMs: InstantMs): Touched {
    const { chunk, first, count, steps } = entry.value;
    const known = this.chunks[chunk];
    if (known !== undefined && entry.revision <= known.entry.revision) return new Set();
    if (known === undefined) this.#add(chunk, first, count);
    const touched = new Set([chunk]);
    const openBefore = this.#open;
    const badBefore = this.#bad;
    const changes: Changed[] = [];
    const since: KnownChunk['since'] = new Map();
    const after = new Array<StepRecord | undefined>(count).fill(undefined);
    let open = count;
    for (const record of steps) {
      after[record.index - first] = record;
      if (hasEnded(record.state)) open -= 1;
    }
    for (let place = 0; place < count; place++) {
      const record = after[place];
      const before = this.records[first + place];
      this.records[first + place] = record;
      if (record !== undefined) noteSince(since, known?.since, record, nowMs);
      if (record !== before) changes.push({ index: first + place, before, after: record });
      if (record?.state === before?.state) continue;
      this.#count(before, -1);
      this.#count(record, 1);
      if (!hasEnded(record?.state ?? 'PENDING') && !hasEnded(before?.state ?? 'PENDING')) continue;
      for (const child of this.shape?.children[first + place] ?? []) touched.add(this.chunkOf(child));
    }
    this.#survey = this.#surveyAfter(changes);
    const { freeSinceMs = null, notBeforeMs = 0 } = known ?? {};
    this.chunks[chunk] = { entry, open, since, freeSinceMs, notBeforeMs };
    const turned = (this.#bad === 0) !== (badBefore === 0) || (this.#open === 0 && openBefore > 0);
    return turned || this.#open === 0 ? 'all' : touched;
  }

  name(chunk: number): string {
    return chunkName(this.id, chunk);
  }

  #surveyAfter(changes: readonly Changed[]): Survey | null {
    return this.#survey === null || this.#shape === null
      ? null
      : surveyAfter(this.#shape, this.#survey, changes);
  }

  #add(chunk: number, first: number, count: number): void {
    this.#missing -= 1;
    this.#open += count;
    this.#counts.set('PENDING', this.count('PENDING') + count);
    const end = first + count;
    if (this.records.length < end) {
      this.records.push(...new Array<undefined>(end - this.records.length).fill(undefined));
      const grown = new Int32Array(end);
      grown.set(this.#chunkOf);
      this.#chunkOf = grown;
    }
    this.#chunkOf.fill(chunk, first, end);
  }

  #count(record: StepRecord | undefined, by: 1 | -1): void {
    const state = record?.state ?? 'PENDING';
    this.#counts.set(state, this.count(state) + by);
    if (!hasEnded(state)) this.#open += by;
    else if (state !== 'COMPLETED' && state !== 'SKIPPED') this.#bad += by;
  }
}

function noteSince(
  since: KnownChunk['since'],
  before: KnownChunk['since'] | undefined,
  record: StepRecord,
  nowMs: InstantMs,
): void {
  const key = goingOn(record);
  if (key === null) return;
  const known = before?.get(record.index);
  since.set(record.index, known?.key === key ? known : { key, sinceMs: nowMs });
}

/** What tells one attempt, or one wait, from the next; null = nothing of the step goes on. */
function goingOn(record: StepRecord): string | null {
  switch (record.state) {
    case 'RUNNING':
    case 'RETRY_WAIT':
      return `${record.state} ${record.attempt}`;
    case 'COMPENSATING':
      return `${'run' in record.doing ? 'undoing' : 'waiting'} ${record.attempt}`;
    default:
      return null;
  }
}
