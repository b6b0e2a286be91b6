import type { KnownPlan } from './known-plan.ts';
import type { StepRecord } from '../../model/plan.ts';
import type { Compare, Entry, Mirror } from '../../ports/store.ts';

interface Held {
  owner: NonNullable<Entry<'steps'>['value']['owner']>;
  count: number;
}

export interface KeyHoldersOptions {
  guards: Mirror<'guards'>;
  steps: Pick<Mirror<'steps'>, 'revision'>;
  sessions: Pick<Mirror<'sessions'>, 'get'>;
}

/**
 * Who runs steps under which concurrency key. Nothing is held but by a running step of an owner that lives, so nothing can
 * leak; and whoever starts one compares the key's guard entry as it was when the holders were counted.
 */
export class KeyHolders {
  readonly #options: KeyHoldersOptions;
  /** By key, then by the chunk's name. */
  readonly #held = new Map<string, Map<string, Held>>();
  readonly #byChunk = new Map<string, Map<string, number>>();
  /** By key: open plans with such steps. */
  readonly #users = new Map<string, Set<KnownPlan>>();
  /** This node's own writes of guards, until they have come back. */
  readonly #own = new Map<string, bigint>();

  constructor(options: KeyHoldersOptions) {
    this.#options = options;
  }

  usersOf(key: string): Iterable<KnownPlan> {
    return this.#users.get(key) ?? [];
  }

  keys(): string[] {
    return [...this.#users.keys()];
  }

  /** Steps with this key that run under owners that live, those of one chunk left out. */
  count(key: string, except: string): number {
    let count = 0;
    for (const [chunk, { owner, count: held }] of this.#held.get(key) ?? []) {
      if (chunk === except) continue;
      if (this.#options.sessions.get(`${owner.node}/${owner.incarnation}`) !== undefined) count += held;
    }
    return count;
  }

  /**
   * What a start under this key must compare. null = not now: somebody's start is known of by the guard, and not yet by the
   * chunk it was in.
   */
  compare(key: string): Compare | null {
    const { guards, steps } = this.#options;
    const name = guardName(key);
    const entry = guards.get(name);
    const own = this.#own.get(key) ?? 0n;
    if (own > (entry?.revision ?? 0n)) return { kind: 'guards', name, revision: own };
    if (entry === undefined) return { kind: 'guards', name, is: 'absent' };
    return entry.revision <= steps.revision ? { kind: 'guards', name, revision: entry.revision } : null;
  }

  wrote(key: string, revision: bigint): void {
    this.#own.set(key, revision);
  }

  /** The copy of the guards has come so far: what it tells of is not needed twice. */
  caughtUp(): void {
    const { revision } = this.#options.guards;
    for (const [key, own] of this.#own) if (own <= revision) this.#own.delete(key);
  }

  /** Gives the keys of which fewer steps run than before. */
  learn(plan: KnownPlan, chunk: number): string[] {
    return this.#replace(plan.name(chunk), this.#keysOf(plan, chunk));
  }

  #replace(name: string, now: { owner: Held['owner']; counts: Map<string, number> } | null): string[] {
    const before = this.#byChunk.get(name);
    const fewer: string[] = [];
    for (const [key, count] of before ?? []) {
      if ((now?.counts.get(key) ?? 0) >= count) continue;
      this.#held.get(key)?.delete(name);
      if (this.#held.get(key)?.size === 0) this.#held.delete(key);
      fewer.push(key);
    }
    if (now === null || now.counts.size === 0) {
      this.#byChunk.delete(name);
      return fewer;
    }
    this.#byChunk.set(name, now.counts);
    for (const [key, count] of now.counts) {
      const chunks = this.#held.get(key) ?? new Map<string, Held>();
      this.#held.set(key, chunks.set(name, { owner: now.owner, count }));
    }
    return fewer;
  }

  /** An open plan has been heard of, or one has ended. Gives the keys of which fewer steps run than before. */
  use(plan: KnownPlan, open: boolean): string[] {
    for (const step of plan.spec?.steps ?? []) {
      if (step.concurrency === undefined) continue;
      const { key } = step.concurrency;
      const users = this.#users.get(key) ?? new Set();
      if (open) users.add(plan);
      else users.delete(plan);
      if (users.size > 0) this.#users.set(key, users);
      else this.#users.delete(key);
    }
    return open ? [] : plan.chunks.flatMap((_, chunk) => this.#replace(plan.name(chunk), null));
  }

  clear(): void {
    this.#held.clear();
    this.#byChunk.clear();
    this.#users.clear();
    this.#own.clear();
  }

  #keysOf(plan: KnownPlan, chunk: number): { owner: Held['owner']; counts: Map<string, number> } | null {
    const value = plan.chunks[chunk]?.entry.value;
    if (value === undefined || value.owner === null) return null;
    const counts = new Map<string, number>();
    for (const record of value.steps) {
      const key = keyOf(plan, record);
      if (key !== undefined) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    return { owner: value.owner, counts };
  }
}

/** Any text can be a key; names in the store are kept plain. */
export function guardName(key: string): string {
  return encodeURIComponent(key);
}

function keyOf(plan: KnownPlan, record: StepRecord): string | undefined {
  return record.state === 'RUNNING' ? plan.spec?.steps[record.index]?.concurrency?.key : undefined;
}
