import type { InstantMs, NodeName } from '../../model/ids.ts';
import type { SupervisorRequest } from '../../model/records.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Random } from '../../ports/random.ts';
import type { Compare, Session, Store } from '../../ports/store.ts';
import { overdueSteps, type OverdueStep } from '../../workflow/overdue.ts';
import type { Ledger } from '../ledger.ts';
import type { World } from '../world.ts';
import type { KnownChunk, KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';

/** An owner that is awake ends an attempt that is over by itself, and its write takes a moment. */
const LATE_AFTER_MS = 1_000;
/** Who does not answer within so long is taken for gone, as far as this chunk goes. */
const ANSWER_WITHIN_MS = 3_000;
const ASKED_AT_ONCE = 20;

export interface OverdueOptions {
  node: NodeName;
  world: Pick<World, 'sessions'>;
  book: PlanBook;
  store: Pick<Store, 'commit'>;
  ledger: Pick<Ledger, 'note'>;
  random: Random;
  clock: Clock;
  log: Log;
  session: () => Session | null;
  /** The name of this node's candidate key, while it is elected. */
  elected: () => string | null;
}

/**
 * The supervisor's eye on steps that run past their complete-by: it asks the owner, and frees the chunk of one that does nothing.
 * Two of them do no harm: each write compares, and a freed chunk is claimed like any other.
 */
export class Overdue {
  readonly #options: OverdueOptions;
  /** By plan, step and attempt. */
  readonly #askedMs = new Map<string, InstantMs>();

  constructor(options: OverdueOptions) {
    this.#options = options;
  }

  async look(): Promise<void> {
    const { book, clock } = this.#options;
    const candidate = this.#options.elected();
    const session = this.#options.session();
    if (candidate === null || session === null) {
      this.#askedMs.clear();
      return;
    }
    const nowMs = clock.now();
    const late = new Set<string>();
    for (const plan of book.open()) {
      const freed = new Set<number>();
      for (const step of lateSteps(plan, nowMs)) {
        const key = `${plan.id} ${step.index} ${step.attempt}`;
        late.add(key);
        const chunk = plan.chunks[plan.chunkOf(step.index)];
        if (chunk === undefined || freed.has(chunk.entry.value.chunk) || !this.#lives(chunk)) continue;
        const askedMs = this.#askedMs.get(key);
        if (askedMs === undefined) {
          if (this.#askedMs.size < ASKED_AT_ONCE) await this.#ask(plan, chunk, step, key, candidate);
        } else if (nowMs - askedMs >= ANSWER_WITHIN_MS) {
          await this.#free(plan, chunk, step, session, candidate);
          freed.add(chunk.entry.value.chunk);
        }
      }
    }
    for (const key of this.#askedMs.keys()) if (!late.has(key)) this.#askedMs.delete(key);
  }

  /** Of an owner that is gone the chunk is free for anybody. */
  #lives({ entry }: KnownChunk): boolean {
    const { owner } = entry.value;
    const { sessions } = this.#options.world;
    return owner !== null && sessions.get(`${owner.node}/${owner.incarnation}`) !== undefined;
  }

  async #ask(
    plan: KnownPlan,
    { entry }: KnownChunk,
    { index, attempt, reason }: OverdueStep,
    key: string,
    candidate: string,
  ): Promise<void> {
    const { node, store, random, clock, ledger } = this.#options;
    const owner = entry.value.owner?.node;
    if (owner === undefined) return;
    const request: SupervisorRequest = {
      id: random.hex(6),
      node: owner,
      action: 'retry-step',
      subject: subjectOfStep(plan.id, index),
      reason,
      attempt,
      from: node,
      at: clock.timestamp(),
    };
    const name = `${owner}/${request.id}`;
    const result = await store.commit(
      [
        { kind: 'requests', name, is: 'absent' },
        { kind: 'supervisor', name: candidate, is: 'present' },
      ],
      [{ put: 'requests', name, value: { v: 1, request } }],
    );
    if (result.kind === 'refused') return;
    this.#askedMs.set(key, clock.now());
    ledger.note({
      kind: 'request-made',
      subject: request.subject,
      message: `${node} asks ${owner} to end step ${index} of plan ${plan.id}: ${reason}`,
      details: { request: request.id, plan: plan.id, index, attempt },
    });
  }

  /** As from an owner that is gone: what that one still writes is refused. */
  async #free(
    plan: KnownPlan,
    { entry }: KnownChunk,
    { index, attempt, overdueMs }: OverdueStep,
    session: Session,
    candidate: string,
  ): Promise<void> {
    const { node, store, book, ledger } = this.#options;
    const owner = entry.value.owner?.node ?? 'nobody';
    const value = { ...entry.value, owner: null, token: null };
    const compares: Compare[] = [
      { kind: 'steps', name: entry.name, revision: entry.revision },
      { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },
      { kind: 'supervisor', name: candidate, is: 'present' },
    ];
    if (!session.valid()) return;
    const result = await store.commit(compares, [{ put: 'steps', name: entry.name, value }]);
    if (result.kind === 'refused') return;
    book.learnChunk({ ...entry, value, revision: result.revision });
    ledger.note({
      kind: 'step-taken-over',
      subject: subjectOfStep(plan.id, index),
      message: `${owner} did not end step ${index} of plan ${plan.id}, which is ${Math.round(overdueMs / 1000)} s late: what it owned there is for others to take`,
      details: { plan: plan.id, index, attempt, owner },
    });
  }
}

const PREFIX = 'step/';

function subjectOfStep(plan: string, index: number): string {
  return `${PREFIX}${plan}/${index}`;
}

/** null = the subject is something else. */
export function stepOfSubject(subject: string): { plan: string; index: number } | null {
  const [plan, index, ...rest] = subject.startsWith(PREFIX) ? subject.slice(PREFIX.length).split('/') : [];
  return plan && index !== undefined && /^\d+$/.test(index) && rest.length === 0
    ? { plan, index: Number(index) }
    : null;
}

function lateSteps(plan: KnownPlan, nowMs: InstantMs): OverdueStep[] {
  const { shape } = plan;
  if (shape === null || !plan.whole) return [];
  const since = (index: number): InstantMs | undefined =>
    plan.chunks[plan.chunkOf(index)]?.since.get(index)?.sinceMs;
  return overdueSteps(shape, plan.records, since, nowMs).filter(
    ({ overdueMs }) => overdueMs >= LATE_AFTER_MS,
  );
}
