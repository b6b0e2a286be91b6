import type { NodeName } from '../model/ids.ts';
import type { Assessment, Outcome } from '../model/node-promise.ts';

/**
 * The observers' judgements of one promise in one word: what more than half of the observers say; `indeterminate` while
 * they disagree or too few have spoken. Whoever is no observer (any more) is not counted.
 */
export function outcomeOf(assessments: Assessment[], observers: readonly NodeName[]): Outcome | 'unassessed' {
  const heard = assessments.filter(({ assessor }) => observers.includes(assessor));
  if (heard.length === 0) return 'unassessed';
  const count = (outcome: Outcome) => heard.filter(each => each.outcome === outcome).length;
  const majority = Math.floor(observers.length / 2) + 1;
  const kept = count('kept');
  const repaired = count('repaired');
  if (count('broken') >= majority) return 'broken';
  if (kept + repaired >= majority) return repaired >= kept ? 'repaired' : 'kept';
  return 'indeterminate';
}
