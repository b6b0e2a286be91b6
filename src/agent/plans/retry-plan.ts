import { chunkToken, type ChunkRecord, type StepRecord } from '../../model/plan.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Compare, Store, Write } from '../../ports/store.ts';
import { withSteps } from '../../workflow/chunks.ts';
import type { Moment } from '../../workflow/history.ts';
import { retryByHand } from '../../workflow/retry-by-hand.ts';
import type { KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';

const TRIES = 5;

export interface RetryOptions {
  store: Pick<Store, 'commit' | 'get' | 'list'>;
  book: PlanBook;
  moment: Moment;
}

/**
 * Takes a plan up again that has ended badly. Chunk by chunk, each with the plan's record, in which it has not ended from
 * the first on; should it end once more before the last one is written, it is taken up again. Interrupted, it has
 * retried what it has come to. @throws AdminError when there is nothing to retry, StoreError
 */
export async function retryPlan(
  options: RetryOptions,
  plan: KnownPlan,
  only: number[] | null,
): Promise<void> {
  const { store, book, moment } = options;
  const { shape } = plan;
  if (shape === null) throw new AdminError('not-found', `the steps of plan "${plan.id}" are gone`);
  await refresh(options, plan);
  const { cancel } = plan.entry.value;
  const retry = retryByHand(shape, plan.records, cancel, only === null ? null : new Set(only), moment);
  if (retry.kind === 'refused') {
    throw new AdminError('conflict', `plan ${plan.id} can't be retried: ${retry.reason}`);
  }
  for (const [chunk, records] of byChunk(plan, retry.records)) {
    for (let attempt = 0; ; attempt++) {
      if (await retryChunk(store, book, plan, chunk, records)) break;
      if (attempt >= TRIES) throw new AdminError('conflict', `plan ${plan.id} is being changed all the time`);
      await refresh(options, plan);
    }
  }
}

/** False = something was written meanwhile. */
async function retryChunk(
  store: RetryOptions['store'],
  book: PlanBook,
  plan: KnownPlan,
  chunk: number,
  records: StepRecord[],
): Promise<boolean> {
  const known = plan.chunks[chunk]?.entry;
  if (known === undefined) throw new AdminError('conflict', `plan ${plan.id} is not whole`);
  const value: ChunkRecord = {
    ...known.value,
    token: chunkToken(known),
    steps: withSteps(known.value, records),
  };
  const record = { ...plan.entry.value, settled: null, cancel: null };
  const compares: Compare[] = [
    { kind: 'steps', name: known.name, revision: known.revision },
    { kind: 'plans', name: plan.id, revision: plan.entry.revision },
  ];
  const writes: Write[] = [
    { put: 'steps', name: known.name, value },
    { put: 'plans', name: plan.id, value: record },
  ];
  const result = await store.commit(compares, writes);
  if (result.kind === 'refused') return false;
  const { revision } = result;
  book.learnChunk({ ...known, value, revision });
  book.learnPlan({ ...plan.entry, value: record, revision });
  return true;
}

/** As the store has it now. */
async function refresh({ store, book }: RetryOptions, plan: KnownPlan): Promise<void> {
  const entry = await store.get('plans', plan.id);
  if (entry === null) throw new AdminError('not-found', `there is no plan "${plan.id}" any more`);
  const { entries } = await store.list('steps', { prefix: `${plan.id}/` });
  for (const chunk of entries) book.learnChunk(chunk);
  book.learnPlan(entry);
}

function byChunk(plan: KnownPlan, records: StepRecord[]): Map<number, StepRecord[]> {
  const chunks = new Map<number, StepRecord[]>();
  for (const record of records) {
    const chunk = plan.chunkOf(record.index);
    chunks.set(chunk, [...(chunks.get(chunk) ?? []), record]);
  }
  return chunks;
}
