import type { NodeName, ProcessType } from '../model/ids.ts';
import type { Assessment, NodePromise } from '../model/node-promise.ts';

/** A promise to run something of the app that is depended on, and how it is judged. */
export interface JudgedPromise {
  promise: NodePromise;
  assessments: Assessment[];
  /** Who ought to be watching it; none = there is no other node. */
  observers: NodeName[];
}

/**
 * Why what others depend on can't be relied upon yet; null = it can. Of each process type that matters, one instance has
 * to be ready by its node's word, and found so by at least one observer: nobody's own word is enough.
 */
export function unmet(types: ProcessType[], promises: JudgedPromise[]): string | null {
  if (types.length === 0) return 'it has no instance';
  for (const type of types) {
    const own = promises.filter(({ promise: { body } }) => body.kind === 'running' && body.process === type);
    const ready = own.filter(({ promise: { body } }) => body.kind === 'running' && body.ready);
    if (ready.length === 0) return `no instance of ${type} is ready`;
    if (!ready.some(isFound)) return unfound(ready);
  }
  return null;
}

function isFound({ assessments, observers }: JudgedPromise): boolean {
  if (observers.length === 0) return true;
  return assessments.some(
    ({ assessor, outcome }) => observers.includes(assessor) && (outcome === 'kept' || outcome === 'repaired'),
  );
}

function unfound(ready: JudgedPromise[]): string {
  const words = ready.map(({ promise: { promiser, name }, assessments }) => {
    const said = assessments.map(
      ({ assessor, outcome, evidence }) => `${assessor} says ${outcome}: ${evidence}`,
    );
    return `${promiser}/${name} (${said.join('; ') || 'not looked at yet'})`;
  });
  return `no observer has found kept ${words.join(', ')}`;
}
