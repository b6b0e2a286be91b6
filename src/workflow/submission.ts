import type { Digest, Timestamp } from '../model/ids.ts';
import type {
  ChunkRecord,
  DefinitionRecord,
  IdempotencyRecord,
  PlanRecord,
  PlanSpec,
} from '../model/plan.ts';
import { chunksOf } from './chunks.ts';

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
  given: { plan: string; submittedAt: Timestamp; idempotencyKey: string | null },
): NewPlan {
  const { steps, ...rest } = spec;
  const { plan } = given;
  const layout = chunksOf(steps.length);
  const small = layout.length === 1;
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
