import type { WaiterRecord } from '../model/records.ts';

/** A waiter's key. It is on its node's lease, so a node that dies leaves no gap. */
export interface Waiter {
  name: string;
  value: WaiterRecord;
  createRevision: bigint;
}

/** Who waits for one named agent, first come first: the order of their keys' creation, which is the same for everybody. */
export function lineFor<W extends Waiter>(agent: string, waiters: readonly W[]): W[] {
  return waiters
    .filter(({ value }) => value.agent === agent)
    .sort((a, b) => (a.createRevision < b.createRevision ? -1 : a.createRevision > b.createRevision ? 1 : 0));
}

/**
 * How many must have had their turn before this one; who has no key in the line comes after all of it. One that is in the
 * line knows everybody before it, since a copy of the store is never ahead in one key and behind in another.
 */
export function placeInLine(line: readonly Waiter[], waiter: string | null): number {
  const place = waiter === null ? -1 : line.findIndex(({ name }) => name === waiter);
  return place === -1 ? line.length : place;
}
