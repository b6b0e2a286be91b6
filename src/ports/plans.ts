import type { Digest } from '../model/ids.ts';
import type { CronSchedule, PlanProblem, PlanSpec, PlanState, StepState } from '../model/plan.ts';
import type {
  PlanEvent,
  PlanSummary,
  PlanView,
  ScheduleView,
  StepView,
  SubmittedPlan,
} from '../model/plan-views.ts';
import type { Listing } from './admin.ts';

/**
 * Plans, as a node's agent serves them to its admin API, its gRPC listener and its own deployments. Any node answers for all.
 * @throws AdminError: `not-found`, `conflict`, `invalid` (`details.problems`: PlanProblem[]), `full`, `unavailable`
 */
export interface Plans {
  /** Everything wrong with it; empty = it would be accepted. */
  check(spec: PlanSpec): PlanProblem[];
  /** Written as a whole, or not at all. The same key and body again: the same plan; the same key, another body: `conflict`. */
  submit(request: PlanSubmission): Promise<SubmittedPlan>;
  plan(id: string): Promise<PlanView>;
  /** In the order of their indexes. */
  steps(id: string, filter: StepFilter): Promise<Listing<StepView>>;
  step(id: string, index: number): Promise<StepView>;
  /** What a completed step gave, read where it lies; null = nothing. Of one that has not completed: `conflict`. */
  output(id: string, index: number, signal: AbortSignal): Promise<Uint8Array | null>;
  /** Newest first. */
  list(filter: PlanFilter): Promise<Listing<PlanSummary> & { next: string | null }>;
  /** Asks for it; what runs is told to stop. Of one that has ended: `conflict`. */
  cancel(id: string, by: string): Promise<PlanView>;
  /** Of one that has ended badly: its failed steps (`only` = these alone) and all that was skipped after them. */
  retry(id: string, only: number[] | null): Promise<PlanView>;
  /** Takes an ended plan out of the store. Of one that has not ended: `conflict`. */
  forget(id: string): Promise<void>;
  /**
   * Every change of the plan and its steps from after that revision; null = first all of it as it is, the plan last. Each event
   * holds the whole state of one thing, so that hearing one twice does no harm. Ends after the plan has, when the end of each of its
   * steps has been told; a retry by hand is not waited for.
   */
  watch(id: string, after: string | null, signal: AbortSignal): AsyncIterable<PlanEvent>;

  schedules(): Listing<ScheduleView>;
  schedule(name: string): ScheduleView;
  /** Creates it, or puts another in its place. */
  putSchedule(name: string, request: ScheduleRequest): Promise<ScheduleView>;
  /** Stops it from firing, or lets it fire again; what it was to fire in between is not made up for. Plans that run go on. */
  pauseSchedule(name: string, paused: boolean): Promise<ScheduleView>;
  /** Makes its plan now, besides those at its times, with whatever its overlap policy says of those that run: `conflict` for `forbid`. */
  runSchedule(name: string): Promise<PlanView>;
  /** Of an app: `conflict`. */
  removeSchedule(name: string): Promise<void>;
}

export interface PlanSubmission {
  /** Payloads of any permitted size inline: what is too large for the store is put elsewhere. */
  spec: PlanSpec;
  idempotencyKey: string | null;
  /** Of the request's body, as whoever parsed it saw it. */
  digest: Digest;
  /** For people: where it came from, as in `rest`, `grpc`, `schedule nightly`, `deploy blog`. */
  origin: string;
}

export interface PlanFilter {
  states?: PlanState[];
  origin?: string;
  /** Part of the title. */
  title?: string;
  limit: number;
  /** `next` of the page before. */
  after?: string;
}

export interface StepFilter {
  states?: StepState[];
  first?: number;
  limit?: number;
}

export interface ScheduleRequest {
  schedule: CronSchedule;
  plan: PlanSpec;
  paused: boolean;
}
