import { observersOf } from '../assess/observers.ts';
import { instanceOfSubject, type InstanceId, type NodeName } from '../model/ids.ts';
import type { Endpoint, NodePromise } from '../model/node-promise.ts';
import { wantedOrWhyNot } from './wanted.ts';
import type { World } from './world.ts';

export interface LapsedPromise {
  /** As it was in the store: `<node>/running:<instance>`. */
  name: string;
  promise: NodePromise;
}

/**
 * Promises to run something that expired with their session, neither withdrawn nor taken over by anybody: the owner key
 * still names that session. Their last words are remembered from when they stood, or learned from another observer.
 */
export class Lapsed {
  readonly #world: World;
  readonly #node: NodeName;
  readonly #promises = new Map<string, NodePromise>();
  readonly #peers = new Map<NodeName, Endpoint>();

  constructor(options: { world: World; node: NodeName }) {
    this.#world = options.world;
    this.#node = options.node;
  }

  /** Those this node is an observer of, in name order. To be called at every change of promises and sessions. */
  look(): LapsedPromise[] {
    const owned = this.#owned();
    this.#remember(owned);
    const nodes = [...this.#world.nodes().keys()];
    return owned
      .filter(({ node }) => !nodes.includes(node) && observersOf(node, nodes).includes(this.#node))
      .flatMap(({ name, instance }) => {
        if ('notWanted' in wantedOrWhyNot(this.#world, instance)) return [];
        const promise = this.#promises.get(name) ?? this.#told(name);
        return promise ? [{ name, promise }] : [];
      });
  }

  /** Where the agents of nodes whose session is gone were last reached. */
  peers(lapsed: readonly LapsedPromise[]): Map<NodeName, Endpoint> {
    return new Map(
      lapsed.flatMap(({ promise: { promiser } }) => {
        const peer = this.#peers.get(promiser);
        return peer ? [[promiser, peer] as const] : [];
      }),
    );
  }

  /** What somebody has or had last and has not released. A node that is back speaks for itself. */
  #owned(): { name: string; node: NodeName; instance: InstanceId }[] {
    return this.#world.owners.all().flatMap(({ name: subject, value: { node, released, exclusive } }) => {
      const instance = instanceOfSubject(subject);
      if (instance === null || released !== null || exclusive === true) return [];
      return [{ name: `${node}/running:${instance}`, node, instance }];
    });
  }

  /** For as long as the owner key names the promiser: promises may be seen to go before sessions, or after. */
  #remember(owned: readonly { name: string; node: NodeName }[]): void {
    const names = new Set(owned.map(({ name }) => name));
    for (const name of this.#promises.keys()) if (!names.has(name)) this.#promises.delete(name);
    for (const { name, value } of this.#world.promises.all())
      if (names.has(name)) this.#promises.set(name, value.promise);
    const owners = new Set(owned.map(({ node }) => node));
    for (const node of this.#peers.keys()) if (!owners.has(node)) this.#peers.delete(node);
    for (const [node, { value }] of this.#world.nodes())
      if (value.peer && owners.has(node)) this.#peers.set(node, value.peer);
  }

  /** By an observer that was there when it stood, or by this node before its agent was started anew. */
  #told(name: string): NodePromise | undefined {
    return this.#world.assessments
      .all()
      .map(({ value }) => value.assessment.answering)
      .find(promise => promise !== undefined && `${promise.promiser}/${promise.name}` === name);
  }
}
