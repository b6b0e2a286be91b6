import { observersOf } from '../assess/observers.ts';
import type { InstantMs, NodeName, Subject } from '../model/ids.ts';
import type { SupervisorRequest } from '../model/records.ts';
import { supervise } from '../supervise/supervise.ts';
import { rank } from '../placement/rank.ts';
import { explain } from '../placement/explain.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import type { Session, Store } from '../ports/store.ts';
import type { Crowd } from './crowd.ts';
import { forgetInstances } from './forget-instances.ts';
import { forgetPorts } from './forget-ports.ts';
import type { Ledger } from './ledger.ts';
import type { NamedAgents } from './names/named-agents.ts';
import { Loop } from './loop.ts';
import type { SessionKeeper } from './session-keeper.ts';
import { placementInputs, type HeldDown } from './wanted.ts';
import type { World } from './world.ts';

const EVENTS_KEPT = 5000;
const PRUNE_EVERY_MS = 5 * 60_000;

export interface SuperviseLoopOptions {
  node: NodeName;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  ledger: Ledger;
  random: Random;
  heldDown: HeldDown;
  names: Pick<NamedAgents, 'forget'>;
  crowd: Crowd;
  clock: Clock;
  log: Log;
}

/**
 * Stands for election, and while elected asks nodes to repair what is late or broken. It can only ask: all stays safe
 * with no supervisor and with two, and every write of it is its own key or a comparison.
 */
export class Supervisor {
  readonly #options: SuperviseLoopOptions;
  readonly loop: Loop;
  readonly #unplacedSinceMs = new Map<Subject, InstantMs>();
  readonly #requestSinceMs = new Map<string, InstantMs>();
  readonly #asked = new Map<string, { request: SupervisorRequest; revision: bigint }>();
  #candidateLease: string | null = null;
  #leading = false;
  #prunedMs: InstantMs | null = null;
  /** What people have been told already, as of the last round. */
  #told: ReadonlySet<string> = new Set();

  constructor(options: SuperviseLoopOptions) {
    this.#options = options;
    this.loop = new Loop({
      name: 'supervise',
      clock: options.clock,
      log: options.log,
      everyMs: 1000,
      round: signal => this.#round(signal),
    });
  }

  get leading(): boolean {
    return this.#leading;
  }

  /** The name of this node's own key among the candidates, while it is elected. */
  get electedAs(): string | null {
    return this.#leading && this.#candidateLease !== null ? leaseName(this.#candidateLease) : null;
  }

  async #round(signal: AbortSignal): Promise<number | null> {
    const { keeper, world } = this.#options;
    const session = keeper.current();
    this.#options.crowd.look();
    if (!session || !world.synced()) {
      this.#leading = false;
      return 1000;
    }
    await this.#stand(session);
    if (!(await this.#elected(session))) return null;
    await this.#supervise(session);
    await this.#prune(signal);
    return 1000;
  }

  /** One candidate key a session, on its lease: etcd's own election recipe. */
  async #stand(session: Session): Promise<void> {
    if (this.#candidateLease === session.lease) return;
    const { store, node } = this.#options;
    const name = leaseName(session.lease);
    await store.commit(
      [
        { kind: 'supervisor', name, is: 'absent' },
        { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },
      ],
      [
        {
          put: 'supervisor',
          name,
          value: { v: 1, node, incarnation: session.incarnation },
          lease: session.lease,
        },
      ],
    );
    this.#candidateLease = session.lease;
  }

  async #elected(session: Session): Promise<boolean> {
    const { world, store, node, ledger } = this.#options;
    const name = leaseName(session.lease);
    const first = supervisorOf(world);
    if (first?.name !== name) {
      this.#leading = false;
      return false;
    }
    if (this.#leading) return true;
    // The mirror may lag: before the first act, one transaction that finds both keys as they should be.
    const result = await store.commit(
      [
        { kind: 'supervisor', name, revision: first.revision },
        { kind: 'sessions', name: `${node}/${session.incarnation}`, lease: session.lease },
      ],
      [],
    );
    this.#leading = result.kind === 'committed' && session.valid();
    if (this.#leading) {
      ledger.note({
        kind: 'supervisor-elected',
        subject: `node/${node}`,
        message: `${node} is the supervisor now`,
      });
    }
    return this.#leading;
  }

  async #supervise(session: Session): Promise<void> {
    const { world, clock, store, ledger, node, random } = this.#options;
    const nowMs = clock.now();
    const nodes = [...world.nodes().keys()];
    const assessments = world.assessments.all().map(entry => entry.value.assessment);
    const requests = this.#requests();
    for (const name of this.#requestSinceMs.keys())
      if (!requests.has(name)) this.#requestSinceMs.delete(name);
    const decision = supervise({
      promises: world.promises.all().map(({ value: { promise } }) => ({
        promise,
        assessments: assessments.filter(
          other => other.promiser === promise.promiser && other.promise === promise.name,
        ),
        observers: observersOf(promise.promiser, nodes),
      })),
      unplaced: this.#unplaced(nowMs),
      requests: [...requests].map(([name, request]) => ({
        request,
        answer: world.answers.get(name)?.value ?? null,
        sinceMs: this.#since(this.#requestSinceMs, name, nowMs),
      })),
      gone: this.#options.crowd.gone(),
      liveNodes: nodes,
      told: this.#told,
      nowMs,
    });
    this.#told = decision.told;
    for (const event of decision.events) ledger.note(event);
    for (const wanted of decision.requests) {
      const request: SupervisorRequest = { ...wanted, id: random.hex(6), from: node, at: clock.timestamp() };
      const name = `${request.node}/${request.id}`;
      const result = await store.commit(
        [
          { kind: 'requests', name, is: 'absent' },
          { kind: 'supervisor', name: leaseName(session.lease), is: 'present' },
        ],
        [{ put: 'requests', name, value: { v: 1, request } }],
      );
      if (result.kind === 'refused') continue;
      this.#asked.set(name, { request, revision: result.revision });
      ledger.note({
        kind: 'request-made',
        subject: request.subject,
        message: `${node} asks ${request.node} to ${request.action} ${request.subject}: ${request.reason}`,
        details: { request: request.id, attempt: request.attempt },
      });
    }
    for (const id of decision.forget) {
      const entry = world.requests.all().find(({ value }) => value.request.id === id);
      if (!entry) continue;
      // Its answer is the asked node's, which clears it away itself (request-loop).
      await store.commit([], [{ delete: 'requests', name: entry.name }]);
    }
  }

  /** By name, those in the store and those just made: the mirror may learn of them later than of what they are about. */
  #requests(): Map<string, SupervisorRequest> {
    const { requests } = this.#options.world;
    for (const [name, { revision }] of this.#asked)
      if (requests.revision >= revision) this.#asked.delete(name);
    return new Map([
      ...[...this.#asked].map(([name, { request }]) => [name, request] as const),
      ...requests.all().map(({ name, value }) => [name, value.request] as const),
    ]);
  }

  #unplaced(nowMs: InstantMs): { subject: Subject; sinceMs: InstantMs; why: string }[] {
    const { free, nodes, placed } = placementInputs(
      this.#options.world,
      this.#options.heldDown,
      this.#options.crowd.unsteady(),
    );
    const subjects = new Set(free.map(instance => instance.subject));
    for (const subject of this.#unplacedSinceMs.keys())
      if (!subjects.has(subject)) this.#unplacedSinceMs.delete(subject);
    if (free.length === 0) return [];
    return rank(free, nodes, placed).map(ranking => ({
      subject: ranking.subject,
      sinceMs: this.#since(this.#unplacedSinceMs, ranking.subject, nowMs),
      why: explain(ranking).join('; '),
    }));
  }

  #since(known: Map<string, InstantMs>, name: string, nowMs: InstantMs): InstantMs {
    const since = known.get(name) ?? nowMs;
    known.set(name, since);
    return since;
  }

  /** What the brake says of the nodes that went lately, as this node saw it. */
  brake(): { active: boolean; reason: string | null } {
    const { active, reason } = this.#options.crowd.brake();
    return { active, reason };
  }

  async #prune(signal: AbortSignal): Promise<void> {
    const { store, clock, names } = this.#options;
    if (this.#prunedMs !== null && clock.now() - this.#prunedMs < PRUNE_EVERY_MS) return;
    this.#prunedMs = clock.now();
    await names.forget(signal);
    await forgetPorts(this.#options);
    await forgetInstances(this.#options);
    const { entries } = await store.list('events');
    const surplus = entries.slice(0, Math.max(0, entries.length - EVENTS_KEPT));
    for (let start = 0; start < surplus.length; start += 100) {
      await store.commit(
        [],
        surplus.slice(start, start + 100).map(entry => ({ delete: 'events', name: entry.name })),
      );
    }
  }
}

/** The candidate with the lowest create revision, as this node's copy has it. */
export function supervisorOf(world: World): ReturnType<World['supervisor']['get']> {
  return world.supervisor
    .all()
    .reduce<ReturnType<World['supervisor']['get']>>(
      (first, entry) => (first === undefined || entry.createRevision < first.createRevision ? entry : first),
      undefined,
    );
}

function leaseName(lease: string): string {
  return BigInt(lease).toString(16);
}
