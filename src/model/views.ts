import type { AppSpec } from './app-spec.ts';
import type { AppName, InstanceId, NodeName, ProcessType, Subject, Timestamp, Token } from './ids.ts';
import type {
  Assessment,
  Endpoint,
  InstanceState,
  NodePromise,
  Outcome,
  StayingInstance,
} from './node-promise.ts';
import type { Rebalancing } from './placement.ts';
import type { Problem } from './problem.ts';
import type { AnswerRecord, Capacity, SupervisorRequest, Rollout } from './records.ts';

/** What the admin API shows, and the command line prints (design 14). Times are RFC 3339; durations say their unit. */

/** See `EpochRecord`. */
export interface EpochView {
  epoch: number;
  /** A decimal number. */
  tokenBase: string;
}

/** What would move, so that nodes are used evenly. */
export interface RebalancingView extends Rebalancing {
  revision: string;
}

/** What moves of it, and by which plan. */
export interface AppliedRebalancing extends RebalancingView {
  /** null = nothing moves: it is even. */
  plan: string | null;
  /** False = that plan was under way already. */
  created: boolean;
}

export interface NodeView {
  name: NodeName;
  /** The node machine's state, as far as the one who answers can see it. */
  state: 'Inactive' | 'Active' | 'ConnectionLost';
  /** Whether its observers agree that they don't hear its agent, though its session lives: what answers nobody may be taken over. */
  unreachable: boolean;
  /** Each observer that has not heard its agent for too long, and since when it says so. */
  unheardBy: { node: NodeName; since: Timestamp; evidence: string }[];
  incarnation: string;
  pid: number;
  version: string;
  platform: string;
  labels: Record<string, string>;
  roles: string[];
  capacity: Capacity;
  reserved: Capacity;
  instances: number;
  leaseTtlSeconds: number;
  /** Until its own deadline; only the node itself knows it, null for others. */
  remainingMs: number | null;
  draining: boolean;
  /** How far it is, by its own word; null = it has not begun, or takes work. */
  drain: { reason: string; left: number; stays: StayingInstance[] } | null;
  admin: string;
  peer: Endpoint | null;
  trust: number;
  startedAt: Timestamp;
}

export interface AppView {
  app: AppName;
  title: string | null;
  release: number;
  generation: number;
  processes: Record<ProcessType, { scale: number; ready: number; exclusive: boolean }>;
  hostnames: string[];
  artifact: string | null;
  /** The change of release that is under way. */
  rollout: { from: number; stage: Rollout['stage'] } | null;
  /** The release that was given up by itself, as long as nothing else was deployed since. */
  givenUp: { release: number; to: number; reason: string; at: Timestamp } | null;
  /** `Ready`, `Progressing`, `Degraded`, `Removing` … with words. */
  conditions: { type: string; status: boolean; reason: string; message: string }[];
  appliedAt: Timestamp;
}

export interface ScaledApp extends AppView {
  /** What keeps instances that are wanted now from running; it is wanted all the same. */
  warnings: Problem[];
}

/** One release that was deployed, and can be gone back to while what it runs is kept. */
export interface ReleaseView {
  app: AppName;
  release: number;
  /** The author's own words. */
  version: string | null;
  at: Timestamp;
  artifact: string | null;
  /** What it took the place of, if that is known. */
  replaces: number | null;
  /** Whether it is what is wanted now. */
  current: boolean;
  kept: boolean;
}

export interface InstanceView {
  instance: InstanceId;
  app: AppName;
  process: ProcessType;
  index: number;
  /** null while nobody has it. */
  node: NodeName | null;
  /** `unplaced` = wanted, nobody has it. `unknown` = its owner says nothing (its session is gone). */
  state: InstanceState | 'unplaced' | 'unknown';
  ready: boolean;
  release: number | null;
  version: string | null;
  endpoint: Endpoint | null;
  pid: number | null;
  token: Token | null;
  exclusive: boolean;
  mayStillRun: NodeName[];
  trouble: string | null;
}

export interface PromiseView extends NodePromise {
  /** The observers' judgements in one word; `unassessed` when nobody has judged yet. */
  outcome: Outcome | 'unassessed';
  assessments: Assessment[];
  /** Who ought to be watching it. */
  observers: NodeName[];
}

export interface RequestView extends SupervisorRequest {
  answer: AnswerRecord | null;
}

export interface SupervisorView {
  node: NodeName | null;
  incarnation: string | null;
  candidates: NodeName[];
  brake: { active: boolean; reason: string | null };
}

export interface EventView {
  /** As a decimal string. */
  revision: string;
  at: Timestamp;
  kind: string;
  subject: string;
  node: NodeName;
  message: string;
  details: Record<string, unknown>;
}

/** One owned (or once owned) subject, in the words of the cluster machine. */
export interface SubjectView {
  subject: Subject;
  state: 'Inactive' | 'Assigned' | 'Unassigned';
  owner: NodeName | null;
  incarnation: string | null;
  token: Token | null;
  mayStillRun: NodeName[];
}

export interface LogLine {
  instance: InstanceId;
  node: NodeName;
  stream: 'stdout' | 'stderr';
  text: string;
  /** Opaque: the same reading goes on right after this line. Absent when it can't. */
  cursor?: string | undefined;
}

/** Why a subject is where it is, or a promise is judged as it is: lines a person can read, and the facts behind them. */
export interface Explanation {
  about: string;
  summary: string;
  lines: string[];
  ranking: {
    candidates: { node: NodeName; score: number; reasons: string[] }[];
    excluded: { node: NodeName; reason: string }[];
  } | null;
}

/** What applying a spec would change. */
export interface AppPlan {
  app: AppName;
  change: 'create' | 'update' | 'none' | 'remove';
  /** The heaviest kind of change: nothing restarts, instances are replaced, or it is built anew. */
  impact: 'none' | 'in-place' | 'restart' | 'rebuild';
  differences: {
    field: string;
    from: string | null;
    to: string | null;
    impact: 'in-place' | 'restart' | 'rebuild';
  }[];
}

export interface ApplyRequest {
  specs: AppSpec[];
  /** Refuse unless the app is still at this generation; null = whatever it is. */
  ifGeneration: number | null;
}

export interface AppliedApp {
  app: AppName;
  release: number;
  generation: number;
  change: AppPlan['change'];
}

export type ApplyResult =
  | { kind: 'applied'; apps: AppliedApp[] }
  /** Nothing was changed. */
  | { kind: 'refused'; problems: Problem[] };

/** Deployments as they happen, one app after the other. Of one where nothing is to be done only `wanted` is told. */
export type DeployProgress =
  /** By that plan, which goes on should whoever tells of it be lost. */
  | { kind: 'begun'; app: AppName; plan: string }
  | { kind: 'step'; app: AppName; step: string; message: string }
  | { kind: 'output'; app: AppName; step: string; text: string }
  /** From now on nodes replace its instances by themselves. */
  | ({ kind: 'wanted' } & AppliedApp)
  | { kind: 'done'; result: ApplyResult }
  | { kind: 'failed'; app: AppName; step: string; message: string; output: string[] };

export interface Doctor {
  checks: { name: string; status: 'ok' | 'warn' | 'fail'; message: string; hint: string | null }[];
}
