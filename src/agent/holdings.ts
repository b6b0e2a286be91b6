import { instanceOfSubject, type InstanceId, type NodeName, type Subject, type Token } from '../model/ids.ts';
import { EPOCH, takenAt, tokenOf, type OwnerRecord } from '../model/records.ts';
import { confirmedStopped, handedOverRecord, releasedRecord, takenRecord } from '../ownership/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import {
  StoreError,
  type Compare,
  type Entry,
  type Session,
  type Store,
  type Write,
} from '../ports/store.ts';
import type { Ledger } from './ledger.ts';
import { commitOwners, type Owner } from './owner-key.ts';
import type { StaleTokens } from './stale-tokens.ts';

export interface Holding {
  subject: Subject;
  instance: InstanceId;
  token: Token;
  /** The session it was taken under; when that is no longer this node's, the holding is only remembered. */
  incarnation: string;
  /** Which that session is on: the next agent of this node, going on with it, is on another. */
  lease: string;
  /** Taken to be run under the guard, and by nobody else at the same time. */
  exclusive: boolean;
  /** The revision of the transaction that took it. */
  takenAt: bigint;
  /** Why it is being released: the store may have been told, or be told late, so nothing starts under it any more. */
  releasing: string | null;
}

/** How a subject is taken, besides the plain case. */
export interface Taking {
  /** Of rule 12, against a redundant subject's owner whose session still lives. */
  evidence?: Entry<'assessments'>[] | null;
  /** What else must hold: what is said of a redundant subject whose owner's session is gone, and its ports. */
  compares?: Compare[];
  /** What is written along with it: its ports. */
  writes?: Write[];
  exclusive?: boolean;
}

/** A wish to take one subject: its owner key as last read, and why. */
export interface Claim {
  subject: Subject;
  known: Entry<'owners'> | undefined;
  reason: string;
  taking: Taking;
}

/** A claim as it goes to the store. */
interface Draft {
  subject: Subject;
  record: OwnerRecord;
  compares: Compare[];
  writes: Write[];
  reason: string;
}

/** What the store takes in one transaction. */
const COMPARES_PER_TRANSACTION = 128;

/**
 * What this node owns, as its own transactions told it; the mirror is never the authority. Holdings of a lost session
 * are remembered as *former*: redundant instances go on running until they are taken again or somebody else is ready.
 */
export class Holdings {
  readonly #epoch: () => Entry<'cluster'> | undefined;
  readonly #node: NodeName;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #ledger: Ledger;
  readonly #stale: StaleTokens | undefined;
  readonly #held = new Map<Subject, Holding>();
  readonly #former = new Map<Subject, Holding>();
  readonly #listeners = new Set<() => void>();

  constructor(options: {
    node: NodeName;
    store: Store;
    clock: Clock;
    random: Random;
    ledger: Ledger;
    stale?: StaleTokens;
    /** As this node knows it; absent = there has never been one. */
    epoch?: () => Entry<'cluster'> | undefined;
  }) {
    this.#epoch = options.epoch ?? (() => undefined);
    this.#node = options.node;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#ledger = options.ledger;
    this.#stale = options.stale;
  }

  held(): ReadonlyMap<Subject, Holding> {
    return this.#held;
  }

  /** Held under an earlier session, or taken from this one on evidence: what runs of it goes on for as long as it may. */
  former(): ReadonlyMap<Subject, Holding> {
    return this.#former;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Others may take a redundant subject on evidence while this session lives: what the store says is then so. */
  noticeTaken(owner: (subject: Subject) => Entry<'owners'> | undefined): void {
    for (const [subject, holding] of this.#held) {
      const entry = owner(subject);
      if (!entry || entry.value.node === this.#node || entry.revision <= holding.takenAt) continue;
      this.#held.delete(subject);
      this.#former.set(subject, holding);
      this.#ledger.note({
        kind: 'subject-taken',
        subject,
        message: `${entry.value.node} took ${subject} from ${this.#node} on evidence`,
        details: { fencingToken: holding.token },
      });
      this.#changed();
    }
  }

  /** The session is gone: nothing is owned any more, and what may run twice for a while is remembered. */
  lose(): void {
    for (const [subject, holding] of this.#held) if (!holding.exclusive) this.#former.set(subject, holding);
    this.#held.clear();
    this.#changed();
  }

  /** A resumed session owns what the store says it owns, as of a linearizable read. @throws StoreError */
  async resume(session: Session): Promise<void> {
    const { entries } = await this.#store.list('owners');
    if (!session.valid()) return;
    for (const entry of entries) {
      if (isOf(entry.value, this.#node, session.incarnation)) this.#hold(entry, session);
    }
    this.#changed();
  }

  /**
   * Finds what the store says this session owns though this node does not know it: a claim whose reply was lost, and
   * which could not be looked up either. `seen` only says where to look. @throws StoreError
   */
  async discover(session: Session, seen: readonly Entry<'owners'>[]): Promise<void> {
    for (const { name, value } of seen) {
      if (!isOf(value, this.#node, session.incarnation) || this.#held.has(name)) continue;
      // Names are looked for by who hands them out.
      if (instanceOfSubject(name) === null) continue;
      const entry = await this.#store.get('owners', name);
      if (!entry || !isOf(entry.value, this.#node, session.incarnation) || !session.valid()) continue;
      this.#hold(entry, session);
      this.#changed();
    }
  }

  /** Remembers what runs here without being owned, as after a restart with a new session. */
  remember(instance: InstanceId, subject: Subject): void {
    if (this.#held.has(subject) || this.#former.has(subject)) return;
    this.#former.set(subject, {
      subject,
      instance,
      token: '0',
      incarnation: '',
      lease: '',
      exclusive: false,
      takenAt: 0n,
      releasing: null,
    });
    this.#changed();
  }

  /** Somebody else has it and is ready, or nobody wants it any more. */
  forget(subject: Subject): void {
    if (this.#former.delete(subject)) this.#changed();
  }

  /** As `acquireAll`, of one. False = somebody was faster, or the world has moved on. @throws StoreError */
  async acquire(
    subject: Subject,
    session: Session,
    known: Entry<'owners'> | undefined,
    reason: string,
    taking: Taking = {},
  ): Promise<boolean> {
    return (await this.acquireAll([{ subject, known, reason, taking }], session)).has(subject);
  }

  /**
   * Ownership rule 1: a transaction over each owner key as last read, the own session key on its own lease, and the
   * former owner's session key absent or, by rule 12, the evidence against it still standing. Claims share transactions; one
   * that is refused says nothing of each of its claims, so they are tried one by one. Gives what was taken. @throws StoreError
   */
  async acquireAll(claims: readonly Claim[], session: Session): Promise<Set<Subject>> {
    const drafts = claims.map(claim => this.#draft(claim, session));
    const taken = await Promise.all(
      batches(drafts).map(async batch => {
        const owners = await this.#take(batch, session);
        if (owners.length > 0 || batch.length === 1) return owners;
        return (await Promise.all(batch.map(draft => this.#take([draft], session)))).flat();
      }),
    );
    return new Set(taken.flat());
  }

  #draft({ subject, known, reason, taking }: Claim, session: Session): Draft {
    const { evidence = null, compares: further = [], writes = [], exclusive = false } = taking;
    const previous = known?.value ?? null;
    const epoch = this.#epoch();
    const operation = this.#random.hex(8);
    const unreleased = previous !== null && previous.released === null && previous.node !== this.#node;
    // What ran under the guard is dead by now, if its taker has waited for that (rule 3).
    const mayStillRun = unreleased && !(previous.exclusive === true && exclusive);
    const record = takenRecord(
      previous,
      {
        subject,
        node: this.#node,
        incarnation: session.incarnation,
        ttlSeconds: session.ttlSeconds,
        holder: 'agent',
        operation,
        exclusive,
        tokenBase: epoch?.value.tokenBase ?? '0',
      },
      mayStillRun,
    );
    const compares: Compare[] = [
      known
        ? { kind: 'owners', name: subject, revision: known.revision }
        : { kind: 'owners', name: subject, is: 'absent' },
      { kind: 'sessions', name: `${this.#node}/${session.incarnation}`, lease: session.lease },
      // A token must be greater than any given before etcd was restored (rule 14).
      epoch
        ? { kind: 'cluster', name: epoch.name, revision: epoch.revision }
        : { kind: 'cluster', name: EPOCH, is: 'absent' },
      ...further,
    ];
    if (evidence !== null) {
      compares.push(
        ...evidence.map(({ name, revision }) => ({ kind: 'assessments' as const, name, revision })),
      );
    } else if (previous !== null && previous.released === null) {
      compares.push({ kind: 'sessions', name: `${previous.node}/${previous.incarnation}`, is: 'absent' });
    }
    return { subject, record, compares, writes, reason };
  }

  async #take(drafts: readonly Draft[], session: Session): Promise<Subject[]> {
    if (!session.valid()) return [];
    const compares = drafts.flatMap(draft => draft.compares);
    const along = drafts.flatMap(draft => draft.writes);
    const taken = await commitOwners(this.#store, drafts, compares, along);
    // The wait may have outlived the session; what was written then is taken over by whoever comes next.
    if (taken === null || !session.valid()) return [];
    for (const owner of taken) {
      this.#hold(owner, session);
      this.#ledger.note({
        kind: 'subject-acquired',
        subject: owner.name,
        message: `${this.#node} took ${owner.name}: ${drafts.find(({ subject }) => subject === owner.name)?.reason ?? ''}`,
        details: {
          fencingToken: tokenOf(owner),
          incarnation: session.incarnation,
          mayStillRun: owner.value.mayStillRun,
        },
      });
    }
    if (taken.length > 0) this.#changed();
    return taken.map(({ name }) => name);
  }

  /**
   * Ownership rule 10: only after the work has stopped, comparing what was read with the token in it, and the session: the next
   * agent may go on with it, and start again what this one stopped. `along` is written at the same moment, if what it
   * `compares` holds. @throws StoreError
   */
  async release(
    subject: Subject,
    token: Token,
    reason: string,
    along: Write[] = [],
    compares: Compare[] = [],
  ): Promise<void> {
    const freed = (owner: OwnerRecord): OwnerRecord =>
      releasedRecord(owner, token, this.#clock.timestamp(), reason);
    const holding = this.#held.get(subject);
    if (holding?.token === token) this.#held.set(subject, { ...holding, releasing: reason });
    const written = await this.#letGo(subject, token, freed, along, compares);
    if (written) this.#tell('subject-released', subject, token, `released ${subject}: ${reason}`);
    this.#held.delete(subject);
    this.#former.delete(subject);
    this.#changed();
  }

  /**
   * Lets others take a redundant subject whose copy runs on here: it is former from now on, and goes when theirs is
   * ready. `to` = which of them is to, and what has to hold for that. @throws StoreError,
   * Error when it is exclusive
   */
  async handOver(
    { subject, token }: Holding,
    reason: string,
    to: { node: NodeName; compares: Compare[] } | null = null,
  ): Promise<void> {
    const handed = (owner: OwnerRecord): OwnerRecord =>
      handedOverRecord(owner, token, this.#clock.timestamp(), reason, to?.node);
    const written = await this.#letGo(subject, token, handed, [], to?.compares);
    const holding = this.#held.get(subject);
    if (!written || holding?.token !== token) return;
    this.#held.delete(subject);
    this.#former.set(subject, holding);
    this.#tell('subject-handed-over', subject, token, `lets others take ${subject}: ${reason}`);
    this.#changed();
  }

  /** False = it was not this node's any more. @throws StoreError */
  async #letGo(
    subject: Subject,
    token: Token,
    freed: (owner: OwnerRecord) => OwnerRecord,
    along: Write[] = [],
    compares: Compare[] = [],
  ): Promise<boolean> {
    const entry = await this.#store.get('owners', subject);
    const own = entry?.value.node === this.#node && entry.value.released === null && tokenOf(entry) === token;
    if (entry && tokenOf(entry) !== token)
      this.#stale?.refused({ use: 'release', subject, by: this.#node, token });
    if (!entry || !own) return false;
    const result = await this.#store.commit(
      [{ kind: 'owners', name: subject, revision: entry.revision }, this.#stillOurs(entry), ...compares],
      [{ put: 'owners', name: subject, value: freed(entry.value) }, ...along],
    );
    if (result.kind === 'committed') return true;
    throw new StoreError(
      `${subject} or the session it was taken under changed meanwhile: it is not released yet`,
      {
        outcome: 'refused',
        retryable: true,
      },
    );
  }

  /** That no agent after this one has gone on with the session: neither yet, nor ever when it is lost. */
  #stillOurs({ name, value }: Entry<'owners'>): Compare {
    const session = { kind: 'sessions', name: `${this.#node}/${value.incarnation}` } as const;
    const holding = this.#held.get(name);
    return holding ? { ...session, lease: holding.lease } : { ...session, is: 'absent' };
  }

  #tell(kind: string, subject: Subject, token: Token, what: string): void {
    const message = `${this.#node} ${what}`;
    this.#ledger.note({ kind, subject, message, details: { fencingToken: token } });
  }

  /** This node, said to perhaps still run it, has seen its own copy dead. @throws StoreError */
  async confirmStopped(entry: Entry<'owners'>): Promise<void> {
    const record = confirmedStopped(entry.value, tokenOf(entry), this.#node);
    await this.#store.commit(
      [{ kind: 'owners', name: entry.name, revision: entry.revision }],
      [{ put: 'owners', name: entry.name, value: record }],
    );
  }

  /** What is held is not former any more: nothing is looked after twice. */
  #hold(owner: Owner, { incarnation, lease }: Session): void {
    const subject = owner.name;
    const instance = instanceOfSubject(subject);
    if (instance === null) return;
    this.#former.delete(subject);
    const exclusive = owner.value.exclusive === true;
    const token = tokenOf(owner);
    this.#held.set(subject, {
      subject,
      instance,
      token,
      incarnation,
      lease,
      exclusive,
      takenAt: takenAt(owner),
      releasing: null,
    });
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** As many as fit, in the order given; what writes something else goes alone: two that want one key can't share a transaction. */
function batches(drafts: readonly Draft[]): Draft[][] {
  const full: Draft[][] = drafts.filter(({ writes }) => writes.length > 0).map(draft => [draft]);
  let room = 0;
  for (const draft of drafts.filter(({ writes }) => writes.length === 0)) {
    room -= draft.compares.length;
    if (room < 0) {
      full.push([]);
      room = COMPARES_PER_TRANSACTION - draft.compares.length;
    }
    full.at(-1)?.push(draft);
  }
  return full;
}

function isOf(owner: OwnerRecord, node: NodeName, incarnation: string): boolean {
  return owner.node === node && owner.incarnation === incarnation && owner.released === null;
}
