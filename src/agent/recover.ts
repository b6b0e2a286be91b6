import { EPOCH } from '../model/records.ts';
import type { EpochView } from '../model/views.ts';
import { AdminError } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { Store } from '../ports/store.ts';
import type { Ledger } from './ledger.ts';

/** Beyond the highest revision this node has seen: other nodes may have seen a little more, and none so much. */
const JUMP = 2n ** 40n;

/**
 * Opens a new epoch after etcd was restored from a backup (ownership rule 14): tokens go on from above any that was given,
 * and every node takes what the store says from now on for true. @throws AdminError, StoreError
 */
export async function recover(options: {
  node: string;
  store: Store;
  ledger: Ledger;
  clock: Clock;
  /** The last epoch this node has been in: a backup from before it knows nothing of it. */
  keeper: { epoch: { number: number; tokenBase: string } };
}): Promise<EpochView> {
  const { node, store, ledger, clock } = options;
  const { epoch: last } = options.keeper;
  const known = await store.get('cluster', EPOCH);
  const seen = BigInt(store.seen()?.revision ?? 0);
  const number = Math.max(known?.value.number ?? 0, last.number) + 1;
  const base = [BigInt(known?.value.tokenBase ?? 0), BigInt(last.tokenBase)].reduce((a, b) =>
    a > b ? a : b,
  );
  const tokenBase = String(base + seen + JUMP);
  const result = await store.commit(
    [
      known
        ? { kind: 'cluster', name: EPOCH, revision: known.revision }
        : { kind: 'cluster', name: EPOCH, is: 'absent' },
    ],
    [
      {
        put: 'cluster',
        name: EPOCH,
        value: { ...known?.value, v: 1, number, tokenBase, at: clock.timestamp(), by: node },
      },
    ],
  );
  if (result.kind === 'refused') {
    throw new AdminError(
      'conflict',
      'somebody else has just opened a new epoch: look before you do it again',
    );
  }
  ledger.note({
    kind: 'epoch-opened',
    subject: `node/${node}`,
    message: `${node} was told that etcd was restored, and opened epoch ${number}`,
    details: { epoch: number, tokenBase },
  });
  return { epoch: number, tokenBase };
}
