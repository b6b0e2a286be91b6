import type { InstantMs, NodeName } from '../model/ids.ts';
import type { PlanCancel, SettledState, StepRecord } from '../model/plan.ts';
import type { Moment } from './history.ts';
import type { PlanShape } from './shape.ts';
import type { Survey } from './survey.ts';

/** All that the owner of a chunk decides from. */
export interface Outlook {
  shape: PlanShape;
  /** Of the whole plan by index, as this node last saw them; absent = nothing has happened yet. */
  records: readonly (StepRecord | undefined)[];
  /** Their survey, where somebody keeps up with it; absent = it is taken. */
  counts?: Survey;
  /** The chunk for which moves are wanted. */
  chunk: { first: number; count: number };
  self: NodeName;
  cancel: PlanCancel | null;
  /** Whether the plan's record says what it has come to. */
  settled: boolean;
  nowMs: InstantMs;
  /** When this node first saw the plan, or saw it taken up again by hand, and that it was cancelled. */
  planSinceMs: InstantMs;
  cancelSinceMs: InstantMs;
  /**
   * When this node started the attempt that runs, or first saw the step as it is now, state and attempt; absent = just now. What
   * a result has changed in this very turn is as it is since just now.
   */
  sinceMs: (index: number) => InstantMs | undefined;
  /** How many more attempts this node may start. */
  slots: number;
  /** Attempts that this node can't start (it lacks the agent) are left alone; absent = it can start all. */
  mayStart?: (index: number) => boolean;
  /** How many steps with this concurrency key run elsewhere: under owners that live, this chunk left out. */
  holders: (key: string) => number;
  moment: Moment;
}

/**
 * What is to be done about one step, or the plan: `record` is what the step's is to be from then on, written in a transaction
 * before anything is started. What the owner runs is known by step and attempt.
 */
export type Move =
  /**
   * Start the step's own work, to end within `limitMs`. With a concurrency key, the transaction compares that the key's guard
   * entry is as it was when holders were counted, and writes it.
   */
  | {
      kind: 'start';
      index: number;
      record: StepRecord;
      limitMs: number;
      concurrencyKey: string | null;
      reason: string;
    }
  /** Start to undo the step. */
  | { kind: 'undo'; index: number; record: StepRecord; limitMs: number; reason: string }
  /** End the attempt that runs: whatever it still says is refused. */
  | { kind: 'time-out'; index: number; record: StepRecord; reason: string }
  /** Ask the attempt that runs to stop and to say `stopped`; again and again as long as it has not answered. */
  | { kind: 'stop'; index: number; reason: string }
  /** Only written: nothing of the step runs. */
  | { kind: 'note'; index: number; record: StepRecord; reason: string }
  /** Write that the plan is to end before its time, if nobody has. */
  | { kind: 'expire'; reason: string }
  /** Write what the plan has come to, with or after the records above. */
  | { kind: 'settle'; state: SettledState; reason: string };

export interface NextMoves {
  moves: Move[];
  /** When to ask again though nothing was heard; null = only then. */
  wakeInMs: number | null;
}
