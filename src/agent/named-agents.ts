import { marginMs } from '../model/deadline.ts';
import type { NodeName, Subject, Token } from '../model/ids.ts';
import {
  agentOfSubject,
  holderOfCommand,
  isCommand,
  subjectOfAgent,
  type AgentName,
  type AgentView,
  type CommandProgress,
  type CommandRequest,
  type NameAnswer,
  type NameRequest,
  type NameState,
} from '../model/named-agents.ts';
import type { AgentStateRecord } from '../model/records.ts';
import { rendezvousOrder } from '../model/rendezvous.ts';
import { notAdmitted } from '../ownership/admission.ts';
import { lineFor, placeInLine } from '../ownership/queue.ts';
import { AdminError, type Listing } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { LocalState } from '../ports/local-state.ts';
import type { Log } from '../ports/log.ts';
import type { NamedAgents as NamedAgentsPort } from '../ports/named-agents.ts';
import type { Random } from '../ports/random.ts';
import { StoreError, type Entry, type Session, type Store } from '../ports/store.ts';
import type { Ledger } from './ledger.ts';
import { Loop } from './loop.ts';
import { Claim, claimKey } from './name-claim.ts';
import { moved, NameKeys, type TakenName } from './name-keys.ts';
import { NameMemory, type RememberedClaim } from './name-memory.ts';
import { commandProgress } from './named-command-stream.ts';
import { NamedCommands, REATTACH_SECONDS, type CommandParts, type NamedCommand } from './named-commands.ts';
import { agentView, factsOf, knownNames, ownView } from './named-agents-views.ts';
import { askToRelease, clearMayStillRun } from './operators-acts.ts';
import type { SessionKeeper } from './session-keeper.ts';
import type { World } from './world.ts';

const RETRY_MS = 500;
/** How soon it is looked again whether a transaction under way is over. */
const BUSY_MS = 20;
/** How long the place in line of a command is kept whose command line is gone. */
const WAITER_REATTACH_SECONDS = 2;
/** How long it is known here how a request ended. */
const ENDED_KEPT_MS = 300_000;
const MOST_ENDED_KEPT = 1000;
/** Of a holder that nobody here can tell how long it may be silent: the longest that any may. */
const LONGEST_TTL_SECONDS = 300;

export interface NamedAgentsOptions {
  node: NodeName;
  ttlSeconds: number;
  world: World;
  store: Store;
  state: LocalState;
  keeper: SessionKeeper;
  ledger: Ledger;
  clock: Clock;
  random: Random;
  log: Log;
  epoch: () => Entry<'cluster'> | undefined;
  /** How long a name must still be left alone; `ownDead` = what its last owner did, here, is known to be dead. */
  untilFreeMs: (owner: Entry<'owners'> | undefined, ownDead: boolean) => number;
  /** null = this node runs no commands. */
  commands: CommandParts | null;
}

/**
 * Names that programs own one at a time, over the whole cluster and between two programs of one node (ownership rule 13). A
 * request is a claim here until it is over; only who first is in line tries, in a transaction that looks at everything
 * again. It is one file because it is one machine: what moves a claim is all here.
 */
export class NamedAgents implements NamedAgentsPort {
  readonly #options: NamedAgentsOptions;
  readonly #keys: NameKeys;
  readonly #memory: NameMemory;
  readonly #commands: NamedCommands | null;
  readonly #claims = new Map<string, Claim>();
  /** By name, what this node has: at most one claim each. */
  readonly #held = new Map<AgentName, Claim>();
  readonly #loop: Loop;
  /** Whether it is known what of the names of the agent before this one is still its own. */
  #settled = false;
  #restored = false;
  #settledMs = 0;
  #leaving = false;
  #unlisten: (() => void)[] = [];

  constructor(options: NamedAgentsOptions) {
    const { clock, log, random, keeper, world } = options;
    this.#options = options;
    this.#keys = new NameKeys(options);
    this.#memory = new NameMemory(options.state, () => this.#remembered());
    this.#commands =
      options.commands === null
        ? null
        : new NamedCommands({
            ...options.commands,
            session: () => keeper.current(),
            clock,
            random,
            log,
            save: () => this.#memory.save(),
            onEnded: (command, reason) => this.#commandEnded(command, reason),
          });
    this.#loop = new Loop({
      name: 'names',
      clock,
      log,
      everyMs: 5000,
      round: signal => this.#round(signal),
    });
    this.#unlisten = [
      world.onChange(['owners', 'sessions', 'waiters'], () => this.#loop.wake()),
      world.sessions.onChange(changes => {
        for (const { before, after } of changes) if (before && !after) this.#tellTimeouts(before);
      }),
      keeper.onRenewed(() => void this.#commands?.exclusive.renew()),
    ];
  }

  /** Knows again what the agent before this one had: what runs is looked after before the store is heard. */
  async restore(): Promise<void> {
    const { clock } = this.#options;
    for (const remembered of await this.#memory.read()) {
      const at = this.#now();
      const { name, holder, ttlSeconds, token, incarnation, since, command } = remembered;
      const claim = new Claim(name, holder, ttlSeconds, { ...at, since });
      this.#claims.set(claimKey(name, holder), claim);
      if (command) this.#commands?.restore(claim, command);
      if (token === null || incarnation === null) continue;
      claim.move('Requesting', 'asked for before the agent was restarted', at);
      claim.move('Granted', 'had before the agent was restarted', { nowMs: clock.now(), since });
      claim.taken = { token, revision: 0n, incarnation, since };
      claim.lastToken = token;
      if (command?.end) claim.ending = { reason: 'its command has ended', notBeforeMs: 0 };
    }
    this.#restored = true;
    this.#commands?.start();
  }

  start(): void {
    this.#loop.start();
  }

  loops(): Record<string, { busyMs(): number }> {
    return { names: this.#loop, ...(this.#commands ? { commands: this.#commands } : {}) };
  }

  /** What runs goes on running; the next agent finds it. */
  async stop(): Promise<void> {
    for (const unlisten of this.#unlisten) unlisten();
    await this.#loop.stop();
    await this.#commands?.stop();
  }

  /** Stops what runs here and releases its names. Those of programs outside are held down for the others: they may go on. */
  async leave(signal: AbortSignal): Promise<void> {
    this.#leaving = true;
    const unfinished = (): boolean =>
      (this.#commands?.all() ?? []).some(({ phase, claim }) => {
        const lives = phase === 'starting' || phase === 'running' || phase === 'stopping';
        // What the store can't be told any more ends with the session.
        return lives || (claim.state === 'Assigned' && this.#options.keeper.current() !== null);
      });
    for (const command of this.#commands?.all() ?? [])
      this.#commands?.end(command, 'this node is leaving', false);
    while (!signal.aborted && unfinished()) {
      this.#commands?.wake();
      this.#loop.wake();
      await this.#options.clock.sleep(50, signal);
    }
    await this.#options.commands?.guard.disarm();
  }

  /** To be called whenever the node's session was opened or lost. */
  async sessionChanged(signal: AbortSignal): Promise<void> {
    const { keeper } = this.#options;
    const session = keeper.current();
    if (keeper.state === 'ConnectionLost') {
      const reason = `the session of this node is lost: ${keeper.lostReason ?? 'for an unknown reason'}`;
      this.#commands?.exclusive.lose(reason);
      for (const claim of this.#assigned()) this.#lost(claim, reason);
    } else if (session) {
      if (session.resumed && !this.#settled) await this.#resume(session, signal);
      for (const claim of this.#assigned()) {
        if (claim.taken?.incarnation !== session.incarnation)
          this.#lost(claim, 'the session it was taken under is gone');
      }
      if (!this.#settled) this.#settledMs = this.#options.clock.now();
      this.#settled = true;
      this.#commands?.exclusive.settle();
      await this.#commands?.exclusive.renew();
    }
    this.#loop.wake();
  }

  agents(): Listing<AgentView> {
    const { world } = this.#options;
    const claims = [...this.#claims.values()];
    const items = knownNames(world, claims).map(name => this.agent(name));
    return { revision: String(world.revision()), items };
  }

  agent(name: AgentName): AgentView {
    const { world, node } = this.#options;
    const claims = [...this.#claims.values()];
    const claim = this.#held.get(name);
    const validForMs = claim ? this.#validForMs(claim) : 0;
    return claim && validForMs > 0
      ? ownView(name, claim, node, validForMs, { waiters: world.waiters.all(), claims })
      : agentView(name, factsOf(world, name, claims));
  }

  async snapshot(name: AgentName): Promise<{ revision: string; agent: AgentView }> {
    const { store } = this.#options;
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
        claims: [...this.#claims.values()],
      });
      return { revision: String(news.revision), agent };
    }
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
    const session = this.#session();
    const known = this.#claims.get(claimKey(name, holder));
    if (known?.state === 'Assigned') {
      if (known.ending !== null || (token !== null && token !== known.taken?.token))
        throw this.#lostIt(name, token);
      known.heardMs = clock.now();
      known.ttlSeconds = request.ttlSeconds;
      return this.#answer(known);
    }
    if (token !== null) throw this.#lostIt(name, token);
    const claim = known ?? this.#open(name, holder, request.ttlSeconds);
    claim.ttlSeconds = request.ttlSeconds;
    claim.heardMs = clock.now();
    if (claim.state === 'Unassigned') {
      claim.move('Requesting', 'asked for', this.#now());
      claim.waits = false;
    }
    claim.waits ||= request.wait;
    claim.listening++;
    try {
      await this.#advance(claim, session);
      if (claim.state === 'Pending' && !claim.waits) {
        this.#giveUp(claim, this.#whyNot(claim)?.reason ?? `somebody was faster to take ${name}`);
        throw this.#taken(claim);
      }
      await this.#waited(claim, request.waitSeconds, signal);
    } catch (error) {
      // It may have been taken all the same: then nobody waits for it, and it goes back.
      if (stateOf(claim) === 'Pending' && !claim.waits)
        this.#giveUp(claim, 'the store did not answer in time');
      throw error;
    } finally {
      claim.listening--;
      claim.heardMs = clock.now();
      this.#loop.wake();
    }
    if (claim.state === 'Unassigned') throw this.#taken(claim);
    return this.#answer(claim);
  }

  async release(name: AgentName, holder: string, token: Token | null): Promise<void> {
    const claim = this.#claims.get(claimKey(name, holder));
    if (!claim || claim.state === 'Unassigned') {
      throw new AdminError('not-found', `"${holder}" neither has nor waits for ${name} at this node`);
    }
    if (isCommand(holder)) {
      throw new AdminError(
        'refused',
        `${name} is held by a command that this agent runs; it goes when that ends`,
      );
    }
    if (claim.state === 'Pending') {
      claim.move('Release', 'its holder asked no more for it', this.#now());
      await this.#keys.leave(name, holder, 'Release', 'its holder asked for it no more');
      return;
    }
    if (token !== null && token !== claim.taken?.token) throw this.#lostIt(name, token);
    claim.ending = { reason: 'its holder released it', notBeforeMs: 0 };
    const { taken } = claim;
    try {
      while (claim.taken === taken) {
        await this.#endNow(claim);
        if (claim.taken === taken) await this.#options.clock.sleep(BUSY_MS);
      }
    } finally {
      // What could not be told the store now is tried again.
      this.#loop.wake();
    }
  }

  async state(name: AgentName): Promise<NameState | null> {
    const claim = this.#held.get(name);
    if (claim && this.#validForMs(claim) > 0) {
      const kept = claim.kept === undefined ? await claim.inTurn(() => this.#keptState(claim)) : claim.kept;
      return kept ? stateView(kept) : null;
    }
    const entry = await this.#keys.state(name);
    return entry ? stateView(entry) : null;
  }

  async putState(
    name: AgentName,
    { holder, token, state }: { holder: string; token: Token; state: unknown },
  ): Promise<NameState> {
    const claim = this.#claims.get(claimKey(name, holder));
    if (!claim) throw this.#lostIt(name, token);
    return claim.inTurn(() => this.#putState(claim, token, state));
  }

  async *run(name: AgentName, request: CommandRequest, signal: AbortSignal): AsyncGenerator<CommandProgress> {
    const holder = holderOfCommand(request.id);
    const known = this.#claims.get(claimKey(name, holder));
    if (!known || (known.state === 'Unassigned' && this.#commands?.get(known)?.unit === null)) {
      const session = this.#session();
      const commands = this.#ableTo(request.stopTimeoutSeconds, session);
      const claim = this.#open(name, holder, WAITER_REATTACH_SECONDS);
      claim.waits = request.wait;
      if (request.timeoutSeconds !== null)
        claim.waitUntilMs = this.#options.clock.now() + request.timeoutSeconds * 1000;
      commands.add(claim, request);
      claim.move('Requesting', 'asked for', this.#now());
      claim.listening++;
      try {
        await this.#advance(claim, session);
        if (claim.state === 'Pending' && !request.wait) {
          this.#giveUp(claim, this.#whyNot(claim)?.reason ?? `somebody was faster to take ${name}`);
          throw this.#taken(claim);
        }
      } catch (error) {
        if (stateOf(claim) === 'Pending') this.#giveUp(claim, 'the store did not answer in time');
        throw error;
      } finally {
        this.#heardLess(claim);
      }
    }
    yield* this.#listen(name, request.id, null, signal);
  }

  async *attach(
    name: AgentName,
    id: string,
    after: string | null,
    signal: AbortSignal,
  ): AsyncGenerator<CommandProgress> {
    yield* this.#listen(name, id, after, signal);
  }

  stopCommand(name: AgentName, id: string, kill: boolean): void {
    const command = this.#command(name, id);
    const { claim } = command;
    if (claim.state === 'Pending') {
      this.#giveUp(claim, 'its command line waited no more', 'Release');
      void this.#leaveLine(claim, 'Release');
      return;
    }
    this.#commands?.end(
      command,
      kill ? 'its command line wants it dead' : 'its command line asked it to end',
      kill,
    );
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
    const claim = this.#held.get(name);
    if (!claim || claim.ending !== null) return `${this.#options.node} does not own ${name} any more`;
    const command = this.#commands?.get(claim);
    if (command) this.#commands?.end(command, reason, false);
    // It can't be stopped from here: it is told at its next request, and at the latest when its time is over.
    else claim.ending = { reason, notBeforeMs: this.#silentMs(claim) };
    claim.changed();
    this.#loop.wake();
    return null;
  }

  clearMayStillRun(subject: Subject, node: NodeName): Promise<void> {
    return clearMayStillRun(this.#options, subject, node);
  }

  /** The last state, read once: from then on only this claim writes it. @throws StoreError */
  async #keptState(claim: Claim): Promise<Entry<'agents'> | null> {
    const { taken } = claim;
    if (claim.kept !== undefined) return claim.kept;
    const read = await this.#keys.state(claim.name);
    if (taken !== null && claim.taken === taken) claim.kept = read;
    return read;
  }

  async #putState(claim: Claim, token: Token, state: unknown): Promise<NameState> {
    const { name, holder } = claim;
    for (;;) {
      const session = this.#session();
      const { taken, ending } = claim;
      if (taken?.token !== token || ending !== null || taken.incarnation !== session.incarnation)
        throw this.#lostIt(name, token);
      const remembered = claim.kept !== undefined;
      const before = await this.#keptState(claim);
      try {
        const written = await this.#keys.writeState(name, holder, taken, session, state, before);
        if (claim.taken === taken) claim.kept = keptEntry(name, written, before);
        return stateView({ ...written, name });
      } catch (error) {
        claim.kept = undefined;
        // A write whose reply was lost may have come in after it was looked for.
        if (!(error instanceof AdminError) || !remembered) throw error;
      }
    }
  }

  async #round(signal: AbortSignal): Promise<number | null> {
    const { keeper, world, log } = this.#options;
    this.#forgetEnded();
    const wakes = [this.#expire()];
    if (!this.#settled) return Math.min(...wakes);
    const work = this.#assigned()
      .filter(({ ending }) => ending !== null && ending.notBeforeMs <= this.#options.clock.now())
      .map(claim => this.#endNow(claim));
    const session = keeper.current();
    if (session && world.synced()) {
      work.push(this.#discover(session), this.#clearLine());
      for (const claim of this.#pending()) work.push(this.#advance(claim, session));
    }
    for (const { reason } of (await Promise.allSettled(work)).filter(
      result => result.status === 'rejected',
    )) {
      if (signal.aborted) return null;
      log.warn('something about a named agent could not be done and is tried again', {
        error: reason as unknown,
      });
      wakes.push(RETRY_MS);
    }
    for (const claim of this.#pending()) {
      claim.changed();
      const waitMs = this.#whyNot(claim)?.forMs ?? RETRY_MS;
      wakes.push(waitMs);
    }
    const inMs = Math.min(...wakes);
    return inMs === Infinity ? null : inMs;
  }

  /** What has been waited for long enough, or not been heard of. Gives how long until the next. */
  #expire(): number {
    const nowMs = this.#options.clock.now();
    let nextMs = Infinity;
    for (const claim of this.#pending()) {
      const unheardMs = claim.listening > 0 ? Infinity : claim.heardMs + claim.ttlSeconds * 1000;
      const untilMs = Math.min(claim.waitUntilMs, unheardMs);
      if (untilMs > nowMs) {
        nextMs = Math.min(nextMs, untilMs - nowMs);
        continue;
      }
      const reason =
        unheardMs <= nowMs
          ? `its requester was not heard for ${claim.ttlSeconds} s`
          : `it was waited for in vain: ${this.#whyNot(claim)?.reason ?? 'others were faster'}`;
      this.#giveUp(claim, reason);
      void this.#leaveLine(claim, 'RequestTimedOut');
    }
    for (const claim of this.#assigned()) {
      if (isCommand(claim.holder)) continue;
      claim.ending ??=
        claim.listening === 0 && this.#silentMs(claim) <= nowMs
          ? { reason: `its holder was not heard for ${claim.ttlSeconds} s`, notBeforeMs: nowMs }
          : null;
      const dueInMs = (claim.ending?.notBeforeMs ?? this.#silentMs(claim)) - nowMs;
      // What is due already is tried in this round, and again when that failed.
      nextMs = Math.min(nextMs, dueInMs > 0 ? dueInMs : RETRY_MS);
    }
    return nextMs;
  }

  /** When nobody acts on it any more if its holder is not heard again: its own clock may be slower than this one. */
  #silentMs({ heardMs, ttlSeconds }: Claim): number {
    return heardMs + ttlSeconds * 1000 + marginMs(ttlSeconds);
  }

  /** One step of what waits: into the line, or to the front of it and through. @throws StoreError */
  async #advance(claim: Claim, session: Session): Promise<void> {
    if (claim.busy || claim.state !== 'Pending' || this.#leaving || !this.#settled) return;
    // Nobody is there to run it: its place in line is kept for a moment, and no more.
    if (isCommand(claim.holder) && claim.listening === 0) return;
    claim.busy = true;
    try {
      const { name, holder, waiter } = claim;
      const known = await this.#ownerNow(name, session);
      if (this.#whyNot(claim, known) === null) {
        // Written down first: what is had, the next agent must know.
        await this.#memory.save();
        const inLine = waiter?.lease === session.lease ? waiter.name : null;
        const taken = await this.#keys.acquire(name, holder, session, known, inLine);
        if (taken) this.#granted(claim, taken);
        // Perhaps its place in line is gone: it stands in line again, where a place that is still there is kept.
        else claim.waiter = null;
      } else if (claim.waits && waiter?.lease !== session.lease) {
        const put = await this.#keys.enqueue(name, holder, claim.since, session);
        if (put !== null) claim.waiter = { name: put, lease: session.lease };
        if (put !== null && stateOf(claim) !== 'Pending')
          await this.#keys.leave(name, holder, 'Release', claim.reason);
      }
    } finally {
      claim.busy = false;
    }
  }

  /** What this node has just released its copy of the store may still show as its own. @throws StoreError */
  async #ownerNow(name: AgentName, { incarnation }: Session): Promise<Entry<'owners'> | undefined> {
    const { world, node, store } = this.#options;
    const known = world.owners.get(subjectOfAgent(name));
    const shownAsOwn =
      known?.value.node === node && known.value.incarnation === incarnation && known.value.released === null;
    if (!shownAsOwn || this.#held.has(name)) return known;
    return (await store.get('owners', subjectOfAgent(name))) ?? undefined;
  }

  /** Why a claim may not be tried at this moment, in words, and when that may be over by itself; null = it may. */
  #whyNot(
    claim: Claim,
    owner = this.#options.world.owners.get(subjectOfAgent(claim.name)),
  ): { reason: string; forMs: number } | null {
    const { world, node, keeper, untilFreeMs } = this.#options;
    const { name } = claim;
    const holding = this.#held.get(name);
    if (holding)
      return { reason: heldBy(name, holding.holder, node, holding.taken?.since ?? ''), forMs: Infinity };
    const unreleased = owner?.value.released === null ? owner.value : null;
    if (unreleased && world.sessions.get(`${unreleased.node}/${unreleased.incarnation}`)) {
      const { holder, since = '' } = unreleased;
      return { reason: heldBy(name, holder, unreleased.node, since), forMs: Infinity };
    }
    if (this.#commands?.liveOf(name) === true)
      return { reason: `its last command on ${node} is not seen dead yet`, forMs: RETRY_MS };
    const ownDead =
      unreleased?.node === node && keeper.wasOwn(unreleased.incarnation) && isCommand(unreleased.holder);
    const forMs = untilFreeMs(owner, ownDead);
    if (forMs > 0) {
      const last = unreleased
        ? `the session of ${unreleased.node}, which had it, is gone`
        : 'etcd was restored';
      return { reason: `${last}: it is free in ${(forMs / 1000).toFixed(1)} s`, forMs };
    }
    const line = lineFor(name, world.waiters.all());
    const ahead = placeInLine(line, claim.waiter?.name ?? null);
    const [first] = line;
    return ahead > 0 && first
      ? { reason: `${first.value.holder} on ${first.value.node} is first in line for it`, forMs: Infinity }
      : null;
  }

  #granted(claim: Claim, taken: TakenName): void {
    // Had though nobody wants it any more: it is discovered, and goes back.
    if (claim.state !== 'Pending') return;
    claim.move('Granted', 'it was free, and nobody was before it', this.#now());
    claim.taken = taken;
    claim.lastToken = taken.token;
    this.#held.set(claim.name, claim);
    void this.#memory.save().catch((error: unknown) => {
      this.#options.log.error('it could not be written down who has a named agent', {
        agent: claim.name,
        error,
      });
    });
    void this.#commands?.exclusive.renew();
    this.#commands?.wake();
  }

  /** Releases in the store what is over here. @throws StoreError */
  async #endNow(claim: Claim): Promise<void> {
    const { taken, ending } = claim;
    if (taken === null || ending === null || claim.busy) return;
    claim.busy = true;
    try {
      await this.#keys.release(claim.name, claim.holder, taken.token, ending.reason);
    } finally {
      claim.busy = false;
    }
    if (claim.taken !== taken) return;
    const command = this.#commands?.get(claim);
    if (command?.end) command.end = { ...command.end, released: true };
    this.#drop(claim);
    claim.move('Release', ending.reason, this.#now());
    await this.#memory.save();
    this.#loop.wake();
  }

  /**
   * What the store says this session owns though this node does not know it: a claim whose reply was lost, and which could
   * not be looked up either. @throws StoreError
   */
  async #discover(session: Session): Promise<void> {
    const { world, node } = this.#options;
    const strange = world.owners.all().filter(({ name, value }) => {
      const agent = agentOfSubject(name);
      if (agent === null || value.node !== node || value.incarnation !== session.incarnation) return false;
      const busy = [...this.#claims.values()].some(claim => claim.name === agent && claim.busy);
      return value.released === null && !busy && !this.#held.has(agent);
    });
    if (strange.length === 0) return;
    const names = new Set(strange.map(({ name }) => name));
    for (const owned of await this.#keys.owned(session.incarnation)) {
      if (!names.has(subjectOfAgent(owned.name)) || this.#held.has(owned.name) || !session.valid()) continue;
      const claim = this.#claims.get(claimKey(owned.name, owned.holder));
      if (claim?.busy === true) continue;
      if (claim?.state === 'Pending') this.#granted(claim, owned);
      else
        await this.#keys.release(owned.name, owned.holder, owned.token, 'nobody here waits for it any more');
    }
  }

  /** Own keys in the line that stand for no claim: of an agent before this one, or that could not be taken back. */
  async #clearLine(): Promise<void> {
    const { world, node, clock, store } = this.#options;
    for (const { name, value, revision } of world.waiters.all()) {
      if (value.node !== node) continue;
      const claim = this.#claims.get(claimKey(value.agent, value.holder));
      const recent = this.#settledMs + REATTACH_SECONDS * 1000 > clock.now();
      if (claim?.busy === true || claim?.state === 'Pending' || (recent && claim === undefined)) continue;
      await store.commit([{ kind: 'waiters', name, revision }], [{ delete: 'waiters', name }]);
    }
  }

  /** What a resumed session owns, as the store says; gives up when the session does. */
  async #resume(session: Session, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#options;
    while (session.valid() && !signal.aborted) {
      try {
        this.#takeUp(await this.#keys.owned(session.incarnation));
        return;
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        log.warn('the names this node owns could not be read yet and are asked for again', { error });
        await clock.sleep(RETRY_MS, signal);
      }
    }
  }

  #takeUp(owned: (TakenName & { name: AgentName; holder: string })[]): void {
    for (const { name, holder, ...taken } of owned) {
      const known = this.#claims.get(claimKey(name, holder));
      const claim = known ?? this.#open(name, holder, LONGEST_TTL_SECONDS);
      claim.heardMs = this.#options.clock.now();
      if (claim.state === 'Unassigned') {
        claim.move('Requesting', 'asked for before the agent was restarted', this.#now());
        claim.move('Granted', 'had before the agent was restarted', this.#now());
      }
      claim.taken = taken;
      claim.lastToken = taken.token;
      this.#held.set(name, claim);
      const command = this.#commands?.get(claim);
      if (command?.phase === 'ended' || (isCommand(holder) && !command))
        claim.ending ??= { reason: 'its command has ended', notBeforeMs: 0 };
    }
    for (const claim of this.#assigned()) {
      if (this.#held.get(claim.name) !== claim)
        this.#lost(claim, 'the store says that it is not owned any more');
    }
  }

  #commandEnded({ claim }: NamedCommand, reason: string): void {
    if (claim.state === 'Assigned') claim.ending ??= { reason, notBeforeMs: 0 };
    this.#loop.wake();
  }

  #lost(claim: Claim, reason: string): void {
    const { ledger, node } = this.#options;
    const command = this.#commands?.get(claim);
    if (command) this.#commands?.end(command, reason, false);
    this.#drop(claim);
    claim.move('Lost', reason, this.#now());
    ledger.note({
      kind: 'agent-lost',
      subject: subjectOfAgent(claim.name),
      message: `${claim.holder} on ${node} has lost ${claim.name}: ${reason}`,
      details: {
        holder: claim.holder,
        fencingToken: claim.lastToken,
        request: moved('request', 'Assigned', 'Lost'),
      },
    });
  }

  #giveUp(claim: Claim, reason: string, event: 'RequestTimedOut' | 'Release' = 'RequestTimedOut'): void {
    claim.move(event, reason, this.#now());
  }

  /** It has left the line in this node's mind already; what can't be told now goes with the next round. */
  async #leaveLine(claim: Claim, event: 'RequestTimedOut' | 'Release'): Promise<void> {
    try {
      await this.#keys.leave(claim.name, claim.holder, event, claim.reason);
    } catch (error) {
      this.#options.log.warn('a place in line could not be given up and will be', {
        agent: claim.name,
        error,
      });
    }
    this.#loop.wake();
  }

  async *#listen(
    name: AgentName,
    id: string,
    after: string | null,
    signal: AbortSignal,
  ): AsyncGenerator<CommandProgress> {
    const { node, clock, commands, world } = this.#options;
    const command = this.#command(name, id);
    if (!commands) throw new Error('a command without a driver');
    const { claim } = command;
    claim.listening++;
    try {
      const standing = (): { ahead: number; reason: string } => ({
        ahead: placeInLine(lineFor(name, world.waiters.all()), claim.waiter?.name ?? null),
        reason: this.#whyNot(claim)?.reason ?? 'it is being taken',
      });
      yield* commandProgress(command, after, { node, driver: commands.driver, clock, standing }, signal);
    } finally {
      this.#heardLess(claim);
      command.aloneSinceMs = clock.now();
      this.#commands?.wake();
    }
  }

  #heardLess(claim: Claim): void {
    claim.listening--;
    claim.heardMs = this.#options.clock.now();
    this.#loop.wake();
  }

  #command(name: AgentName, id: string): NamedCommand {
    if (!this.#restored) throw new AdminError('unavailable', 'the agent is just starting');
    const claim = this.#claims.get(claimKey(name, holderOfCommand(id)));
    const command = claim ? this.#commands?.get(claim) : undefined;
    if (!command) throw new AdminError('not-found', `no command "${id}" is known under ${name} here`);
    return command;
  }

  #ableTo(stopTimeoutSeconds: number, session: Session): NamedCommands {
    const { commands } = this.#options;
    if (!commands || !this.#commands)
      throw new AdminError('refused', 'this node runs no commands for named agents');
    const reason = commands.guardMissing ?? notAdmitted(session.ttlSeconds, stopTimeoutSeconds);
    if (reason !== null) throw new AdminError('invalid', reason);
    return this.#commands;
  }

  #session(): Session {
    const { keeper, node } = this.#options;
    const session = keeper.current();
    if (this.#leaving) throw new AdminError('unavailable', `${node} is leaving the cluster`);
    if (session && this.#settled) return session;
    throw new AdminError(
      'unavailable',
      `${node} has no session at this moment: nothing can be owned through it`,
    );
  }

  #open(name: AgentName, holder: string, ttlSeconds: number): Claim {
    const claim = new Claim(name, holder, ttlSeconds, this.#now());
    this.#claims.set(claimKey(name, holder), claim);
    return claim;
  }

  #drop(claim: Claim): void {
    if (this.#held.get(claim.name) === claim) this.#held.delete(claim.name);
  }

  async #waited(claim: Claim, seconds: number, signal: AbortSignal): Promise<void> {
    const patience = new AbortController();
    const cancel = this.#options.clock.after(seconds * 1000, () => patience.abort());
    const enough = AbortSignal.any([signal, patience.signal]);
    while (claim.state === 'Pending' && !enough.aborted) await claim.untilChange(enough);
    cancel();
  }

  #answer(claim: Claim): NameAnswer {
    const { node, world } = this.#options;
    const { name, taken } = claim;
    const validForMs = this.#validForMs(claim);
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

  /** 0 = it is not to be acted on. */
  #validForMs(claim: Claim): number {
    const session = this.#options.keeper.current();
    const { taken, ending, heardMs, ttlSeconds, holder } = claim;
    if (!session || taken?.incarnation !== session.incarnation || ending !== null) return 0;
    const untilMs = isCommand(holder)
      ? session.deadlineMs()
      : Math.min(session.deadlineMs(), heardMs + ttlSeconds * 1000);
    return Math.max(0, untilMs - this.#options.clock.now());
  }

  #taken(claim: Claim): AdminError {
    const { owner, holder, token, since } = this.agent(claim.name);
    return new AdminError('conflict', claim.reason, { agent: claim.name, owner, holder, token, since });
  }

  #lostIt(name: AgentName, token: Token | null): AdminError {
    return new AdminError(
      'conflict',
      `${name} is not held under token ${token ?? 'none'} any more: do nothing with it`,
      {
        agent: name,
        token,
      },
    );
  }

  #assigned(): Claim[] {
    return [...this.#claims.values()].filter(({ state }) => state === 'Assigned');
  }

  #pending(): Claim[] {
    return [...this.#claims.values()].filter(({ state }) => state === 'Pending');
  }

  #forgetEnded(): void {
    const nowMs = this.#options.clock.now();
    const ended = [...this.#claims].filter(
      ([, claim]) => claim.state === 'Unassigned' && claim.listening === 0,
    );
    const surplus = ended.length - MOST_ENDED_KEPT;
    for (const [index, [key, claim]] of ended.entries()) {
      const command = this.#commands?.get(claim);
      if (command && command.phase !== 'ended' && command.phase !== 'waiting') continue;
      if (index >= surplus && claim.changedMs + ENDED_KEPT_MS > nowMs) continue;
      this.#claims.delete(key);
      this.#commands?.forget(claim);
    }
  }

  #remembered(): RememberedClaim[] {
    return [...this.#claims.values()].flatMap(claim => {
      const { name, holder, ttlSeconds, taken, since } = claim;
      const command = this.#commands?.get(claim);
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

  /** One live node writes down that a session, and with it the names it had, timed out. */
  #tellTimeouts(session: Entry<'sessions'>): void {
    const { world, node, ledger } = this.#options;
    if (rendezvousOrder(`timeout/${session.name}`, [...world.nodes().keys()])[0] !== node) return;
    for (const { name, value } of world.owners.all()) {
      const agent = agentOfSubject(name);
      if (agent === null || value.released !== null || `${value.node}/${value.incarnation}` !== session.name)
        continue;
      ledger.note({
        kind: 'agent-timed-out',
        subject: name,
        message: `the session of ${value.node}, which had ${agent} for ${value.holder}, is gone`,
        details: { holder: value.holder, ...moved('cluster', 'Assigned', 'Timeout') },
      });
    }
  }

  #now(): { nowMs: number; since: string } {
    const { clock } = this.#options;
    return { nowMs: clock.now(), since: clock.timestamp() };
  }
}

function heldBy(name: AgentName, holder: string, node: NodeName, since: string): string {
  return `${name} is held by ${holder} on ${node}${since === '' ? '' : ` since ${since}`}`;
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

/** Read afresh: the compiler would take an earlier look for the present. */
function stateOf(claim: Claim): Claim['state'] {
  return claim.state;
}
