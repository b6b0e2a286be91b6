import { moved, next, type NodeState } from '../ownership/machines.ts';
import { EPOCH, type SessionRecord } from '../model/records.ts';
import { isAborted, type Clock } from '../ports/clock.ts';
import type { LocalState } from '../ports/local-state.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import { StoreError, type Seen, type Session, type Store } from '../ports/store.ts';
import type { Ledger } from './ledger.ts';

const DOCUMENT = 'session';

/** What outlives the agent, so that the next one can go on with the same incarnation (ownership rule 9). */
interface SavedSession {
  incarnation: string;
  lease: string;
  ttlSeconds: number;
  bootId: string;
  /** Incarnations of this very state directory before that one, newest first. */
  earlier: string[];
}

const EARLIER_KEPT = 20;

const TIMELINE = 'timeline';

/** How far this node has seen the store come, so that one that was restored from a backup is noticed (ownership rule 14). */
interface SavedTimeline {
  epoch: number;
  tokenBase: string;
  seen: Seen | null;
  /** Whether what was owned before this epoch may still run somewhere: a process that starts meanwhile waits from its own start. */
  settling: boolean;
}

const BEFORE_ANY_EPOCH: SavedTimeline = { epoch: 0, tokenBase: '0', seen: null, settling: false };

export interface SessionKeeperOptions {
  store: Store;
  state: LocalState;
  clock: Clock;
  random: Random;
  log: Log;
  ledger: Ledger;
  bootId: string;
  /** How long exclusive subjects are left alone in a new epoch. */
  settlingMs: () => number;
  /** The record as it should be now; the keeper fills in the incarnation. */
  record: () => Omit<SessionRecord, 'incarnation'>;
}

/** Keeps this node in the cluster: opens its session, opens a new one after a loss, and says in which state it is. */
export class SessionKeeper {
  readonly #options: SessionKeeperOptions;
  readonly #listeners = new Set<() => void>();
  readonly #renewedListeners = new Set<() => void>();
  readonly #stop = new AbortController();
  #session: Session | null = null;
  #state: NodeState = 'Inactive';
  #running: Promise<void> | null = null;
  #lostReason: string | null = null;
  #own = new Set<string>();
  #timeline: SavedTimeline | null = null;
  #epochSinceMs = -Infinity;
  #openedMs = 0;

  constructor(options: SessionKeeperOptions) {
    this.#options = options;
  }

  /** The session in force, if it is valid this very moment. */
  current(): Session | null {
    return this.#session?.valid() === true ? this.#session : null;
  }

  get state(): NodeState {
    return this.#state;
  }

  /** Why the last session was lost; null when none was. */
  get lostReason(): string | null {
    return this.#lostReason;
  }

  /** Whether an incarnation was this agent's own, or one before it on the same state directory. */
  wasOwn(incarnation: string): boolean {
    return this.#own.has(incarnation);
  }

  /** For how long what was owned before the present epoch may still run, as far as this process knows. */
  settlesInMs(): number {
    return Math.max(0, this.#epochSinceMs + this.#options.settlingMs() - this.#options.clock.now());
  }

  /** The last epoch this node has been in: a store that was restored may not know of it. */
  get epoch(): { number: number; tokenBase: string } {
    const { epoch, tokenBase } = this.#timeline ?? BEFORE_ANY_EPOCH;
    return { number: epoch, tokenBase };
  }

  /** After each renewal of the session in force. Returns how to stop. */
  onRenewed(listener: () => void): () => void {
    this.#renewedListeners.add(listener);
    return () => this.#renewedListeners.delete(listener);
  }

  /** How long this node has been in the cluster with its session; a resumed one counts as always. */
  sinceOpenedMs(): number {
    return this.#session?.resumed === true ? Infinity : this.#options.clock.now() - this.#openedMs;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends the keeping. `leave` revokes the lease: everything on it goes at once; else a successor may resume it. */
  async stop(options: { leave: boolean }): Promise<void> {
    this.#stop.abort(new Error('the session keeper is stopping'));
    // A session that is just being opened is waited for: it is there to be ended, too.
    await this.#running;
    const session = this.#session;
    if (session?.valid() !== true) return;
    if (options.leave) {
      await session.revoke();
      await this.#options.state.write(DOCUMENT, null);
    } else {
      await session.detach();
    }
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options;
    const signal = this.#stop.signal;
    let waitMs = 100;
    while (!signal.aborted) {
      try {
        await this.#enterEpoch();
        const session = await this.#open();
        waitMs = 100;
        await this.#untilLost(session, signal);
      } catch (error) {
        if (isAborted(signal)) return;
        if (error instanceof StoreError && error.outcome === 'refused') this.#lostReason = error.message;
        log.warn('no session yet', { waitMs, error });
        await clock.sleep(waitMs, signal);
        waitMs = Math.min(waitMs * 2, 2000);
      }
    }
  }

  /** A new epoch is a new beginning: what the store has shown before it is history. */
  async #enterEpoch(): Promise<void> {
    const { store, state, clock, ledger } = this.#options;
    const known = this.#timeline ?? parseTimeline(await state.read(TIMELINE));
    if (this.#timeline === null) {
      store.startFrom(known.seen);
      if (known.settling) this.#epochSinceMs = clock.now();
    }
    this.#timeline = known;
    const entry = await store.get('cluster', EPOCH);
    const number = entry?.value.number ?? 0;
    if (number <= known.epoch) return;
    store.startFrom(null);
    this.#epochSinceMs = clock.now();
    this.#timeline = { epoch: number, tokenBase: entry?.value.tokenBase ?? '0', seen: null, settling: true };
    await state.write(TIMELINE, this.#timeline);
    ledger.note({
      kind: 'epoch-entered',
      subject: `node/${this.#options.record().node}`,
      message: `a new epoch (${number}) was opened by ${entry?.value.by ?? 'somebody'}: what was owned before it is taken anew`,
      details: { epoch: number, tokenBase: entry?.value.tokenBase },
    });
  }

  async #saveTimeline(): Promise<void> {
    const { store, state } = this.#options;
    const saved = this.#timeline ?? BEFORE_ANY_EPOCH;
    const timeline = { ...saved, seen: store.seen(), settling: saved.settling && this.settlesInMs() > 0 };
    if (JSON.stringify(timeline) === JSON.stringify(saved)) return;
    this.#timeline = timeline;
    await state.write(TIMELINE, timeline);
  }

  async #open(): Promise<Session> {
    const { store, state, random, ledger, bootId } = this.#options;
    const record = { ...this.#options.record(), incarnation: random.hex(6) };
    const saved = parseSaved(await state.read(DOCUMENT));
    const resumable =
      saved !== null &&
      saved.bootId === bootId &&
      saved.ttlSeconds === record.ttlSeconds &&
      this.#session === null;
    const earlier = saved === null ? [] : [saved.incarnation, ...saved.earlier].slice(0, EARLIER_KEPT);
    await this.#refuseStrangers(record.node, [...earlier, this.#session?.incarnation]);
    const session = await store.openSession({
      record,
      resume: resumable ? { incarnation: saved.incarnation, lease: saved.lease } : null,
    });
    try {
      await state.write(DOCUMENT, {
        incarnation: session.incarnation,
        lease: session.lease,
        ttlSeconds: record.ttlSeconds,
        bootId,
        earlier: earlier.filter(incarnation => incarnation !== session.incarnation),
      } satisfies SavedSession);
      await this.#saveTimeline();
    } catch (error) {
      // Nobody would know of it any more: it must not be renewed beside the next one.
      await session.detach();
      throw error;
    }
    this.#own = new Set(earlier);
    const before = this.#state;
    const back = before === 'ConnectionLost';
    const event = back ? 'Reconnect' : 'Started';
    this.#session = session;
    this.#openedMs = this.#options.clock.now();
    this.#move(event);
    ledger.note({
      kind: session.resumed ? 'session-resumed' : 'session-opened',
      subject: `node/${record.node}`,
      message: session.resumed
        ? `${record.node} goes on with its session ${session.incarnation}`
        : `${record.node} ${back ? 'is back' : 'joined'} with session ${session.incarnation}`,
      details: {
        incarnation: session.incarnation,
        ttlSeconds: session.ttlSeconds,
        ...moved('node', before, event),
      },
    });
    return session;
  }

  /** One node, one name: two agents under one would each take the other's standing for their own. @throws Error */
  async #refuseStrangers(node: string, own: (string | undefined)[]): Promise<void> {
    const { entries } = await this.#options.store.list('sessions', { prefix: `${node}/` });
    const stranger = entries.find(({ value }) => !own.includes(value.incarnation));
    if (!stranger) return;
    const { pid, admin, ttlSeconds } = stranger.value;
    throw new Error(
      `another agent is in the cluster as "${node}" (pid ${pid}, ${admin}): give this one another --name, ` +
        `or wait until that session has ended (${ttlSeconds} s after its agent)`,
    );
  }

  #untilLost(session: Session, signal: AbortSignal): Promise<void> {
    const { ledger, clock, log } = this.#options;
    return new Promise(resolve => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        resolve();
      };
      if (signal.aborted) {
        done();
        return;
      }
      signal.addEventListener('abort', done, { once: true });
      session.onRenewed(() => {
        // A renewal that comes in after the loss brings nothing back: only a new session does.
        if (this.#state === 'Active') this.#move('Renew');
        for (const listener of this.#renewedListeners) listener();
        this.#saveTimeline().catch((error: unknown) => {
          log.warn('how far the store has come can not be put on file', { error });
        });
      });
      session.onLost(reason => {
        if (!signal.aborted) {
          this.#lostReason = reason;
          const move = moved('node', this.#state, 'TimedOut');
          this.#move(move.event);
          ledger.note({
            kind: 'session-lost',
            subject: `node/${this.#options.record().node}`,
            message: `session ${session.incarnation} is lost: ${reason}`,
            details: { incarnation: session.incarnation, at: clock.timestamp(), ...move },
          });
        }
        done();
      });
    });
  }

  #move(event: 'Started' | 'Renew' | 'TimedOut' | 'Reconnect'): void {
    const before = this.#state;
    this.#state = next('node', this.#state, event);
    if (before !== this.#state) for (const listener of this.#listeners) listener();
  }
}

function parseSaved(document: unknown): SavedSession | null {
  if (typeof document !== 'object' || document === null) return null;
  const { incarnation, lease, ttlSeconds, bootId, earlier } = document as Record<string, unknown>;
  const whole =
    typeof incarnation === 'string' &&
    typeof lease === 'string' &&
    typeof ttlSeconds === 'number' &&
    typeof bootId === 'string';
  const before = Array.isArray(earlier) ? earlier.filter(each => typeof each === 'string') : [];
  return whole ? { incarnation, lease, ttlSeconds, bootId, earlier: before } : null;
}

function parseTimeline(document: unknown): SavedTimeline {
  const { epoch, tokenBase, seen, settling } = (document ?? {}) as Partial<SavedTimeline>;
  if (typeof epoch !== 'number' || typeof tokenBase !== 'string') return BEFORE_ANY_EPOCH;
  const whole = typeof seen?.clusterId === 'string' && typeof seen.revision === 'string';
  return { epoch, tokenBase, seen: whole ? seen : null, settling: settling === true };
}
