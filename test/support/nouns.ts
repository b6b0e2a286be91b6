import type { AppSpec, ProcessSpec } from '../../src/model/app-spec.ts';
import { instanceId, subjectOfInstance } from '../../src/model/ids.ts';
import type { FreeInstance, PlaceableNode } from '../../src/model/placement.ts';
import type { Assessment, NodePromise, Outcome, RunningBody } from '../../src/model/node-promise.ts';
import type { DesiredInstance, InstanceStatus, Unit, UnitExit } from '../../src/model/reconciliation.ts';

/** Complete nouns for tests; say only what the test is about. */

export function processSpec(parts: Partial<ProcessSpec> = {}): ProcessSpec {
  return {
    type: 'web',
    kind: 'command',
    command: 'node server.js',
    directory: '.',
    scale: 1,
    exclusive: false,
    routed: true,
    startTimeoutSeconds: 30,
    stopTimeoutSeconds: 10,
    ...parts,
  };
}

export function appSpec(parts: Partial<AppSpec> = {}): AppSpec {
  return {
    app: 'blog',
    title: null,
    version: null,
    source: null,
    build: {
      builder: 'auto',
      toolchain: 'auto',
      beforeBuild: [],
      build: [],
      afterBuild: [],
      ignore: [],
      pipInstall: [],
    },
    beforeRun: [],
    processes: [processSpec()],
    crons: [],
    env: {},
    hostnames: ['blog.example.com'],
    healthcheck: {
      path: '/health',
      contains: null,
      intervalSeconds: 5,
      timeoutSeconds: 2,
      failureThreshold: 3,
    },
    restart: { policy: 'always', max: 5 },
    limits: { memoryBytes: null, cpu: null, processes: null },
    placement: { requires: {}, spread: null },
    dependsOn: [],
    deploy: { strategy: 'rolling', maxSurge: 1, maxUnavailable: 0, healthyDeadlineSeconds: 120 },
    ports: [],
    volumes: [],
    addons: [],
    ...parts,
  };
}

export function desiredInstance(parts: Partial<DesiredInstance> = {}): DesiredInstance {
  const spec = parts.spec ?? appSpec();
  const process = parts.process ?? spec.processes[0]!;
  const index = parts.index ?? 0;
  const instance = instanceId({ app: spec.app, process: process.type, index });
  return {
    instance,
    subject: subjectOfInstance(instance),
    app: spec.app,
    process,
    index,
    spec,
    release: 1,
    version: '1',
    artifact: null,
    token: '100',
    mayStart: true,
    waitingFor: null,
    mayReplace: true,
    replaceWaitsFor: null,
    ...parts,
  };
}

export function unit(parts: Partial<Unit> = {}): Unit {
  return {
    unit: 'blog-web-0-a',
    instance: 'blog/web/0',
    release: 1,
    version: '1',
    pid: 4711,
    endpoint: { host: '127.0.0.1', port: 4001 },
    phase: { kind: 'ready', sinceMs: 1_000 },
    startedMs: 0,
    ...parts,
  };
}

export function unitExit(parts: Partial<UnitExit> = {}): UnitExit {
  return { code: 1, signal: null, lastOutput: [], requested: false, ...parts };
}

const gibibyte = 1024 ** 3;

export function placeableNode(node: string, parts: Partial<PlaceableNode> = {}): PlaceableNode {
  return {
    node,
    labels: {},
    roles: ['apps', 'proxy'],
    capacity: { memoryBytes: 4 * gibibyte, cpu: 4 },
    draining: false,
    platform: 'linux-x64-node20',
    trust: 1,
    listens: {},
    ports: new Map(),
    ...parts,
  };
}

export function freeInstance(index: number, parts: Partial<FreeInstance> = {}): FreeInstance {
  const spec = parts.spec ?? appSpec();
  const process = parts.process ?? spec.processes[0]!;
  const instance = instanceId({ app: spec.app, process: process.type, index });
  return {
    instance,
    subject: subjectOfInstance(instance),
    spec,
    process,
    index,
    platform: null,
    runsOn: [],
    tiedTo: [],
    refusals: [],
    ...parts,
  };
}

export function instanceStatus(parts: Partial<InstanceStatus> = {}): InstanceStatus {
  const instance = parts.instance ?? 'blog/web/0';
  return {
    instance,
    subject: subjectOfInstance(instance),
    state: 'running',
    release: 1,
    version: '1',
    endpoint: { host: '127.0.0.1', port: 4001 },
    ready: true,
    pid: 4711,
    trouble: null,
    ...parts,
  };
}

export function runningPromise(parts: Partial<RunningBody> = {}, promiser = 'node-1'): NodePromise {
  const body: RunningBody = {
    kind: 'running',
    instance: 'blog/web/0',
    app: 'blog',
    process: 'web',
    index: 0,
    release: 1,
    version: '1',
    state: 'running',
    endpoint: { host: '127.0.0.1', port: 4001 },
    ready: true,
    pid: 4711,
    trouble: null,
    ...parts,
  };
  return {
    promiser,
    promisee: body.app,
    name: `running:${body.instance}`,
    kind: 'state',
    polarity: 'offer',
    body,
    given: [],
    verify: {
      method: 'http',
      host: '127.0.0.1',
      port: 4001,
      path: '/health',
      contains: null,
      timeoutSeconds: 2,
    },
    madeAt: '2026-01-01T00:00:00.000Z',
    completeBy: null,
  };
}

export function assessment(assessor: string, outcome: Outcome, parts: Partial<Assessment> = {}): Assessment {
  return {
    assessor,
    promiser: 'node-1',
    promise: 'running:blog/web/0',
    outcome,
    evidence: 'as seen',
    at: '2026-01-01T00:00:00.000Z',
    trust: 1,
    ...parts,
  };
}
