import type { NodeName } from '../model/ids.ts';
import type { Assessment, Outcome } from '../model/node-promise.ts';

/** How much one new judgement weighs against all those before. */
const newestWeight = 0.3;
const jitterShare = 0.2;

/** An assessor's trust after one more judgement. What could not be determined says nothing. */
export function trustAfter(trust: number, outcome: Outcome): number {
  switch (outcome) {
    case 'kept':
    case 'repaired':
      return trust + (1 - trust) * newestWeight;
    case 'broken':
      return trust * (1 - newestWeight);
    case 'indeterminate':
      return trust;
  }
}

/** The trust in a node, over all who have judged it; 1 as long as nobody has. */
export function trustOf(promiser: NodeName, assessments: Assessment[]): number {
  const judged = assessments.filter(each => each.promiser === promiser && each.outcome !== 'indeterminate');
  if (judged.length === 0) return 1;
  return judged.reduce((sum, { trust }) => sum + trust, 0) / judged.length;
}

/** When to check next: the less a node is trusted, the sooner, down to half the time. `jitter` is 0–1. */
export function probeIntervalMs(baseMs: number, trust: number, jitter: number): number {
  const share = 0.5 + 0.5 * Math.min(1, Math.max(0, trust));
  return Math.round(baseMs * share * (1 - jitterShare + 2 * jitterShare * jitter));
}
