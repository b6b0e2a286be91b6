import type { Subject } from '../model/ids.ts';
import type { OwnerRecord } from '../model/records.ts';
import { StoreError, type Compare, type Entry, type Store, type Write } from '../ports/store.ts';

/** An owner key as it stands. */
export type Owner = Pick<Entry<'owners'>, 'name' | 'value' | 'revision'>;

/**
 * Writes an owner key, and what stands or falls with it. Null when a compare did not hold; after a lost reply, what is there
 * is looked at for the operation's id. @throws StoreError when that can't be had either
 */
export async function commitOwner(
  store: Store,
  subject: Subject,
  record: OwnerRecord,
  compares: Compare[],
  others: Write[] = [],
): Promise<Owner | null> {
  try {
    const result = await store.commit(compares, [{ put: 'owners', name: subject, value: record }, ...others]);
    return result.kind === 'committed' ? { name: subject, value: record, revision: result.revision } : null;
  } catch (error) {
    if (!(error instanceof StoreError) || error.outcome !== 'unknown') throw error;
    const entry = await store.get('owners', subject);
    // As it is now: somebody may have written it again, confirming a stop, and it keeps the token it was taken with.
    return entry?.value.operation === record.operation ? entry : null;
  }
}
