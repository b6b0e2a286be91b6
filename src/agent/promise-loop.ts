import { changes, isSame, type PromiseChanges } from '../promise/changes.ts';
import { impossible } from '../promise/conflicts.ts';
import { ownPromises } from '../promise/own-promises.ts';
import type { AppName, Digest, NodeName, Timestamp } from '../model/ids.ts';
import type { NodePromise, StayingInstance } from '../model/node-promise.ts';
import type { Capacity } from '../model/records.ts';
import type { InstanceStatus } from '../model/reconciliation.ts';
import { specOfRelease } from '../model/rollout.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Change, Entry, Session, Store, Write } from '../ports/store.ts';
import type { Ledger } from './ledger.ts';
import { Loop } from './loop.ts';
import type { SessionKeeper } from './session-keeper.ts';
import type { World } from './world.ts';

/** Of 128 operations; two for each promise (itself and its event), the rest for events that wait. */
const PROMISES_PER_TRANSACTION = 40;
const EVENTS_PER_TRANSACTION = 40;
const GATHER_MS = 20;
const GATHER_LONGER_MS = 60;

export interface Undertakings {
  statuses: readonly InstanceStatus[];
  artifacts: { digest: Digest; bytes: number }[];
  deploying: { app: AppName; release: number; step: string; completeBy: Timestamp }[];
  requests: { id: string; action: string; completeBy: Timestamp }[];
  draining: { reason: string; left: number; stays: StayingInstance[] } | null;
  /** Why promises are taken back, by name; else a usual reason is given. */
  reasons: ReadonlyMap<string, string>;
}

export interface PromiseLoopOptions {
  node: NodeName;
  capacity: Capacity;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  ledger: Ledger;
  clock: Clock;
  log: Log;
  /** null = not known yet, as before the first look at what runs here: then nothing is said. */
  undertakings: () => Undertakings | null;
}

/** Publishes what this node promises, from its own state alone, and takes back what it will not keep. */
export class PromiseLoop {
  readonly #options: PromiseLoopOptions;
  readonly #loop: Loop;
  /** What this node stands by, and has told. */
  #standing: NodePromise[] = [];
  /** By name: what the store may not have yet; null = to be deleted. */
  #unwritten = new Map<string, NodePromise | null>();
  /** The lease that the promises are on; on another, all of them have to be written again. */
  #lease: string | null = null;
  /** The revision of the last write that is known to be done. */
  #writtenAt = 0n;
  #unlisten: () => void = () => undefined;

  constructor(options: PromiseLoopOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'promises',
      clock: options.clock,
      log: options.log,
      everyMs: 10_000,
      round: () => this.#round(),
    });
  }

  start(): void {
    this.#unlisten = this.#options.world.promises.onChange(changed => this.#noticeOverwritten(changed));
    this.#loop.start();
  }

  wake(): void {
    this.#loop.wake();
  }

  /** For what instances do that others act upon. */
  wakeSoon(): void {
    this.#loop.wakeWithin(GATHER_MS);
  }

  /** For what is only looked at: how far a deployment is, and copies that begin. By then much of it has changed again. */
  wakeLater(): void {
    this.#loop.wakeWithin(GATHER_LONGER_MS);
  }

  /** How long the round under way has taken so far; 0 between rounds. */
  busyMs(): number {
    return this.#loop.busyMs();
  }

  async stop(): Promise<void> {
    this.#unlisten();
    await this.#loop.stop();
  }

  /** Takes back everything, as before leaving. @throws StoreError */
  async withdrawAll(reason: string): Promise<void> {
    const { keeper } = this.#options;
    const session = keeper.current();
    if (!session) return;
    const withdrawn = this.#standing.map(promise => ({ promise, reason }));
    this.#standing = [];
    this.#tell({ made: [], withdrawn });
    this.#unwritten = new Map(withdrawn.map(({ promise }) => [promise.name, null]));
    try {
      await this.#write(session);
    } catch (error) {
      // With the session its promises are gone, too.
      if (keeper.current() !== null) throw error;
    }
  }

  async #round(): Promise<null> {
    const { keeper, clock, node } = this.#options;
    const session = keeper.current();
    const undertakings = this.#options.undertakings();
    if (!session || !undertakings) return null;
    if (this.#lease !== session.lease) this.#beginOn(session);
    const all = ownPromises({
      node,
      capacity: this.#options.capacity,
      statuses: [...undertakings.statuses],
      specOf: (app, release) => {
        const record = this.#options.world.apps.get(app)?.value;
        return record && specOfRelease(record, release);
      },
      artifacts: undertakings.artifacts,
      deploying: undertakings.deploying,
      draining: undertakings.draining,
      requests: undertakings.requests,
    });
    const at = clock.timestamp();
    const next = all.filter(promise => !this.#isImpossible({ ...promise, madeAt: at }));
    const difference = changes(this.#standing, next, at, undertakings.reasons);
    this.#standing = difference.all;
    this.#tell(difference);
    for (const promise of [...difference.made, ...difference.changed])
      this.#unwritten.set(promise.name, promise);
    for (const { promise } of difference.withdrawn) this.#unwritten.set(promise.name, null);
    this.#findOverwritten();
    await this.#write(session);
    return null;
  }

  /** What a resumed session has promised still stands, and has to come onto its new lease; a new session starts afresh. */
  #beginOn(session: Session): void {
    const { world, node } = this.#options;
    this.#standing = world.promises.all().flatMap(({ value: { promise } }) => {
      return session.resumed && promise.promiser === node ? [promise] : [];
    });
    this.#unwritten = new Map(this.#standing.map(promise => [promise.name, promise]));
    this.#lease = session.lease;
  }

  /** A write that nobody answered for can be done after later ones: what the store says then is not what this node says. */
  #noticeOverwritten(changed: readonly Change<'promises'>[]): void {
    const ofNode = `${this.#options.node}/`;
    const standing = this.#standingByName();
    const isOther = ({ name, after }: Change<'promises'>): boolean =>
      name.startsWith(ofNode) && !this.#isAsSaid(after, standing.get(name.slice(ofNode.length)));
    if (changed.some(isOther)) this.wakeSoon();
  }

  #findOverwritten(): void {
    const { world, node } = this.#options;
    if (world.promises.revision < this.#writtenAt) return;
    const standing = this.#standingByName();
    const stored = world.promises.all().filter(({ value }) => value.promise.promiser === node);
    const names = new Set([...standing.keys(), ...stored.map(({ value }) => value.promise.name)]);
    for (const name of names) {
      const said = standing.get(name);
      if (this.#unwritten.has(name) || this.#isAsSaid(world.promises.get(`${node}/${name}`), said)) continue;
      this.#unwritten.set(name, said ?? null);
    }
  }

  #isAsSaid(stored: Entry<'promises'> | undefined, said: NodePromise | undefined): boolean {
    if (stored === undefined || said === undefined) return stored === said;
    return stored.lease === this.#lease && isSame(said, stored.value.promise);
  }

  #standingByName(): Map<string, NodePromise> {
    return new Map(this.#standing.map(promise => [promise.name, promise]));
  }

  /** What nobody could keep is not promised; that it came up at all is a defect, and is written down. */
  #isImpossible(promise: NodePromise): boolean {
    const problems = impossible(promise);
    for (const problem of problems) {
      this.#options.log.error('an impossible promise was not made', {
        promise: promise.name,
        reason: problem.message,
      });
    }
    return problems.length > 0;
  }

  #tell({ made, withdrawn }: Pick<PromiseChanges, 'made' | 'withdrawn'>): void {
    const { ledger } = this.#options;
    for (const promise of made) {
      ledger.note({
        kind: 'promise-made',
        subject: promiseSubject(promise),
        message: `${promise.promiser} promises ${promise.name}`,
        details: { body: promise.body },
      });
    }
    for (const { promise, reason } of withdrawn) {
      ledger.note({
        kind: 'promise-withdrawn',
        subject: promiseSubject(promise),
        message: `${promise.promiser} withdrew ${promise.name}: ${reason}`,
        details: { reason },
      });
    }
  }

  /** What fails stays unwritten, for the next round; it has been told already. @throws StoreError */
  async #write(session: Session): Promise<void> {
    const { node } = this.#options;
    while (this.#unwritten.size > 0) {
      const batch = [...this.#unwritten].slice(0, PROMISES_PER_TRANSACTION);
      const writes = batch.map(([name, promise]): Write =>
        promise === null
          ? { delete: 'promises', name: `${node}/${name}` }
          : { put: 'promises', name: `${node}/${name}`, value: { v: 1, promise }, lease: session.lease },
      );
      await this.#commit(session, writes);
      for (const [name] of batch) this.#unwritten.delete(name);
    }
  }

  async #commit(session: Session, writes: Write[]): Promise<void> {
    const { store, ledger, node } = this.#options;
    const events = ledger.take(EVENTS_PER_TRANSACTION);
    try {
      const result = await store.commit(
        [{ kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease }],
        [...writes, ...events.writes],
      );
      if (result.kind === 'committed') {
        this.#writtenAt = result.revision;
        return;
      }
    } catch (error) {
      events.putBack();
      throw error;
    }
    events.putBack();
    throw new Error(`session ${session.incarnation} is not on its lease any more: nothing was promised`);
  }
}

export function promiseSubject(promise: { promiser: NodeName; name: string }): string {
  return `${promise.promiser}/${promise.name}`;
}
