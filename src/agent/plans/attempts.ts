import type { InstantMs, NodeName, Token } from '../../model/ids.ts';
import type { StepOutput, StepResult, StepWork } from '../../model/plan.ts';
import type { Blobs } from '../../ports/blobs.ts';
import type { Clock } from '../../ports/clock.ts';
import type { StepAgents, StepTask } from '../../ports/step-agents.ts';

/** What agents say in words is kept in the step's record, among many others. */
const LONGEST_ERROR = 1_000;
const INLINE_OUTPUT_BYTES = 8 * 1024;

export interface AttemptsOptions {
  node: NodeName;
  /** How many are worked at at the same time; each agent may have less room. */
  atOnce: number;
  agents: StepAgents;
  blobs: Blobs | null;
  clock: Clock;
}

export type AttemptOrder = Pick<
  StepTask,
  'plan' | 'index' | 'attempt' | 'token' | 'idempotencyKey' | 'kind' | 'work' | 'inputs'
> & { limitMs: number };

/** An attempt that some agent of this node works at. */
export interface RunningAttempt {
  readonly index: number;
  readonly attempt: number;
  readonly token: Token;
  readonly kind: 'work' | 'undo';
  readonly startedMs: InstantMs;
  /** Tells its agent to stop what it can. */
  stop(reason: string): void;
  /** Whatever it still says, nobody listens. */
  drop(reason: string): void;
}

/** The attempts that this node's agents work at now. */
export class Attempts {
  readonly #options: AttemptsOptions;
  readonly #encoder = new TextEncoder();
  #running = 0;
  #reserved = 0;
  /** By agent. */
  readonly #spoken = new Map<string, number>();
  #late = 0;

  constructor(options: AttemptsOptions) {
    this.#options = options;
  }

  /** How many more may be started. */
  get slots(): number {
    return Math.max(0, this.#options.atOnce - this.#running - this.#reserved);
  }

  /** For those that are being written, and are started when that is done. Returns how to give it back. */
  reserve(agents: readonly string[]): () => void {
    const add = (by: 1 | -1): void => {
      this.#reserved += by * agents.length;
      for (const agent of agents) {
        const spoken = (this.#spoken.get(agent) ?? 0) + by;
        if (spoken > 0) this.#spoken.set(agent, spoken);
        else this.#spoken.delete(agent);
      }
    };
    add(1);
    return () => add(-1);
  }

  get atOnce(): number {
    return this.#options.atOnce;
  }

  /** Whether its agent is here, and does not leave it to other nodes. */
  has(work: StepWork): boolean {
    const agent = this.#options.agents.find(work.agent);
    return agent !== null && agent.isForOthers?.(work) !== true;
  }

  onlyWatches(work: StepWork): boolean {
    return this.#options.agents.find(work.agent)?.onlyWatches?.(work) === true;
  }

  get running(): number {
    return this.#running;
  }

  /** Results that came when nobody waited for them any more, or could not be written any more, since the start. */
  get late(): number {
    return this.#late;
  }

  countLate(results: number): void {
    this.#late += results;
  }

  /** How many more of its agent's may be started; 0 also when nothing here does it. */
  room(work: StepWork): number {
    const { agent } = work;
    return this.has(work) ? this.#options.agents.room(agent) - (this.#spoken.get(agent) ?? 0) : 0;
  }

  onRoom(listener: () => void): () => void {
    return this.#options.agents.onChange(listener);
  }

  /** Never throws: what goes wrong is a result, too. */
  start(
    order: AttemptOrder,
    startedMs: InstantMs,
    onResult: (attempt: RunningAttempt, result: StepResult) => void,
  ): RunningAttempt {
    const abort = new AbortController();
    let dropped = false;
    this.#running += 1;
    const { index, attempt, token, kind } = order;
    const running: RunningAttempt = {
      index,
      attempt,
      token,
      kind,
      startedMs,
      stop: reason => abort.abort(new Error(reason)),
      drop: reason => {
        if (dropped) return;
        dropped = true;
        this.#running -= 1;
        abort.abort(new Error(reason));
      },
    };
    void this.#work(order, abort.signal).then(result => {
      if (dropped) {
        this.#late += 1;
        return;
      }
      dropped = true;
      this.#running -= 1;
      onResult(running, result);
    });
    return running;
  }

  async #work(order: AttemptOrder, signal: AbortSignal): Promise<StepResult> {
    const { node, agents } = this.#options;
    const { limitMs, ...task } = order;
    const agent = agents.find(order.work.agent);
    if (agent === null) return failed(`there is no agent "${order.work.agent}" on ${node} any more`);
    try {
      const payload = await this.#payload(order.work, signal);
      const result = await agent.run({ ...task, payload, remainingMs: limitMs, node }, signal);
      return await this.#keepable(result);
    } catch (error) {
      return failed(error instanceof Error ? error.message : String(error));
    }
  }

  #payload({ payload }: StepWork, signal: AbortSignal): StepTask['payload'] | Promise<StepTask['payload']> {
    if (payload === undefined) return null;
    const { mimeType } = payload;
    if ('text' in payload) return { mimeType, bytes: this.#encoder.encode(payload.text) };
    return this.#blobs()
      .get(payload.digest, signal)
      .then(bytes => ({ mimeType, bytes }));
  }

  /** What fits into a step's record. */
  async #keepable(result: StepResult): Promise<StepResult> {
    switch (result.kind) {
      case 'completed':
        return result.output === null ? result : { ...result, output: await this.#apart(result.output) };
      case 'failed':
        return { ...result, error: clipped(result.error) };
      case 'stopped':
        return result;
    }
  }

  async #apart(output: StepOutput): Promise<StepOutput> {
    if (!('value' in output)) return output;
    const bytes = this.#encoder.encode(JSON.stringify(output.value));
    return bytes.length <= INLINE_OUTPUT_BYTES ? output : this.#blobs().put(bytes);
  }

  #blobs(): Blobs {
    const { blobs, node } = this.#options;
    if (blobs === null) throw new Error(`${node} has nowhere to keep what is too large for the store`);
    return blobs;
  }
}

function failed(error: string): StepResult {
  return { kind: 'failed', type: 'RETRYABLE', error: clipped(error) };
}

function clipped(text: string): string {
  return text.length <= LONGEST_ERROR ? text : `${text.slice(0, LONGEST_ERROR - 1)}…`;
}
