import type { LocatedPlan } from '../../manifest/read-manifest.ts';
import type { PlanSpec } from '../../model/plan.ts';
import type { Problem } from '../../model/problem.ts';

/** Of a step, all that its agent does not look at. */
const ASIDE = ['name', 'timeout', 'retry', 'condition', 'complete-by', 'concurrency'];
/** What is wrong in one of these says nothing of the others; in anything else, nothing can be said of the step. */
const APART = ['resource', 'arguments', 'payload', 'payload-file', 'mime-type'];
const WORK = /^steps\[(\d+)\](\.compensate\b)?\.?(([a-z-]*).*)$/s;

/**
 * Of what the cluster finds wrong in what could be read of a plan, all that is neither known here nor might only be said because of what
 * is wrong here. `own` = the problems of that plan, `found` as they are placed in its file.
 */
export function beside(
  { spec }: Pick<LocatedPlan, 'spec'>,
  own: readonly Problem[],
  found: readonly Problem[],
): Problem[] {
  return found.filter(problem => !own.some(({ field }) => explains(spec, field, problem.field)));
}

function explains(spec: PlanSpec, own: string, found: string): boolean {
  if (own === found) return true;
  const [wrong, seen] = [WORK.exec(own), WORK.exec(found)];
  if (own === 'sequential') return seen !== null && refers(spec, seen);
  if (wrong === null || seen === null || wrong[1] !== seen[1]) return false;
  const [, , undo, , part = ''] = wrong;
  if (ASIDE.includes(part)) return false;
  if (part === 'depends-on') return seen[4] === part || refers(spec, seen);
  if (undo !== seen[2]) return undo === undefined && part === '';
  if (!APART.includes(part)) return true;
  return isWithin(found, own) || isWithin(own, found) || (part.startsWith('payload') && isOfPayload(seen));
}

/** Whether what stands there may name a step that this one has to depend on. */
function refers(spec: PlanSpec, seen: RegExpExecArray): boolean {
  const [, index, undo, place = ''] = seen;
  const step = spec.steps[Number(index)];
  const work = undo === undefined ? step : step?.compensate;
  const text = place === 'resource' ? work?.resource : work?.arguments?.[place.replace('arguments.', '')];
  return isOfPayload(seen) || text?.includes('{{') === true;
}

function isOfPayload([, , , place = '']: RegExpExecArray): boolean {
  return place.startsWith('payload') || place === 'arguments.payload-from';
}

function isWithin(field: string, other: string): boolean {
  return field.startsWith(other) && /^[.[]/.test(field.slice(other.length));
}
