import type { NodeName, Subject, Token } from '../../model/ids.ts';
import {
  isCommand,
  subjectOfAgent,
  type AgentName,
  type AgentView,
  type CommandProgress,
  type CommandRequest,
  type NameAnswer,
  type NameRequest,
  type NameState,
} from '../../model/named-agents.ts';
import type { OwnerRecord } from '../../model/records.ts';
import { AdminError, type Listing } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { LocalState } from '../../ports/local-state.ts';
import type { Log } from '../../ports/log.ts';
import type { NamedAgents as NamedAgentsPort } from '../../ports/named-agents.ts';
import type { Random } from '../../ports/random.ts';
import type { Entry, Store } from '../../ports/store.ts';
import type { Ledger } from '../ledger.ts';
import { forgetNames, releaseAbandoned } from './forget-names.ts';
import type { Claim } from './name-claim.ts';
import { NameClaims } from './name-claims.ts';
import { NameCommandLines } from './name-command-lines.ts';
import { NameKeys } from './name-keys.ts';
import { NameMachine } from './name-machine.ts';
import { NameMemory } from './name-memory.ts';
import { rememberedClaims } from './name-recovery.ts';
import { NameStates } from './name-states.ts';
import { recordNameTimeouts } from './name-timeouts.ts';
import { NamedCommands, type CommandParts } from './named-commands.ts';
import { knownNames, nameSnapshot } from './named-agents-views.ts';
import { askToRelease, clearMayStillRun } from '../operators-acts.ts';
import type { SessionKeeper } from '../session-keeper.ts';
import type { StaleTokens } from '../stale-tokens.ts';
import type { World } from '../world.ts';

export interface NamedAgentsOptions {
  node: NodeName;
  world: World;
  store: Store;
  state: LocalState;
  keeper: SessionKeeper;
  ledger: Ledger;
  stale: StaleTokens;
  clock: Clock;
  random: Random;
  log: Log;
  epoch: () => Entry<'cluster'> | undefined;
  /** How long a name must still be left alone; `ownDead` = what its last owner did, here, is known to be dead. */
  untilFreeMs: (owner: Entry<'owners'> | undefined, ownDead: boolean) => number;
  /** For how long an owner's session is known to be gone; 0 = it may be there. */
  goneMs: (owner: OwnerRecord) => number;
  /** null = this node runs no commands. */
  commands: CommandParts | null;
}

/**
 * Names that programs own one at a time, over the whole cluster and between two programs of one node (ownership rule 13):
 * what this node is asked about them. A request is a claim here until it is over; what moves claims is the machine.
 */
export class NamedAgents implements NamedAgentsPort {
  readonly #options: NamedAgentsOptions;
  readonly #claims: NameClaims;
  readonly #keys: NameKeys;
  readonly #machine: NameMachine;
  readonly #states: NameStates;
  readonly #commands: NamedCommands | null;
  readonly #lines: NameCommandLines;
  #unlisten: (() => void)[] = [];

  constructor(options: NamedAgentsOptions) {
    const { clock, log, random, keeper, world, commands: parts } = options;
    this.#options = options;
    const claims = (this.#claims = new NameClaims(options));
    const keys = (this.#keys = new NameKeys(options));
    const memory = new NameMemory(options.state, () => rememberedClaims(claims, this.#commands));
    const commands = (this.#commands =
      parts === null
        ? null
        : new NamedCommands({
            ...parts,
            session: () => keeper.current(),
            clock,
            random,
            log,
            save: () => memory.save(),
            onEnded: (command, reason) => this.#machine.commandEnded(command, reason),
          }));
    const machine = (this.#machine = new NameMachine({ ...options, keys, claims, memory, commands }));
    this.#states = new NameStates({ keys, claims, session: () => machine.session() });
    const running = parts && commands ? { running: commands, parts } : null;
    this.#lines = new NameCommandLines({ ...options, claims, machine, commands: running });
    this.#unlisten = [
      world.onChange(['owners', 'sessions', 'waiters'], () => machine.loop.wake()),
      recordNameTimeouts(options),
      keeper.onRenewed(() => void commands?.exclusive.renew()),
    ];
  }

  /** Knows again what the agent before this one had: what runs is looked after before the store is heard. */
  restore(): Promise<void> {
    return this.#machine.restore();
  }

  start(): void {
    this.#machine.loop.start();
  }

  loops(): Record<string, { busyMs(): number }> {
    return { names: this.#machine.loop, ...(this.#commands ? { commands: this.#commands } : {}) };
  }

  /** What runs goes on running; the next agent finds it. */
  async stop(): Promise<void> {
    for (const unlisten of this.#unlisten) unlisten();
    await this.#machine.loop.stop();
    await this.#commands?.stop();
  }

  /** Stops what runs here and releases its names. Those of programs outside are held down for the others: they may go on. */
  async leave(signal: AbortSignal): Promise<void> {
    await this.#machine.leave(signal);
    await this.#options.commands?.guard.disarm();
  }

  /** To be called whenever the node's session was opened or lost. */
  sessionChanged(signal: AbortSignal): Promise<void> {
    return this.#machine.sessionChanged(signal);
  }

  agents(): Listing<AgentView> {
    const { world } = this.#options;
    const items = knownNames(world, this.#claims.all()).map(name => this.#claims.view(name));
    return { revision: String(world.revision()), items };
  }

  agent(name: AgentName): AgentView {
    return this.#claims.view(name);
  }

  snapshot(name: AgentName): Promise<{ revision: string; agent: AgentView }> {
    return nameSnapshot(this.#options.store, name, () => this.#claims.all());
  }

  async ledgerReaches(revision: bigint): Promise<boolean> {
    const { entries } = await this.#options.store.list('events');
    const oldest = entries.reduce<bigint | null>(
      (lowest, { createRevision }) => (lowest === null || createRevision < lowest ? createRevision : lowest),
      null,
    );
    return oldest !== null && oldest <= revision;
  }

  async request(name: AgentName, request: NameRequest, signal: AbortSignal): Promise<NameAnswer> {
    const { clock } = this.#options;
    const { holder, token } = request;
    const session = this.#machine.session();
    const known = this.#claims.get(name, holder);
    if (known?.state === 'Assigned') {
      if (known.ending !== null || (token !== null && token !== known.taken?.token))
        throw this.#claims.lostIt('request', name, holder, token);
      known.heardMs = clock.now();
      known.ttlSeconds = request.ttlSeconds;
      return this.#claims.answer(known);
    }
    if (token !== null) throw this.#claims.lostIt('request', name, holder, token);
    const claim = known ?? this.#claims.open(name, holder, request.ttlSeconds);
    claim.ttlSeconds = request.ttlSeconds;
    claim.heardMs = clock.now();
    if (claim.state === 'Unassigned') {
      claim.move('Requesting', 'asked for', this.#claims.now());
      claim.waits = false;
    }
    claim.waits ||= request.wait;
    claim.listening++;
    try {
      await this.#machine.advance(claim, session);
      if (claim.state === 'Pending' && !claim.waits) {
        const why = this.#machine.whyNot(claim)?.reason ?? `somebody was faster to take ${name}`;
        this.#machine.giveUp(claim, why);
        throw this.#claims.taken(claim);
      }
      await this.#waited(claim, request.waitSeconds, signal);
    } catch (error) {
      // It may have been taken all the same: then nobody waits for it, and it goes back.
      if (stateOf(claim) === 'Pending' && !claim.waits)
        this.#machine.giveUp(claim, 'the store did not answer in time');
      throw error;
    } finally {
      claim.listening--;
      claim.heardMs = clock.now();
      this.#machine.loop.wake();
    }
    if (claim.state === 'Unassigned') throw this.#claims.taken(claim);
    return this.#claims.answer(claim);
  }

  async release(name: AgentName, holder: string, token: Token | null): Promise<void> {
    const claim = this.#claims.get(name, holder);
    if (!claim || claim.state === 'Unassigned') {
      if (token !== null) this.#claims.refused('release', name, holder, token);
      throw new AdminError('not-found', `"${holder}" neither has nor waits for ${name} at this node`);
    }
    if (isCommand(holder)) {
      throw new AdminError(
        'refused',
        `${name} is held by a command that this agent runs; it goes when that ends`,
      );
    }
    if (claim.state === 'Pending') {
      this.#machine.giveUp(claim, 'its holder asked no more for it', 'Release');
      await this.#keys.leave(name, holder, 'Release', 'its holder asked for it no more');
      return;
    }
    if (token !== null && token !== claim.taken?.token)
      throw this.#claims.lostIt('release', name, holder, token);
    await this.#machine.release(claim, 'its holder released it');
  }

  state(name: AgentName): Promise<NameState | null> {
    return this.#states.get(name);
  }

  putState(name: AgentName, write: { holder: string; token: Token; state: unknown }): Promise<NameState> {
    return this.#states.put(name, write);
  }

  run(name: AgentName, request: CommandRequest, signal: AbortSignal): AsyncGenerator<CommandProgress> {
    return this.#lines.run(name, request, signal);
  }

  attach(
    name: AgentName,
    id: string,
    after: string | null,
    signal: AbortSignal,
  ): AsyncGenerator<CommandProgress> {
    return this.#lines.listen(name, id, after, signal);
  }

  stopCommand(name: AgentName, id: string, kill: boolean): void {
    this.#lines.stop(name, id, kill);
  }

  async recall(name: AgentName): Promise<{ owner: NodeName; holder: string; token: Token }> {
    const { world, node } = this.#options;
    const owner = world.owners.get(subjectOfAgent(name));
    const view = this.agent(name);
    if (!owner || view.owner === null || view.holder === null || view.token === null) {
      throw new AdminError('conflict', `nobody owns ${name}: ${view.reason}`, { agent: name });
    }
    const had = { owner: view.owner, holder: view.holder, token: view.token };
    if (view.owner === node) {
      const refusal = this.recallHere(name, 'an operator asked for it');
      if (refusal !== null) throw new AdminError('conflict', refusal);
      return had;
    }
    await askToRelease(this.#options, view.owner, name);
    return had;
  }

  /** Stops what runs here under a name, then releases it. Why not, or null when it is begun. */
  recallHere(name: AgentName, reason: string): string | null {
    return this.#machine.recall(name, reason);
  }

  /** Housekeeping, for the whole cluster: what nobody has asked for in a long time goes in the end. @throws StoreError */
  async forget(signal: AbortSignal): Promise<void> {
    await releaseAbandoned({ ...this.#options, names: this, signal });
    await forgetNames(this.#options);
  }

  clearMayStillRun(subject: Subject, node: NodeName): Promise<void> {
    return clearMayStillRun(this.#options, subject, node);
  }

  async #waited(claim: Claim, seconds: number, signal: AbortSignal): Promise<void> {
    const patience = new AbortController();
    const cancel = this.#options.clock.after(seconds * 1000, () => patience.abort());
    const enough = AbortSignal.any([signal, patience.signal]);
    while (claim.state === 'Pending' && !enough.aborted) await claim.untilChange(enough);
    cancel();
  }
}

/** Read afresh: the compiler would take an earlier look for the present. */
function stateOf(claim: Claim): Claim['state'] {
  return claim.state;
}
