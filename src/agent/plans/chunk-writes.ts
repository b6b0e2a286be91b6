import type { NodeName } from '../../model/ids.ts';
import type { ChunkOwner, ChunkRecord, PlanRecord } from '../../model/plan.ts';
import { EPOCH } from '../../model/records.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import {
  StoreError,
  type CommitResult,
  type Compare,
  type Entry,
  type Session,
  type Store,
  type Write,
} from '../../ports/store.ts';
import { withSteps } from '../../workflow/chunks.ts';
import type { KnownPlan } from './known-plan.ts';
import type { PlanBook } from './plan-book.ts';
import type { Turn } from './turn.ts';

/** Of how many transactions the mean is taken. */
const OF_LATE = 8;

export interface ChunkWritesOptions {
  node: NodeName;
  store: Pick<Store, 'commit' | 'get'>;
  book: PlanBook;
  clock: Clock;
  random: Random;
  /** As this node knows it; absent = there has never been one. */
  epoch: () => Entry<'cluster'> | undefined;
  onCommitted: (kind: 'claim' | 'steps') => void;
}

/** A chunk as it is to be, and what must hold for that. */
export interface ChunkWrite {
  plan: KnownPlan;
  chunk: ChunkRecord;
  settled: PlanRecord | null;
  keys: string[];
  compares: Compare[];
  writes: Write[];
}

/** `refused` = somebody else wrote meanwhile: what is there is known now. */
export type WriteOutcome = { kind: 'written'; entry: Entry<'steps'> } | { kind: 'refused' };

/** The transactions that move a chunk. Each compares the chunk as it was last seen and the writer's own session. */
export class ChunkWrites {
  readonly #options: ChunkWritesOptions;
  readonly #process: string;
  #operations = 0;
  #tookMs = 0;

  constructor(options: ChunkWritesOptions) {
    this.#options = options;
    this.#process = options.random.hex(5);
  }

  /** What a transaction takes of late, about. */
  get tookMs(): number {
    return Math.ceil(this.#tookMs);
  }

  /** Ownership rule 4: what the owner writes of its chunk. null = a guard can't be compared yet. */
  ofOwner(plan: KnownPlan, number: number, turn: Turn, session: Session, token: string): ChunkWrite | null {
    const known = this.#known(plan, number);
    const { owner } = known.value;
    const record = { ...known.value, owner: this.#owner(session, owner?.tokenBase ?? '0'), token };
    return this.#withTurn(plan, known, record, turn, [...this.#own(known, session)]);
  }

  /**
   * Ownership rule 1, for a chunk: nobody owns it, or its owner's session is gone, or it is this very session's and this process
   * knows nothing of it, as after a restart. null = a guard can't be compared yet.
   */
  claim(plan: KnownPlan, number: number, turn: Turn, session: Session): ChunkWrite | null {
    const { node } = this.#options;
    const known = this.#known(plan, number);
    const epoch = this.#options.epoch();
    const { owner: former } = known.value;
    const compares: Compare[] = [
      ...this.#own(known, session),
      epoch
        ? { kind: 'cluster', name: epoch.name, revision: epoch.revision }
        : { kind: 'cluster', name: EPOCH, is: 'absent' },
    ];
    const ours = former?.node === node && former.incarnation === session.incarnation;
    if (former !== null && !ours)
      compares.push({ kind: 'sessions', name: `${former.node}/${former.incarnation}`, is: 'absent' });
    const owner = this.#owner(session, epoch?.value.tokenBase ?? '0');
    return this.#withTurn(plan, known, { ...known.value, owner, token: null }, turn, compares);
  }

  /** The chunk without an owner. */
  release(plan: KnownPlan, number: number, session: Session): ChunkWrite {
    const known = this.#known(plan, number);
    const chunk: ChunkRecord = { ...known.value, owner: null, token: null };
    const writes: Write[] = [{ put: 'steps', name: known.name, value: chunk }];
    return { plan, chunk, settled: null, keys: [], compares: this.#own(known, session), writes };
  }

  /** After a lost reply, what is there is looked at for the operation's id. @throws StoreError when that can't be had either */
  async commit(write: ChunkWrite, kind: 'claim' | 'steps'): Promise<WriteOutcome> {
    const { store, book, clock } = this.#options;
    const name = write.plan.name(write.chunk.chunk);
    const beganMs = clock.now();
    let result: CommitResult;
    try {
      result = await store.commit(write.compares, write.writes);
      this.#tookMs += (clock.now() - beganMs - this.#tookMs) / OF_LATE;
    } catch (error) {
      if (!(error instanceof StoreError) || error.outcome !== 'unknown') throw error;
      const entry = await store.get('steps', name);
      if (entry?.value.owner?.operation !== write.chunk.owner?.operation || write.chunk.owner === null) {
        if (entry) book.learnChunk(entry);
        return { kind: 'refused' };
      }
      result = { kind: 'committed', revision: entry?.revision ?? 0n };
    }
    if (result.kind === 'refused') {
      for (const entry of result.current) {
        if (entry.kind === 'steps') book.learnChunk(entry as Entry<'steps'>);
        if (entry.kind === 'plans') book.learnPlan(entry as Entry<'plans'>);
      }
      return result;
    }
    this.#options.onCommitted(kind);
    return { kind: 'written', entry: this.#learn(write, name, result.revision) };
  }

  /** One's own write is known before it comes back. */
  #learn(write: ChunkWrite, name: string, revision: bigint): Entry<'steps'> {
    const { book } = this.#options;
    const { plan, chunk, settled, keys } = write;
    const before = plan.chunks[chunk.chunk]?.entry;
    const createRevision = before === undefined || before.revision === 0n ? revision : before.createRevision;
    const entry: Entry<'steps'> = {
      kind: 'steps',
      name,
      value: chunk,
      createRevision,
      revision,
      lease: null,
    };
    for (const key of keys) book.holders.wrote(key, revision);
    book.learnChunk(entry);
    if (settled !== null) book.learnPlan({ ...plan.entry, value: settled, revision });
    return entry;
  }

  #withTurn(
    plan: KnownPlan,
    known: Entry<'steps'>,
    record: ChunkRecord,
    turn: Turn,
    compares: Compare[],
  ): ChunkWrite | null {
    const { book, clock } = this.#options;
    const chunk = { ...record, steps: withSteps(record, turn.records) };
    const writes: Write[] = [{ put: 'steps', name: known.name, value: chunk }];
    for (const key of turn.keys) {
      const compare = book.holders.compare(key);
      if (compare === null) return null;
      compares.push(compare);
      const { name } = compare;
      writes.push({ put: 'guards', name, value: { v: 1, key, plan: plan.id, chunk: chunk.chunk } });
    }
    let settled: PlanRecord | null = null;
    if (turn.settle !== null) {
      settled = { ...plan.entry.value, settled: { state: turn.settle, at: clock.timestamp() } };
      // All of it is as it was when it was found to have ended: a retry by hand may have begun.
      for (const other of plan.chunks) {
        if (other === undefined || other.entry.name === known.name) continue;
        compares.push({ kind: 'steps', name: other.entry.name, revision: other.entry.revision });
      }
    }
    if (settled === null && turn.expire) {
      const { node } = this.#options;
      settled = {
        ...plan.entry.value,
        cancel: { kind: 'complete-by', by: node, at: clock.timestamp() },
      };
    }
    if (settled !== null) {
      compares.push({ kind: 'plans', name: plan.id, revision: plan.entry.revision });
      writes.push({ put: 'plans', name: plan.id, value: settled });
    }
    return { plan, chunk, settled, keys: turn.keys, compares, writes };
  }

  #own(known: Entry<'steps'>, session: Session): Compare[] {
    const { node } = this.#options;
    return [
      { kind: 'steps', name: known.name, revision: known.revision },
      { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },
    ];
  }

  #owner({ incarnation }: Session, tokenBase: string): ChunkOwner {
    const operation = `${this.#process}${(this.#operations++).toString(36)}`;
    const owner = { node: this.#options.node, incarnation, operation };
    return tokenBase === '0' ? owner : { ...owner, tokenBase };
  }

  #known(plan: KnownPlan, number: number): Entry<'steps'> {
    const known = plan.chunks[number];
    if (known === undefined) throw new Error(`chunk ${number} of plan ${plan.id} is not known here`);
    return known.entry;
  }
}
