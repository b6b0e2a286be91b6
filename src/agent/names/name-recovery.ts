import type { NodeName } from '../../model/ids.ts';
import { agentOfSubject, isCommand, subjectOfAgent, type AgentName } from '../../model/named-agents.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import { StoreError, type Session, type Store } from '../../ports/store.ts';
import type { Claim } from './name-claim.ts';
import type { NameClaims } from './name-claims.ts';
import type { NameKeys, TakenName } from './name-keys.ts';
import type { RememberedClaim } from './name-memory.ts';
import { REATTACH_SECONDS, type NamedCommands } from './named-commands.ts';
import type { World } from '../world.ts';

const RETRY_MS = 500;
/** Of a holder that nobody here can tell how long it may be silent: the longest that any may. */
const LONGEST_TTL_SECONDS = 300;

export interface NameRecoveryOptions {
  node: NodeName;
  world: World;
  store: Store;
  keys: NameKeys;
  claims: NameClaims;
  commands: NamedCommands | null;
  clock: Clock;
  log: Log;
  granted: (claim: Claim, taken: TakenName) => void;
  lost: (claim: Claim, reason: string) => void;
}

/** What this node has in the store though its agent does not know it: from the agent before, or by a reply that was lost. */
export class NameRecovery {
  readonly #options: NameRecoveryOptions;

  constructor(options: NameRecoveryOptions) {
    this.#options = options;
  }

  /** What the agent before this one wrote down: what runs is looked after before the store is heard. */
  restore(remembered: RememberedClaim[]): void {
    const { claims, commands, clock } = this.#options;
    for (const { name, holder, ttlSeconds, token, incarnation, since, command } of remembered) {
      const at = claims.now();
      const claim = claims.open(name, holder, ttlSeconds, since);
      if (command) commands?.restore(claim, command);
      if (token === null || incarnation === null) continue;
      claim.move('Requesting', 'asked for before the agent was restarted', at);
      claim.move('Granted', 'had before the agent was restarted', { nowMs: clock.now(), since });
      claim.taken = { token, revision: 0n, incarnation, since };
      claim.lastToken = token;
      if (command?.end) claim.ending = { reason: 'its command has ended', notBeforeMs: 0 };
    }
  }

  /** What a resumed session owns, as the store says; gives up when the session does. */
  async resume(session: Session, signal: AbortSignal): Promise<void> {
    const { keys, clock, log } = this.#options;
    while (session.valid() && !signal.aborted) {
      try {
        this.#takeUp(await keys.owned(session.incarnation));
        return;
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        log.warn('the names this node owns could not be read yet and are asked for again', { error });
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  /**
   * What the store says this session owns though this node does not know it: a claim whose reply was lost, and which could
   * not be looked up either. @throws StoreError
   */
  async discover(session: Session): Promise<void> {
    const { world, node, keys, claims, granted } = this.#options;
    const strange = world.owners.all().filter(({ name, value }) => {
      const agent = agentOfSubject(name);
      if (agent === null || value.node !== node || value.incarnation !== session.incarnation) return false;
      const busy = claims.all().some(claim => claim.name === agent && claim.busy);
      return value.released === null && !busy && !claims.held(agent);
    });
    if (strange.length === 0) return;
    const names = new Set(strange.map(({ name }) => name));
    for (const owned of await keys.owned(session.incarnation)) {
      if (!names.has(subjectOfAgent(owned.name)) || claims.held(owned.name) || !session.valid()) continue;
      const claim = claims.get(owned.name, owned.holder);
      if (claim?.busy === true) continue;
      if (claim?.state === 'Pending') granted(claim, owned);
      else
        await keys.release(
          owned.name,
          owned.holder,
          owned.token,
          session,
          'nobody here waits for it any more',
        );
    }
  }

  /** Own keys in the line that stand for no claim: of an agent before this one, or that could not be taken back. */
  async clearLine(settledMs: number): Promise<void> {
    const { world, node, clock, store, claims } = this.#options;
    for (const { name, value, revision } of world.waiters.all()) {
      if (value.node !== node) continue;
      const claim = claims.get(value.agent, value.holder);
      const recent = settledMs + REATTACH_SECONDS * 1000 > clock.now();
      if (claim?.busy === true || claim?.state === 'Pending' || (recent && claim === undefined)) continue;
      await store.commit([{ kind: 'waiters', name, revision }], [{ delete: 'waiters', name }]);
    }
  }

  #takeUp(owned: (TakenName & { name: AgentName; holder: string })[]): void {
    const { claims, commands, clock, lost } = this.#options;
    for (const { name, holder, ...taken } of owned) {
      const claim = claims.get(name, holder) ?? claims.open(name, holder, LONGEST_TTL_SECONDS);
      claim.heardMs = clock.now();
      if (claim.state === 'Unassigned') {
        claim.move('Requesting', 'asked for before the agent was restarted', claims.now());
        claim.move('Granted', 'had before the agent was restarted', claims.now());
      }
      claim.taken = taken;
      claim.lastToken = taken.token;
      claims.hold(claim);
      const command = commands?.get(claim);
      if (command?.phase === 'ended' || (isCommand(holder) && !command))
        claim.ending ??= { reason: 'its command has ended', notBeforeMs: 0 };
    }
    for (const claim of claims.assigned()) {
      if (claims.held(claim.name) !== claim) lost(claim, 'the store says that it is not owned any more');
    }
  }
}

/** What of its claims a node has to know again. */
export function rememberedClaims(claims: NameClaims, commands: NamedCommands | null): RememberedClaim[] {
  return claims.all().flatMap(claim => {
    const { name, holder, ttlSeconds, taken, since } = claim;
    const command = commands?.get(claim);
    // A command is on file before it is started; one that only waits is asked for again.
    if (command && claim.state !== 'Assigned' && !command.end) return [];
    if (!command && claim.state === 'Unassigned') return [];
    return [
      {
        name,
        holder,
        ttlSeconds,
        token: taken?.token ?? null,
        incarnation: taken?.incarnation ?? null,
        since: taken?.since ?? since,
        command: command
          ? {
              id: command.id,
              unit: command.unit,
              begin: command.begin,
              stopTimeoutSeconds: command.stopTimeoutSeconds,
              end: command.end,
            }
          : null,
      },
    ];
  });
}
