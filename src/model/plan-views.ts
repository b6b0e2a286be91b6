import type { NodeName, Timestamp, Token } from './ids.ts';
import type {
  CronSchedule,
  FailureType,
  OnFailure,
  PlanCancel,
  PlanState,
  StepOutput,
  StepState,
} from './plan.ts';

/** What is shown of plans. Times are RFC 3339; durations say their unit. */

export interface PlanSummary {
  plan: string;
  title: string | null;
  state: PlanState;
  origin: string;
  priority: number;
  steps: number;
  submittedAt: Timestamp;
  /** null = it has not ended. */
  endedAt: Timestamp | null;
}

export interface PlanView extends PlanSummary {
  sequential: boolean;
  onFailure: OnFailure;
  completeBySeconds: number | null;
  idempotencyKey: string | null;
  cancel: PlanCancel | null;
  /** Of its steps, those states that any is in. */
  counts: Partial<Record<StepState, number>>;
  /** What a person should know of it: steps for which there is no agent, or that could not be stopped, undoings that were given up. */
  troubles: string[];
  /** The store's, as of which this is so. */
  revision: string;
}

export interface StepView {
  plan: string;
  index: number;
  name: string | null;
  agent: string;
  resource: string;
  arguments: Record<string, string>;
  dependsOn: number[];
  payload: { mimeType: string; bytes: number } | null;
  state: StepState;
  /** How often it was started. */
  attempt: number;
  /** The fencing token of whoever owns it. */
  token: Token | null;
  lockedBy: NodeName | null;
  /** Who works at it, or did last. */
  ranOn: NodeName | null;
  completeBy: Timestamp | null;
  nextRunAt: Timestamp | null;
  /** Attempts that failed. */
  failures: number;
  error: string | null;
  failureType: FailureType | null;
  /** Why it was skipped. */
  reason: string | null;
  output: StepOutput | null;
  startedAt: Timestamp | null;
  endedAt: Timestamp | null;
  /** What its resource is to know all attempts by. */
  idempotencyKey: string;
}

export interface SubmittedPlan {
  plan: PlanView;
  /** False = the same submission was accepted before. */
  created: boolean;
}

/** The whole state of one thing. `changed` = at which revision its part of the plan was written last. */
export type PlanChange = { changed: string } & (
  { kind: 'plan'; plan: PlanView } | { kind: 'step'; step: StepView }
);

/**
 * Whoever has heard of it may go on after `revision`, whatever came before and whichever node is asked then: all up to it has been
 * told. 0 = not yet the whole, begin again.
 */
export type PlanEvent = PlanChange & { revision: string };

export interface ScheduleView {
  name: string;
  schedule: CronSchedule;
  paused: boolean;
  title: string | null;
  steps: number;
  /** null = never. */
  lastFiredAt: Timestamp | null;
  /** What became of the last firing, in words. */
  lastOutcome: string | null;
  nextFireAt: Timestamp | null;
  /** Plans of it that have not ended. */
  running: string[];
  /** Who made it: `api`, or the app whose cron lines it stands for, as in `app/blog`. */
  origin: string;
}
