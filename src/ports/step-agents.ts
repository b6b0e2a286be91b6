import type { Limits } from '../model/app-spec.ts';
import type { AppName, NodeName, Token } from '../model/ids.ts';
import type { PlanProblem, StepOutput, StepResult, StepWork } from '../model/plan.ts';

/**
 * What steps of plans are done by: each wraps one service or resource, with its own handling of that one's errors (the
 * scheduler-agent-supervisor pattern). To add one: implement this, and name it where the node is put together (`src/main`).
 */
export interface StepAgent {
  /** What steps name it by: 1–63 lower-case letters, digits, dots and hyphens. */
  readonly name: string;
  /**
   * Everything wrong with work for it, before the plan is accepted; fields as in `resource`, `arguments.method`. `given` = the steps
   * whose outputs it will be given if they complete; absent = that is not known.
   */
  check(work: StepWork, given?: ReadonlySet<number>): PlanProblem[];
  /** Whether it can be stopped at any moment, and somebody else begin anew, at no loss; absent = not. */
  onlyWatches?(work: StepWork): boolean;
  /** Whether other nodes are to do it, which can, because this one can't; asked again and again, absent = never. */
  isForOthers?(work: StepWork): boolean;
  /**
   * Does one attempt, and says what became of it. When `signal` aborts it stops what it can, at once, and gives `stopped` only
   * if nothing of it goes on; past its time it tries nothing more, and whatever it gives then is refused. A result that
   * comes late does no harm; a rejection is taken for a RETRYABLE failure.
   */
  run(task: StepTask, signal: AbortSignal): Promise<StepResult>;
}

/** One attempt at a step, or at undoing it. */
export interface StepTask {
  plan: string;
  index: number;
  /** Grows with each attempt. Together with `token` it tells this attempt from every other. */
  attempt: number;
  /** The fencing token of whoever owns the step: what serves the request should refuse lower ones than it has seen. */
  token: Token;
  /** The same for every attempt at one effect: what serves the request should do it once. */
  idempotencyKey: string;
  /** Which effect of the step it is. */
  kind: 'work' | 'undo';
  work: StepWork;
  /** Exactly as submitted; null = none. */
  payload: { mimeType: string; bytes: Uint8Array } | null;
  /** Of the steps it depends on that have completed with one, by index; of `undo`: the step's own, too. */
  inputs: ReadonlyMap<number, StepOutput>;
  /** What is left of its time. */
  remainingMs: number;
  node: NodeName;
}

/** Those that this node has: its own, and workers that are connected to it. */
export interface StepAgents {
  /** null = there is none here. One that is full is here. */
  find(name: string): StepAgent | null;
  /** Names, in order. */
  names(): string[];
  /** How many more attempts it takes now; Infinity = as many as the node. */
  room(name: string): number;
  /** When an agent came, went, or has room again. Returns how to stop. */
  onChange(listener: () => void): () => void;
}

/** For agents that come and go: workers that are connected to this node. */
export interface StepAgentRoster extends StepAgents {
  /**
   * Offers an agent until it is withdrawn; what it has begun goes on. Asked for its room whenever somebody wants to know: how many
   * more attempts it takes now. Several may offer one name: each attempt goes to the one that has most room. null = refused,
   * because the node does that itself.
   */
  add(agent: StepAgent, room: () => number): StepAgentOffer | null;
}

export interface StepAgentOffer {
  /** It has more room than it had. */
  changed(): void;
  withdraw(): void;
}

/** Where commands of an app run: a cron line, a migration. */
export interface AppPlaces {
  /** The app's current release, brought to this node. @throws Error when there is none, or it can't be had now */
  enter(app: AppName, signal: AbortSignal): Promise<AppPlace>;
  /** Whether its release can't run here, and can on another node. */
  isForOthers(app: AppName): boolean;
}

export interface AppPlace {
  /** Absolute: the unpacked release, which stays until it is left. */
  directory: string;
  /** As for the app's hooks. */
  env: Record<string, string>;
  /** Whom the app runs as; null = the agent's own user. */
  user: string | null;
  limits: Limits;
  leave(): void;
}
