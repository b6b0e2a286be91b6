import { AdminError } from '../ports/admin.ts';
import { StoreError } from '../ports/store.ts';

/** The store being away is not the asker's mistake. */
export async function asAdminErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new AdminError('unavailable', `the store does not answer: ${error.message}`, {
      outcome: error.outcome,
    });
  }
}
