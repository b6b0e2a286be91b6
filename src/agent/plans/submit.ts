import { chunkName, type PlanProblem, type PlanSpec, type StepWork } from '../../model/plan.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Blobs } from '../../ports/blobs.ts';
import type { PlanSubmission } from '../../ports/plans.ts';
import type { Random } from '../../ports/random.ts';
import type { StepAgents } from '../../ports/step-agents.ts';
import {
  StoreError,
  type CommitResult,
  type Compare,
  type Entry,
  type Session,
  type Store,
  type Write,
} from '../../ports/store.ts';
import { planLimits } from '../../workflow/check-plan.ts';
import { checkSubmission } from '../../workflow/check-submission.ts';
import type { Moment } from '../../workflow/history.ts';
import { parentsOf, stepSpec } from '../../workflow/shape.ts';
import { newPlan, sameAs, type NewPlan } from '../../workflow/submission.ts';
import type { Attempts } from './attempts.ts';
import type { ChunkWrites } from './chunk-writes.ts';
import { KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';
import type { PlanWork } from './plan-work.ts';
import { takeTurn, type Turn } from './turn.ts';
import type { Clock } from '../../ports/clock.ts';

/** Of one transaction, well within what etcd takes. */
const TRANSACTION_BYTES = 512 * 1024;
const TRANSACTION_WRITES = 100;
const EMPTY_CHUNK_BYTES = 200;
/** A node that has as much to do leaves new plans to whoever has less. */
const BEGUN_AT_ONCE_BELOW = 64;

export interface SubmitOptions {
  node: string;
  /** Plans that have not ended: with more, nobody would see an end of it, and every node holds all of them. */
  open: number;
  store: Pick<Store, 'commit' | 'get'>;
  book: PlanBook;
  work: PlanWork;
  writes: ChunkWrites;
  attempts: Attempts;
  agents: StepAgents;
  blobs: Blobs | null;
  clock: Clock;
  random: Random;
  moment: Moment;
  session: () => Session | null;
  /** Agents of which nobody else may make steps. */
  reserved: readonly string[];
}

/** What stands or falls with a plan. */
interface Along {
  compares: Compare[];
  writes: Write[];
}

/** What stands or falls with a plan that is submitted, given its id: what a schedule compares and writes. */
export type AlongWith = (plan: string) => Along;

export type Submitted =
  | { kind: 'created'; plan: KnownPlan }
  | { kind: 'same'; plan: string }
  /** What was to hold along with it did not. */
  | { kind: 'refused' };

const agentName = /^[a-z0-9][a-z0-9.-]{0,62}$/;
const encoder = new TextEncoder();

/** Takes plans in: whole, or not at all. */
export class Submit {
  readonly #options: SubmitOptions;

  constructor(options: SubmitOptions) {
    this.#options = options;
  }

  /** Everything wrong with it, in the eyes of the agents of steps that are here, too. */
  check(spec: PlanSpec): PlanProblem[] {
    const problems = checkSubmission(spec);
    const parents = parentsOf(spec);
    for (const [index, step] of spec.steps.entries()) {
      const at = `steps[${index}]`;
      const given = parents[index] ?? [];
      problems.push(...this.#checkAgent(step, at, new Set(given)));
      const { compensate } = step;
      if (compensate)
        problems.push(...this.#checkAgent(compensate, `${at}.compensate`, new Set([...given, index])));
    }
    return problems;
  }

  /** @throws AdminError, StoreError */
  async submit(request: PlanSubmission, alongWith: AlongWith | null = null): Promise<Submitted> {
    requireNone(this.check(request.spec));
    return this.#accept(request, alongWith, false);
  }

  /**
   * A plan of the agent's own making: its steps may be of reserved agents, and this node begins it whatever else it has to do.
   * @throws AdminError, StoreError
   */
  async submitOwn(request: PlanSubmission, alongWith: AlongWith): Promise<Submitted> {
    requireNone(checkSubmission(request.spec));
    return this.#accept(request, alongWith, true);
  }

  async #accept(request: PlanSubmission, alongWith: AlongWith | null, here: boolean): Promise<Submitted> {
    const { book, random, clock, open } = this.#options;
    if (book.openCount >= open) {
      throw new AdminError('full', `there are ${open} plans that have not ended: wait until some have`);
    }
    const spec = await this.apart(request.spec);
    const plan = newPlan(spec, {
      plan: random.hex(8),
      submittedAt: clock.timestamp(),
      origin: request.origin,
      idempotencyKey: request.idempotencyKey,
    });
    const along = alongWith === null ? null : alongWith(plan.plan.plan);
    return plan.definitions.length === 0
      ? this.#small(plan, spec, request, along, here)
      : this.#large(plan, spec, request, along);
  }

  /** In one transaction; if nothing waits here, with its first steps started by this node. */
  async #small(
    plan: NewPlan,
    spec: PlanSpec,
    request: PlanSubmission,
    along: Along | null,
    here: boolean,
  ): Promise<Submitted> {
    const begun = this.#begin(plan, spec, here);
    if (begun === null) return this.#plain(plan, spec, request, along);
    const { work, book, attempts } = this.#options;
    const { write, turn, session } = begun;
    const name = chunkName(plan.plan.plan, 0);
    const known = work.expect(name);
    const giveBack = attempts.reserve(begun.agents);
    try {
      const result = await this.#commit(plan, request, write, along);
      // The session was lost, or somebody else started a step with the same concurrency key.
      if (result.kind === 'refused')
        return this.#same(result, request) ?? (await this.#plain(plan, spec, request, along));
      const { revision } = result;
      const learnt = this.#learn(plan, spec, [newEntry('steps', name, write.chunk, revision)], revision);
      for (const key of turn.keys) book.holders.wrote(key, revision);
      work.adopt(learnt, 0, turn, session);
      return { kind: 'created', plan: learnt };
    } finally {
      giveBack();
      known();
    }
  }

  /** In one transaction, for whoever comes first. */
  async #plain(
    plan: NewPlan,
    spec: PlanSpec,
    request: PlanSubmission,
    along: Along | null,
  ): Promise<Submitted> {
    const [value] = plan.chunks;
    if (value === undefined) throw new Error('a plan has at least one chunk');
    const name = chunkName(plan.plan.plan, 0);
    const free: Along = {
      compares: [{ kind: 'steps', name, is: 'absent' }],
      writes: [{ put: 'steps', name, value }],
    };
    const result = await this.#commit(plan, request, free, along);
    if (result.kind === 'refused') return this.#same(result, request) ?? { kind: 'refused' };
    const { revision } = result;
    return {
      kind: 'created',
      plan: this.#learn(plan, spec, [newEntry('steps', name, value, revision)], revision),
    };
  }

  /** Chunks and definitions first; the plan's record, with which it exists, last. What is left of a try is collected later. */
  async #large(
    plan: NewPlan,
    spec: PlanSpec,
    request: PlanSubmission,
    along: Along | null,
  ): Promise<Submitted> {
    const { store } = this.#options;
    const chunks: Entry<'steps'>[] = [];
    let batch: { write: Write; compare: Compare; bytes: number; chunk: boolean }[] = [];
    const flush = async (): Promise<void> => {
      if (batch.length === 0) return;
      const result = await this.#written(() =>
        store.commit(
          batch.map(({ compare }) => compare),
          batch.map(({ write }) => write),
        ),
      );
      for (const { write, chunk } of batch) {
        if (chunk && 'put' in write && write.put === 'steps')
          chunks.push(newEntry('steps', write.name, write.value, result));
      }
      batch = [];
    };
    for (const item of partsOf(plan)) {
      const bytes = batch.reduce((sum, other) => sum + other.bytes, item.bytes);
      if (batch.length >= TRANSACTION_WRITES || bytes > TRANSACTION_BYTES) await flush();
      batch.push(item);
    }
    await flush();
    // What collects leftovers begins with the first.
    const first = chunkName(plan.plan.plan, 0);
    const there: Along = { compares: [{ kind: 'steps', name: first, is: 'present' }], writes: [] };
    const result = await this.#commit(plan, request, there, along);
    if (result.kind === 'refused') return this.#same(result, request) ?? { kind: 'refused' };
    return { kind: 'created', plan: this.#learn(plan, spec, chunks, result.revision) };
  }

  #learn({ plan }: NewPlan, spec: PlanSpec, chunks: Entry<'steps'>[], revision: bigint): KnownPlan {
    const entry = newEntry('plans', plan.plan, plan, revision);
    return this.#options.book.learnNew(entry, spec.steps, chunks);
  }

  /** With the transaction in which the plan begins to exist. */
  async #commit(
    { plan }: NewPlan,
    { idempotencyKey, digest }: PlanSubmission,
    rest: Along,
    along: Along | null,
  ): Promise<CommitResult> {
    const { store } = this.#options;
    const compares: Compare[] = [
      { kind: 'plans', name: plan.plan, is: 'absent' },
      ...rest.compares,
      ...(along?.compares ?? []),
    ];
    const writes: Write[] = [
      { put: 'plans', name: plan.plan, value: plan },
      ...rest.writes,
      ...(along?.writes ?? []),
    ];
    if (idempotencyKey !== null) {
      const name = idempotencyName(idempotencyKey);
      compares.push({ kind: 'idempotency', name, is: 'absent' });
      writes.push({ put: 'idempotency', name, value: { v: 1, plan: plan.plan, digest } });
    }
    try {
      return await store.commit(compares, writes);
    } catch (error) {
      if (!(error instanceof StoreError) || error.outcome !== 'unknown') throw error;
      // Nobody else uses its id.
      const entry = await store.get('plans', plan.plan);
      if (entry === null) throw error;
      return { kind: 'committed', revision: entry.createRevision };
    }
  }

  /** What a refusal says of the idempotency key. @throws AdminError when it stands for another body */
  #same(result: Extract<CommitResult, { kind: 'refused' }>, request: PlanSubmission): Submitted | null {
    const { idempotencyKey, digest } = request;
    if (idempotencyKey === null) return null;
    const name = idempotencyName(idempotencyKey);
    const entry = result.current.find(other => other.kind === 'idempotency' && other.name === name) as
      Entry<'idempotency'> | undefined;
    const verdict = sameAs(entry?.value ?? null, digest);
    switch (verdict.kind) {
      case 'new':
        return null;
      case 'same':
        return { kind: 'same', plan: verdict.plan };
      case 'conflict':
        throw new AdminError(
          'conflict',
          `the idempotency key "${idempotencyKey}" stands for another plan already: ${verdict.plan}`,
          { plan: verdict.plan },
        );
    }
  }

  /** The first steps of a plan as this node starts them with it; null = it is left to whoever comes first. */
  #begin(plan: NewPlan, spec: PlanSpec, here: boolean) {
    const { work, attempts, book, writes, node, clock, moment } = this.#options;
    const session = this.#options.session();
    const [value] = plan.chunks;
    const mayBegin = here ? work.running : work.mayBeginAt(BEGUN_AT_ONCE_BELOW);
    if (session === null || value === undefined || !mayBegin) return null;
    const nowMs = clock.now();
    const known = new KnownPlan(newEntry('plans', plan.plan.plan, plan.plan, 0n), nowMs);
    known.define(spec);
    const name = chunkName(value.plan, value.chunk);
    known.learnChunk(newEntry('steps', name, value, 0n), nowMs);
    const [chunk] = known.chunks;
    const { shape } = known;
    if (chunk === undefined || shape === null) return null;
    const turn: Turn = takeTurn({
      plan: known,
      shape,
      chunk,
      self: node,
      token: null,
      attempts: new Map(),
      results: [],
      slots: attempts.slots,
      room: work => attempts.room(work),
      holders: key => book.holders.count(key, name),
      nowMs,
      moment,
    });
    if (turn.starts.length === 0 || turn.settle !== null || turn.expire) return null;
    const write = writes.claim(known, 0, turn, session);
    const agents = turn.starts.map(({ index }) => stepSpec(shape, index).agent);
    return write === null ? null : { turn, write, session, agents };
  }

  /** @throws StoreError, after a lost reply as well: then nothing exists yet, and the rest is collected */
  async #written(commit: () => Promise<CommitResult>): Promise<bigint> {
    const result = await commit();
    if (result.kind === 'committed') return result.revision;
    throw new StoreError('the parts of a plan were written by somebody else', {
      outcome: 'refused',
      retryable: true,
    });
  }

  #checkAgent(work: StepWork, at: string, given: ReadonlySet<number>): PlanProblem[] {
    if (work.agent === '') return [];
    if (!agentName.test(work.agent)) {
      const hint = '1 to 63 lower-case letters, digits, dots and hyphens';
      return [{ field: `${at}.agent`, message: `"${work.agent}" can't be the name of an agent`, hint }];
    }
    if (this.#options.reserved.includes(work.agent)) {
      const message = `"${work.agent}" does steps that only the agents themselves make plans of`;
      return [{ field: `${at}.agent`, message, hint: 'hop3-agent apply and deploy make such plans' }];
    }
    const found = this.#options.agents.find(work.agent)?.check(work, given) ?? [];
    return found.map(problem => ({ ...problem, field: `${at}.${problem.field}` }));
  }

  /** What is too large for the store goes to where blobs are. @throws ArtifactError */
  async apart(spec: PlanSpec): Promise<PlanSpec> {
    const apart = new Map<StepWork, StepWork>();
    for (const step of spec.steps) {
      for (const work of [step, step.compensate]) {
        if (work?.payload === undefined || !isLong(work)) continue;
        const { blobs, node } = this.#options;
        if (blobs === null) throw new AdminError('unavailable', `${node} has nowhere to keep long payloads`);
        const { mimeType } = work.payload;
        const bytes = encoder.encode('text' in work.payload ? work.payload.text : '');
        apart.set(work, { ...work, payload: { mimeType, ...(await blobs.put(bytes)) } });
      }
    }
    return apart.size === 0 ? spec : mapWork(spec, work => apart.get(work) ?? work);
  }
}

/** @throws AdminError */
function requireNone(problems: PlanProblem[]): void {
  if (problems.length === 0) return;
  const many = problems.length === 1 ? 'one thing is' : `${problems.length} things are`;
  throw new AdminError('invalid', `the plan can't be accepted: ${many} wrong with it`, { problems });
}

export function idempotencyName(key: string): string {
  return encodeURIComponent(key);
}

/** Chunks first: with them what is left of a try is found. */
function* partsOf(
  plan: NewPlan,
): Iterable<{ write: Write; compare: Compare; bytes: number; chunk: boolean }> {
  for (const value of plan.chunks) {
    const name = chunkName(value.plan, value.chunk);
    yield {
      write: { put: 'steps', name, value },
      compare: { kind: 'steps', name, is: 'absent' },
      bytes: EMPTY_CHUNK_BYTES,
      chunk: true,
    };
  }
  for (const [chunk, value] of plan.definitions.entries()) {
    const name = chunkName(value.plan, chunk);
    yield {
      write: { put: 'definitions', name, value },
      compare: { kind: 'definitions', name, is: 'absent' },
      bytes: encoder.encode(JSON.stringify(value)).length,
      chunk: false,
    };
  }
}

function newEntry<K extends 'plans' | 'steps'>(
  kind: K,
  name: string,
  value: Entry<K>['value'],
  revision: bigint,
): Entry<K> {
  return { kind, name, value, createRevision: revision, revision, lease: null };
}

function mapWork(spec: PlanSpec, change: (work: StepWork) => StepWork): PlanSpec {
  return {
    ...spec,
    steps: spec.steps.map(step => {
      const { compensate } = step;
      const changed = { ...step, ...change(step) };
      return compensate === undefined ? changed : { ...changed, compensate: change(compensate) };
    }),
  };
}

function isLong({ payload }: StepWork): boolean {
  return (
    payload !== undefined &&
    'text' in payload &&
    (payload.text.length > planLimits.inlinePayloadBytes ||
      encoder.encode(payload.text).length > planLimits.inlinePayloadBytes)
  );
}
