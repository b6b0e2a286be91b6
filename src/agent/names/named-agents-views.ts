import { agentOfSubject, subjectOfAgent, type AgentName, type AgentView } from '../../model/named-agents.ts';
import { tokenOf } from '../../model/records.ts';
import { lineFor } from '../../ownership/queue.ts';
import { standing } from '../../ownership/standing.ts';
import type { Entry, Store } from '../../ports/store.ts';
import type { Claim } from './name-claim.ts';
import type { World } from '../world.ts';

const NOBODY = { node: '', incarnation: '' };

/** What is known of names: from a node's copy of the store, or as of one revision. */
export interface NameFacts {
  owner: Entry<'owners'> | undefined;
  waiters: readonly Entry<'waiters'>[];
  liveIncarnations: ReadonlySet<string>;
  /** Of the node that answers. */
  claims: readonly Claim[];
}

/** As of one revision, from which the ledger's events go on. @throws StoreError */
export async function nameSnapshot(
  store: Store,
  name: AgentName,
  claims: () => readonly Claim[],
): Promise<{ revision: string; agent: AgentView }> {
  const subject = subjectOfAgent(name);
  for (;;) {
    const sessions = await store.list('sessions');
    const owners = await store.list('owners', { prefix: subject });
    const waiters = await store.list('waiters');
    const news = await store.list('events', { after: sessions.revision });
    const moved = news.entries.some(({ value }) => value.subject === subject);
    // Read one after the other, it is one picture only if nothing about the name happened meanwhile.
    if (moved) continue;
    const agent = agentView(name, {
      owner: owners.entries.find(entry => entry.name === subject),
      waiters: waiters.entries,
      liveIncarnations: new Set(sessions.entries.map(entry => entry.name)),
      claims: claims(),
    });
    return { revision: String(news.revision), agent };
  }
}

/** Names that somebody has, had or waits for, in name order. */
export function knownNames(world: World, claims: readonly Claim[]): AgentName[] {
  const owned = world.owners.all().flatMap(({ name }) => agentOfSubject(name) ?? []);
  const waited = world.waiters.all().map(({ value }) => value.agent);
  return [...new Set([...owned, ...waited, ...claims.map(({ name }) => name)])].sort();
}

export function factsOf(world: World, name: AgentName, claims: readonly Claim[]): NameFacts {
  return {
    owner: world.owners.get(subjectOfAgent(name)),
    waiters: world.waiters.all(),
    liveIncarnations: world.liveIncarnations(),
    claims,
  };
}

export function agentView(name: AgentName, facts: NameFacts): AgentView {
  const { owner, claims } = facts;
  const stand = standing(owner, facts.liveIncarnations, NOBODY);
  const assigned = stand.state === 'Assigned' && owner !== undefined;
  return {
    name,
    state: stand.state,
    owner: assigned ? owner.value.node : null,
    holder: assigned ? owner.value.holder : null,
    token: assigned ? tokenOf(owner) : null,
    since: assigned ? (owner.value.since ?? null) : null,
    reason: stand.reason,
    validForMs: null,
    waiters: waitersOf(name, facts.waiters),
    requests: requestsOf(name, claims),
  };
}

/** Of a name that this node has at this moment: without a look at anything but its own memory. */
export function ownView(
  name: AgentName,
  claim: Claim,
  node: string,
  validForMs: number,
  facts: Pick<NameFacts, 'waiters' | 'claims'>,
): AgentView {
  return {
    name,
    state: 'Assigned',
    owner: node,
    holder: claim.holder,
    token: claim.taken?.token ?? null,
    since: claim.taken?.since ?? null,
    reason: 'owned by this node',
    validForMs,
    waiters: waitersOf(name, facts.waiters),
    requests: requestsOf(name, facts.claims),
  };
}

function waitersOf(name: AgentName, waiters: readonly Entry<'waiters'>[]): AgentView['waiters'] {
  return lineFor(name, waiters).map(({ value: { node, holder, since } }) => ({ node, holder, since }));
}

function requestsOf(name: AgentName, claims: readonly Claim[]): AgentView['requests'] {
  return claims.filter(claim => claim.name === name).map(claim => claim.standing());
}
