import type { AppSpec } from './app-spec.ts';
import type {
  AppName,
  Digest,
  InstanceId,
  NodeName,
  PortText,
  ProcessType,
  Subject,
  Timestamp,
  Token,
} from './ids.ts';
import type { Assessment, Endpoint, NodePromise } from './node-promise.ts';
import type {
  ChunkRecord,
  DefinitionRecord,
  GuardRecord,
  IdempotencyRecord,
  PlanRecord,
  ScheduleRecord,
} from './plan.ts';

/**
 * The values kept in the store, by kind. The kind is the first part of the key (design: "Keys in etcd"), the rest
 * is the entry's name. All are JSON objects with `v: 1`; unknown fields are kept by writers that read first.
 */
export interface Records {
  /** name: `<app>` */
  apps: AppRecord;
  /** name: `<app>/<release, 6 digits>` */
  releases: ReleaseRecord;
  /** name: `<node>/<incarnation>`; on the lease */
  sessions: SessionRecord;
  /** name: the subject */
  owners: OwnerRecord;
  /** name: the host name */
  hostnames: HolderRecord;
  /** name: `<node>/<port>`, as in `node-1/8448/tcp`; only that node writes it, and a supervisor removes it when that is lost */
  ports: PortRecord;
  /** name: `<app>` */
  volumes: VolumeRecord;
  /** name: `<node>/<promise name>`; on the lease */
  promises: PromiseRecord;
  /** name: `<promiser>/<promise name>/<assessor>`; on the assessor's lease */
  assessments: AssessmentRecord;
  /** name: `<subject>/<node>`; on the lease */
  refusals: RefusalRecord;
  /** name: `<node>/<id>` */
  requests: RequestRecord;
  /** name: `<node>/<id>` */
  answers: AnswerRecord;
  /** name: `<lease id in hexadecimal>`; on the lease; the lowest create revision supervises */
  supervisor: SupervisorRecord;
  /** name: `<RFC 3339 time>-<node>-<counter>` */
  events: EventRecord;
  /** name: `epoch` */
  cluster: EpochRecord;
  /** name: the hash of a join token; on a lease that ends with it */
  enrolments: EnrolmentRecord;
  /** name: `<node>/<agent>/<holder>`; on the lease; the lowest create revision is the first in line */
  waiters: WaiterRecord;
  /** name: `<agent>` */
  agents: AgentStateRecord;
  /** name: `<app>`; over with its plan */
  deploys: DeploymentRecord;
  /** name: `<node>`; there as long as somebody wants it */
  drains: DrainRecord;
  /** name: the plan's id */
  plans: PlanRecord;
  /** name: `<plan>/<chunk, 6 digits>` */
  steps: ChunkRecord;
  /** name: `<plan>/<chunk, 6 digits>` */
  definitions: DefinitionRecord;
  /** name: the idempotency key, URI-encoded */
  idempotency: IdempotencyRecord;
  /** name: the concurrency key, URI-encoded */
  guards: GuardRecord;
  /** name: the schedule's */
  schedules: ScheduleRecord;
}
export type Kind = keyof Records;

export interface AppRecord {
  v: 1;
  app: AppName;
  /** Raised when anything that instances run with changes (source, commands, env); never reused. */
  release: number;
  /** Raised by every accepted change, scale included. */
  generation: number;
  spec: AppSpec;
  /** What instances run; null for an app without source. */
  artifact: ArtifactRef | null;
  /** The source tree it was built from; a branch of a git source may have moved since. */
  source?: Digest;
  /** Raised by `restart`: part of the version an instance must run. */
  restarts: Record<ProcessType, number>;
  /** Values of generated variables: made once, kept for the app's life. */
  secrets: Record<string, string>;
  /** One release is taking the place of another; absent = all instances are wanted at `release`. */
  rollout?: Rollout;
  /** No release of it has been healthy yet: there is nothing to go back to. */
  unproven?: true;
  /** The release that was given up by itself, as long as nothing else was deployed since. */
  givenUp?: GivenUp;
  /** The plan of the deployment that changed it last. */
  deployment?: string;
  /** Set by `remove`: owners stop and release; the key goes when nobody owns anything of it. */
  removing: boolean;
  appliedAt: Timestamp;
}

/** All that makes a release run. */
export type ReleaseState = Pick<AppRecord, 'release' | 'spec' | 'artifact' | 'source' | 'restarts'>;

/** One release taking the place of another. */
export interface Rollout {
  /** What ran before: it runs on where its turn has not come, and is gone back to. */
  before: ReleaseState;
  /**
   * `canary` only a share of the instances runs the new release · `beside` new copies stand ready beside the old ones, which
   * get all requests · `replacing` all instances are wanted at the new release.
   */
  stage: 'canary' | 'beside' | 'replacing';
  /** Releases in whose place this one came while they still stood beside. */
  passedOver?: number[];
  /** It leads back to what ran before, or to what an operator chose: it is not given up again. */
  final?: true;
}

export interface GivenUp {
  release: number;
  /** What was gone back to. */
  to: number;
  reason: string;
  at: Timestamp;
}

export interface ArtifactRef {
  digest: Digest;
  bytes: number;
  /** `linux-x64-node20` …; null = runs anywhere. */
  platform: string | null;
}

export interface ReleaseRecord {
  v: 1;
  app: AppName;
  release: number;
  spec: AppSpec;
  artifact: ArtifactRef | null;
  /** The source tree it was built from. */
  source?: Digest;
  /** The release that it took the place of. */
  replaces?: number;
  /** The plan of its deployment. */
  deployment?: string;
  at: Timestamp;
}

export interface SessionRecord {
  v: 1;
  node: NodeName;
  incarnation: string;
  ttlSeconds: number;
  pid: number;
  /** The agent's version. */
  version: string;
  startedAt: Timestamp;
  labels: Record<string, string>;
  roles: string[];
  capacity: Capacity;
  platform: string;
  /** Where other agents reach this one. */
  peer: Endpoint | null;
  admin: string;
  /** Takes no new work. */
  draining: boolean;
  /** Ports of this host that no instance can have: what listens there, by port. */
  listens?: Record<PortText, string>;
}

export interface Capacity {
  memoryBytes: number;
  /** Cores. */
  cpu: number;
}

export interface OwnerRecord {
  v: 1;
  subject: Subject;
  node: NodeName;
  incarnation: string;
  ttlSeconds: number;
  /** Who on that node: `agent` for instances. */
  holder: string;
  /** Unique per attempt: recognises a write whose reply was lost. */
  operation: string;
  /** Nodes that may still run a redundant subject taken from them; cleared by each one's confirmed stop. */
  mayStillRun: NodeName[];
  /** null while owned. `to` = who is to take it, if that node still can. */
  released: { at: Timestamp; reason: string; to?: NodeName } | null;
  /** The token, once the record has been written again after it was taken; null = its own modification revision. */
  token: Token | null;
  /** Of the epoch it was taken in; absent = 0. */
  tokenBase?: string;
  /** Held under the guard: dead by the deadline of its session. Absent = redundant. */
  exclusive?: boolean;
  /** Of a named agent: when it was taken. For people. */
  since?: Timestamp;
}

/** The one entry of its kind. */
export const EPOCH = 'epoch';

/** Raised by `cluster recover` when etcd was restored from a backup and repeats revisions (ownership rule 14). */
export interface EpochRecord {
  v: 1;
  number: number;
  /** Added to the revision at which a subject is taken; greater than any token given before. */
  tokenBase: string;
  at: Timestamp;
  by: NodeName;
}

export interface HolderRecord {
  v: 1;
  app: AppName;
}

/** A fixed port of a node: taken with the instance, and let go when nothing of it uses the port there any more. */
export interface PortRecord {
  v: 1;
  app: AppName;
  instance: InstanceId;
}

export interface VolumeRecord {
  v: 1;
  app: AppName;
  node: NodeName;
}

export interface PromiseRecord {
  v: 1;
  promise: NodePromise;
}

export interface AssessmentRecord {
  v: 1;
  assessment: Assessment;
}

export interface RefusalRecord {
  v: 1;
  subject: Subject;
  node: NodeName;
  reason: string;
  /** Of the app, when it was refused: another one is looked at afresh. */
  generation: number;
}

/** A supervisor asks; only the node decides (promise theory: an imposition). */
export interface SupervisorRequest {
  id: string;
  node: NodeName;
  action: 'restart' | 'release' | 'drain' | 'rebalance' | 'retry-step';
  subject: Subject;
  /** Of `restart`: the process that is broken; what has taken its place is not meant. */
  pid?: number | undefined;
  /** Of `rebalance`: who is to have it instead. */
  to?: NodeName | undefined;
  reason: string;
  /** How often this has been asked before without effect. */
  attempt: number;
  from: NodeName;
  at: Timestamp;
}

export interface RequestRecord {
  v: 1;
  request: SupervisorRequest;
}

export interface AnswerRecord {
  v: 1;
  id: string;
  node: NodeName;
  answer: 'accepted' | 'refused' | 'done' | 'failed';
  reason: string;
  at: Timestamp;
}

export interface SupervisorRecord {
  v: 1;
  node: NodeName;
  incarnation: string;
}

export interface EventRecord {
  v: 1;
  at: Timestamp;
  /** Kebab-case past tense, as in `promise-withdrawn`, `instance-exited`, `subject-acquired`. */
  kind: string;
  subject: string;
  node: NodeName;
  message: string;
  details: Record<string, unknown>;
}

/** A token that lets one node in, once. */
export interface EnrolmentRecord {
  v: 1;
  /** Who it is for; null = any name that no node has. */
  node: NodeName | null;
  issuedBy: NodeName;
  endsAt: Timestamp;
  /** Who came with it; null while nobody has. */
  usedBy: NodeName | null;
}

/** Somebody waits for a named agent. */
export interface WaiterRecord {
  v: 1;
  agent: string;
  node: NodeName;
  incarnation: string;
  holder: string;
  since: Timestamp;
}

/** The last known state of a named agent, written in a transaction that compares who owns it. */
export interface AgentStateRecord {
  v: 1;
  agent: string;
  state: unknown;
  token: Token;
  node: NodeName;
  holder: string;
  /** Unique per write: recognises one whose reply was lost. */
  operation: string;
  at: Timestamp;
}

/**
 * One deployment of an app at a time: whose turn it is, and what it has made so far. Written with the plan that does it, and gone
 * with the transaction that makes its release what is wanted; one whose plan has ended, or is gone, is in nobody's way.
 */
export interface DeploymentRecord {
  v: 1;
  app: AppName;
  plan: string;
  /** Through which it was asked for. */
  node: NodeName;
  since: Timestamp;
  asked: AppSpec;
  /** Of whoever wrote it last: what comes with a lower one is refused. */
  token: Token;
  /** null = nobody has looked into it yet. */
  draft: ReleaseDraft | null;
}

/** A release on its way. */
export interface ReleaseDraft {
  /** With its processes, also those found in the source. */
  spec: AppSpec;
  release: number;
  /** The app as it was looked at: another one is not overwritten. null = it was not there. */
  before: Pick<AppRecord, 'release' | 'generation'> | null;
  impact: 'none' | 'in-place' | 'restart' | 'rebuild';
  source?: Digest;
  /** What the release before was built for; null = anything, absent = there is none. */
  platform?: string | null;
  /** Absent = it is still to be built. */
  artifact?: ArtifactRef;
  secrets: Record<string, string>;
}

/** The wish that a node be emptied, and take nothing new. It outlives the node's sessions; the node itself fulfils it. */
export interface DrainRecord {
  v: 1;
  node: NodeName;
  reason: string;
  /** The node through which it was asked for. */
  from: NodeName;
  at: Timestamp;
}

/** What an instance of a release must run: the release, and how often it was restarted by request. */
export function versionOfRelease(
  { release, restarts }: Pick<ReleaseState, 'release' | 'restarts'>,
  type: ProcessType,
): string {
  const times = restarts[type] ?? 0;
  return times === 0 ? String(release) : `${release}.${times}`;
}

/** The token of an owner key: what it was taken at, whatever was written to it since. */
export function tokenOf(owner: { value: OwnerRecord; revision: bigint }): Token {
  return owner.value.token ?? String(BigInt(owner.value.tokenBase ?? 0) + owner.revision);
}

/** The revision of the transaction that took it. */
export function takenAt(owner: { value: OwnerRecord; revision: bigint }): bigint {
  return BigInt(tokenOf(owner)) - BigInt(owner.value.tokenBase ?? 0);
}
