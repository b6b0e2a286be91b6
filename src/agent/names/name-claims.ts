import type { InstantMs, NodeName, Timestamp, Token } from '../../model/ids.ts';
import { marginMs } from '../../model/deadline.ts';
import {
  isCommand,
  subjectOfAgent,
  type AgentName,
  type AgentView,
  type NameAnswer,
} from '../../model/named-agents.ts';
import { lineFor, placeInLine } from '../../ownership/queue.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import { Claim } from './name-claim.ts';
import { agentView, factsOf, ownView } from './named-agents-views.ts';
import type { SessionKeeper } from '../session-keeper.ts';
import type { StaleTokens, StaleUse } from '../stale-tokens.ts';
import type { World } from '../world.ts';

export interface NameClaimsOptions {
  node: NodeName;
  world: World;
  keeper: SessionKeeper;
  clock: Clock;
  stale: StaleTokens;
}

/** What this node knows of requests for names: a claim for each name and holder, and which claims have their names. */
export class NameClaims {
  readonly #options: NameClaimsOptions;
  readonly #claims = new Map<string, Claim>();
  /** By name, what this node has: at most one claim each. */
  readonly #held = new Map<AgentName, Claim>();

  constructor(options: NameClaimsOptions) {
    this.#options = options;
  }

  all(): Claim[] {
    return [...this.#claims.values()];
  }

  assigned(): Claim[] {
    return this.all().filter(({ state }) => state === 'Assigned');
  }

  pending(): Claim[] {
    return this.all().filter(({ state }) => state === 'Pending');
  }

  get(name: AgentName, holder: string): Claim | undefined {
    return this.#claims.get(keyOf(name, holder));
  }

  /** A new one, in the place of any other of this holder. */
  open(name: AgentName, holder: string, ttlSeconds: number, since?: Timestamp): Claim {
    const at = this.now();
    const claim = new Claim(name, holder, ttlSeconds, { ...at, since: since ?? at.since });
    this.#claims.set(keyOf(name, holder), claim);
    return claim;
  }

  forget({ name, holder }: Claim): void {
    this.#claims.delete(keyOf(name, holder));
  }

  /** The claim under which this node has a name. */
  held(name: AgentName): Claim | undefined {
    return this.#held.get(name);
  }

  hold(claim: Claim): void {
    this.#held.set(claim.name, claim);
  }

  drop(claim: Claim): void {
    if (this.#held.get(claim.name) === claim) this.#held.delete(claim.name);
  }

  /** For how long its holder may act on it unless it is heard again; 0 = it is not to be acted on. */
  validForMs(claim: Claim): number {
    const session = this.#options.keeper.current();
    const { taken, ending, heardMs, ttlSeconds, holder } = claim;
    if (!session || taken?.incarnation !== session.incarnation || ending !== null) return 0;
    const untilMs = isCommand(holder)
      ? session.deadlineMs()
      : Math.min(session.deadlineMs(), heardMs + ttlSeconds * 1000);
    return Math.max(0, untilMs - this.#options.clock.now());
  }

  /** As this node knows it; of what it has itself, the truth of this moment. */
  view(name: AgentName): AgentView {
    const { world, node } = this.#options;
    const claims = this.all();
    const claim = this.#held.get(name);
    const validForMs = claim ? this.validForMs(claim) : 0;
    return claim && validForMs > 0
      ? ownView(name, claim, node, validForMs, { waiters: world.waiters.all(), claims })
      : agentView(name, factsOf(world, name, claims));
  }

  answer(claim: Claim): NameAnswer {
    const { node, world } = this.#options;
    const { name, taken } = claim;
    const validForMs = this.validForMs(claim);
    const line = lineFor(name, world.waiters.all());
    return {
      ...claim.standing(),
      name,
      node,
      token: taken?.token ?? null,
      validForMs: taken ? Math.floor(validForMs) : null,
      ahead: claim.state === 'Pending' ? placeInLine(line, claim.waiter?.name ?? null) : null,
    };
  }

  /** To who asked for a name that somebody else has. */
  taken(claim: Claim): AdminError {
    const { owner, holder, token, since } = this.view(claim.name);
    return new AdminError('conflict', claim.reason, { agent: claim.name, owner, holder, token, since });
  }

  refused(use: StaleUse, name: AgentName, holder: string, token: Token): void {
    this.#options.stale.refused({ use, subject: subjectOfAgent(name), by: holder, token });
  }

  /** To who believes to have a name. */
  lostIt(use: StaleUse, name: AgentName, holder: string, token: Token | null): AdminError {
    if (token !== null) this.refused(use, name, holder, token);
    return new AdminError(
      'conflict',
      `${name} is not held under token ${token ?? 'none'} any more: do nothing with it`,
      { agent: name, token },
    );
  }

  now(): { nowMs: InstantMs; since: Timestamp } {
    const { clock } = this.#options;
    return { nowMs: clock.now(), since: clock.timestamp() };
  }
}

/** When nobody acts on it any more if its holder is not heard again: its own clock may be slower than this one. */
export function silentMs({ heardMs, ttlSeconds }: Claim): InstantMs {
  return heardMs + ttlSeconds * 1000 + marginMs(ttlSeconds);
}

function keyOf(name: AgentName, holder: string): string {
  return `${name} ${holder}`;
}
