import { instanceOfSubject, subjectOfInstance, type InstanceId, type NodeName } from '../model/ids.ts';
import { rank } from '../placement/rank.ts';
import type { Session, Store, Write } from '../ports/store.ts';
import type { Crowd } from './crowd.ts';
import type { Shortcomings } from './shortcomings.ts';
import { freeInstanceOf, placementInputs, wantedOrWhyNot, type WantedInstance } from './wanted.ts';
import type { World } from './world.ts';

export interface RefusalsOptions {
  node: NodeName;
  world: World;
  store: Store;
  crowd: Crowd;
  shortcomings: Shortcomings;
  session: () => Session | null;
  /** What this node's machine can't do at all, or has no room for; null = it can. */
  unable: (wanted: WantedInstance, session: Session) => string | null;
}

/** What this node will not take, said where all others see it, and taken back when it would. */
export class Refusals {
  readonly #options: RefusalsOptions;

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** The node's own last word: why it will not take an instance, or null. */
  why(wanted: WantedInstance, session: Session): string | null {
    const { unable, shortcomings } = this.#options;
    const unableTo = unable(wanted, session);
    if (unableTo !== null) return unableTo;
    const reason = shortcomings.why(wanted.instance);
    // Whoever is left alone with it tries again, however lately it was in vain.
    return reason !== null && this.othersCould(wanted, { unasked: true }) ? reason : null;
  }

  /** Why an instance of which nothing could be started here is left to a node that would take it; null = it is not. */
  leaves(instance: InstanceId): string | null {
    const { world, shortcomings } = this.#options;
    const reason = shortcomings.why(instance);
    const wanted = reason === null ? null : wantedOrWhyNot(world, instance);
    return wanted !== null && !('notWanted' in wanted) && this.othersCould(wanted) ? reason : null;
  }

  /** What goes with the release of an instance, so that the node which leaves it is not the first to take it again. */
  withRelease(instance: InstanceId, reason: string): Write[] {
    const { world, shortcomings } = this.#options;
    const session = this.#options.session();
    const wanted = wantedOrWhyNot(world, instance);
    if (!session || 'notWanted' in wanted || shortcomings.why(instance) !== reason) return [];
    return [this.#write(wanted, session, reason)];
  }

  /** When this node may think again of one of them; null = when something else happens. */
  nextInMs(): number | null {
    return this.#options.shortcomings.nextInMs();
  }

  /** @throws StoreError */
  async tell(wanted: WantedInstance, session: Session, reason: string): Promise<void> {
    const { store, node } = this.#options;
    await store.commit(
      [{ kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease }],
      [this.#write(wanted, session, reason)],
    );
  }

  /** Takes back what holds no more. @throws StoreError */
  async review(session: Session): Promise<void> {
    const { world, store, node } = this.#options;
    for (const { name, value, revision } of world.refusals.all()) {
      if (value.node !== node) continue;
      const instance = instanceOfSubject(value.subject);
      const wanted = instance === null ? null : wantedOrWhyNot(world, instance);
      const holds = wanted !== null && !('notWanted' in wanted) && this.why(wanted, session) !== null;
      if (!holds) await store.commit([{ kind: 'refusals', name, revision }], [{ delete: 'refusals', name }]);
    }
  }

  /** Whether another node could take it; `unasked` = whatever they have refused. */
  othersCould(wanted: WantedInstance, { unasked = false } = {}): boolean {
    const { world, crowd, node } = this.#options;
    const { nodes, placed } = placementInputs(world, undefined, crowd.unsteady());
    const free = freeInstanceOf(world, wanted, []);
    const asked = unasked ? { ...free, refusals: [] } : free;
    const [ranking] = rank(
      [asked],
      nodes,
      placed.filter(other => other.instance !== wanted.instance),
    );
    return ranking?.candidates.some(candidate => candidate.node !== node) === true;
  }

  /** It goes with the session. */
  #write({ instance, record }: WantedInstance, session: Session, reason: string): Write {
    const subject = subjectOfInstance(instance);
    const { node } = this.#options;
    const value = { v: 1 as const, subject, node, reason, generation: record.generation };
    return { put: 'refusals', name: `${subject}/${node}`, value, lease: session.lease };
  }
}
