import { changes } from '../promise/changes.ts';
import { impossible } from '../promise/conflicts.ts';
import { ownPromises } from '../promise/own-promises.ts';
import type { AppName, Digest, NodeName, Timestamp } from '../model/ids.ts';
import type { NodePromise } from '../model/node-promise.ts';
import type { Capacity } from '../model/records.ts';
import type { InstanceStatus } from '../model/reconciliation.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Session, Store, Write } from '../ports/store.ts';
import type { Ledger } from './ledger.ts';
import { Loop } from './loop.ts';
import type { SessionKeeper } from './session-keeper.ts';
import type { World } from './world.ts';

/** Of 128 operations; two for each promise (itself and its event), the rest for events that wait. */
const PROMISES_PER_TRANSACTION = 40;
const EVENTS_PER_TRANSACTION = 40;

export interface Undertakings {
  statuses: readonly InstanceStatus[];
  artifacts: { digest: Digest; bytes: number }[];
  deploying: { app: AppName; release: number; step: string; completeBy: Timestamp }[];
  requests: { id: string; action: string; completeBy: Timestamp }[];
  draining: string | null;
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
  undertakings: () => Undertakings;
}

/** Publishes what this node promises, from its own state alone, and takes back what it will not keep. */
export class PromiseLoop {
  readonly #options: PromiseLoopOptions;
  readonly #loop: Loop;
  #published: NodePromise[] = [];
  /** The lease the published promises are on; another session has to publish all of them again. */
  #lease: string | null = null;

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
    this.#loop.start();
  }

  wake(): void {
    this.#loop.wake();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /** Takes back everything, as before leaving. @throws StoreError */
  async withdrawAll(reason: string): Promise<void> {
    const session = this.#options.keeper.current();
    if (!session) return;
    const withdrawn = this.#published.map(promise => ({ promise, reason }));
    await this.#write(session, { made: [], changed: [], withdrawn });
    this.#published = [];
  }

  async #round(): Promise<null> {
    const { keeper, clock, node } = this.#options;
    const session = keeper.current();
    if (!session) return null;
    if (this.#lease !== session.lease) {
      // A resumed session's promises went with its old lease, or are about to: all are written to the new one.
      this.#published = [];
      this.#lease = session.lease;
    }
    const undertakings = this.#options.undertakings();
    const all = ownPromises({
      node,
      capacity: this.#options.capacity,
      statuses: [...undertakings.statuses],
      specs: new Map(this.#options.world.apps.all().map(entry => [entry.name, entry.value.spec])),
      artifacts: undertakings.artifacts,
      deploying: undertakings.deploying,
      draining: undertakings.draining,
      requests: undertakings.requests,
    });
    const at = clock.timestamp();
    const next = all.filter(promise => !this.#isImpossible({ ...promise, madeAt: at }));
    const difference = changes(this.#published, next, at, undertakings.reasons);
    await this.#write(session, difference);
    this.#published = difference.all;
    return null;
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

  async #write(
    session: Session,
    difference: {
      made: NodePromise[];
      changed: NodePromise[];
      withdrawn: { promise: NodePromise; reason: string }[];
    },
  ): Promise<void> {
    const { ledger } = this.#options;
    for (const promise of difference.made) {
      ledger.note({
        kind: 'promise-made',
        subject: promiseSubject(promise),
        message: `${promise.promiser} promises ${promise.name}`,
        details: { body: promise.body },
      });
    }
    for (const { promise, reason } of difference.withdrawn) {
      ledger.note({
        kind: 'promise-withdrawn',
        subject: promiseSubject(promise),
        message: `${promise.promiser} withdrew ${promise.name}: ${reason}`,
        details: { reason },
      });
    }
    const writes: Write[] = [
      ...[...difference.made, ...difference.changed].map(promise => ({
        put: 'promises' as const,
        name: `${promise.promiser}/${promise.name}`,
        value: { v: 1 as const, promise },
        lease: session.lease,
      })),
      ...difference.withdrawn.map(({ promise }) => ({
        delete: 'promises' as const,
        name: `${promise.promiser}/${promise.name}`,
      })),
    ];
    for (let start = 0; start < writes.length; start += PROMISES_PER_TRANSACTION) {
      await this.#commit(session, writes.slice(start, start + PROMISES_PER_TRANSACTION));
    }
  }

  async #commit(session: Session, writes: Write[]): Promise<void> {
    const { store, ledger, node, keeper } = this.#options;
    const events = ledger.take(EVENTS_PER_TRANSACTION);
    try {
      const result = await store.commit(
        [{ kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease }],
        [...writes, ...events.writes],
      );
      if (result.kind === 'refused')
        throw new Error(`session ${session.incarnation} is not on its lease any more`);
    } catch (error) {
      events.putBack();
      // What was written of this round is not known: the next round writes all of it again.
      this.#lease = null;
      if (keeper.current() !== null) throw error;
    }
  }
}

export function promiseSubject(promise: { promiser: NodeName; name: string }): string {
  return `${promise.promiser}/${promise.name}`;
}
