import type { Token } from '../../model/ids.ts';
import type { AgentName, NameState } from '../../model/named-agents.ts';
import type { AgentStateRecord } from '../../model/records.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Entry, Session } from '../../ports/store.ts';
import type { Claim } from './name-claim.ts';
import type { NameClaims } from './name-claims.ts';
import type { NameKeys } from './name-keys.ts';

export interface NameStatesOptions {
  keys: NameKeys;
  claims: NameClaims;
  /** @throws AdminError when nothing can be owned through this node */
  session: () => Session;
}

/** The last known states of names: read by anybody, written by who has the name under its token (ownership rule 4). */
export class NameStates {
  readonly #options: NameStatesOptions;

  constructor(options: NameStatesOptions) {
    this.#options = options;
  }

  /** From memory where this node has the name, since then nobody else writes it. @throws StoreError */
  async get(name: AgentName): Promise<NameState | null> {
    const { keys, claims } = this.#options;
    const claim = claims.held(name);
    if (!claim || claims.validForMs(claim) <= 0) {
      const entry = await keys.state(name);
      return entry ? stateView(entry) : null;
    }
    const kept = claim.kept === undefined ? await claim.inTurn(() => this.#kept(claim)) : claim.kept;
    return kept ? stateView(kept) : null;
  }

  /** @throws AdminError when the holder does not have it under that token, StoreError */
  async put(
    name: AgentName,
    { holder, token, state }: { holder: string; token: Token; state: unknown },
  ): Promise<NameState> {
    const { claims } = this.#options;
    const claim = claims.get(name, holder);
    if (!claim) throw claims.lostIt('state', name, holder, token);
    return claim.inTurn(() => this.#put(claim, token, state));
  }

  /**
   * Read once: from then on only this claim writes it. Not while a write that nobody answered for may still come in, which
   * others would see before this node does. @throws StoreError
   */
  async #kept(claim: Claim): Promise<Entry<'agents'> | null> {
    const { keys, claims } = this.#options;
    const { taken } = claim;
    if (claim.kept !== undefined && claims.validForMs(claim) > 0) return claim.kept;
    const read = await keys.state(claim.name);
    if (taken !== null && claim.taken === taken && claim.unansweredAfter !== revisionOf(read))
      claim.kept = read;
    return read;
  }

  async #put(claim: Claim, token: Token, state: unknown): Promise<NameState> {
    const { keys, claims } = this.#options;
    const { name, holder } = claim;
    for (;;) {
      const session = this.#options.session();
      const { taken, ending } = claim;
      if (taken?.token !== token || ending !== null || taken.incarnation !== session.incarnation)
        throw claims.lostIt('state', name, holder, token);
      const remembered = claim.kept !== undefined;
      const before = await this.#kept(claim);
      const mayChange = remembered || claim.unansweredAfter === revisionOf(before);
      // From when it is sent others may see it: nothing is answered from memory until it is known whether it is there.
      claim.kept = undefined;
      try {
        const written = await keys.writeState(name, holder, taken, session, state, before);
        if (claim.taken === taken) claim.kept = keptEntry(name, written, before);
        return stateView({ ...written, name });
      } catch (error) {
        if (!(error instanceof AdminError)) {
          if (claim.taken === taken) claim.unansweredAfter = revisionOf(before);
          throw error;
        }
        // A write whose reply was lost may have come in after it was looked for.
        if (mayChange) continue;
        claims.refused('state', name, holder, token);
        throw error;
      }
    }
  }
}

function revisionOf(entry: Entry<'agents'> | null): bigint {
  return entry?.revision ?? 0n;
}

function stateView({
  name,
  value,
  revision,
}: {
  name: string;
  value: AgentStateRecord;
  revision: bigint;
}): NameState {
  const { state, token, node, holder, at } = value;
  return { name, state, token, node, holder, at, revision: String(revision) };
}

function keptEntry(
  name: AgentName,
  { value, revision }: { value: AgentStateRecord; revision: bigint },
  before: Entry<'agents'> | null,
): Entry<'agents'> {
  return {
    kind: 'agents',
    name,
    value,
    revision,
    createRevision: before?.createRevision ?? revision,
    lease: null,
  };
}
