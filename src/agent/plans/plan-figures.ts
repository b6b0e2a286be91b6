import type { PlanState, StepState } from '../../model/plan.ts';
import type { Attempts } from './attempts.ts';
import type { PlanBook } from './plan-book.ts';

export interface PlanFigures {
  plans: Partial<Record<PlanState, number>>;
  /** Of plans that have not ended. */
  steps: Partial<Record<StepState, number>>;
  /** Chunks that this node owns, and attempts its agents work at. */
  owned: number;
  running: number;
  /** Results that came when they no longer counted: to nobody, or refused. */
  staleResults: number;
  /** Transactions of this node for chunks: claims, and all others. */
  claims: number;
  writes: number;
  /** Steps that this node has brought to their end. */
  ended: number;
}

export function planFigures(
  book: PlanBook,
  attempts: Attempts,
  owned: number,
  counted: { claims: number; writes: number; refused: number; ended: number },
): PlanFigures {
  const plans: PlanFigures['plans'] = {};
  for (const plan of book.all()) {
    const state = plan.state();
    plans[state] = (plans[state] ?? 0) + 1;
  }
  const steps: PlanFigures['steps'] = {};
  for (const plan of book.open()) {
    for (const [state, count] of Object.entries(plan.counts()) as [StepState, number][])
      steps[state] = (steps[state] ?? 0) + count;
  }
  const { claims, writes, refused, ended } = counted;
  const staleResults = attempts.late + refused;
  return { plans, steps, owned, running: attempts.running, staleResults, claims, writes, ended };
}
