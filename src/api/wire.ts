import { z } from 'zod';
import type { Assessment, NodePromise, StayingInstance } from '../model/node-promise.ts';
import type { Problem } from '../model/problem.ts';
import type { AnswerRecord, SupervisorRequest } from '../model/records.ts';
import type {
  ApplyRequest,
  ApplyResult,
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
  RebalancingView,
  AppliedRebalancing,
  PromiseView,
  ReleaseView,
  RequestView,
  ScaledApp,
  SubjectView,
  SupervisorView,
} from '../model/views.ts';
import type { EnrolledNode, EnrolmentRequest, IssuedToken } from '../ports/enrolment.ts';
import { appSpecBody, names } from './wire-spec.ts';

/**
 * What crosses the wire, once: requests are checked with these, and the OpenAPI document is made of them. Each must
 * satisfy its noun of model/views.ts, so that the compiler finds the two drifting apart. One file because it is one
 * vocabulary.
 */

const revision = z
  .string()
  .regex(/^\d+$/)
  .meta({ description: 'The store revision the answer was made from.' });
const timestamp = z.string().meta({ format: 'date-time' });
const strings = z.array(z.string());

/** For named schemas: `.nullable()` would make the shared OpenAPI component itself nullable. */
function orNull<T extends z.ZodType>(schema: T) {
  return z.union([schema, z.null()]);
}

const capacity = z.object({ memoryBytes: z.number(), cpu: z.number() }).meta({ id: 'Capacity' });
const endpoint = z.object({ host: z.string(), port: z.int() }).meta({ id: 'Endpoint' });
const instanceState = z.enum([
  'pending',
  'starting',
  'standby',
  'running',
  'unhealthy',
  'backoff',
  'stopping',
  'failed',
]);
const outcome = z.enum(['kept', 'broken', 'repaired', 'indeterminate']);

const staying = z.object({ instance: z.string(), why: z.string() }) satisfies z.ZodType<StayingInstance>;

export const nodeView = z
  .object({
    name: z.string(),
    state: z.enum(['Inactive', 'Active', 'ConnectionLost']),
    unreachable: z.boolean().meta({
      description:
        'Most of its observers, and at least two, do not hear its agent, though its session lives.',
    }),
    unheardBy: z.array(z.object({ node: z.string(), since: timestamp, evidence: z.string() })),
    incarnation: z.string(),
    pid: z.int(),
    version: z.string(),
    platform: z.string(),
    labels: z.record(z.string(), z.string()),
    roles: strings,
    capacity,
    reserved: capacity,
    instances: z.int(),
    leaseTtlSeconds: z.number(),
    remainingMs: z.number().nullable(),
    draining: z.boolean(),
    drain: z.object({ reason: z.string(), left: z.int(), stays: z.array(staying) }).nullable(),
    admin: z.string(),
    peer: orNull(endpoint),
    trust: z.number(),
    startedAt: timestamp,
  })
  .meta({ id: 'Node' }) satisfies z.ZodType<NodeView>;

export const appView = z
  .object({
    app: z.string(),
    title: z.string().nullable(),
    release: z.int(),
    generation: z.int(),
    processes: z.record(z.string(), z.object({ scale: z.int(), ready: z.int(), exclusive: z.boolean() })),
    hostnames: strings,
    artifact: z.string().nullable(),
    rollout: z.object({ from: z.int(), stage: z.enum(['canary', 'beside', 'replacing']) }).nullable(),
    givenUp: z.object({ release: z.int(), to: z.int(), reason: z.string(), at: timestamp }).nullable(),
    conditions: z.array(
      z.object({ type: z.string(), status: z.boolean(), reason: z.string(), message: z.string() }),
    ),
    appliedAt: timestamp,
  })
  .meta({ id: 'App' }) satisfies z.ZodType<AppView>;

export const releaseView = z
  .object({
    app: z.string(),
    release: z.int(),
    version: z.string().nullable(),
    at: timestamp,
    artifact: z.string().nullable(),
    replaces: z.int().nullable(),
    current: z.boolean(),
    kept: z.boolean(),
  })
  .meta({ id: 'Release' }) satisfies z.ZodType<ReleaseView>;

export const instanceView = z
  .object({
    instance: z.string(),
    app: z.string(),
    process: z.string(),
    index: z.int(),
    node: z.string().nullable(),
    state: z.enum([...instanceState.options, 'unplaced', 'unknown']),
    ready: z.boolean(),
    release: z.int().nullable(),
    version: z.string().nullable(),
    endpoint: orNull(endpoint),
    pid: z.int().nullable(),
    token: z.string().nullable(),
    exclusive: z.boolean(),
    mayStillRun: strings,
    trouble: z.string().nullable(),
  })
  .meta({ id: 'Instance' }) satisfies z.ZodType<InstanceView>;

const promiseBody = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('capacity'), memoryBytes: z.number(), cpu: z.number() }),
  z.object({
    kind: z.literal('running'),
    instance: z.string(),
    app: z.string(),
    process: z.string(),
    index: z.int(),
    release: z.int(),
    version: z.string(),
    state: instanceState,
    endpoint: orNull(endpoint),
    ports: strings.optional(),
    ready: z.boolean(),
    pid: z.int().nullable(),
    trouble: z.string().nullable(),
    givenUp: z.string().optional(),
  }),
  z.object({
    kind: z.literal('standby'),
    instance: z.string(),
    app: z.string(),
    process: z.string(),
    index: z.int(),
    release: z.int(),
    version: z.string(),
    endpoint: orNull(endpoint),
  }),
  z.object({
    kind: z.literal('serving'),
    hostname: z.string(),
    app: z.string(),
    instances: z.int(),
  }),
  z.object({ kind: z.literal('holding'), artifact: z.string(), bytes: z.int() }),
  z.object({ kind: z.literal('deploying'), app: z.string(), release: z.int(), step: z.string() }),
  z.object({
    kind: z.literal('draining'),
    reason: z.string(),
    left: z.int(),
    stays: z.array(staying),
  }),
  z.object({ kind: z.literal('request'), request: z.string(), action: z.string() }),
]) satisfies z.ZodType<NodePromise['body']>;

const verification = z.discriminatedUnion('method', [
  z.object({
    method: z.literal('http'),
    host: z.string(),
    port: z.int(),
    path: z.string(),
    contains: z.string().nullable(),
    timeoutSeconds: z.number(),
  }),
  z.object({ method: z.literal('tcp'), host: z.string(), port: z.int(), timeoutSeconds: z.number() }),
  z.object({ method: z.literal('lease') }),
]) satisfies z.ZodType<NodePromise['verify']>;

const nodePromise = z.object({
  promiser: z.string(),
  promisee: z.string(),
  name: z.string(),
  kind: z.enum(['state', 'action']),
  polarity: z.enum(['offer', 'accept']),
  body: promiseBody,
  given: strings,
  verify: verification,
  madeAt: timestamp,
  completeBy: timestamp.nullable(),
}) satisfies z.ZodType<NodePromise>;

export const assessment = z
  .object({
    assessor: z.string(),
    promiser: z.string(),
    promise: z.string(),
    outcome,
    evidence: z.string(),
    at: timestamp,
    pid: z.int().optional(),
    unreachable: z.literal(true).optional(),
    answering: nodePromise.optional(),
    trust: z.number(),
  })
  .meta({ id: 'Assessment' }) satisfies z.ZodType<Assessment>;

export const promiseView = nodePromise
  .extend({
    outcome: z.enum([...outcome.options, 'unassessed']),
    assessments: z.array(assessment),
    observers: strings,
  })
  .meta({ id: 'Promise' }) satisfies z.ZodType<PromiseView>;

export const eventView = z
  .object({
    revision,
    at: timestamp,
    kind: z.string(),
    subject: z.string(),
    node: z.string(),
    message: z.string(),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Event' }) satisfies z.ZodType<EventView>;

/** One promise and what the ledger knows of it; `promise` is null once it was withdrawn or has expired. */
export interface PromiseDetail {
  revision: string;
  promise: PromiseView | null;
  /** Oldest first. */
  history: EventView[];
}
export const promiseDetail = z
  .object({ revision, promise: orNull(promiseView), history: z.array(eventView) })
  .meta({ id: 'PromiseDetail' }) satisfies z.ZodType<PromiseDetail>;

const answer = z.object({
  v: z.literal(1),
  id: z.string(),
  node: z.string(),
  answer: z.enum(['accepted', 'refused', 'done', 'failed']),
  reason: z.string(),
  at: timestamp,
}) satisfies z.ZodType<AnswerRecord>;

const supervisorRequest = z.object({
  id: z.string(),
  node: z.string(),
  action: z.enum(['restart', 'release', 'drain', 'rebalance', 'retry-step']),
  subject: z.string(),
  pid: z.int().optional(),
  to: z.string().optional(),
  reason: z.string(),
  attempt: z.int(),
  from: z.string(),
  at: timestamp,
}) satisfies z.ZodType<SupervisorRequest>;

export const requestView = z
  .object({ ...supervisorRequest.shape, answer: answer.nullable() })
  .meta({ id: 'Request' }) satisfies z.ZodType<RequestView>;

export const supervisorView = z
  .object({
    node: z.string().nullable(),
    incarnation: z.string().nullable(),
    candidates: strings,
    brake: z.object({ active: z.boolean(), reason: z.string().nullable() }),
  })
  .meta({ id: 'Supervisor' }) satisfies z.ZodType<SupervisorView>;

export const subjectView = z
  .object({
    subject: z.string(),
    state: z.enum(['Inactive', 'Assigned', 'Unassigned']),
    owner: z.string().nullable(),
    incarnation: z.string().nullable(),
    token: z.string().nullable(),
    mayStillRun: strings,
  })
  .meta({ id: 'Subject' }) satisfies z.ZodType<SubjectView>;

export const logLine = z
  .object({
    instance: z.string(),
    node: z.string(),
    stream: z.enum(['stdout', 'stderr']),
    text: z.string(),
    cursor: z.string().optional(),
  })
  .meta({ id: 'LogLine' }) satisfies z.ZodType<LogLine>;

export const explanation = z
  .object({
    about: z.string(),
    summary: z.string(),
    lines: strings,
    ranking: z
      .object({
        candidates: z.array(z.object({ node: z.string(), score: z.number(), reasons: strings })),
        excluded: z.array(z.object({ node: z.string(), reason: z.string() })),
      })
      .nullable(),
  })
  .meta({ id: 'Explanation' }) satisfies z.ZodType<Explanation>;

const change = z.enum(['create', 'update', 'none', 'remove']);
const impact = z.enum(['in-place', 'restart', 'rebuild']);

const appPlan = z
  .object({
    app: z.string(),
    change,
    impact: z.enum(['none', ...impact.options]),
    differences: z.array(
      z.object({
        field: z.string(),
        from: z.string().nullable(),
        to: z.string().nullable(),
        impact,
      }),
    ),
  })
  .meta({ id: 'AppPlan' }) satisfies z.ZodType<AppPlan>;

export const problem = z
  .object({
    file: z.string(),
    line: z.int(),
    column: z.int(),
    field: z.string(),
    message: z.string(),
    hint: z.string().nullable(),
    conflict: z.literal(true).optional(),
  })
  .meta({ id: 'Problem' }) satisfies z.ZodType<Problem>;

export const scaledApp = z
  .object({
    ...appView.shape,
    warnings: z.array(problem).meta({
      description: 'What keeps instances that are wanted now from running; they are wanted all the same.',
    }),
  })
  .meta({ id: 'ScaledApp' }) satisfies z.ZodType<ScaledApp>;

/** What applying would change, and everything that would stop it. */
export interface Plan {
  plans: AppPlan[];
  problems: Problem[];
}
export const planAnswer = z
  .object({ plans: z.array(appPlan), problems: z.array(problem) })
  .meta({ id: 'Plan' }) satisfies z.ZodType<Plan>;

const appliedApp = z.object({ app: z.string(), release: z.int(), generation: z.int(), change });
const applied = z.object({ kind: z.literal('applied'), apps: z.array(appliedApp) }).meta({ id: 'Applied' });
const refused = z.object({ kind: z.literal('refused'), problems: z.array(problem) });
const applyResult = z.discriminatedUnion('kind', [applied, refused]) satisfies z.ZodType<ApplyResult>;
export const appliedAnswer = applied;

export const deployProgress = z
  .discriminatedUnion('kind', [
    z.object({ kind: z.literal('begun'), app: z.string(), plan: z.string() }),
    z.object({ kind: z.literal('step'), app: z.string(), step: z.string(), message: z.string() }),
    z.object({ kind: z.literal('output'), app: z.string(), step: z.string(), text: z.string() }),
    z.object({ kind: z.literal('wanted'), ...appliedApp.shape }),
    z.object({ kind: z.literal('done'), result: applyResult }),
    z.object({
      kind: z.literal('failed'),
      app: z.string(),
      step: z.string(),
      message: z.string(),
      output: strings,
    }),
  ])
  .meta({ id: 'DeployProgress' }) satisfies z.ZodType<DeployProgress>;

export const doctorAnswer = z
  .object({
    checks: z.array(
      z.object({
        name: z.string(),
        status: z.enum(['ok', 'warn', 'fail']),
        message: z.string(),
        hint: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'Doctor' }) satisfies z.ZodType<Doctor>;

export interface HeldArtifact {
  node: string;
  digest: string;
  bytes: number;
}
export const heldArtifact = z
  .object({ node: z.string(), digest: z.string(), bytes: z.int() })
  .meta({ id: 'Artifact' }) satisfies z.ZodType<HeldArtifact>;

export interface ReceivedArtifact {
  digest: string;
  bytes: number;
}
export const receivedArtifact = z
  .object({ digest: z.string(), bytes: z.int() })
  .meta({ id: 'ReceivedArtifact' }) satisfies z.ZodType<ReceivedArtifact>;

export interface InspectedArtifact {
  packageStart: boolean;
  files: string[];
}
export const inspectedArtifact = z
  .object({ packageStart: z.boolean(), files: strings })
  .meta({ id: 'InspectedArtifact' }) satisfies z.ZodType<InspectedArtifact>;

export interface Readiness {
  ready: boolean;
  reason: string;
}
export const readiness = z
  .object({ ready: z.boolean(), reason: z.string() })
  .meta({ id: 'Readiness' }) satisfies z.ZodType<Readiness>;

/** RFC 9457. `problems` lists what is wrong with a body or a manifest; other extensions belong to the type. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  problems?: Problem[];
  [extension: string]: unknown;
}
export const problemDetails = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    problems: z.array(problem).optional(),
  })
  .meta({ id: 'ProblemDetails' });

/** `{revision, items}` of one noun. */
export function listing<T extends z.ZodType>(id: string, item: T) {
  return z.object({ revision, items: z.array(item) }).meta({ id });
}

export const applyBody = z
  .strictObject({
    specs: z.array(appSpecBody).min(1).max(1000),
    ifGeneration: z.int().min(0).nullable().default(null),
  })
  .meta({ id: 'ApplyRequest' }) satisfies z.ZodType<ApplyRequest>;

export const scaleBody = z
  .record(names.process, z.int().min(0).max(1000))
  .refine(scales => Object.keys(scales).length > 0, 'name at least one process type and its number')
  .meta({ id: 'ScaleRequest', example: { web: 3 } });

export const restartBody = z
  .strictObject({ process: names.process.nullable().default(null) })
  .meta({ id: 'RestartRequest' });

export const rollbackBody = z
  .strictObject({
    release: z.int().min(1).nullable().default(null).meta({
      description: 'One that was deployed before; null = what the present one took the place of.',
    }),
  })
  .meta({ id: 'RollbackRequest' });

export const rebalancingView = z
  .object({
    revision,
    moves: z
      .array(z.object({ instance: z.string(), from: z.string(), to: z.string(), reason: z.string() }))
      .meta({ description: 'One after the other, in this order.' }),
    stays: z
      .array(z.object({ instance: z.string(), node: z.string(), why: z.string() }))
      .meta({ description: "What should move, too, and can't." }),
    nodes: z.array(z.object({ node: z.string(), instances: z.int(), instancesAfter: z.int() })),
  })
  .meta({ id: 'Rebalancing' }) satisfies z.ZodType<RebalancingView>;

export const appliedRebalancing = z
  .object({
    ...rebalancingView.shape,
    plan: z.string().nullable().meta({ description: 'What moves it; null = nothing moves.' }),
    created: z.boolean().meta({ description: 'False = that plan was under way already.' }),
  })
  .meta({ id: 'AppliedRebalancing' }) satisfies z.ZodType<AppliedRebalancing>;

export const drainBody = z
  .strictObject({
    reason: z.string().trim().min(1).max(500).default('an operator asked for it'),
  })
  .meta({ id: 'DrainRequest', example: { reason: 'new kernel' } });

const fingerprint = z
  .string()
  .meta({ description: "SHA-256 over the authority's certificate (DER), base64url without padding." });
const pem = (of: string) =>
  z
    .string()
    .max(16_384)
    .meta({ description: `${of}, PEM.` });

export const epochView = z
  .object({
    epoch: z.int(),
    tokenBase: z.string().regex(/^\d+$/).meta({ description: 'What is added to revisions to make tokens.' }),
  })
  .meta({ id: 'Epoch' }) satisfies z.ZodType<EpochView>;

/** Whose certificates the nodes of this cluster believe. */
export interface AuthorityView {
  cluster: string;
  certificate: string;
  fingerprint: string;
}
export const authorityView = z
  .object({ cluster: z.string(), certificate: pem("The authority's certificate"), fingerprint })
  .meta({ id: 'Authority' }) satisfies z.ZodType<AuthorityView>;

export interface TokenBody {
  ttlSeconds: number;
  node: string | null;
}
export const tokenBody = z
  .strictObject({
    ttlSeconds: z.int().min(60).max(86_400).default(900),
    node: names.node.nullable().default(null).meta({
      description: 'Who it is for, which may be a node that is there already; null = any new name.',
    }),
  })
  .meta({ id: 'JoinTokenRequest' }) satisfies z.ZodType<TokenBody>;

export const issuedToken = z
  .object({ token: z.string(), node: z.string().nullable(), endsAt: timestamp, fingerprint })
  .meta({ id: 'JoinToken' }) satisfies z.ZodType<IssuedToken>;

export const enrolmentBody = z
  .strictObject({
    token: z.string().min(1).max(200),
    node: names.node,
    addresses: z.array(names.address).min(1).max(20),
    request: pem('A PKCS #10 request with an ECDSA key on P-256'),
  })
  .meta({ id: 'EnrolmentRequest' }) satisfies z.ZodType<EnrolmentRequest>;

export const enrolledNode = z
  .object({
    cluster: z.string(),
    certificate: pem("The node's certificate"),
    authority: pem("The authority's certificate"),
    etcd: z.object({
      endpoints: strings,
      authority: z.string().nullable(),
      asksForPassword: z.boolean(),
    }),
  })
  .meta({ id: 'EnrolledNode' }) satisfies z.ZodType<EnrolledNode>;
