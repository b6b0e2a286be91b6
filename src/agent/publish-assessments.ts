import type { NodeName } from '../model/ids.ts';
import type { Assessment } from '../model/node-promise.ts';
import type { Session, Store, Write } from '../ports/store.ts';
import type { Ledger } from './ledger.ts';
import type { World } from './world.ts';

const PER_TRANSACTION = 50;

export interface PublishOptions {
  node: NodeName;
  world: World;
  store: Store;
  ledger: Ledger;
}

/**
 * A judgement and its event are written together or not at all: who can't reach the store has nothing to say. `observed`
 * are the names of all that this node observes; what it said of anything else goes. null = nothing goes. @throws StoreError
 */
export async function publishAssessments(
  { store, world, node, ledger }: PublishOptions,
  { lease, incarnation }: Session,
  judged: Assessment[],
  observed: ReadonlySet<string> | null,
): Promise<void> {
  const writes = new Map<string, () => Write[]>();
  for (const assessment of judged) {
    const name = `${assessment.promiser}/${assessment.promise}/${assessment.assessor}`;
    writes.set(name, () => [
      { put: 'assessments', name, value: { v: 1, assessment }, lease },
      ...eventOf(assessment, ledger),
    ]);
  }
  for (const { value, name, lease: writtenOn } of observed === null ? [] : world.assessments.all()) {
    if (value.assessment.assessor !== node || writes.has(name)) continue;
    // A judgement of a promise that is no more says nothing any more; history is in the ledger.
    if (!observed?.has(`${value.assessment.promiser}/${value.assessment.promise}`))
      writes.set(name, () => [{ delete: 'assessments', name }]);
    // What this node's former agent judged stands, and must not go with its lease.
    else if (writtenOn !== lease) writes.set(name, () => [{ put: 'assessments', name, value, lease }]);
  }
  const all = [...writes.values()];
  for (let start = 0; start < all.length; start += PER_TRANSACTION) {
    const own = all.slice(start, start + PER_TRANSACTION).flatMap(write => write());
    const result = await store.commit([{ kind: 'sessions', name: `${node}/${incarnation}`, lease }], own);
    if (result.kind === 'refused') return;
  }
}

function eventOf(assessment: Assessment, ledger: Ledger): Write[] {
  const { assessor, promiser, promise, outcome, evidence } = assessment;
  if (outcome === 'indeterminate') return [];
  return [
    ledger.draft({
      kind: `promise-${outcome}`,
      subject: `${promiser}/${promise}`,
      message: `${assessor} judges ${promise} of ${promiser} ${outcome}: ${evidence}`,
      details: { assessor, evidence },
    }),
  ];
}
