import type { NodeName } from '../../model/ids.ts';
import { isCommand, subjectOfAgent, type AgentName } from '../../model/named-agents.ts';
import { moved } from '../../ownership/machines.ts';
import { lineFor, placeInLine } from '../../ownership/queue.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Log } from '../../ports/log.ts';
import type { Entry, Session, Store } from '../../ports/store.ts';
import type { Ledger } from '../ledger.ts';
import { Loop } from '../loop.ts';
import type { Claim } from './name-claim.ts';
import { silentMs, type NameClaims } from './name-claims.ts';
import type { NameKeys, TakenName } from './name-keys.ts';
import type { NameMemory } from './name-memory.ts';
import { NameRecovery } from './name-recovery.ts';
import type { NamedCommand, NamedCommands } from './named-commands.ts';
import type { SessionKeeper } from '../session-keeper.ts';
import type { World } from '../world.ts';

const RETRY_MS = 500;
/** How soon it is looked again whether a transaction under way is over. */
const BUSY_MS = 20;
/** How long it is known here how a request ended. */
const ENDED_KEPT_MS = 300_000;
const MOST_ENDED_KEPT = 1000;

export interface NameMachineOptions {
  node: NodeName;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  ledger: Ledger;
  clock: Clock;
  log: Log;
  /** How long a name must still be left alone; `ownDead` = what its last owner did, here, is known to be dead. */
  untilFreeMs: (owner: Entry<'owners'> | undefined, ownDead: boolean) => number;
  keys: NameKeys;
  claims: NameClaims;
  memory: NameMemory;
  /** null = this node runs none. */
  commands: NamedCommands | null;
}

/**
 * Moves the claims of this node: only who is first in line tries, in a transaction that looks at everything again, and what
 * is over is released. It is one file because it is one machine: what moves a claim is all here.
 */
export class NameMachine {
  readonly #options: NameMachineOptions;
  readonly #recovery: NameRecovery;
  readonly loop: Loop;
  /** Whether it is known what of the names of the agent before this one is still its own. */
  #settled = false;
  #restored = false;
  #settledMs = 0;
  #leaving = false;

  constructor(options: NameMachineOptions) {
    const { clock, log } = options;
    this.#options = options;
    this.#recovery = new NameRecovery({
      ...options,
      granted: (claim, taken) => this.#granted(claim, taken),
      lost: (claim, reason) => this.#lost(claim, reason),
    });
    this.loop = new Loop({
      name: 'names',
      clock,
      log,
      everyMs: 5000,
      round: signal => this.#round(signal),
    });
  }

  /** Knows again what the agent before this one had: what runs is looked after before the store is heard. */
  async restore(): Promise<void> {
    const { memory, commands } = this.#options;
    this.#recovery.restore(await memory.read());
    this.#restored = true;
    commands?.start();
  }

  get restored(): boolean {
    return this.#restored;
  }

  /** Stops what runs here and releases its names. Those of programs outside are held down for the others: they may go on. */
  async leave(signal: AbortSignal): Promise<void> {
    const { commands, keeper, clock } = this.#options;
    this.#leaving = true;
    const unfinished = (): boolean =>
      (commands?.all() ?? []).some(({ phase, claim }) => {
        const lives = phase === 'starting' || phase === 'running' || phase === 'stopping';
        // What the store can't be told any more ends with the session.
        return lives || (claim.state === 'Assigned' && keeper.current() !== null);
      });
    for (const command of commands?.all() ?? []) commands?.end(command, 'this node is leaving', false);
    while (!signal.aborted && unfinished()) {
      commands?.wake();
      this.loop.wake();
      await clock.sleep(50, signal);
    }
  }

  /** To be called whenever the node's session was opened or lost. */
  async sessionChanged(signal: AbortSignal): Promise<void> {
    const { keeper, claims, commands, clock } = this.#options;
    const session = keeper.current();
    if (keeper.state === 'ConnectionLost') {
      const reason = `the session of this node is lost: ${keeper.lostReason ?? 'for an unknown reason'}`;
      commands?.exclusive.lose(reason);
      for (const claim of claims.assigned()) this.#lost(claim, reason);
    } else if (session) {
      if (session.resumed && !this.#settled) await this.#recovery.resume(session, signal);
      for (const claim of claims.assigned()) {
        if (claim.taken?.incarnation !== session.incarnation)
          this.#lost(claim, 'the session it was taken under is gone');
      }
      if (!this.#settled) this.#settledMs = clock.now();
      this.#settled = true;
      commands?.exclusive.settle();
      await commands?.exclusive.renew();
    }
    this.loop.wake();
  }

  /** @throws AdminError when nothing can be owned through this node at this moment */
  session(): Session {
    const { keeper, node } = this.#options;
    const session = keeper.current();
    if (this.#leaving) throw new AdminError('unavailable', `${node} is leaving the cluster`);
    if (session && this.#settled) return session;
    throw this.#noSession('can be owned');
  }

  /** One step of what waits: into the line, or to the front of it and through. @throws StoreError */
  async advance(claim: Claim, session: Session): Promise<void> {
    if (claim.busy || claim.state !== 'Pending' || this.#leaving || !this.#settled) return;
    // Nobody is there to run it: its place in line is kept for a moment, and no more.
    if (isCommand(claim.holder) && claim.listening === 0) return;
    const { memory, keys } = this.#options;
    claim.busy = true;
    try {
      const { name, holder, waiter } = claim;
      const known = await this.#ownerNow(name, session);
      if (this.whyNot(claim, known) === null) {
        // Written down first: what is had, the next agent must know.
        await memory.save();
        const inLine = waiter?.lease === session.lease ? waiter.name : null;
        const taken = await keys.acquire(name, holder, session, known, inLine);
        if (taken) this.#granted(claim, taken);
        // Perhaps its place in line is gone: it stands in line again, where a place that is still there is kept.
        else claim.waiter = null;
      } else if (claim.waits && waiter?.lease !== session.lease) {
        const put = await keys.enqueue(name, holder, claim.since, session);
        if (put !== null) claim.waiter = { name: put, lease: session.lease };
        if (put !== null && stateOf(claim) !== 'Pending')
          await keys.leave(name, holder, 'Release', claim.reason);
      }
    } finally {
      claim.busy = false;
    }
  }

  /** Why a claim may not be tried at this moment, in words, and when that may be over by itself; null = it may. */
  whyNot(
    claim: Claim,
    owner = this.#options.world.owners.get(subjectOfAgent(claim.name)),
  ): { reason: string; forMs: number } | null {
    const { world, node, keeper, claims, commands, untilFreeMs } = this.#options;
    const { name } = claim;
    const holding = claims.held(name);
    if (holding)
      return { reason: heldBy(name, holding.holder, node, holding.taken?.since ?? ''), forMs: Infinity };
    const unreleased = owner?.value.released === null ? owner.value : null;
    if (unreleased && world.sessions.get(`${unreleased.node}/${unreleased.incarnation}`)) {
      const { holder, since = '' } = unreleased;
      return { reason: heldBy(name, holder, unreleased.node, since), forMs: Infinity };
    }
    if (commands?.liveOf(name) === true)
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

  /** Whoever waited for it does so no more. In the line of the store its place may still be. */
  giveUp(claim: Claim, reason: string, event: 'RequestTimedOut' | 'Release' = 'RequestTimedOut'): void {
    claim.move(event, reason, this.#options.claims.now());
  }

  /** It has left the line in this node's mind already; what can't be told now goes with the next round. */
  async leaveLine(claim: Claim, event: 'RequestTimedOut' | 'Release'): Promise<void> {
    const { keys, log } = this.#options;
    try {
      await keys.leave(claim.name, claim.holder, event, claim.reason);
    } catch (error) {
      log.warn('a place in line could not be given up and will be', { agent: claim.name, error });
    }
    this.loop.wake();
  }

  /** Releases what its holder gives back. @throws StoreError, AdminError when it can't be told now; then it is tried again */
  async release(claim: Claim, reason: string): Promise<void> {
    claim.ending = { reason, notBeforeMs: 0 };
    const { taken } = claim;
    try {
      while (claim.taken === taken) {
        await this.#endNow(claim);
        if (claim.taken === taken) await this.#options.clock.sleep(BUSY_MS);
      }
    } finally {
      // What could not be told the store now is tried again.
      this.loop.wake();
    }
  }

  /** Stops what runs here under a name, then releases it. Why not, or null when it is begun. */
  recall(name: AgentName, reason: string): string | null {
    const { claims, commands, node } = this.#options;
    const claim = claims.held(name);
    if (!claim || claim.ending !== null) return `${node} does not own ${name} any more`;
    const command = commands?.get(claim);
    if (command) commands?.end(command, reason, false);
    // It can't be stopped from here: it is told at its next request, and at the latest when its time is over.
    else claim.ending = { reason, notBeforeMs: silentMs(claim) };
    claim.changed();
    this.loop.wake();
    return null;
  }

  /** It is dead, or was never alive. */
  commandEnded({ claim }: NamedCommand, reason: string): void {
    if (claim.state === 'Assigned') claim.ending ??= { reason, notBeforeMs: 0 };
    this.loop.wake();
  }

  async #round(signal: AbortSignal): Promise<number | null> {
    const { keeper, world, claims, clock, log } = this.#options;
    this.#forgetEnded();
    const wakes = [this.#expire()];
    if (!this.#settled) return Math.min(...wakes);
    const work = claims
      .assigned()
      .filter(({ ending }) => ending !== null && ending.notBeforeMs <= clock.now())
      .map(claim => this.#endNow(claim));
    const session = keeper.current();
    if (session && world.synced()) {
      work.push(this.#recovery.discover(session), this.#recovery.clearLine(this.#settledMs));
      for (const claim of claims.pending()) work.push(this.advance(claim, session));
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
    for (const claim of claims.pending()) {
      claim.changed();
      const waitMs = this.whyNot(claim)?.forMs ?? RETRY_MS;
      wakes.push(waitMs);
    }
    const inMs = Math.min(...wakes);
    return inMs === Infinity ? null : inMs;
  }

  /** What has been waited for long enough, or not been heard of. Gives how long until the next. */
  #expire(): number {
    const { claims, clock } = this.#options;
    const nowMs = clock.now();
    let nextMs = Infinity;
    for (const claim of claims.pending()) {
      const unheardMs = claim.listening > 0 ? Infinity : claim.heardMs + claim.ttlSeconds * 1000;
      const untilMs = Math.min(claim.waitUntilMs, unheardMs);
      if (untilMs > nowMs) {
        nextMs = Math.min(nextMs, untilMs - nowMs);
        continue;
      }
      const reason =
        unheardMs <= nowMs
          ? `its requester was not heard for ${claim.ttlSeconds} s`
          : `it was waited for in vain: ${this.whyNot(claim)?.reason ?? 'others were faster'}`;
      this.giveUp(claim, reason);
      void this.leaveLine(claim, 'RequestTimedOut');
    }
    for (const claim of claims.assigned()) {
      if (isCommand(claim.holder)) continue;
      claim.ending ??=
        claim.listening === 0 && silentMs(claim) <= nowMs
          ? { reason: `its holder was not heard for ${claim.ttlSeconds} s`, notBeforeMs: nowMs }
          : null;
      const dueInMs = (claim.ending?.notBeforeMs ?? silentMs(claim)) - nowMs;
      // What is due already is tried in this round, and again when that failed.
      nextMs = Math.min(nextMs, dueInMs > 0 ? dueInMs : RETRY_MS);
    }
    return nextMs;
  }

  /** What this node has just released its copy of the store may still show as its own. @throws StoreError */
  async #ownerNow(name: AgentName, { incarnation }: Session): Promise<Entry<'owners'> | undefined> {
    const { world, node, store, claims } = this.#options;
    const known = world.owners.get(subjectOfAgent(name));
    const shownAsOwn =
      known?.value.node === node && known.value.incarnation === incarnation && known.value.released === null;
    if (!shownAsOwn || claims.held(name)) return known;
    return (await store.get('owners', subjectOfAgent(name))) ?? undefined;
  }

  #granted(claim: Claim, taken: TakenName): void {
    const { claims, memory, commands, log } = this.#options;
    // Had though nobody wants it any more: it is discovered, and goes back.
    if (claim.state !== 'Pending') return;
    claim.move('Granted', 'it was free, and nobody was before it', claims.now());
    claim.taken = taken;
    claim.lastToken = taken.token;
    claims.hold(claim);
    void memory.save().catch((error: unknown) => {
      log.error('it could not be written down who has a named agent', { agent: claim.name, error });
    });
    void commands?.exclusive.renew();
    commands?.wake();
  }

  #noSession(what: string): AdminError {
    const { node } = this.#options;
    return new AdminError('unavailable', `${node} has no session at this moment: nothing ${what} through it`);
  }

  /** Releases in the store what is over here. @throws StoreError, AdminError without the session it was taken under */
  async #endNow(claim: Claim): Promise<void> {
    const { keys, keeper, claims, commands, memory } = this.#options;
    const { taken, ending } = claim;
    const session = keeper.current();
    if (taken === null || ending === null || claim.busy) return;
    // Taken under a session that is gone, it is about to be lost.
    if (session?.incarnation !== taken.incarnation) throw this.#noSession('can be given back');
    claim.busy = true;
    try {
      await keys.release(claim.name, claim.holder, taken.token, session, ending.reason);
    } finally {
      claim.busy = false;
    }
    if (claim.taken !== taken) return;
    const command = commands?.get(claim);
    if (command?.end) command.end = { ...command.end, released: true };
    claims.drop(claim);
    claim.move('Release', ending.reason, claims.now());
    await memory.save();
    this.loop.wake();
  }

  #lost(claim: Claim, reason: string): void {
    const { ledger, node, claims, commands } = this.#options;
    const command = commands?.get(claim);
    if (command) commands?.end(command, reason, false);
    claims.drop(claim);
    claim.move('Lost', reason, claims.now());
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

  #forgetEnded(): void {
    const { claims, commands, clock } = this.#options;
    const nowMs = clock.now();
    const ended = claims.all().filter(claim => claim.state === 'Unassigned' && claim.listening === 0);
    const surplus = ended.length - MOST_ENDED_KEPT;
    for (const [index, claim] of ended.entries()) {
      const command = commands?.get(claim);
      if (command && command.phase !== 'ended' && command.phase !== 'waiting') continue;
      if (index >= surplus && claim.changedMs + ENDED_KEPT_MS > nowMs) continue;
      claims.forget(claim);
      commands?.forget(claim);
    }
  }
}

function heldBy(name: AgentName, holder: string, node: NodeName, since: string): string {
  return `${name} is held by ${holder} on ${node}${since === '' ? '' : ` since ${since}`}`;
}

/** Read afresh: the compiler would take an earlier look for the present. */
function stateOf(claim: Claim): Claim['state'] {
  return claim.state;
}
