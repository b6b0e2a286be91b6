import type { AppSpec, ProcessSpec } from './app-spec.ts';
import type { AppName, InstanceId, InstantMs, NodeName, ProcessType, Subject, Token } from './ids.ts';
import type { Endpoint, InstanceState } from './node-promise.ts';
import type { ArtifactRef } from './records.ts';

/** One instance this node owns and should run. */
export interface DesiredInstance {
  instance: InstanceId;
  subject: Subject;
  app: AppName;
  process: ProcessSpec;
  index: number;
  spec: AppSpec;
  release: number;
  /** See `versionOfRelease`. */
  version: string;
  artifact: ArtifactRef | null;
  token: Token;
  /** False = not before something else: `waitingFor` says what, in words. */
  mayStart: boolean;
  waitingFor: string | null;
  /** Whether a running copy of another version may be replaced now (the rollout's turn); else the words why not. */
  mayReplace: boolean;
  replaceWaitsFor: string | null;
  /** Whether the old copy has to be gone before the new one starts, whatever else would demand it. */
  stopFirst?: boolean;
  /** When a copy of the wanted version gets requests (`Serves`); absent = as soon as it is ready. */
  serves?: 'now' | 'after-old' | 'not-yet';
  /** What ran before the release that is being rolled out: of older copies that one gets requests, if it is there. */
  before?: string;
  /** Releases whose copies only ever stood ready here, and are to get no requests any more. */
  passedOver?: readonly number[];
}

/** Owned by this node but not to run here any more: stop, then release. */
export interface UnwantedInstance {
  instance: InstanceId;
  subject: Subject;
  token: Token;
  reason: string;
  /** Of its process type, while its spec is still known; else a default is used. */
  stopTimeoutSeconds?: number;
}

/** One started copy of an instance, as this node sees it now. During a replacement an instance has two. */
export interface Unit {
  /** Unique on the node, never reused. */
  unit: string;
  instance: InstanceId;
  release: number;
  version: string;
  /** null for static. */
  pid: number | null;
  endpoint: Endpoint | null;
  phase: UnitPhase;
  /** When it was started, by this node's clock (an adopted unit: when it was adopted). */
  startedMs: InstantMs;
  /** Runs under the guard. */
  guarded?: boolean;
}

export type UnitPhase =
  /** Alive, no good answer yet; `refusal` is the first bad one. */
  | { kind: 'starting'; refusal?: string }
  /** Alive and answering (or nothing to ask, and alive). */
  | { kind: 'ready'; sinceMs: InstantMs }
  /** Alive, was ready, failed its health check `failures` times in a row. */
  | { kind: 'unhealthy'; sinceMs: InstantMs; failures: number; evidence: string }
  /** Not to be sent requests any more; to be stopped when `sinceMs` is long enough ago. */
  | { kind: 'draining'; sinceMs: InstantMs }
  | { kind: 'stopping'; sinceMs: InstantMs }
  | { kind: 'exited'; sinceMs: InstantMs; exit: UnitExit };

export interface UnitExit {
  /** null when a signal ended it, or when nobody was there to see. */
  code: number | null;
  signal: string | null;
  /** The last lines (at most 20) of both output streams. */
  lastOutput: string[];
  /** True when this agent had asked it to stop. */
  requested: boolean;
}

/** What the agent remembers of one instance's starts. Reset when the version changes. */
export interface StartHistory {
  instance: InstanceId;
  version: string;
  /** Failed starts and crashes in a row. */
  failures: number;
  lastFailureMs: InstantMs | null;
  /** In words, with the last lines of output. */
  lastTrouble: string | null;
  /** Whether any start of this version has ever been ready. */
  everReady: boolean;
  /** How its last copy ended when nobody had asked for it; null or absent while that says nothing. */
  lastExit?: { code: number | null; signal: string | null } | null;
  /** The last start could not even be tried, for want of something that may be there later: no fault of the app. */
  passing?: boolean;
}

/** An action leaves nothing to choose; performing it is a switch. */
export type Action =
  | { kind: 'start'; instance: InstanceId; version: string; reason: string }
  /** Take it out of traffic first. */
  | { kind: 'drain'; unit: string; reason: string }
  /** Signal, wait, kill the whole group, confirm. */
  | { kind: 'stop'; unit: string; graceSeconds: number; reason: string }
  /** Its exit has been dealt with. */
  | { kind: 'forget'; unit: string; reason: string }
  /** Nothing of it runs here any more. */
  | { kind: 'release'; subject: Subject; instance: InstanceId; token: Token; reason: string };

/** What this node says of one instance it owns. */
export interface InstanceStatus {
  instance: InstanceId;
  subject: Subject;
  state: InstanceState;
  release: number;
  version: string;
  /** The copy that should get requests, if any. */
  endpoint: Endpoint | null;
  ready: boolean;
  pid: number | null;
  trouble: string | null;
  /** The wanted version, when its starts have been given up. */
  givenUp?: string;
  /** A ready copy of the wanted version that gets no requests yet. */
  standby?: { release: number; version: string; endpoint: Endpoint | null };
}

/** What one node says of one instance, as the rollout of the others sees it. */
export interface RunningElsewhere {
  node: NodeName;
  instance: InstanceId;
  process: ProcessType;
  index: number;
  version: string;
  ready: boolean;
}
