import type { AppName, Digest, InstanceId, NodeName, PortText, ProcessType, Timestamp } from './ids.ts';

/**
 * A declaration by one node about its own behaviour (promise theory: promiser, promisee, body).
 * Nobody promises for somebody else.
 */
export interface NodePromise {
  promiser: NodeName;
  /** `any`, or one node or app. */
  promisee: string;
  /** Unique per promiser, as in `running:blog/web/0`. */
  name: string;
  kind: 'state' | 'action';
  polarity: 'offer' | 'accept';
  body: PromiseBody;
  /** Names of promises this one depends on, as `node/name` or `app:<app>`. */
  given: string[];
  verify: Verification;
  madeAt: Timestamp;
  completeBy: Timestamp | null;
}

export type PromiseBody =
  | { kind: 'capacity'; memoryBytes: number; cpu: number }
  | RunningBody
  /** A copy of a new release that is ready, and gets no requests before the switch. */
  | StandbyBody
  | { kind: 'serving'; hostname: string; app: AppName; instances: number }
  | { kind: 'holding'; artifact: Digest; bytes: number }
  | { kind: 'deploying'; app: AppName; release: number; step: string }
  /** It takes nothing new. `left` = instances that are still here; `stays` = those of them that nobody else can take. */
  | { kind: 'draining'; reason: string; left: number; stays: StayingInstance[] }
  | { kind: 'request'; request: string; action: string };

/** An instance that can't be moved away from its node, and why not. */
export interface StayingInstance {
  instance: InstanceId;
  why: string;
}

export interface RunningBody {
  kind: 'running';
  instance: InstanceId;
  app: AppName;
  process: ProcessType;
  index: number;
  release: number;
  /** `<release>` or `<release>.<restarts>`: what a rollout compares. */
  version: string;
  state: InstanceState;
  endpoint: Endpoint | null;
  /** The fixed ports that it has on its node; absent = none. */
  ports?: PortText[] | undefined;
  /** Whether requests may be sent there now. False while starting, unhealthy or draining. */
  ready: boolean;
  pid: number | null;
  /** The last lines of output and the reason, when state is `failed` or `backoff`; else null. */
  trouble: string | null;
  /** The version it should run, when that has been given up here. */
  givenUp?: string | undefined;
}

export interface StandbyBody {
  kind: 'standby';
  instance: InstanceId;
  app: AppName;
  process: ProcessType;
  index: number;
  release: number;
  version: string;
  endpoint: Endpoint | null;
}

/**
 * `pending` claimed, not started yet (fetching, or waiting for what it depends on) · `starting` · `standby` would be ready if its
 * release had taken over, and there is no other copy · `running` ready · `unhealthy` alive but failing its health check · `backoff`
 * waiting before the next start · `stopping` · `failed` given up.
 */
export type InstanceState =
  'pending' | 'starting' | 'standby' | 'running' | 'unhealthy' | 'backoff' | 'stopping' | 'failed';

export interface Endpoint {
  host: string;
  port: number;
}

export type Verification =
  | {
      method: 'http';
      host: string;
      port: number;
      path: string;
      contains: string | null;
      timeoutSeconds: number;
    }
  | { method: 'tcp'; host: string; port: number; timeoutSeconds: number }
  /** Nothing to ask: the promise stands while its lease does. */
  | { method: 'lease' };

export type Outcome = 'kept' | 'broken' | 'repaired' | 'indeterminate';

/** One observer's own judgement of one promise. Others may judge otherwise. */
export interface Assessment {
  assessor: NodeName;
  promiser: NodeName;
  promise: string;
  outcome: Outcome;
  /** In words and numbers: `HTTP 200 from 127.0.0.1:4001/health in 3 ms`. */
  evidence: string;
  at: Timestamp;
  /** Of a broken promise to run something: the process that was found so. Absent = it has none, or was not heard. */
  pid?: number | undefined;
  /** Present when neither the promiser's agent nor what was promised answers: the evidence for taking it over. */
  unreachable?: true | undefined;
  /**
   * Present when the promise has expired with its lease and what was promised still answers: the promise as it was last
   * made. Nobody takes over what answers.
   */
  answering?: NodePromise | undefined;
  /** This assessor's running share of kept checks of this promiser, 0–1, recent ones weighing more. */
  trust: number;
}
