import type { Digest } from '../model/ids.ts';
import type {
  ChunkRecord,
  DefinitionRecord,
  IdempotencyRecord,
  PlanRecord,
  PlanSpec,
  StepSpec,
} from '../model/plan.ts';
import { chunksOf } from './chunks.ts';

/** A plan's record is read by everybody, and by whoever lists plans: steps that take more go into an entry of their own. */
const INLINE_BYTES = 16 * 1024;
/** Of a chunk's definitions: well below what fits into one transaction. */
const DEFINITIONS_BYTES = 512 * 1024;

export interface NewPlan {
  plan: PlanRecord;
  chunks: ChunkRecord[];
  /** Empty when the plan's record holds the steps itself. */
  definitions: DefinitionRecord[];
}

/**
 * What is written of a plan when it is submitted: free chunks in which nothing has happened yet. The plan's record goes last,
 * or with everything in one transaction: with it the plan exists.
 */
export function newPlan(
  spec: PlanSpec,
  given: Pick<PlanRecord, 'plan' | 'submittedAt' | 'idempotencyKey' | 'origin'>,
): NewPlan {
  const { steps, ...rest } = spec;
  const { plan } = given;
  const sizes = steps.map(bytesOf);
  const layout = chunksOf(steps.length).flatMap(chunk => parted(chunk, sizes));
  const small = layout.length === 1 && sum(sizes) <= INLINE_BYTES;
  return {
    plan: {
      v: 1,
      ...given,
      spec: rest,
      steps: small ? steps : null,
      chunks: layout.length,
      settled: null,
      cancel: null,
    },
    chunks: layout.map(({ first, count }, chunk) => ({
      v: 1,
      plan,
      chunk,
      first,
      count,
      owner: null,
      token: null,
      steps: [],
    })),
    definitions: small
      ? []
      : layout.map(({ first, count }) => ({ v: 1, plan, first, steps: steps.slice(first, first + count) })),
  };
}

/** What a plan's steps take in the store, before anything has happened. */
export function definitionBytes(steps: readonly StepSpec[]): number {
  return sum(steps.map(bytesOf));
}

type Part = { first: number; count: number };

/** In halves, until each fits. */
function parted({ first, count }: Part, sizes: readonly number[]): Part[] {
  if (count === 1 || sum(sizes.slice(first, first + count)) <= DEFINITIONS_BYTES) return [{ first, count }];
  const half = Math.ceil(count / 2);
  return [
    ...parted({ first, count: half }, sizes),
    ...parted({ first: first + half, count: count - half }, sizes),
  ];
}

const encoder = new TextEncoder();

function bytesOf(step: StepSpec): number {
  return encoder.encode(JSON.stringify(step)).length;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

/** A plan's spec out of what was written; null when definitions of it are missing. */
export function specOf(plan: PlanRecord, definitions: readonly DefinitionRecord[]): PlanSpec | null {
  if (plan.steps !== null) return { ...plan.spec, steps: plan.steps };
  if (definitions.length < plan.chunks) return null;
  const inOrder = [...definitions].sort((a, b) => a.first - b.first);
  return { ...plan.spec, steps: inOrder.flatMap(({ steps }) => steps) };
}

/** What a submission with an idempotency key is, given what is known of the key: new, the same as a plan, or a conflict with one. */
export function sameAs(
  known: IdempotencyRecord | null,
  digest: Digest,
): { kind: 'new' } | { kind: 'same' | 'conflict'; plan: string } {
  if (known === null) return { kind: 'new' };
  return { kind: known.digest === digest ? 'same' : 'conflict', plan: known.plan };
}
