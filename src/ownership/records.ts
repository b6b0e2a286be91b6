import type { NodeName, Subject, Timestamp, Token } from '../model/ids.ts';
import type { OwnerRecord } from '../model/records.ts';

export interface Taker {
  subject: Subject;
  node: NodeName;
  incarnation: string;
  ttlSeconds: number;
  holder: string;
  operation: string;
  /** To be run under the guard. */
  exclusive: boolean;
  /** Of the epoch (rule 14). */
  tokenBase: string;
}

/**
 * The owner key as the taker writes it. `formerMayRun` = the former owner did not stop it as far as anybody knows: it
 * is remembered until its own confirmed stop, however often the subject changes hands.
 */
export function takenRecord(previous: OwnerRecord | null, taker: Taker, formerMayRun: boolean): OwnerRecord {
  const former = previous !== null && previous.released === null && formerMayRun ? [previous.node] : [];
  return {
    ...previous,
    v: 1,
    ...taker,
    mayStillRun: without(taker.node, [...(previous?.mayStillRun ?? []), ...former]),
    released: null,
    token: null,
  };
}

/** The owner key after its work has stopped. Only to be written in a transaction comparing the token. */
export function releasedRecord(owner: OwnerRecord, token: Token, at: Timestamp, reason: string): OwnerRecord {
  return {
    ...owner,
    token,
    mayStillRun: without(owner.node, owner.mayStillRun),
    released: { at, reason },
  };
}

/**
 * The owner key of a redundant subject whose copy is to be moved: free for others while it runs on here, until theirs is
 * ready and this node confirms its stop; `to` = who is to take it. What must never run twice is released, after it has stopped.
 */
export function handedOverRecord(
  owner: OwnerRecord,
  token: Token,
  at: Timestamp,
  reason: string,
  to: NodeName | null = null,
): OwnerRecord {
  if (owner.exclusive === true) throw new Error(`${owner.subject} is exclusive: it is not handed over alive`);
  return {
    ...owner,
    token,
    mayStillRun: [...without(owner.node, owner.mayStillRun), owner.node],
    released: { at, reason, ...(to === null ? {} : { to }) },
  };
}

/** The owner key after `node` has confirmed that nothing of it runs there any more; who owns it does not change. */
export function confirmedStopped(owner: OwnerRecord, token: Token, node: NodeName): OwnerRecord {
  return { ...owner, token, mayStillRun: without(node, owner.mayStillRun) };
}

function without(node: NodeName, nodes: NodeName[]): NodeName[] {
  return [...new Set(nodes)].filter(other => other !== node);
}
