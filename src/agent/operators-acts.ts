import type { NodeName, Subject } from '../model/ids.ts';
import { subjectOfAgent, type AgentName } from '../model/named-agents.ts';
import { tokenOf } from '../model/records.ts';
import { confirmedStopped } from '../ownership/records.ts';
import { AdminError } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import type { Store } from '../ports/store.ts';
import type { Ledger } from './ledger.ts';
import type { World } from './world.ts';

const ANSWERED_WITHIN_MS = 10_000;
const POLL_MS = 50;

export interface OperatorsActsOptions {
  node: NodeName;
  world: World;
  store: Store;
  ledger: Ledger;
  clock: Clock;
  random: Random;
  log: Log;
}

/** Asks the node that owns a name to stop what runs under it, and to release it. @throws AdminError, StoreError */
export async function askToRelease(
  { node, world, store, clock, random, log }: OperatorsActsOptions,
  owner: NodeName,
  name: AgentName,
): Promise<void> {
  const id = random.hex(6);
  const key = `${owner}/${id}`;
  const request = {
    id,
    node: owner,
    action: 'release' as const,
    subject: subjectOfAgent(name),
    reason: 'an operator asked for it',
    attempt: 0,
    from: node,
    at: clock.timestamp(),
  };
  try {
    await store.commit(
      [{ kind: 'requests', name: key, is: 'absent' }],
      [{ put: 'requests', name: key, value: { v: 1, request } }],
    );
    const untilMs = clock.now() + ANSWERED_WITHIN_MS;
    for (;;) {
      const answer = world.answers.get(key)?.value;
      if (answer?.answer === 'refused') throw new AdminError('conflict', answer.reason);
      if (answer) return;
      if (clock.now() > untilMs)
        throw new AdminError('unavailable', `${owner} has not answered; ask again, or look at its log`);
      await clock.sleep(POLL_MS);
    }
  } finally {
    // Whatever the outcome, it is not replaced by that of clearing up; what was answered is not done twice.
    await store.commit([], [{ delete: 'requests', name: key }]).catch((error: unknown) => {
      log.warn('a request to release could not be cleared away', { request: key, error });
    });
  }
}

/** An operator knows that a node outside the cluster runs no copy of a subject any more. @throws AdminError, StoreError */
export async function clearMayStillRun(
  { store, ledger, world }: OperatorsActsOptions,
  subject: Subject,
  node: NodeName,
): Promise<void> {
  const entry = await store.get('owners', subject);
  if (!entry?.value.mayStillRun.includes(node)) {
    const listed = entry?.value.mayStillRun ?? [];
    throw new AdminError(
      'not-found',
      `${subject} is not said to perhaps still run on ${node}; ${listed.length > 0 ? `on ${listed.join(', ')}` : 'nor anywhere else'}`,
    );
  }
  if (world.nodes().has(node)) {
    throw new AdminError('conflict', `${node} is in the cluster: it says itself when its copy is dead`);
  }
  const result = await store.commit(
    [{ kind: 'owners', name: subject, revision: entry.revision }],
    [
      { put: 'owners', name: subject, value: confirmedStopped(entry.value, tokenOf(entry), node) },
      ledger.draft({
        kind: 'may-still-run-cleared',
        subject,
        message: `an operator says that ${subject} does not run on ${node} any more`,
        details: { node },
      }),
    ],
  );
  if (result.kind === 'refused') throw new AdminError('conflict', `${subject} has just changed: look again`);
}
