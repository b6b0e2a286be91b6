import type { Digest, NodeName, Timestamp, Token } from './ids.ts';

/**
 * A batch or a graph of steps, and how far each has come. Plain JSON. Steps come by the thousand, so what has its default
 * value, or has not happened, is absent here; `src/workflow/shape.ts` knows the defaults.
 */
export interface PlanSpec {
  /** For people; null = none. */
  title: string | null;
  /** A step is known by its place in this list, from 0. */
  steps: StepSpec[];
  /** 0 goes before 1 … 9. */
  priority: number;
  /** Each step waits for the one before as well. */
  sequential: boolean;
  /** What a step that failed means for the rest. */
  onFailure: OnFailure;
  /** Of the whole plan, from when a node first saw it; null = only its steps' own bounds. Undoing takes the time it needs. */
  completeBySeconds: number | null;
}

/**
 * After a failure: `stop` starts nothing more but steps whose condition is `all-done` or `any-failed`; `continue` goes on with
 * all that does not depend on it; `compensate` stops likewise, then undoes whatever may have started.
 */
export type OnFailure = 'stop' | 'continue' | 'compensate';

/** What an agent of steps is asked to do. */
export interface StepWork {
  /** `http`, `command`, `noop`, or the name of a remote agent. */
  agent: string;
  /** What it is to act on: an address, a command line; as the agent defines it. */
  resource: string;
  arguments?: Record<string, string>;
  payload?: StepPayload;
  /** For one attempt; absent = 60. */
  timeoutSeconds?: number;
  /** Absent = the default of `src/workflow/shape.ts`. */
  retry?: RetrySpec;
}

export interface StepSpec extends StepWork {
  /** For people. */
  name?: string;
  /** Steps that must have ended before; several = all of them. */
  dependsOn?: number[];
  /** Absent = `all-succeeded`. */
  condition?: StepCondition;
  /** For all attempts with the waits between them; absent = as long as the attempts take. */
  completeBySeconds?: number;
  /** How to undo it; absent = there is nothing to undo. */
  compensate?: StepWork;
  concurrency?: ConcurrencySpec;
}

/** Looked at once all steps it depends on have ended, or as soon as it can't hold any more: then the step is SKIPPED. */
export type StepCondition = 'all-succeeded' | 'any-succeeded' | 'all-done' | 'any-failed';

export interface RetrySpec {
  /** In all, the first one included. */
  attempts: number;
  firstWaitSeconds: number;
  /** Each wait is so many times the one before. */
  factor: number;
  longestWaitSeconds: number;
  /** Share of the wait that chance may take off: 0 = none, 1 = all. */
  jitter: number;
}

/** At most `limit` steps with this key run at once, in the whole cluster. */
export interface ConcurrencySpec {
  key: string;
  limit: number;
}

/** The exact text as submitted, or the digest of its bytes in the artifact store. Never cut. */
export type StepPayload =
  { mimeType: string; text: string } | { mimeType: string; digest: Digest; bytes: number };

export const stepStates = [
  'PENDING',
  'RUNNING',
  'RETRY_WAIT',
  'COMPLETED',
  'FAILED',
  'TIMED_OUT',
  'CANCELLED',
  'SKIPPED',
  'COMPENSATING',
  'COMPENSATED',
  'COMPENSATION_FAILED',
] as const;
export type StepState = (typeof stepStates)[number];

export const planStates = [
  'PENDING',
  'RUNNING',
  'COMPENSATING',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'COMPENSATED',
  'COMPENSATION_FAILED',
] as const;
export type PlanState = (typeof planStates)[number];
export type SettledState = Exclude<PlanState, 'PENDING' | 'RUNNING' | 'COMPENSATING'>;

/** FATAL = trying again can't help. */
export type FailureType = 'RETRYABLE' | 'FATAL';

export type StepOutput = { value: unknown } | { digest: Digest; bytes: number };

/** What an agent says became of one attempt. `stopped` = it was told to stop, and did. */
export type StepResult =
  | { kind: 'completed'; output: StepOutput | null }
  | { kind: 'failed'; type: FailureType; error: string }
  | { kind: 'stopped' };

/** What has gone wrong with a step so far, in its own work or in undoing it. */
export interface StepTrouble {
  /** Attempts that failed. */
  failures: number;
  error: string;
  type: FailureType;
  /** Nobody knows whether the attempt did its work, or is still at it. */
  unknown?: true;
}

/** What is remembered of a step whatever its state. */
export interface StepHistory {
  index: number;
  /** How often it, or the undoing of it, was started. Only grows: a number stands for one attempt for ever. */
  attempt: number;
  /** Attempts before somebody last asked for it to be done again, those cut short left out: the limit does not count them. */
  before?: number;
  /** Attempts that were cut short because the agent of their node was told to end: the limit does not count them either. */
  cut?: number;
  /** Of its time for all attempts, what is used up, as the owners measured it. */
  spentMs?: number;
  trouble?: StepTrouble;
  output?: StepOutput;
  /** When it was first started. */
  startedAt?: Timestamp;
  /** Who worked at it last; of what runs, before that. */
  by?: NodeName;
}

/** Somebody works at it. */
export interface StepRun {
  lockedBy: NodeName;
  /** For people: the owner measures it on its own clock, from when it started the attempt. */
  completeBy: Timestamp;
}

/** It waits so long, as its owner measures it, before it is tried again. */
export interface StepWait {
  waitMs: number;
  /** For people. */
  nextRunAt: Timestamp;
}

export type WorkEnd = 'COMPLETED' | 'FAILED' | 'TIMED_OUT' | 'CANCELLED';

export type PendingStep = StepHistory & { state: 'PENDING' };
export type RunningStep = StepHistory & { state: 'RUNNING'; run: StepRun };
export type WaitingStep = StepHistory & { state: 'RETRY_WAIT'; wait: StepWait };
export type EndedStep = StepHistory & { state: WorkEnd; endedAt: Timestamp };
export type SkippedStep = StepHistory & { state: 'SKIPPED'; reason: string; endedAt: Timestamp };
export type UndoingStep = StepHistory & {
  state: 'COMPENSATING';
  undoes: WorkEnd;
  /** Attempts at undoing it. */
  undos: number;
  doing: { run: StepRun } | { wait: StepWait };
};
export type UndoneStep = StepHistory & {
  state: 'COMPENSATED' | 'COMPENSATION_FAILED';
  undoes: WorkEnd;
  undos: number;
  endedAt: Timestamp;
};

export type StepRecord =
  PendingStep | RunningStep | WaitingStep | EndedStep | SkippedStep | UndoingStep | UndoneStep;

/** name: `<plan>/<chunk, 6 digits>`. The unit of ownership; every write compares its ModRevision and the writer's session key. */
export interface ChunkRecord {
  v: 1;
  plan: string;
  chunk: number;
  /** Its steps are those from `first` to `first + count - 1`. */
  first: number;
  count: number;
  /** null = free. With a session that is gone it is free, too. */
  owner: ChunkOwner | null;
  /** The fencing token of the claim, once the record has been written again after it; null = that of its own revision. */
  token: Token | null;
  /** In the order of their indexes. Of those that are absent nothing has happened yet: they are PENDING. */
  steps: StepRecord[];
}

export interface ChunkOwner {
  node: NodeName;
  incarnation: string;
  /** Unique per write of the owner: recognises one whose reply was lost. */
  operation: string;
  /** Of the epoch it was claimed in; absent = 0. */
  tokenBase?: string;
}

/** name: the plan's id. The commit point: a chunk without it is an orphan. */
export interface PlanRecord {
  v: 1;
  plan: string;
  spec: Omit<PlanSpec, 'steps'>;
  /** null when they don't fit in one value: then each chunk's are in its own `definitions` entry, written before. */
  steps: StepSpec[] | null;
  chunks: number;
  submittedAt: Timestamp;
  /** For people: where it came from, as in `rest`, or `schedule nightly`. */
  origin: string;
  idempotencyKey: string | null;
  /** null, then what it has come to, once; null again when failed steps are retried by hand. */
  settled: { state: SettledState; at: Timestamp } | null;
  cancel: PlanCancel | null;
}

/** name: `<plan>/<chunk, 6 digits>`. Never changes. */
export interface DefinitionRecord {
  v: 1;
  plan: string;
  first: number;
  steps: StepSpec[];
}

/** Why a plan is to end before its time. */
export interface PlanCancel {
  kind: 'asked' | 'complete-by';
  /** Who asked, or which node's clock ran out. */
  by: string;
  at: Timestamp;
}

/** name: the key. Created in the transaction that creates the plan. */
export interface IdempotencyRecord {
  v: 1;
  plan: string;
  /** Of the request's body: another one under the same key is a conflict. */
  digest: Digest;
}

/** name: the concurrency key, URI-encoded. Every start of a step with the key compares it and writes it again. */
export interface GuardRecord {
  v: 1;
  key: string;
  /** Of the chunk whose step was started last. */
  plan: string;
  chunk: number;
}

/** name: the schedule's. Each firing compares it, so that it fires once whoever makes it fire. */
export interface ScheduleRecord {
  v: 1;
  name: string;
  schedule: CronSchedule;
  plan: PlanSpec;
  paused: boolean;
  /** Who made it: `api`, or the app whose cron lines it stands for, as in `app/blog`. */
  origin: string;
  /** All firings up to this moment have been dealt with: a Unix time. */
  dealtWithMs: number;
  lastFiredAt: Timestamp | null;
  /** What became of the last firing, in words. */
  lastOutcome: string | null;
  /** Plans it has made that had not ended when it last fired. */
  plans: string[];
}

/** A schedule on which plans are made. */
export interface CronSchedule {
  /** Five fields, or `@hourly` … `@yearly`. */
  expression: string;
  /** An IANA name, as in `Europe/Berlin`. */
  timeZone: string;
  /** When the plan of the last firing has not ended yet. */
  overlap: 'allow' | 'forbid' | 'replace';
  catchUp: CatchUp;
}

/** What becomes of firings that nobody was there for: none, only the latest, or all up to so many of the latest. */
export type CatchUp = { kind: 'none' } | { kind: 'latest' } | { kind: 'all'; atMost: number };

/** One thing wrong with a plan: where (`steps[3].dependsOn[0]`), what, and what would be right when that can be said. */
export interface PlanProblem {
  field: string;
  message: string;
  hint: string | null;
}

const CHUNK_DIGITS = 6;

/** The name of a chunk, and of its definitions. */
export function chunkName(plan: string, chunk: number): string {
  return `${plan}/${String(chunk).padStart(CHUNK_DIGITS, '0')}`;
}

/** The fencing token of a chunk's owner: what it was claimed at, whatever was written to it since; null = nobody owns it. */
export function chunkToken(chunk: { value: ChunkRecord; revision: bigint }): Token | null {
  const { owner, token } = chunk.value;
  if (owner === null) return null;
  return token ?? String(BigInt(owner.tokenBase ?? 0) + chunk.revision);
}
