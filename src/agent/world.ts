import type { NodeName } from '../model/ids.ts';
import type { Kind, SessionRecord } from '../model/records.ts';
import type { Entry, Mirror, Store } from '../ports/store.ts';
import { RecalledApps } from './recalled-apps.ts';

/**
 * Everything of the cluster that this node keeps a copy of. Reading it is free; it may lag, so nothing is owned
 * because the world says so.
 */
export class World {
  readonly apps: Mirror<'apps'>;
  /** The same, and what it answers before the store was heard. */
  readonly memory: RecalledApps;
  readonly sessions: Mirror<'sessions'>;
  readonly owners: Mirror<'owners'>;
  readonly ports: Mirror<'ports'>;
  readonly promises: Mirror<'promises'>;
  readonly assessments: Mirror<'assessments'>;
  readonly refusals: Mirror<'refusals'>;
  readonly supervisor: Mirror<'supervisor'>;
  readonly requests: Mirror<'requests'>;
  readonly answers: Mirror<'answers'>;
  readonly cluster: Mirror<'cluster'>;
  readonly waiters: Mirror<'waiters'>;
  readonly drains: Mirror<'drains'>;
  readonly deploys: Mirror<'deploys'>;
  readonly plans: Mirror<'plans'>;
  /** Chunks of plans. */
  readonly steps: Mirror<'steps'>;
  readonly guards: Mirror<'guards'>;
  readonly schedules: Mirror<'schedules'>;
  readonly #all: Mirror[];
  /** Of nodes whose last session was seen to go. */
  readonly #gone = new Map<NodeName, SessionRecord>();

  constructor(store: Store) {
    this.memory = new RecalledApps(store.mirror('apps'));
    this.apps = this.memory;
    this.sessions = store.mirror('sessions');
    this.owners = store.mirror('owners');
    this.ports = store.mirror('ports');
    this.promises = store.mirror('promises');
    this.assessments = store.mirror('assessments');
    this.refusals = store.mirror('refusals');
    this.supervisor = store.mirror('supervisor');
    this.requests = store.mirror('requests');
    this.answers = store.mirror('answers');
    this.cluster = store.mirror('cluster');
    this.waiters = store.mirror('waiters');
    this.drains = store.mirror('drains');
    this.deploys = store.mirror('deploys');
    this.plans = store.mirror('plans');
    this.steps = store.mirror('steps');
    this.guards = store.mirror('guards');
    this.schedules = store.mirror('schedules');
    this.#all = [
      this.apps,
      this.sessions,
      this.owners,
      this.ports,
      this.promises,
      this.assessments,
      this.refusals,
      this.supervisor,
      this.requests,
      this.answers,
      this.cluster,
      this.waiters,
      this.drains,
      this.deploys,
      this.plans,
      this.steps,
      this.guards,
      this.schedules,
    ] as unknown[] as Mirror[];
    this.sessions.onChange(changes => {
      for (const { before, after } of changes) {
        if (after) this.#gone.delete(after.value.node);
        else if (before) this.#gone.set(before.value.node, before.value);
      }
      const left = this.#leftBehind();
      for (const node of this.#gone.keys()) if (!left.has(node)) this.#gone.delete(node);
    });
  }

  async ready(signal: AbortSignal): Promise<void> {
    // One after the other: so many listeners on one signal at once would be taken for a leak.
    for (const mirror of this.#all) await mirror.ready(signal);
  }

  synced(): boolean {
    return this.#all.every(mirror => mirror.synced);
  }

  /** The longest silence of any part. */
  staleMs(): number {
    return Math.max(...this.#all.map(mirror => mirror.staleMs()));
  }

  /** The lowest revision any part is known to be at. */
  revision(): bigint {
    return this.#all.reduce(
      (lowest, mirror) => (mirror.revision < lowest ? mirror.revision : lowest),
      this.apps.revision,
    );
  }

  /** `<node>/<incarnation>` of every session key there is. */
  liveIncarnations(): Set<string> {
    return new Set(this.sessions.all().map(entry => entry.name));
  }

  /** The newest session of each node, in name order. */
  nodes(): Map<NodeName, Entry<'sessions'>> {
    const newest = new Map<NodeName, Entry<'sessions'>>();
    for (const entry of this.sessions.all()) {
      const known = newest.get(entry.value.node);
      if (!known || known.createRevision < entry.createRevision) newest.set(entry.value.node, entry);
    }
    return newest;
  }

  /** Nodes that went without letting go of what they own, or may still run: as they were, in name order. */
  lostNodes(): SessionRecord[] {
    const present = this.nodes();
    const missing = [...this.#leftBehind()].filter(node => !present.has(node)).sort();
    return missing.flatMap(node => this.#gone.get(node) ?? []);
  }

  /** Whether the session an owner key names is there. */
  sessionLives({ value: { node, incarnation } }: Pick<Entry<'owners'>, 'value'>): boolean {
    return this.sessions.get(`${node}/${incarnation}`) !== undefined;
  }

  /** Nodes that own something, or may still run it. */
  #leftBehind(): Set<NodeName> {
    return new Set(
      this.owners
        .all()
        .flatMap(({ value }) => [...(value.released === null ? [value.node] : []), ...value.mayStillRun]),
    );
  }

  /** Calls back after any change of the kinds named. Returns how to stop. */
  onChange(kinds: (Kind & keyof World)[], listener: () => void): () => void {
    const stops = kinds.map(kind => (this[kind] as unknown as Mirror).onChange(listener));
    return () => stops.forEach(stop => stop());
  }

  close(): void {
    for (const mirror of this.#all) mirror.close();
  }
}
