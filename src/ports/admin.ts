import type { AppName, InstanceId, NodeName, ProcessType } from '../model/ids.ts';
import type { Assessment } from '../model/node-promise.ts';
import type { Problem } from '../model/problem.ts';
import type {
  ApplyRequest,
  AppPlan,
  AppView,
  DeployProgress,
  Doctor,
  EpochView,
  EventView,
  Explanation,
  InstanceView,
  LogLine,
  NodeView,
  PromiseView,
  ReleaseView,
  RequestView,
  ScaledApp,
  SubjectView,
  SupervisorView,
  AppliedRebalancing,
  RebalancingView,
} from '../model/views.ts';

export interface Listing<T> {
  /** The store revision the answer was made from, as a decimal string. */
  revision: string;
  items: T[];
}

/** What the agent serves to its admin API. Any node answers for the whole cluster. @throws AdminError */
export interface Admin {
  /** Whether the API may say it is ready: mirrors synced, and not too stale. */
  ready(): { ready: boolean; reason: string };
  node(): NodeView;
  nodes(): Listing<NodeView>;
  apps(): Listing<AppView>;
  app(app: AppName): AppView;
  instances(filter: { app?: AppName; node?: NodeName; process?: ProcessType }): Listing<InstanceView>;
  promises(filter: { of?: NodeName; outcome?: string; kind?: string; app?: AppName }): Listing<PromiseView>;
  assessments(filter: { promiser?: NodeName; assessor?: NodeName }): Listing<Assessment>;
  requests(): Promise<Listing<RequestView>>;
  supervisor(): SupervisorView;
  subjects(filter: { owner?: NodeName }): Listing<SubjectView>;

  /** Newest `limit` events that match, oldest first; `after` = only later than that revision. */
  events(filter: EventFilter & { limit: number; after: string | null }): Promise<Listing<EventView>>;
  /** As they are recorded, from after that revision, until the signal aborts. */
  followEvents(filter: EventFilter & { after: string }, signal: AbortSignal): AsyncIterable<EventView>;
  /** Of one instance, or of all of an app or process type (`blog`, `blog/web`, `blog/web/0`), on every node. */
  logs(target: string, options: LogOptions, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Wishes that it be emptied, and take nothing new. Nowhere for its work to go: `conflict`. Asked twice: as asked first. */
  drain(node: NodeName, reason: string): Promise<NodeView>;
  /** It takes work again. */
  undrain(node: NodeName): Promise<NodeView>;
  /** What would move, and why, so that nodes are used evenly. */
  rebalancing(): RebalancingView;
  /** Moves it one after the other, by a plan that any node goes on with; while one is under way, it is that one. */
  rebalance(): Promise<AppliedRebalancing>;
  /** `blog/web/0`, a subject, or `node/promise name`. */
  explain(target: string): Explanation;

  plan(request: ApplyRequest): Promise<{ plans: AppPlan[]; problems: Problem[] }>;
  /** Fetches, builds, runs before-run, and writes the new release; tells as it goes. Never rejects for a user's mistake. */
  apply(request: ApplyRequest, signal: AbortSignal): AsyncIterable<DeployProgress>;
  remove(app: AppName): Promise<void>;
  scale(app: AppName, scales: Record<ProcessType, number>): Promise<ScaledApp>;
  /** Newest first. */
  releases(app: AppName): Promise<Listing<ReleaseView>>;
  /** To that release (not kept: `not-found`), or (null) to what the present one took the place of (none: `conflict`). */
  rollback(app: AppName, release: number | null): Promise<AppView>;
  /** Lets a canary, or what stands ready beside, take over now. Nothing waits: `conflict`. */
  promote(app: AppName): Promise<AppView>;
  restart(app: AppName, process: ProcessType | null): Promise<AppView>;
  /** Takes a source tree (gzipped tar) into this node's artifacts. */
  receiveArtifact(
    stream: AsyncIterable<Uint8Array>,
    expected: string | null,
  ): Promise<{ digest: string; bytes: number }>;
  artifacts(): Promise<{ node: NodeName; digest: string; bytes: number }[]>;
  /** What a source tree in the artifact store holds, for completing a spec without processes. */
  inspectArtifact(digest: string): Promise<{ packageStart: boolean; files: string[] }>;
  doctor(): Promise<Doctor>;
  /** After etcd was restored from a backup: opens a new epoch. */
  recover(): Promise<EpochView>;
  /** Stops this node's instances, releases what it owns, and ends the agent. */
  leave(): Promise<void>;
  /** Prometheus text. */
  metrics(): Promise<string>;
}

export interface LogOptions {
  /** Of the past, of each instance. */
  lines: number;
  follow: boolean;
  /** A line's cursor: goes on after it, instead of with the newest lines. */
  after?: string;
  /** Told at most once: the cursor of before the first line. */
  onPlace?: (cursor: string) => void;
}

export interface EventFilter {
  kind?: string;
  subject?: string;
  node?: NodeName;
  instance?: InstanceId;
}

/** A `no` that a person should read. `kind` decides the HTTP status; `full` = later, when there is room again. */
export class AdminError extends Error {
  readonly kind: 'not-found' | 'conflict' | 'invalid' | 'unavailable' | 'refused' | 'full';
  readonly details: Record<string, unknown>;
  constructor(
    kind: 'not-found' | 'conflict' | 'invalid' | 'unavailable' | 'refused' | 'full',
    message: string,
    details: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = 'AdminError';
    this.kind = kind;
    this.details = details;
  }
}
