import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../../src/api/client.ts';
import type { Token } from '../../src/model/ids.ts';
import type { NameState } from '../../src/model/named-agents.ts';
import type { Store } from '../../src/ports/store.ts';
import type { TestNode } from '../support/cluster.ts';
import { until } from '../support/until.ts';
import { History } from './history.ts';
import { monotonicMs } from './monotonic.ts';
import { handovers, tokenTrouble, type Span } from './spans.ts';

const TTL_SECONDS = 6;
const WAIT_SECONDS = 1;
const PATIENCE_MS = 3000;
const PAUSE_MS = 200;
const SIGN_MS = 5;
/** Of so many turns with the name, the last gives it back. */
const TURNS = 40;
/** A name whose node died is free after two leases; half a minute more is for a busy machine. */
const GIVEN_WITHIN_MS = 46_000;

export interface NameVerdict {
  /** Programs that had it, each once for each token. */
  grants: number;
  operations: number;
  /** Writes under a token that was not in force any more, which were refused. */
  staleAttempts: number;
  overlaps: number;
  /** Of what is fenced: it has to hold whatever clocks do. */
  fenced: string[];
  /** Of what programs act on in between. */
  unfenced: string[];
  /** Of what they read: etcd itself may read what is past. */
  read: string[];
}

/**
 * A name that a program on each node wants, through its agent's API, as deploy/named-agents.md asks of it; and on each node somebody
 * who reads its state. The programs are no part of what is broken: they know what they were told, and when.
 */
export class SharedName {
  readonly name: string;
  readonly #programs: Program[];
  readonly #history = new History();
  /** The same without what was read in between. */
  readonly #written = new History();
  /** What was written, as the answers have it. */
  readonly #states: NameState[] = [];
  readonly #stop = new AbortController();
  readonly #signs: NodeJS.Timeout;
  readonly #running: Promise<unknown>;
  #staleAttempts = 0;
  #writes = 0;

  constructor(nodes: TestNode[], name: string) {
    this.name = name;
    this.#programs = nodes.map(node => new Program(name, node));
    this.#signs = setInterval(() => this.#programs.forEach(program => program.sign()), SIGN_MS);
    this.#running = Promise.all([
      ...this.#programs.map(program => this.#repeat(() => this.#turn(program))),
      ...nodes.map(node => this.#repeat(() => this.#read(node))),
    ]);
  }

  /** Resolves once a program has acted since then. @throws Error when none does */
  async givenSince(sinceMs: number): Promise<void> {
    const isGiven = (): boolean => this.spans().some(({ lastMs }) => lastMs > sinceMs);
    await until(`a program is given ${this.name}`, isGiven, GIVEN_WITHIN_MS);
  }

  spans(): Span[] {
    return this.#programs
      .flatMap(program => [...program.spans.values()])
      .sort((a, b) => a.firstMs - b.firstMs);
  }

  /** `store`: over links that no fault touches, when all is well again. */
  async end(store: Store): Promise<NameVerdict> {
    this.#stop.abort();
    await this.#running;
    clearInterval(this.#signs);
    const startMs = monotonicMs();
    const last = await store.get('agents', this.name);
    for (const history of [this.#history, this.#written])
      history.read(last ? String(last.value.state) : null, startMs, monotonicMs());
    await Promise.all(this.#programs.map(program => program.leave()));
    const spans = this.spans();
    const { overlaps } = handovers(spans);
    const lost = this.#written.trouble();
    const wrong = this.#history.trouble();
    return {
      grants: spans.length,
      operations: this.#history.operations,
      staleAttempts: this.#staleAttempts,
      overlaps: overlaps.length,
      fenced: [
        ...acceptedStale(this.#states),
        ...(lost ? [`written and lost: ${JSON.stringify(lost)}`] : []),
      ],
      unfenced: [...overlaps.map(each => `overlap: ${each}`), ...tokenTrouble(spans)],
      read: wrong ? [`the state of ${this.name} is not linearizable at ${JSON.stringify(wrong)}`] : [],
    };
  }

  async #repeat(turn: () => Promise<void>): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await turn();
      await sleep(PAUSE_MS);
    }
  }

  async #turn(program: Program): Promise<void> {
    const turn = program.turn++ % TURNS;
    const { token } = program;
    if (token !== null && turn === TURNS - 1) await program.release();
    else if (token !== null && turn % 2 === 1) await this.#write(program, token);
    // What it had begun to write comes late.
    else if ((await program.ask()) === 'lost' && token !== null) await this.#write(program, token);
  }

  /** Also when its time is over, or it was told so: the token has to keep out what is late. */
  async #write(program: Program, token: Token): Promise<void> {
    const state = `${program.holder} ${++this.#writes}`;
    const startMs = monotonicMs();
    const written = await answered(signal =>
      program.node.api.putAgentState(this.name, { holder: program.holder, token, state }, signal),
    );
    if (written === 'refused') {
      this.#staleAttempts++;
      program.lose();
      return;
    }
    const endMs = monotonicMs();
    for (const history of [this.#history, this.#written]) {
      if (typeof written === 'string') history.unanswered(state, startMs);
      else history.written(state, startMs, endMs);
    }
    if (typeof written !== 'string') this.#states.push(written);
  }

  async #read(node: TestNode): Promise<void> {
    const startMs = monotonicMs();
    const found = await answered(signal => node.api.agentState(this.name, signal));
    if (found === 'nothing' || found === 'refused') return;
    this.#history.read(found === 'not found' ? null : String(found.state), startMs, monotonicMs());
  }
}

let programs = 0;

/** One program, its right to act, and what it did with it. */
class Program {
  readonly node: TestNode;
  readonly spans = new Map<string, Span>();
  holder = '';
  token: Token | null = null;
  turn = 0;
  readonly #name: string;
  #untilMs = -Infinity;

  constructor(name: string, node: TestNode) {
    this.#name = name;
    this.node = node;
    this.#beAnother();
  }

  /** What it does with the name, at this moment, if it may. */
  sign(): void {
    const atMs = monotonicMs();
    if (this.token === null || atMs >= this.#untilMs) return;
    const key = `${this.holder} ${this.token}`;
    const span = this.spans.get(key) ?? {
      instance: `agent/${this.#name}`,
      token: BigInt(this.token),
      node: this.node.name,
      born: this.holder,
      firstMs: atMs,
      lastMs: atMs,
    };
    span.lastMs = atMs;
    this.spans.set(key, span);
  }

  lose(): void {
    this.token = null;
    this.#untilMs = -Infinity;
  }

  /** `lost` = what it had, or believed to have, is another's or nobody's. */
  async ask(): Promise<'lost' | 'had or not yet'> {
    const sentMs = monotonicMs();
    const { holder, token } = this;
    const request = { holder, token, wait: true, waitSeconds: WAIT_SECONDS, ttlSeconds: TTL_SECONDS };
    const answer = await answered(signal => this.node.api.requestAgent(this.#name, request, signal));
    if (answer === 'refused') {
      this.lose();
      return 'lost';
    }
    if (typeof answer !== 'string' && answer.token !== null) {
      this.token = answer.token;
      this.#untilMs = sentMs + (answer.validForMs ?? 0);
      this.sign();
    }
    return 'had or not yet';
  }

  /** It acts no more from now on. Without an answer it comes back as another: what it sent may arrive later. */
  async release(): Promise<void> {
    const { holder, token } = this;
    this.lose();
    const done = await answered(signal => this.node.api.releaseAgent(this.#name, { holder, token }, signal));
    if (done !== undefined) this.#beAnother();
  }

  async leave(): Promise<void> {
    if (this.token !== null) await this.release();
  }

  #beAnother(): void {
    this.holder = `program-${++programs}`;
  }
}

/** Of states in the order in which they were written: those under a lower token than one before. */
export function acceptedStale(states: readonly Pick<NameState, 'name' | 'token' | 'revision'>[]): string[] {
  const inOrder = states.toSorted((a, b) => (BigInt(a.revision) < BigInt(b.revision) ? -1 : 1));
  return inOrder.flatMap((state, index) => {
    const before = inOrder[index - 1];
    if (!before || BigInt(before.token) <= BigInt(state.token)) return [];
    return [`accepted: a state of ${state.name} under token ${state.token}, after one under ${before.token}`];
  });
}

/** `nothing` = no answer, or none that says how it is. */
async function answered<T>(
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T | 'refused' | 'not found' | 'nothing'> {
  try {
    return await ask(AbortSignal.timeout(PATIENCE_MS));
  } catch (error) {
    if (!(error instanceof ApiError)) return 'nothing';
    return error.status === 409 ? 'refused' : error.status === 404 ? 'not found' : 'nothing';
  }
}
