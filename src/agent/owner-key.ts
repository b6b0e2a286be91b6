import type { Subject } from '../model/ids.ts';
import type { OwnerRecord } from '../model/records.ts';
import { StoreError, type Compare, type Entry, type Store, type Write } from '../ports/store.ts';

/** An owner key as it stands. */
export type Owner = Pick<Entry<'owners'>, 'name' | 'value' | 'revision'>;

/** An owner key as it is to be. */
export interface OwnerDraft {
  subject: Subject;
  record: OwnerRecord;
}

/** As `commitOwners`, of one. @throws StoreError */
export async function commitOwner(
  store: Store,
  subject: Subject,
  record: OwnerRecord,
  compares: Compare[],
  others: Write[] = [],
): Promise<Owner | null> {
  return (await commitOwners(store, [{ subject, record }], compares, others))?.[0] ?? null;
}

/**
 * Writes owner keys, and what stands or falls with them, in one transaction. Null when a compare did not hold; after a lost
 * reply, what is there is looked at for the operations' ids. @throws StoreError when that can't be had either
 */
export async function commitOwners(
  store: Store,
  drafts: readonly OwnerDraft[],
  compares: Compare[],
  others: Write[] = [],
): Promise<Owner[] | null> {
  const writes = drafts.map(({ subject, record }): Write => ({
    put: 'owners',
    name: subject,
    value: record,
  }));
  try {
    const result = await store.commit(compares, [...writes, ...others]);
    if (result.kind === 'refused') return null;
    return drafts.map(({ subject, record }) => ({ name: subject, value: record, revision: result.revision }));
  } catch (error) {
    if (!(error instanceof StoreError) || error.outcome !== 'unknown') throw error;
    const found = drafts.map(async ({ subject, record }) => {
      const entry = await store.get('owners', subject);
      // As it is now: somebody may have written it again, confirming a stop, and it keeps the token it was taken with.
      return entry?.value.operation === record.operation ? entry : null;
    });
    return (await Promise.all(found)).filter(entry => entry !== null);
  }
}
