import type { PlanCancel, PlanSpec, StepRecord, StepResult, SettledState } from '../../src/model/plan.ts';
import { acceptResult, limitOf } from '../../src/workflow/attempts.ts';
import { runOf } from '../../src/workflow/history.ts';
import { chunksOf } from '../../src/workflow/chunks.ts';
import { dueChunks, type FreeChunk } from '../../src/workflow/claim-order.ts';
import type { Moment } from '../../src/workflow/history.ts';
import type { Outlook } from '../../src/workflow/moves.ts';
import { neededOwner, nextMoves } from '../../src/workflow/next-moves.ts';
import { overdueSteps } from '../../src/workflow/overdue.ts';
import { afterOwnerLost } from '../../src/workflow/owner-lost.ts';
import { retryByHand } from '../../src/workflow/retry-by-hand.ts';
import { shapeOf, stepSpec, type PlanShape } from '../../src/workflow/shape.ts';

export const tickMs = 100;
export const supervisorPeriodMs = 3_000;
const staggerMs = 100;

interface Chunk {
  chunk: number;
  first: number;
  count: number;
  revision: bigint;
  owner: { node: string; incarnation: number } | null;
  token: string;
  steps: (StepRecord | undefined)[];
}

/** An attempt that some node's agent works at; it goes on whatever becomes of its node. */
export interface Attempt {
  node: Node;
  incarnation: number;
  chunk: number;
  index: number;
  attempt: number;
  token: string;
  kind: 'work' | 'undo';
  startedMs: number;
  startedOwnMs: number;
  endsMs: number;
  result: StepResult;
}

export interface Node {
  name: string;
  incarnation: number;
  alive: boolean;
  frozen: boolean;
  /** Its own clock, less the world's. */
  offsetMs: number;
  seen: Map<number, { key: string; sinceMs: number }>;
  freeSince: Map<number, number>;
  planSinceMs: number;
  cancelSinceMs: number | null;
  attempts: Attempt[];
  /** What it last saw of the store. */
  mirror: { chunks: Chunk[]; guards: Map<string, bigint> };
}

/** How an attempt goes; null = it never answers. */
export type Behaviour = (
  index: number,
  kind: 'work' | 'undo',
  attempt: number,
) => { afterMs: number; result: StepResult } | null;

export interface WorldOptions {
  spec: PlanSpec;
  chunks?: number;
  random: () => number;
  behave: Behaviour;
  slots: number;
  /** Called after every change of a step, with the world as it is then. */
  onChange: (before: StepRecord | undefined, after: StepRecord, world: World) => void;
}

/** Three nodes, a store and a supervisor, in which the decisions of the workflow room are carried out to the letter. */
export class World {
  nowMs = 1_000_000;
  readonly shape: PlanShape;
  readonly chunks: Chunk[];
  readonly nodes: Node[];
  cancel: PlanCancel | null = null;
  settled: SettledState | null = null;
  /** Results that came when they no longer counted. */
  refused = 0;
  orphans: Attempt[] = [];
  readonly runningSince = new Map<number, number>();
  readonly guards = new Map<string, bigint>();
  readonly #options: WorldOptions;
  readonly #moment: Moment;
  readonly #supervised = new Map<string, number>();
  #revision = 1n;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.shape = shapeOf(options.spec);
    this.#moment = { random: options.random, timestamp: inMs => String(this.nowMs + inMs) };
    const count = options.spec.steps.length;
    const layout = options.chunks ? evenly(count, options.chunks) : chunksOf(count);
    this.chunks = layout.map((chunk, number) => ({
      ...chunk,
      chunk: number,
      revision: this.#revision,
      owner: null,
      token: '',
      steps: [],
    }));
    this.nodes = ['node-1', 'node-2', 'node-3'].map((name, place) => ({
      name,
      incarnation: 1,
      alive: true,
      frozen: false,
      offsetMs: place * 1_234_567,
      seen: new Map(),
      freeSince: new Map(),
      planSinceMs: this.nowMs + place * 1_234_567,
      cancelSinceMs: null,
      attempts: [],
      mirror: { chunks: [], guards: new Map() },
    }));
    for (const node of this.nodes) this.#look(node);
  }

  get records(): (StepRecord | undefined)[] {
    return merged(this.chunks, this.shape.steps.length);
  }

  /** Runs the world until the plan is settled. */
  run(untilMs: number, chaos: (world: World) => void): void {
    while (this.settled === null && this.nowMs < untilMs) {
      this.nowMs += tickMs;
      chaos(this);
      for (const node of this.nodes) {
        if (!node.alive || node.frozen) continue;
        // Mirrors lag now and then: transactions tell.
        if (this.#options.random() < 0.8) this.#look(node);
        this.#turn(node);
      }
      this.#orphansEnd();
      this.#supervise();
    }
  }

  /** As an operator does once the plan has come to an end; false = there is nothing to retry. */
  retry(): boolean {
    const retry = retryByHand(this.shape, this.records, this.cancel, null, this.#moment);
    if (retry.kind === 'refused') return false;
    this.settled = this.cancel = null;
    for (const node of this.nodes) Object.assign(node, { planSinceMs: this.#own(node), cancelSinceMs: null });
    for (const record of retry.records) {
      const chunk = this.chunks.find(
        ({ first, count }) => record.index >= first && record.index < first + count,
      )!;
      this.#revision++;
      chunk.revision = this.#revision;
      chunk.steps[record.index] = record;
    }
    return true;
  }

  /** What runs there goes on, but nobody will hear of it in time. */
  kill(node: Node): void {
    node.alive = false;
    this.#drop(node, node.attempts);
  }

  #drop(node: Node, attempts: Attempt[]): void {
    this.orphans.push(...attempts);
    node.attempts = node.attempts.filter(attempt => !attempts.includes(attempt));
  }

  revive(node: Node): void {
    Object.assign(node, {
      alive: true,
      frozen: false,
      incarnation: node.incarnation + 1,
      cancelSinceMs: null,
    });
    node.seen.clear();
    node.freeSince.clear();
    node.planSinceMs = this.#own(node);
    this.#look(node);
  }

  isLive(owner: Chunk['owner']): boolean {
    return this.nodes.some(
      node => node.alive && node.name === owner?.node && node.incarnation === owner.incarnation,
    );
  }

  #own(node: Node): number {
    return this.nowMs + node.offsetMs;
  }

  #look(node: Node): void {
    node.mirror = {
      chunks: this.chunks.map(chunk => ({ ...chunk, steps: chunk.steps.slice() })),
      guards: new Map(this.guards),
    };
    for (const [index, record] of this.records.entries()) this.#saw(node, index, record);
    if (this.cancel !== null) node.cancelSinceMs ??= this.#own(node);
    for (const chunk of this.chunks) {
      if (this.isLive(chunk.owner)) node.freeSince.delete(chunk.chunk);
      else if (!node.freeSince.has(chunk.chunk)) node.freeSince.set(chunk.chunk, this.#own(node));
    }
  }

  #saw(node: Node, index: number, record: StepRecord | undefined): void {
    const doing = record?.state === 'COMPENSATING' && 'wait' in record.doing ? 'wait' : 'run';
    const key = `${record?.state ?? 'PENDING'} ${record?.attempt ?? 0} ${doing}`;
    if (node.seen.get(index)?.key !== key) node.seen.set(index, { key, sinceMs: this.#own(node) });
  }

  #outlook(node: Node, chunk: Chunk, records: (StepRecord | undefined)[]): Outlook {
    return {
      shape: this.shape,
      records,
      chunk,
      self: node.name,
      cancel: this.cancel,
      settled: this.settled !== null,
      nowMs: this.#own(node),
      planSinceMs: node.planSinceMs,
      cancelSinceMs: node.cancelSinceMs ?? this.#own(node),
      sinceMs: index => node.seen.get(index)?.sinceMs,
      slots: this.#options.slots - node.attempts.length,
      holders: key =>
        this.#holders(
          node.mirror.chunks.filter(other => other.chunk !== chunk.chunk),
          key,
        ),
      moment: this.#moment,
    };
  }

  #holders(chunks: Chunk[], key: string): number {
    const steps = chunks.filter(({ owner }) => this.isLive(owner)).flatMap(chunk => chunk.steps);
    return steps.filter(
      record => record?.state === 'RUNNING' && this.shape.steps[record.index]?.concurrency?.key === key,
    ).length;
  }

  /** Steps with this key that run under owners that live. */
  holders(key: string): number {
    return this.#holders(this.chunks, key);
  }

  #turn(node: Node): void {
    const records = merged(node.mirror.chunks, this.shape.steps.length);
    const mine = (chunk: Chunk): boolean =>
      chunk.owner?.node === node.name && chunk.owner.incarnation === node.incarnation;
    // What it lost to another takes no slot any more, whether or not it ends.
    const isLost = ({ chunk: number, token }: Attempt): boolean => {
      const chunk = node.mirror.chunks[number];
      return chunk === undefined || !mine(chunk) || chunk.token !== token;
    };
    this.#drop(node, node.attempts.filter(isLost));
    for (const chunk of node.mirror.chunks.filter(mine)) this.#ownerTurn(node, chunk, records);
    const free: (FreeChunk & { seen: Chunk })[] = [];
    for (const chunk of node.mirror.chunks) {
      const needed = this.isLive(chunk.owner) ? null : neededOwner(this.#outlook(node, chunk, records));
      if (needed === null) continue;
      const freeSinceMs = node.freeSince.get(chunk.chunk) ?? this.#own(node);
      const takeOver = needed === 'take over';
      free.push({
        plan: 'p',
        chunk: chunk.chunk,
        priority: 5,
        createRevision: 1n,
        freeSinceMs,
        takeOver,
        seen: chunk,
      });
    }
    const live = this.nodes.filter(({ alive }) => alive).map(({ name }) => name);
    const due = dueChunks({
      free,
      self: node.name,
      nodes: live,
      ownedHere: node.mirror.chunks.filter(mine).length,
      ownedByAll: node.mirror.chunks.filter(({ owner }) => this.isLive(owner)).length,
      slots: this.#options.slots - node.attempts.length,
      nowMs: this.#own(node),
      staggerMs,
    });
    for (const { seen } of due.now) this.#claim(node, seen);
  }

  #claim(node: Node, seen: Chunk): void {
    const chunk = this.chunks[seen.chunk]!;
    const steps = seen.steps.filter(record => record !== undefined);
    const since = (index: number): number | undefined => node.seen.get(index)?.sinceMs;
    const former = seen.owner?.node ?? 'nobody';
    const after = afterOwnerLost(this.shape, steps, former, since, this.#own(node), this.#moment);
    if (chunk.revision !== seen.revision || this.isLive(chunk.owner)) return;
    this.#revision++;
    chunk.owner = { node: node.name, incarnation: node.incarnation };
    chunk.token = String(this.#revision);
    this.#write(chunk, after, node);
  }

  #ownerTurn(node: Node, seen: Chunk, all: (StepRecord | undefined)[]): void {
    const records = all.slice();
    const changed = new Map<number, StepRecord>();
    const heard: Attempt[] = [];
    for (const attempt of node.attempts) {
      if (attempt.chunk !== seen.chunk || attempt.endsMs > this.nowMs) continue;
      heard.push(attempt);
      const answer = this.#answer(
        attempt,
        records[attempt.index],
        seen.token,
        this.#own(node) - attempt.startedOwnMs,
      );
      if (!answer.accepted) this.refused++;
      else {
        records[attempt.index] = answer.record;
        changed.set(attempt.index, answer.record);
        this.#saw(node, attempt.index, answer.record);
      }
    }
    const { moves } = nextMoves(this.#outlook(node, seen, records));
    const guards = new Set<string>();
    const begun: Attempt[] = [];
    const over = new Set<number>();
    for (const move of moves) {
      if ('record' in move) changed.set(move.index, move.record);
      if (move.kind === 'start' && move.concurrencyKey !== null) guards.add(move.concurrencyKey);
      if (move.kind === 'time-out') over.add(move.index);
      if (move.kind === 'start' || move.kind === 'undo') {
        const kind = move.kind === 'start' ? 'work' : 'undo';
        begun.push(this.#begin(node, seen, move.index, move.record.attempt, kind));
      }
    }
    const chunk = this.chunks[seen.chunk]!;
    const lawful =
      chunk.revision === seen.revision &&
      [...guards].every(key => this.guards.get(key) === node.mirror.guards.get(key));
    if (!lawful) return;
    for (const move of moves) {
      if (move.kind === 'expire') this.cancel ??= { kind: 'complete-by', by: node.name, at: '' };
      if (move.kind === 'settle') this.settled ??= move.state;
      if (move.kind === 'stop') this.#stop(node, move.index);
    }
    node.attempts = node.attempts.filter(
      attempt => !heard.includes(attempt) && !(attempt.chunk === seen.chunk && over.has(attempt.index)),
    );
    node.attempts.push(...begun);
    if (changed.size === 0) return;
    this.#revision++;
    for (const key of guards) this.guards.set(key, this.#revision);
    this.#write(chunk, [...changed.values()], node);
  }

  #answer(attempt: Attempt, record: StepRecord | undefined, held: string, elapsedMs: number) {
    const step = stepSpec(this.shape, attempt.index);
    return acceptResult(step, record, held, attempt, attempt.result, elapsedMs, this.#moment);
  }

  #begin(node: Node, chunk: Chunk, index: number, attempt: number, kind: 'work' | 'undo'): Attempt {
    const how = this.#options.behave(index, kind, attempt);
    return {
      node,
      incarnation: node.incarnation,
      chunk: chunk.chunk,
      index,
      attempt,
      token: chunk.token,
      kind,
      startedMs: this.nowMs,
      startedOwnMs: this.#own(node),
      endsMs: this.nowMs + (how?.afterMs ?? 1e9),
      result: how?.result ?? { kind: 'stopped' },
    };
  }

  #stop(node: Node, index: number): void {
    for (const attempt of node.attempts) {
      // Some don't listen.
      if (attempt.index !== index || index % 3 === 2) continue;
      attempt.endsMs = Math.min(attempt.endsMs, this.nowMs + tickMs);
      attempt.result = { kind: 'stopped' };
    }
  }

  /** All at once, as a transaction does. */
  #write(chunk: Chunk, steps: StepRecord[], node: Node): void {
    chunk.revision = this.#revision;
    const changes = steps.map(after => ({ before: chunk.steps[after.index], after }));
    for (const { after } of changes) {
      if (after.state === 'RUNNING') this.runningSince.set(after.index, this.nowMs);
      else this.runningSince.delete(after.index);
      chunk.steps[after.index] = after;
      this.#saw(node, after.index, after);
    }
    for (const { before, after } of changes) {
      if (before !== after) this.#options.onChange(before, after, this);
    }
  }

  /** Whoever has outlived its node says so to the owner of the day. */
  #orphansEnd(): void {
    const records = this.records;
    for (const orphan of this.orphans.filter(({ endsMs }) => endsMs <= this.nowMs)) {
      const chunk = this.chunks[orphan.chunk]!;
      // Nobody is there to be told.
      if (chunk.owner === null) continue;
      const same = chunk.owner.node === orphan.node.name && chunk.owner.incarnation === orphan.incarnation;
      if (!same && this.#answer(orphan, records[orphan.index], chunk.token, 0).accepted) {
        throw new Error(
          `a result of attempt ${orphan.attempt} of step ${orphan.index} came too late, and counted`,
        );
      }
    }
    const left = this.orphans.filter(({ endsMs }) => endsMs > this.nowMs);
    this.refused += this.orphans.length - left.length;
    this.orphans = left;
  }

  /** Takes a chunk from an owner that lets a step run past its time. */
  #supervise(): void {
    const records = this.records;
    for (const record of records) {
      if (!record || !runOf(record)) continue;
      const key = `${record.index} ${record.attempt}`;
      if (!this.#supervised.has(key)) this.#supervised.set(key, this.nowMs);
    }
    if (this.nowMs % supervisorPeriodMs !== 0) return;
    const since = (index: number, attempt: number): number | undefined =>
      this.#supervised.get(`${index} ${attempt}`);
    for (const { index } of overdueSteps(this.shape, records, since, this.nowMs)) {
      const chunk = this.chunks.find(({ first, count }) => index >= first && index < first + count)!;
      this.#revision++;
      chunk.revision = this.#revision;
      chunk.owner = null;
    }
  }

  /** How long a step's own work has been running beyond what it was given. */
  overdueMs(record: StepRecord): number {
    const sinceMs = this.runningSince.get(record.index) ?? this.nowMs;
    return this.nowMs - sinceMs - limitOf(stepSpec(this.shape, record.index), record);
  }
}

function merged(chunks: Chunk[], count: number): (StepRecord | undefined)[] {
  const records = new Array<StepRecord | undefined>(count).fill(undefined);
  for (const { first, count: own, steps } of chunks) {
    for (let index = first; index < first + own; index++) records[index] = steps[index];
  }
  return records;
}

function evenly(steps: number, chunks: number): { first: number; count: number }[] {
  return Array.from({ length: chunks }, (_, chunk) => {
    const first = Math.floor((steps * chunk) / chunks);
    return { first, count: Math.floor((steps * (chunk + 1)) / chunks) - first };
  });
}
