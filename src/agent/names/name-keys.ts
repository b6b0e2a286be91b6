import type { NodeName, Timestamp, Token } from '../../model/ids.ts';
import { agentOfSubject, subjectOfAgent, type AgentName } from '../../model/named-agents.ts';
import { EPOCH, tokenOf, type AgentStateRecord } from '../../model/records.ts';
import { moved } from '../../ownership/machines.ts';
import { releasedRecord, takenRecord } from '../../ownership/records.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import {
  StoreError,
  type Compare,
  type Entry,
  type Session,
  type Store,
  type Write,
} from '../../ports/store.ts';
import type { Ledger } from '../ledger.ts';
import { commitOwner } from '../owner-key.ts';
import type { StaleTokens } from '../stale-tokens.ts';

export interface NameKeysOptions {
  node: NodeName;
  store: Store;
  clock: Clock;
  random: Random;
  ledger: Ledger;
  stale: StaleTokens;
  /** As this node knows it; absent = there has never been one. */
  epoch: () => Entry<'cluster'> | undefined;
}

/** A name as it was taken. */
export interface TakenName {
  token: Token;
  /** Of the owner key, as long as nobody has written to it. */
  revision: bigint;
  incarnation: string;
  since: Timestamp;
}

/**
 * What named agents are in the store, and the transactions that move them. Each carries its event, so that whoever follows
 * the ledger from a snapshot on misses nothing and is told nothing twice.
 */
export class NameKeys {
  readonly #options: NameKeysOptions;

  constructor(options: NameKeysOptions) {
    this.#options = options;
  }

  /**
   * Ownership rule 1, for a name: with it goes the waiter's key, which must still be there on this session's own lease: the
   * session may have ended while it stood in line. Null = somebody was faster, or the world has moved on. @throws StoreError
   */
  async acquire(
    name: AgentName,
    holder: string,
    session: Session,
    known: Entry<'owners'> | undefined,
    waiter: string | null,
  ): Promise<TakenName | null> {
    const { node, store, clock, random, ledger } = this.#options;
    const subject = subjectOfAgent(name);
    const previous = known?.value ?? null;
    const epoch = this.#options.epoch();
    const since = clock.timestamp();
    const record = {
      ...takenRecord(
        previous,
        {
          subject,
          node,
          incarnation: session.incarnation,
          ttlSeconds: session.ttlSeconds,
          holder,
          operation: random.hex(8),
          exclusive: true,
          tokenBase: epoch?.value.tokenBase ?? '0',
        },
        false,
      ),
      since,
    };
    const compares: Compare[] = [
      known
        ? { kind: 'owners', name: subject, revision: known.revision }
        : { kind: 'owners', name: subject, is: 'absent' },
      { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },
      epoch
        ? { kind: 'cluster', name: epoch.name, revision: epoch.revision }
        : { kind: 'cluster', name: EPOCH, is: 'absent' },
    ];
    if (previous !== null && previous.released === null)
      compares.push({ kind: 'sessions', name: `${previous.node}/${previous.incarnation}`, is: 'absent' });
    if (waiter !== null) compares.push({ kind: 'waiters', name: waiter, lease: session.lease });
    const from = known ? 'Unassigned' : 'Inactive';
    const event = ledger.draft({
      kind: 'agent-assigned',
      subject,
      message: `${node} took ${name} for ${holder}`,
      details: {
        holder,
        incarnation: session.incarnation,
        ...moved('cluster', from, 'Requesting'),
        request: moved('request', 'Pending', 'Granted'),
      },
    });
    if (!session.valid()) return null;
    const owner = await commitOwner(store, subject, record, compares, [
      event,
      ...(waiter === null ? [] : [{ delete: 'waiters' as const, name: waiter }]),
    ]);
    // The wait may have outlived the session; what was written then is taken over by whoever comes next.
    if (owner === null || !session.valid()) return null;
    return { token: tokenOf(owner), revision: owner.revision, incarnation: session.incarnation, since };
  }

  /**
   * Ownership rule 10, comparing the session as well: the next agent may go on with it, and give the holder its right again.
   * Of what is not owned under that token any more, it is no error. @throws StoreError
   */
  async release(
    name: AgentName,
    holder: string,
    token: Token,
    { incarnation, lease }: Session,
    reason: string,
  ): Promise<void> {
    const { node, store, clock, ledger, stale } = this.#options;
    const subject = subjectOfAgent(name);
    const entry = await store.get('owners', subject);
    if (entry && tokenOf(entry) !== token) stale.refused({ use: 'release', subject, by: holder, token });
    if (entry?.value.node !== node || entry.value.released !== null || tokenOf(entry) !== token) return;
    const at = clock.timestamp();
    const event = ledger.draft({
      kind: 'agent-released',
      subject,
      message: `${node} released ${name}: ${reason}`,
      details: {
        holder,
        fencingToken: token,
        ...moved('cluster', 'Assigned', 'Release'),
        request: moved('request', 'Assigned', 'Release'),
      },
    });
    const result = await store.commit(
      [
        { kind: 'owners', name: subject, revision: entry.revision },
        { kind: 'sessions', name: `${node}/${incarnation}`, lease },
      ],
      [{ put: 'owners', name: subject, value: releasedRecord(entry.value, token, at, reason) }, event],
    );
    if (result.kind === 'refused') {
      throw new StoreError(`${subject} or the session of ${node} changed meanwhile: it is not released yet`, {
        outcome: 'refused',
        retryable: true,
      });
    }
  }

  /**
   * Stands in line; put again by the same holder on a new lease, it keeps its place. Gives the key's name, or null when the
   * session is not in force any more. @throws StoreError
   */
  async enqueue(name: AgentName, holder: string, since: Timestamp, session: Session): Promise<string | null> {
    const { node, store, ledger } = this.#options;
    const waiter = waiterName(node, name, holder);
    const event = ledger.draft({
      kind: 'agent-requested',
      subject: subjectOfAgent(name),
      message: `${holder} on ${node} waits for ${name}`,
      details: { holder, request: moved('request', 'Unassigned', 'Requesting') },
    });
    const { incarnation, lease } = session;
    const result = await store.commit(
      [{ kind: 'sessions', name: `${node}/${incarnation}`, lease }],
      [
        {
          put: 'waiters',
          name: waiter,
          value: { v: 1, agent: name, node, incarnation, holder, since },
          lease,
        },
        event,
      ],
    );
    return result.kind === 'committed' ? waiter : null;
  }

  /** Leaves the line, having waited long enough or been asked to. @throws StoreError */
  async leave(
    name: AgentName,
    holder: string,
    event: 'RequestTimedOut' | 'Release',
    reason: string,
  ): Promise<void> {
    const { node, store, ledger } = this.#options;
    const waiter = waiterName(node, name, holder);
    await store.commit(
      [{ kind: 'waiters', name: waiter, is: 'present' }],
      [
        { delete: 'waiters', name: waiter },
        ledger.draft({
          kind: event === 'Release' ? 'agent-request-withdrawn' : 'agent-request-timed-out',
          subject: subjectOfAgent(name),
          message: `${holder} on ${node} waits for ${name} no more: ${reason}`,
          details: { holder, request: moved('request', 'Pending', event) },
        }),
      ],
    );
  }

  /** What the store says that this session owns, as of a linearizable read. @throws StoreError */
  async owned(incarnation: string): Promise<(TakenName & { name: AgentName; holder: string })[]> {
    const { node, store } = this.#options;
    const { entries } = await store.list('owners', { prefix: subjectOfAgent('') });
    return entries.flatMap(entry => {
      const { value, revision } = entry;
      const name = agentOfSubject(entry.name);
      if (
        name === null ||
        value.node !== node ||
        value.incarnation !== incarnation ||
        value.released !== null
      )
        return [];
      const { holder, since = '' } = value;
      return [{ name, holder, token: tokenOf(entry), revision, incarnation, since }];
    });
  }

  /** @throws StoreError */
  state(name: AgentName): Promise<Entry<'agents'> | null> {
    return this.#options.store.get('agents', name);
  }

  /**
   * Ownership rule 4: compares the owner key as it was taken, this node's session, and the state that was there before, so
   * that no write that was held up comes in after a later one. @throws AdminError when it is owned no more, StoreError
   */
  async writeState(
    name: AgentName,
    holder: string,
    taken: TakenName,
    session: Session,
    state: unknown,
    before: Entry<'agents'> | null,
  ): Promise<{ value: AgentStateRecord; revision: bigint }> {
    const { node, store, clock, random } = this.#options;
    const value: AgentStateRecord = {
      v: 1,
      agent: name,
      state,
      token: taken.token,
      node,
      holder,
      operation: random.hex(8),
      at: clock.timestamp(),
    };
    const compares: Compare[] = [
      { kind: 'owners', name: subjectOfAgent(name), revision: taken.revision },
      { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },
      before ? { kind: 'agents', name, revision: before.revision } : { kind: 'agents', name, is: 'absent' },
    ];
    const write: Write = { put: 'agents', name, value };
    try {
      const result = await store.commit(compares, [write]);
      if (result.kind === 'committed') return { value, revision: result.revision };
    } catch (error) {
      if (!(error instanceof StoreError) || error.outcome !== 'unknown') throw error;
      const entry = await store.get('agents', name);
      if (entry?.value.operation === value.operation) return { value, revision: entry.revision };
      throw error;
    }
    throw new AdminError(
      'conflict',
      `the state of ${name} was not written: token ${taken.token} is not in force any more`,
      { token: taken.token },
    );
  }
}

function waiterName(node: NodeName, name: AgentName, holder: string): string {
  return `${node}/${name}/${holder}`;
}
