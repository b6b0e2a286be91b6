import type { NodeName } from '../model/ids.ts';
import type { Assessment } from '../model/node-promise.ts';

/** What the observers of an instance whose session is gone say of it. */
export type LastWord =
  /** Somebody still gets answers from it: nobody takes it. */
  | 'answers'
  /** Most of them get none. */
  | 'unreachable'
  /** Too few have spoken, or they can't tell. */
  | 'unknown';

/**
 * Ownership rule 12 for a session that is gone. One observer that gets answers is enough to keep an instance where it is,
 * unless most of them get none: a node that is cut off from one observer only loses nothing.
 */
export function lastWordOf(said: readonly Assessment[], observers: readonly NodeName[]): LastWord {
  const heard = said.filter(({ assessor }) => observers.includes(assessor));
  const without = heard.filter(({ unreachable }) => unreachable === true).length;
  if (without * 2 > observers.length) return 'unreachable';
  return heard.some(({ answering }) => answering !== undefined) ? 'answers' : 'unknown';
}
