import type { Compare, Entry, Store, Write } from '../../ports/store.ts';
import { idempotencyName } from './submit.ts';

const DELETES_AT_ONCE = 100;

/**
 * Takes a plan out of the store: its record first, with which it ceases to exist; what is left when that is interrupted is an
 * orphan. False = it is not as it was. @throws StoreError
 */
export async function removePlan(
  store: Pick<Store, 'commit' | 'list'>,
  plan: Entry<'plans'>,
): Promise<boolean> {
  const { idempotencyKey } = plan.value;
  const writes: Write[] = [{ delete: 'plans', name: plan.name }];
  if (idempotencyKey !== null) writes.push({ delete: 'idempotency', name: idempotencyName(idempotencyKey) });
  const compares: Compare[] = [{ kind: 'plans', name: plan.name, revision: plan.revision }];
  const result = await store.commit(compares, writes);
  if (result.kind === 'refused') return false;
  await removeParts(store, plan.name);
  return true;
}

/**
 * What lies about of a plan that does not exist: its first chunk first, without which it can't come to exist any more; other
 * chunks last, by which it is found again. @throws StoreError
 */
export async function removeParts(store: Pick<Store, 'commit' | 'list'>, plan: string): Promise<void> {
  const prefix = `${plan}/`;
  const [first, ...rest] = (await store.list('steps', { prefix })).entries;
  const definitions = (await store.list('definitions', { prefix })).entries;
  const writes: Write[] = [
    ...(first ? [{ delete: 'steps', name: first.name } as const] : []),
    ...definitions.map(({ name }) => ({ delete: 'definitions', name }) as const),
    ...rest.map(({ name }) => ({ delete: 'steps', name }) as const),
  ];
  for (let start = 0; start < writes.length; start += DELETES_AT_ONCE) {
    const absent: Compare = { kind: 'plans', name: plan, is: 'absent' };
    const result = await store.commit([absent], writes.slice(start, start + DELETES_AT_ONCE));
    if (result.kind === 'refused') return;
  }
}
