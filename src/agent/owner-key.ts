import type { Subject } from '../model/ids.ts';
import type { OwnerRecord } from '../model/records.ts';
import { StoreError, type Compare, type Store, type Write } from '../ports/store.ts';

/**
 * Writes an owner key, and what stands or falls with it. Gives the revision, or null when a compare did not hold; after a
 * lost reply, what is there is looked at for the operation's id. @throws StoreError when that can't be had either
 */
export async function commitOwner(
  store: Store,
  subject: Subject,
  record: OwnerRecord,
  compares: Compare[],
  others: Write[] = [],
): Promise<bigint | null> {
  try {
    const result = await store.commit(compares, [{ put: 'owners', name: subject, value: record }, ...others]);
    return result.kind === 'committed' ? result.revision : null;
  } catch (error) {
    if (!(error instanceof StoreError) || error.outcome !== 'unknown') throw error;
    const entry = await store.get('owners', subject);
    return entry?.value.operation === record.operation ? entry.revision : null;
  }
}
