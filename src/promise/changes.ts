import type { Timestamp } from '../model/ids.ts';
import type { NodePromise } from '../model/node-promise.ts';

export interface PromiseChanges {
  made: NodePromise[];
  changed: NodePromise[];
  withdrawn: { promise: NodePromise; reason: string }[];
  /** All that stand after this. */
  all: NodePromise[];
}

/**
 * What has to be written to get from the promises made to those that can be made now. A promise keeps the time it was
 * made at for as long as its name stands. Nothing changed, nothing to write. `reasons`: why a promise
 * of that name is taken back; else a reason is given by its kind.
 */
export function changes(
  previous: NodePromise[],
  next: Omit<NodePromise, 'madeAt'>[],
  at: Timestamp,
  reasons: ReadonlyMap<string, string> = new Map(),
): PromiseChanges {
  const before = new Map(previous.map(promise => [promise.name, promise]));
  const result: PromiseChanges = { made: [], changed: [], withdrawn: [], all: [] };
  for (const promise of next) {
    const known = before.get(promise.name);
    const now = { ...promise, madeAt: known?.madeAt ?? at };
    result.all.push(now);
    if (!known) result.made.push(now);
    else if (!isSame(known, now)) result.changed.push(now);
  }
  const names = new Set(next.map(({ name }) => name));
  for (const promise of previous) {
    if (names.has(promise.name)) continue;
    result.withdrawn.push({ promise, reason: reasons.get(promise.name) ?? usualReason(promise) });
  }
  return result;
}

function usualReason({ body }: NodePromise): string {
  switch (body.kind) {
    case 'capacity':
      return 'the node is leaving';
    case 'running':
      return `${body.instance} is not this node's to run any more`;
    case 'standby':
      return `${body.instance} has no copy waiting here any more`;
    case 'serving':
      return `no copy of ${body.app} is ready here`;
    case 'holding':
      return 'the artifact is not needed any more';
    case 'deploying':
      return `the deployment of ${body.app} release ${body.release} has ended`;
    case 'draining':
      return 'the node takes work again';
    case 'request':
      return `the ${body.action} it had accepted has ended`;
  }
}

/** Whether two promises, or parts of them, say the same. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const left = Object.entries(a);
  const right = new Map<string, unknown>(Object.entries(b));
  return (
    left.length === right.size &&
    left.every(([key, value]) => right.has(key) && isSame(value, right.get(key)))
  );
}
