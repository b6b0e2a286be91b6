import { portsOf, portText, type AppSpec } from '../model/app-spec.ts';
import { parseInstanceId, type AppName, type Digest, type NodeName, type Timestamp } from '../model/ids.ts';
import type {
  NodePromise,
  PromiseBody,
  RunningBody,
  StayingInstance,
  Verification,
} from '../model/node-promise.ts';
import type { InstanceStatus } from '../model/reconciliation.ts';
import type { Capacity } from '../model/records.ts';

export type NewPromise = Omit<NodePromise, 'madeAt'>;

/** All that a node knows of itself and can promise. */
export interface OwnState {
  node: NodeName;
  capacity: Capacity;
  statuses: InstanceStatus[];
  /** What a release of an app is checked by. */
  specOf: (app: AppName, release: number) => AppSpec | undefined;
  artifacts: { digest: Digest; bytes: number }[];
  deploying: { app: AppName; release: number; step: string; completeBy: Timestamp }[];
  /** How far the emptying of it is; null = it takes work. */
  draining: { reason: string; left: number; stays: StayingInstance[] } | null;
  /** Requests it has accepted. */
  requests: { id: string; action: string; completeBy: Timestamp }[];
}

/** What this node promises, from its own state alone, in name order. */
export function ownPromises(state: OwnState): NewPromise[] {
  const promises = [
    capacityPromise(state),
    ...state.statuses.map(status => runningPromise(state, status)),
    ...state.statuses.flatMap(status => standbyPromise(state, status) ?? []),
    ...servingPromises(state),
    ...state.artifacts.map(({ digest, bytes }) =>
      promise(state, `holding:${digest}`, { kind: 'holding', artifact: digest, bytes }),
    ),
    ...state.deploying.map(({ app, release, step, completeBy }) => ({
      ...promise(state, `deploying:${app}/${release}`, { kind: 'deploying', app, release, step }),
      kind: 'action' as const,
      promisee: app,
      completeBy,
    })),
    ...(state.draining === null ? [] : [promise(state, 'draining', { kind: 'draining', ...state.draining })]),
    ...state.requests.map(({ id, action, completeBy }) => ({
      ...promise(state, `request:${id}`, { kind: 'request', request: id, action }),
      kind: 'action' as const,
      completeBy,
    })),
  ];
  return promises.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function capacityPromise(state: OwnState): NewPromise {
  const body: PromiseBody = { kind: 'capacity', ...state.capacity };
  return { ...promise(state, 'capacity', body), polarity: 'accept' };
}

function runningPromise(state: OwnState, status: InstanceStatus): NewPromise {
  const { app, process, index } = parseInstanceId(status.instance);
  const { instance, release, version, endpoint, ready, pid, trouble } = status;
  const spec = state.specOf(app, release);
  const ports = spec ? portsOf(spec, process).map(portText) : [];
  const body: RunningBody = {
    kind: 'running',
    instance,
    app,
    process,
    index,
    release,
    version,
    state: status.state,
    endpoint,
    ready,
    pid,
    trouble,
    ...(status.givenUp === undefined ? {} : { givenUp: status.givenUp }),
    ...(ports.length === 0 ? {} : { ports }),
  };
  return {
    ...promise(state, `running:${instance}`, body),
    promisee: app,
    given: (spec?.dependsOn ?? []).map(name => `app:${name}`),
    verify: verification(status, spec),
  };
}

function standbyPromise(state: OwnState, { instance, standby }: InstanceStatus): NewPromise | null {
  if (!standby) return null;
  const { app, process, index } = parseInstanceId(instance);
  const body: PromiseBody = { kind: 'standby', instance, app, process, index, ...standby };
  return {
    ...promise(state, `standby:${instance}`, body),
    promisee: app,
    verify: verification(standby, state.specOf(app, standby.release)),
  };
}

/** One for each host name of which at least one ready copy is here; checked at the first of them. */
function servingPromises(state: OwnState): NewPromise[] {
  const readyOf = new Map<AppName, InstanceStatus[]>();
  for (const status of state.statuses) {
    const { app } = parseInstanceId(status.instance);
    if (status.ready && status.endpoint !== null) readyOf.set(app, [...(readyOf.get(app) ?? []), status]);
  }
  return [...readyOf].flatMap(([app, ready]) => {
    const first = ready.reduce((lowest, each) => (each.instance < lowest.instance ? each : lowest));
    const spec = state.specOf(app, first.release);
    return (spec?.hostnames ?? []).map(hostname => ({
      ...promise(state, `serving:${hostname}`, { kind: 'serving', hostname, app, instances: ready.length }),
      verify: verification(first, spec),
    }));
  });
}

/** An app that names no path of its own may answer anything over HTTP: then only the connection is checked. */
function verification(
  { endpoint }: Pick<InstanceStatus, 'endpoint'>,
  spec: AppSpec | undefined,
): Verification {
  if (endpoint === null || !spec) return { method: 'lease' };
  const { path, contains, timeoutSeconds } = spec.healthcheck;
  const { host, port } = endpoint;
  if (path === null) return { method: 'tcp', host, port, timeoutSeconds };
  return { method: 'http', host, port, path, contains, timeoutSeconds };
}

function promise(state: OwnState, name: string, body: PromiseBody): NewPromise {
  return {
    promiser: state.node,
    promisee: 'any',
    name,
    kind: 'state',
    polarity: 'offer',
    body,
    given: [],
    verify: { method: 'lease' },
    completeBy: null,
  };
}
