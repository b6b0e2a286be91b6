import type { Assessment } from '../model/node-promise.ts';
import type {
  ApplyRequest,
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
import type { EventFilter, Listing } from '../ports/admin.ts';
import type { EnrolledNode, EnrolmentRequest, IssuedToken } from '../ports/enrolment.ts';
import { type AgentCalls, agentCalls } from './client-agents.ts';
import {
  ApiError,
  ApiUnreachable,
  type Ask,
  bytesOf,
  type ClientOptions,
  readAll,
  sender,
  textOf,
} from './client-http.ts';
import { type PlanCalls, planCalls } from './client-plans.ts';
import { eventsIn, linesIn, type Placed } from './client-stream.ts';
import type {
  AuthorityView,
  HeldArtifact,
  InspectedArtifact,
  Plan,
  PromiseDetail,
  Readiness,
  ReceivedArtifact,
  TokenBody,
} from './wire.ts';

export { ApiError, ApiUnreachable } from './client-http.ts';
export type { ClientOptions } from './client-http.ts';
export type { Placed } from './client-stream.ts';

/**
 * The admin API as functions. Every call rejects with `ApiError` when the agent says no, with `ApiUnreachable` when
 * it does not answer or the answer breaks off, and with the signal's reason when that aborts; so do the streams,
 * which start when they are first read and end when the agent ends them.
 */
export interface ApiClient extends AgentCalls, PlanCalls {
  /** Where it asks: a URL, or the path of a socket. */
  readonly where: string;
  ready(signal?: AbortSignal): Promise<Readiness>;
  node(signal?: AbortSignal): Promise<NodeView>;
  nodes(signal?: AbortSignal): Promise<Listing<NodeView>>;
  nodeNamed(name: string, signal?: AbortSignal): Promise<NodeView>;
  /** Wishes that a node be emptied; `drain` of what `nodeNamed` gives says how far it is. */
  drain(node: string, reason: string | null, signal?: AbortSignal): Promise<NodeView>;
  undrain(node: string, signal?: AbortSignal): Promise<NodeView>;
  /** What would move so that all nodes are used evenly. */
  rebalancing(signal?: AbortSignal): Promise<RebalancingView>;
  /** Moves it: `plan` of what it gives says how far it is. */
  rebalance(signal?: AbortSignal): Promise<AppliedRebalancing>;
  /** Stops this node's instances, releases what it owns, and ends the agent. */
  recover(signal?: AbortSignal): Promise<EpochView>;
  leave(signal?: AbortSignal): Promise<void>;
  apps(signal?: AbortSignal): Promise<Listing<AppView>>;
  app(app: string, signal?: AbortSignal): Promise<AppView>;
  plan(request: ApplyRequest, signal?: AbortSignal): Promise<Plan>;
  /** Its last item is `done` or `failed`. Aborting cancels what has not been written yet. */
  apply(request: ApplyRequest, signal?: AbortSignal): AsyncIterable<DeployProgress>;
  /** The same with a manifest's text; mistakes in it are an ApiError 422 whose problem lists them. */
  applyManifest(yaml: string, signal?: AbortSignal): AsyncIterable<DeployProgress>;
  remove(app: string, signal?: AbortSignal): Promise<void>;
  scale(app: string, scales: Record<string, number>, signal?: AbortSignal): Promise<ScaledApp>;
  /** Newest first. */
  releases(app: string, signal?: AbortSignal): Promise<Listing<ReleaseView>>;
  /** Lets a canary, or what stands ready beside, take over now. */
  promote(app: string, signal?: AbortSignal): Promise<AppView>;
  /** null = to what the present release took the place of. */
  rollback(app: string, release: number | null, signal?: AbortSignal): Promise<AppView>;
  /** Every process type, or one. */
  restart(app: string, process: string | null, signal?: AbortSignal): Promise<AppView>;
  instances(
    filter?: { app?: string; node?: string; process?: string },
    signal?: AbortSignal,
  ): Promise<Listing<InstanceView>>;
  /** `blog/web/0`. */
  instance(id: string, signal?: AbortSignal): Promise<InstanceView>;
  promises(
    filter?: { of?: string; outcome?: string; kind?: string; app?: string },
    signal?: AbortSignal,
  ): Promise<Listing<PromiseView>>;
  /** One promise with its history, also after it has gone. */
  promise(node: string, name: string, signal?: AbortSignal): Promise<PromiseDetail>;
  assessments(
    filter?: { promiser?: string; assessor?: string },
    signal?: AbortSignal,
  ): Promise<Listing<Assessment>>;
  requests(signal?: AbortSignal): Promise<Listing<RequestView>>;
  supervisor(signal?: AbortSignal): Promise<SupervisorView>;
  subjects(filter?: { owner?: string }, signal?: AbortSignal): Promise<Listing<SubjectView>>;
  /** Oldest first; the newest `limit` (default 100). */
  events(
    filter?: EventFilter & { limit?: number; after?: string },
    signal?: AbortSignal,
  ): Promise<Listing<EventView>>;
  /**
   * As they are recorded. `after` a revision, or first the newest `limit` (default 0). After ApiUnreachable go on with
   * the last `id` as `lastId`: nothing is missed, and nothing told twice.
   */
  followEvents(
    filter?: EventFilter & { limit?: number; after?: string; lastId?: string },
    signal?: AbortSignal,
  ): AsyncIterable<Placed<EventView>>;
  /** Of an instance, a process type or an app: the newest `lines` (default 100), or all after a line's cursor. */
  logs(
    target: string,
    options?: { lines?: number; after?: string },
    signal?: AbortSignal,
  ): AsyncIterable<LogLine>;
  /** First the newest `lines` (default 100), then as they come. After ApiUnreachable go on with the last `id` as `lastId`. */
  followLogs(
    target: string,
    options?: { lines?: number; lastId?: string },
    signal?: AbortSignal,
  ): AsyncIterable<Placed<LogLine>>;
  /** `blog/web/0`, a subject, or `node/promise name`. */
  explain(target: string, signal?: AbortSignal): Promise<Explanation>;
  /** A gzipped tar. With `digest` (`sha256:…`) the agent refuses what does not match it. */
  uploadArtifact(
    archive: AsyncIterable<Uint8Array>,
    options?: { digest?: string; bytes?: number },
    signal?: AbortSignal,
  ): Promise<ReceivedArtifact>;
  artifacts(signal?: AbortSignal): Promise<Listing<HeldArtifact>>;
  inspectArtifact(digest: string, signal?: AbortSignal): Promise<InspectedArtifact>;
  doctor(signal?: AbortSignal): Promise<Doctor>;
  /** The authority's certificate. */
  authority(signal?: AbortSignal): Promise<AuthorityView>;
  joinToken(request: TokenBody, signal?: AbortSignal): Promise<IssuedToken>;
  /** A certificate for a new node, for a token that this uses up. */
  enrol(request: EnrolmentRequest, signal?: AbortSignal): Promise<EnrolledNode>;
  /** Prometheus text. */
  metrics(signal?: AbortSignal): Promise<string>;
}

/** An agent answers a question from memory: one that takes longer is stuck, or stopped. */
const ANSWER_WITHIN_MS = 15_000;
const json = { 'content-type': 'application/json' };
const ndjson = { accept: 'application/x-ndjson' };

/** @throws TypeError when `url` is not one */
export function apiClient(options: ClientOptions): ApiClient {
  const send = sender(options);
  const where = options.socketPath ?? new URL(options.url).origin;

  async function text(ask: Ask): Promise<string> {
    return await readAll(await send(ask), where, ask.signal);
  }
  async function get<T>(path: string, query: object, signal: AbortSignal | undefined): Promise<T> {
    return parsed(await text({ method: 'GET', path, query, signal, silenceMs: ANSWER_WITHIN_MS })) as T;
  }
  async function post<T>(path: string, body: unknown, signal: AbortSignal | undefined): Promise<T> {
    const ask: Ask = { method: 'POST', path, headers: json, body: JSON.stringify(body), signal };
    return parsed(await text(ask)) as T;
  }
  function parsed(answer: string): unknown {
    try {
      return JSON.parse(answer);
    } catch (error) {
      throw new ApiUnreachable(where, error);
    }
  }
  async function* lines<T>(ask: Ask): AsyncGenerator<T> {
    const response = await send({ ...ask, headers: { ...ask.headers, ...ndjson } });
    yield* linesIn<T>(textOf(response, where, ask.signal));
  }
  async function* bytes(ask: Ask): AsyncGenerator<Uint8Array> {
    yield* bytesOf(await send(ask), where, ask.signal);
  }
  async function* events<T>(ask: Ask, lastId: string | undefined): AsyncGenerator<Placed<T>> {
    const headers = {
      accept: 'text/event-stream',
      ...(lastId !== undefined && lastId !== '' && { 'last-event-id': lastId }),
    };
    yield* eventsIn<T>(textOf(await send({ ...ask, headers }), where, ask.signal));
  }

  return {
    ...agentCalls({ get, post, text, lines, events }),
    ...planCalls({ get, post, text, bytes, events }),
    where,
    ready: signal =>
      get<Readiness>('/readyz', {}, signal).catch((error: unknown) => {
        if (error instanceof ApiError && error.status === 503) {
          return { ready: false, reason: error.problem.detail };
        }
        throw error;
      }),
    node: signal => get('/v1/node', {}, signal),
    nodes: signal => get('/v1/nodes', {}, signal),
    nodeNamed: (name, signal) => get(`/v1/nodes/${part(name)}`, {}, signal),
    drain: (node, reason, signal) =>
      post(`/v1/nodes/${part(node)}/drain`, reason === null ? {} : { reason }, signal),
    undrain: (node, signal) => post(`/v1/nodes/${part(node)}/undrain`, {}, signal),
    rebalancing: signal => get('/v1/rebalance', {}, signal),
    rebalance: signal => post('/v1/rebalance', {}, signal),
    recover: signal => post('/v1/cluster/recover', {}, signal),
    leave: async signal => {
      await text({ method: 'POST', path: '/v1/node/leave', signal, silenceMs: 600_000 });
    },
    apps: signal => get('/v1/apps', {}, signal),
    app: (app, signal) => get(`/v1/apps/${part(app)}`, {}, signal),
    plan: (request, signal) => post('/v1/apps/plan', request, signal),
    apply: (request, signal) =>
      lines({ method: 'PUT', path: '/v1/apps', headers: json, body: JSON.stringify(request), signal }),
    applyManifest: (yaml, signal) =>
      lines({
        method: 'POST',
        path: '/v1/apps/manifest',
        headers: { 'content-type': 'application/yaml' },
        body: yaml,
        signal,
      }),
    remove: async (app, signal) => {
      await text({ method: 'DELETE', path: `/v1/apps/${part(app)}`, signal });
    },
    // An agent of a build before they were told says no word of warnings.
    scale: async (app, scales, signal) => ({
      warnings: [],
      ...(await post<AppView & Partial<ScaledApp>>(`/v1/apps/${part(app)}/scale`, scales, signal)),
    }),
    releases: (app, signal) => get(`/v1/apps/${part(app)}/releases`, {}, signal),
    promote: (app, signal) => post(`/v1/apps/${part(app)}/promote`, {}, signal),
    rollback: (app, release, signal) => post(`/v1/apps/${part(app)}/rollback`, { release }, signal),
    restart: (app, process, signal) => post(`/v1/apps/${part(app)}/restart`, { process }, signal),
    instances: (filter = {}, signal) => get('/v1/instances', filter, signal),
    instance: (id, signal) => get(`/v1/instances/${parts(id)}`, {}, signal),
    promises: (filter = {}, signal) => get('/v1/promises', filter, signal),
    promise: (node, name, signal) => get(`/v1/promises/${part(node)}/${parts(name)}`, {}, signal),
    assessments: (filter = {}, signal) => get('/v1/assessments', filter, signal),
    requests: signal => get('/v1/requests', {}, signal),
    supervisor: signal => get('/v1/supervisor', {}, signal),
    subjects: (filter = {}, signal) => get('/v1/subjects', filter, signal),
    events: (filter = {}, signal) => get('/v1/events', filter, signal),
    followEvents: ({ lastId, ...query } = {}, signal) =>
      events<EventView>({ method: 'GET', path: '/v1/events', query, signal }, lastId),
    logs: (target, query = {}, signal) =>
      lines({ method: 'GET', path: `/v1/logs/${parts(target)}`, query, signal }),
    followLogs: (target, { lastId, ...query } = {}, signal) => {
      const path = `/v1/logs/${parts(target)}`;
      return events<LogLine>({ method: 'GET', path, query: { ...query, follow: true }, signal }, lastId);
    },
    explain: (target, signal) => get(`/v1/explain/${parts(target)}`, {}, signal),
    async uploadArtifact(archive, { digest, bytes } = {}, signal) {
      const headers = {
        'content-type': 'application/gzip',
        ...(digest === undefined ? {} : { 'x-content-digest': digest }),
        ...(bytes === undefined ? {} : { 'content-length': String(bytes) }),
      };
      const ask: Ask = { method: 'POST', path: '/v1/artifacts', headers, body: archive, signal };
      return JSON.parse(await text(ask)) as ReceivedArtifact;
    },
    artifacts: signal => get('/v1/artifacts', {}, signal),
    inspectArtifact: (digest, signal) => get(`/v1/artifacts/${part(digest)}/inspect`, {}, signal),
    doctor: signal => get('/v1/doctor', {}, signal),
    authority: signal => get('/v1/authority', {}, signal),
    joinToken: (request, signal) => post('/v1/authority/tokens', request, signal),
    enrol: (request, signal) => post('/v1/authority/enrolments', request, signal),
    metrics: signal => text({ method: 'GET', path: '/metrics', signal }),
  };
}

function part(text: string): string {
  return encodeURIComponent(text);
}

/** Names that have slashes of their own keep them. */
function parts(text: string): string {
  return text.split('/').map(encodeURIComponent).join('/');
}
