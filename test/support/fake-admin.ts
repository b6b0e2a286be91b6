import { createHash } from 'node:crypto';
import { suggestion } from '../../src/manifest/nearest.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import type { Assessment } from '../../src/model/node-promise.ts';
import type { Problem } from '../../src/model/problem.ts';
import type {
  EpochView,
  ApplyRequest,
  AppView,
  DeployProgress,
  Doctor,
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
} from '../../src/model/views.ts';
import {
  type Admin,
  AdminError,
  type EventFilter,
  type Listing,
  type LogOptions,
} from '../../src/ports/admin.ts';
import { appSpec, processSpec } from './nouns.ts';

const AT = '2026-01-01T00:00:00.000Z';

/**
 * A cluster of three nodes as the admin API sees it, kept in memory: apps are placed in turn and ready at once, every
 * change is an event. `fail` makes the next call of a method throw. One file because the port is one: what an act changes, the views
 * show. `test/contract/admin.test.ts` holds it against the agent.
 */
export class FakeAdmin implements Admin {
  readiness = { ready: true, reason: 'in step with the store' };
  /** What `apply` tells before it is done; a `failed` item ends it. */
  script: DeployProgress[] = [];
  /** Follows that have begun and not ended. */
  open = 0;
  left = false;
  epoch = 0;
  /** Called whenever the nodes are asked for. */
  onLook = (): void => undefined;
  /** Whether nothing would move. */
  even = false;
  /** Apps of which a release waits to be promoted. */
  readonly waiting = new Set<string>();
  /** What is said of every scale. */
  warnings: Problem[] = [];
  /** How far nodes are that were asked to drain. */
  readonly drains = new Map<string, NonNullable<NodeView['drain']>>();
  /** Who does not hear which node. */
  readonly unheard = new Map<string, NodeView['unheardBy']>();
  readonly logLines: LogLine[] = [];
  private revision = 100;
  private readonly apps_ = new Map<string, { spec: AppSpec; release: number; generation: number }>();
  private readonly ledger: EventView[] = [];
  private readonly held = new Map<string, number>();
  private readonly failures = new Map<keyof Admin, Error>();
  private readonly listeners = new Set<() => void>();

  /** Blog with two web instances and a mailer; every node holds one artifact; a few events. */
  static seeded(): FakeAdmin {
    const admin = new FakeAdmin();
    const processes = [processSpec({ scale: 2 }), processSpec({ type: 'mailer', routed: false })];
    admin.put(appSpec({ processes }));
    admin.waiting.add('blog');
    admin.held.set(`sha256:${'a'.repeat(64)}`, 1234);
    admin.logLines.push(
      { instance: 'blog/web/0', node: 'n1', stream: 'stdout', text: 'listening on 4001' },
      { instance: 'blog/web/1', node: 'n2', stream: 'stderr', text: 'a warning' },
      { instance: 'blog/mailer/0', node: 'n3', stream: 'stdout', text: 'ready' },
    );
    admin.record({
      kind: 'promise-withdrawn',
      subject: 'n1/running:old/web/0',
      message: 'withdrawn: not wanted',
    });
    admin.record({
      kind: 'promise-made',
      subject: 'n1/running:blog/web/0',
      message: 'blog/web/0 runs on n1',
    });
    return admin;
  }

  fail(method: keyof Admin, error: Error): void {
    this.failures.set(method, error);
  }

  /** `sameRevision` = in one transaction with the event before. */
  record(
    event: { kind: string; subject: string; message?: string; details?: Record<string, unknown> },
    options: { sameRevision?: boolean } = {},
  ): EventView {
    if (options.sameRevision !== true) this.revision++;
    const whole = {
      revision: String(this.revision),
      at: AT,
      node: 'n1',
      message: event.kind,
      details: {},
      ...event,
    };
    this.ledger.push(whole);
    for (const wake of this.listeners) wake();
    return whole;
  }

  say(line: LogLine): void {
    this.logLines.push(line);
    for (const wake of this.listeners) wake();
  }

  ready(): { ready: boolean; reason: string } {
    this.failIfTold('ready');
    return this.readiness;
  }

  node(): NodeView {
    this.failIfTold('node');
    return nodeView('n1');
  }

  nodes(): Listing<NodeView> {
    this.failIfTold('nodes');
    this.onLook();
    return this.listing(
      NODES.map(name => {
        const drain = this.drains.get(name) ?? null;
        const unheardBy = this.unheard.get(name) ?? [];
        const unreachable = unheardBy.length > 1;
        return { ...nodeView(name), unreachable, unheardBy, draining: drain !== null, drain };
      }),
    );
  }

  apps(): Listing<AppView> {
    this.failIfTold('apps');
    return this.listing([...this.apps_.keys()].map(name => this.view(name)));
  }

  app(app: string): AppView {
    this.failIfTold('app');
    return this.view(app);
  }

  instances(filter: { app?: string; node?: string; process?: string }): Listing<InstanceView> {
    this.failIfTold('instances');
    return this.listing(this.allInstances().filter(instance => agrees(instance, filter)));
  }

  promises(filter: { of?: string; outcome?: string; kind?: string; app?: string }): Listing<PromiseView> {
    this.failIfTold('promises');
    const all = this.allInstances().map(runningPromise);
    return this.listing(
      all.filter(
        promise =>
          (filter.of ?? promise.promiser) === promise.promiser &&
          (filter.outcome ?? promise.outcome) === promise.outcome &&
          (filter.kind ?? promise.body.kind) === promise.body.kind &&
          (filter.app === undefined || ('app' in promise.body && promise.body.app === filter.app)),
      ),
    );
  }

  assessments(filter: { promiser?: string; assessor?: string }): Listing<Assessment> {
    this.failIfTold('assessments');
    const all = this.allInstances().flatMap(instance => runningPromise(instance).assessments);
    return this.listing(all.filter(assessment => agrees(assessment, filter)));
  }

  async requests(): Promise<Listing<RequestView>> {
    this.failIfTold('requests');
    const asked = { id: 'r1', node: 'n1', subject: 'instance/blog/web/0', attempt: 1, from: 'n2', at: AT };
    const answer = { v: 1, id: 'r1', node: 'n1', answer: 'accepted', reason: 'restarting', at: AT } as const;
    return this.listing([
      { ...asked, action: 'restart', reason: 'broken in the eyes of n2 and n3', answer },
      { ...asked, id: 'r2', action: 'drain', reason: 'by hand', answer: null },
    ]);
  }

  supervisor() {
    this.failIfTold('supervisor');
    return { node: 'n2', incarnation: 'i-n2', candidates: NODES, brake: { active: false, reason: null } };
  }

  subjects(filter: { owner?: string }): Listing<SubjectView> {
    this.failIfTold('subjects');
    const all = this.allInstances().map(({ instance, node, token }) => ({
      subject: `instance/${instance}`,
      state: 'Assigned' as const,
      owner: node,
      incarnation: `i-${node ?? ''}`,
      token,
      mayStillRun: [],
    }));
    return this.listing(all.filter(subject => agrees(subject, filter)));
  }

  async events(filter: EventFilter & { limit: number; after: string | null }): Promise<Listing<EventView>> {
    this.failIfTold('events');
    const { limit, after, ...rest } = filter;
    const later = this.ledger.filter(event => BigInt(event.revision) > BigInt(after ?? 0));
    return this.listing(later.filter(event => agrees(event, rest)).slice(-limit));
  }

  async *followEvents(
    filter: EventFilter & { after: string },
    signal: AbortSignal,
  ): AsyncGenerator<EventView> {
    this.failIfTold('followEvents');
    const { after, ...rest } = filter;
    const first = this.ledger.findIndex(event => BigInt(event.revision) > BigInt(after));
    const from = first === -1 ? this.ledger.length : first;
    for await (const event of this.following(this.ledger, from, signal)) if (agrees(event, rest)) yield event;
  }

  async *logs(
    target: string,
    { lines, follow, after, onPlace }: LogOptions,
    signal: AbortSignal,
  ): AsyncGenerator<LogLine> {
    this.failIfTold('logs');
    const wanted = (line: LogLine) => line.instance === target || line.instance.startsWith(`${target}/`);
    if (
      !this.allInstances().some(({ instance }) => instance === target || instance.startsWith(`${target}/`))
    ) {
      throw new AdminError('not-found', `there is no app, process type or instance "${target}"`);
    }
    // A cursor is how many lines there were up to there.
    const placed = this.logLines.map((line, index) => ({ ...line, cursor: String(index + 1) }));
    const past = placed.filter(wanted);
    onPlace?.(after ?? String(placed.length));
    if (after !== undefined) yield* past.filter(({ cursor }) => Number(cursor) > Number(after));
    else if (lines > 0) yield* past.slice(-lines);
    if (!follow) return;
    let count = placed.length;
    for await (const line of this.following(this.logLines, count, signal)) {
      count++;
      if (wanted(line)) yield { ...line, cursor: String(count) };
    }
  }

  async drain(node: string, reason: string): Promise<NodeView> {
    this.failIfTold('drain');
    const before = this.drains.get(this.nodeNamed(node));
    if (before === undefined) this.drains.set(node, { reason, left: 1, stays: [] });
    return this.nodes().items.find(({ name }) => name === node)!;
  }

  rebalancing(): RebalancingView {
    const reason = 'n1 has 2 of blog/web, n3 has 0';
    const moves = this.even ? [] : [{ instance: 'blog/web/1', from: 'n1', to: 'n3', reason }];
    const stays = [{ instance: 'blog/mailer/0', node: 'n1', why: 'it is exclusive' }];
    const nodes = NODES.map(node => ({ node, instances: 1, instancesAfter: 1 }));
    return { revision: String(this.revision), moves, stays, nodes };
  }

  async rebalance(): Promise<AppliedRebalancing> {
    return { ...this.rebalancing(), plan: this.even ? null : 'plan-1', created: !this.even };
  }

  async undrain(node: string): Promise<NodeView> {
    this.failIfTold('undrain');
    this.drains.delete(this.nodeNamed(node));
    return this.nodes().items.find(({ name }) => name === node)!;
  }

  private nodeNamed(node: string): string {
    if (!NODES.includes(node)) throw new AdminError('not-found', `there is no node "${node}"`);
    return node;
  }

  explain(target: string): Explanation {
    this.failIfTold('explain');
    const found = this.allInstances().find(({ instance, node }) =>
      [instance, `instance/${instance}`, `${node ?? ''}/running:${instance}`].includes(target),
    );
    if (found === undefined) throw new AdminError('not-found', `nothing is known of "${target}"`);
    const { instance, node } = found;
    return {
      about: target,
      summary: `${instance} is on ${node ?? 'no node'}`,
      lines: ['it has room'],
      ranking: {
        candidates: [{ node: node ?? '', score: 0.8, reasons: ['0.40 free memory'] }],
        excluded: [{ node: 'n9', reason: 'is draining' }],
      },
    };
  }

  async plan({ specs }: ApplyRequest) {
    this.failIfTold('plan');
    const plans = specs.map(({ app }) => ({
      app,
      change: this.apps_.has(app) ? ('update' as const) : ('create' as const),
      impact: 'restart' as const,
      differences: [{ field: 'env.A', from: null, to: '1', impact: 'restart' as const }],
    }));
    return { plans, problems: specs.flatMap(spec => this.holderProblems(spec)) };
  }

  async *apply({ specs, ifGeneration }: ApplyRequest, signal: AbortSignal): AsyncGenerator<DeployProgress> {
    this.failIfTold('apply');
    const stale = specs.filter(
      ({ app }) => ifGeneration !== null && (this.apps_.get(app)?.generation ?? 0) !== ifGeneration,
    );
    const problems = [
      ...specs.flatMap(spec => this.holderProblems(spec)),
      ...stale.map(({ app }) => problemOf(app, 'metadata.id', `"${app}" is at another generation`)),
    ];
    if (problems.length > 0) {
      yield { kind: 'done', result: { kind: 'refused', problems } };
      return;
    }
    this.open++;
    const [first] = specs;
    if (first) yield { kind: 'begun', app: first.app, plan: `plan-${first.app}` };
    try {
      for (const step of this.script) {
        signal.throwIfAborted();
        yield step;
        if (step.kind === 'failed') return;
      }
    } finally {
      this.open--;
    }
    const changes = specs.map(spec => ({
      change: this.apps_.has(spec.app) ? 'update' : 'create',
      ...this.put(spec),
    }));
    const apps = changes.map(({ change, spec, release, generation }) => ({
      app: spec.app,
      release,
      generation,
      change: change as 'update' | 'create',
    }));
    for (const app of apps) yield { kind: 'wanted', ...app };
    yield { kind: 'done', result: { kind: 'applied', apps } };
  }

  async remove(app: string): Promise<void> {
    this.failIfTold('remove');
    this.view(app);
    this.apps_.delete(app);
    this.record({ kind: 'app-removed', subject: `app/${app}` });
  }

  async scale(app: string, scales: Record<string, number>): Promise<ScaledApp> {
    this.failIfTold('scale');
    const { spec } = this.wanted(app);
    const unknown = Object.keys(scales).find(type => !spec.processes.some(process => process.type === type));
    if (unknown !== undefined) throw noSuchType(this.view(app), unknown);
    const processes = spec.processes.map(process => ({
      ...process,
      scale: scales[process.type] ?? process.scale,
    }));
    this.put({ ...spec, processes });
    return { ...this.view(app), warnings: this.warnings };
  }

  async releases(app: string): Promise<Listing<ReleaseView>> {
    this.failIfTold('releases');
    const { release, spec } = this.wanted(app);
    const one = { app, version: spec.version, at: AT, artifact: null, kept: true };
    return this.listing(
      Array.from({ length: Math.max(2, release) }, (_, index) => ({
        ...one,
        release: index + 1,
        replaces: index === 0 ? null : index,
        current: index + 1 === release,
      })).reverse(),
    );
  }

  async promote(app: string): Promise<AppView> {
    this.failIfTold('promote');
    this.wanted(app);
    if (!this.waiting.delete(app)) throw new AdminError('conflict', `nothing of "${app}" waits for that`);
    this.record({ kind: 'rollout-promoted', subject: `app/${app}` });
    return this.view(app);
  }

  async rollback(app: string, release: number | null): Promise<AppView> {
    this.failIfTold('rollback');
    const record = this.wanted(app);
    const to = release ?? record.release - 1;
    if (to < 1) throw new AdminError('conflict', `"${app}" has no release before ${record.release}`);
    if (to > Math.max(2, record.release)) throw new AdminError('not-found', `"${app}" has no release ${to}`);
    this.apps_.set(app, { ...record, release: to, generation: record.generation + 1 });
    this.record({ kind: 'app-rolled-back', subject: `app/${app}` });
    return this.view(app);
  }

  async restart(app: string, process: string | null): Promise<AppView> {
    this.failIfTold('restart');
    const view = this.view(app);
    if (process !== null && !(process in view.processes)) throw noSuchType(view, process);
    this.record({ kind: 'app-restarted', subject: `app/${app}`, message: process ?? 'all' });
    return view;
  }

  async receiveArtifact(stream: AsyncIterable<Uint8Array>, expected: string | null) {
    this.failIfTold('receiveArtifact');
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of stream) {
      hash.update(chunk);
      bytes += chunk.byteLength;
    }
    const digest = `sha256:${hash.digest('hex')}`;
    if (expected !== null && expected !== digest) {
      throw new AdminError('invalid', `the upload is ${digest}, not ${expected}`);
    }
    this.held.set(digest, bytes);
    return { digest, bytes };
  }

  async artifacts() {
    this.failIfTold('artifacts');
    return [...this.held].map(([digest, bytes]) => ({ node: 'n1', digest, bytes }));
  }

  async inspectArtifact(digest: string) {
    this.failIfTold('inspectArtifact');
    if (!this.held.has(digest)) throw new AdminError('not-found', `no artifact ${digest} is here`);
    return { packageStart: true, files: ['package.json', 'server.js'] };
  }

  async doctor(): Promise<Doctor> {
    this.failIfTold('doctor');
    return {
      checks: [
        { name: 'etcd', status: 'warn', message: '3.4.23 has known lease bugs', hint: 'take 3.5.30' },
        { name: 'state directory', status: 'ok', message: 'is writable', hint: null },
      ],
    };
  }

  async recover(): Promise<EpochView> {
    this.failIfTold('recover');
    return { epoch: ++this.epoch, tokenBase: '1099511627776' };
  }

  async leave(): Promise<void> {
    this.failIfTold('leave');
    this.left = true;
  }

  async metrics(): Promise<string> {
    this.failIfTold('metrics');
    return '# TYPE hop3_up gauge\nhop3_up 1\n';
  }

  private failIfTold(method: keyof Admin): void {
    const error = this.failures.get(method);
    this.failures.delete(method);
    if (error !== undefined) throw error;
  }

  private put(spec: AppSpec) {
    const before = this.apps_.get(spec.app);
    const record = { spec, release: (before?.release ?? 0) + 1, generation: (before?.generation ?? 0) + 1 };
    this.apps_.set(spec.app, record);
    this.record({ kind: 'app-applied', subject: `app/${spec.app}` });
    return record;
  }

  private wanted(app: string) {
    const record = this.apps_.get(app);
    if (record === undefined)
      throw new AdminError('not-found', `there is no app "${app}"`, { known: [...this.apps_.keys()] });
    return record;
  }

  private view(app: string): AppView {
    const { spec, release, generation } = this.wanted(app);
    const processes = spec.processes.map(({ type, scale, exclusive }) => [
      type,
      { scale, ready: scale, exclusive },
    ]);
    return {
      app,
      title: spec.title,
      release,
      generation,
      processes: Object.fromEntries(processes) as AppView['processes'],
      hostnames: spec.hostnames,
      artifact: null,
      rollout: null,
      givenUp: null,
      conditions: [{ type: 'Ready', status: true, reason: 'AllReady', message: 'all instances are ready' }],
      appliedAt: AT,
    };
  }

  private allInstances(): InstanceView[] {
    const wanted = [...this.apps_.values()].flatMap(({ spec, release }) =>
      spec.processes.flatMap(process =>
        Array.from({ length: process.scale }, (_, index) => ({ app: spec.app, process, index, release })),
      ),
    );
    return wanted.map(({ app, process, index, release }, place) => ({
      instance: `${app}/${process.type}/${index}`,
      app,
      process: process.type,
      index,
      node: NODES[place % NODES.length] ?? null,
      state: 'running',
      ready: true,
      release,
      version: String(release),
      endpoint: process.routed ? { host: '127.0.0.1', port: 4001 + place } : null,
      pid: 1000 + place,
      token: String(50 + place),
      exclusive: process.exclusive,
      mayStillRun: [],
      trouble: null,
    }));
  }

  private holderProblems(spec: AppSpec) {
    const clash = [...this.apps_.values()].find(
      other =>
        other.spec.app !== spec.app && other.spec.hostnames.some(name => spec.hostnames.includes(name)),
    );
    if (clash === undefined) return [];
    const problem = problemOf(spec.app, 'domains.list', `is held by "${clash.spec.app}"`);
    return [{ ...problem, conflict: true as const }];
  }

  private listing<T>(items: T[]): Listing<T> {
    return { revision: String(this.revision), items };
  }

  /** Ends with the signal, like the real ones. */
  private async *following<T>(items: T[], from: number, signal: AbortSignal): AsyncGenerator<T> {
    this.open++;
    let wake: () => void = () => undefined;
    const listener = () => wake();
    this.listeners.add(listener);
    signal.addEventListener('abort', listener);
    try {
      for (let index = from; !signal.aborted;) {
        const item = items[index];
        if (item === undefined) await new Promise<void>(resolve => (wake = resolve));
        else {
          index++;
          yield item;
        }
      }
    } finally {
      this.open--;
      this.listeners.delete(listener);
      signal.removeEventListener('abort', listener);
    }
  }
}

const NODES = ['n1', 'n2', 'n3'];

function noSuchType({ app, processes }: AppView, type: string): AdminError {
  const known = Object.keys(processes);
  const message = `"${app}" has no process type "${type}"`;
  return new AdminError('not-found', message, { known, hint: suggestion(type, known) });
}

function problemOf(file: string, field: string, message: string): Problem {
  return { file, line: 0, column: 0, field, message, hint: null };
}

function nodeView(name: string): NodeView {
  return {
    name,
    state: 'Active',
    unreachable: false,
    unheardBy: [],
    incarnation: `i-${name}`,
    pid: 100,
    version: '0.1.0',
    platform: 'linux-x64-node20',
    labels: { zone: 'eu' },
    roles: ['apps', 'proxy'],
    capacity: { memoryBytes: 4e9, cpu: 2 },
    reserved: { memoryBytes: 1e9, cpu: 0.5 },
    instances: 1,
    leaseTtlSeconds: 10,
    remainingMs: name === 'n1' ? 7500 : null,
    draining: false,
    drain: null,
    admin: 'http://127.0.0.1:7300',
    peer: name === 'n3' ? null : { host: '127.0.0.1', port: 7400 },
    trust: 1,
    startedAt: AT,
  };
}

function runningPromise({ instance, app, process, index, node, endpoint, pid }: InstanceView): PromiseView {
  const promiser = node ?? '';
  const name = `running:${instance}`;
  const [assessor = ''] = NODES.filter(name => name !== 'n1' && name !== promiser);
  const assessment = {
    assessor,
    promiser,
    promise: name,
    outcome: 'kept' as const,
    evidence: 'HTTP 200 in 3 ms',
    at: AT,
    trust: 1,
  };
  return {
    promiser,
    promisee: 'any',
    name,
    kind: 'state',
    polarity: 'offer',
    body: {
      kind: 'running',
      instance,
      app,
      process,
      index,
      release: 1,
      version: '1',
      state: 'running',
      endpoint,
      ready: true,
      pid,
      trouble: null,
    },
    given: [],
    verify: endpoint
      ? { method: 'http', ...endpoint, path: '/health', contains: null, timeoutSeconds: 2 }
      : { method: 'lease' },
    madeAt: AT,
    completeBy: null,
    outcome: endpoint ? 'kept' : 'unassessed',
    assessments: endpoint ? [assessment] : [],
    observers: [assessor],
  };
}

/** Whether every field that the filter names has its value. */
function agrees(item: object, filter: object): boolean {
  return Object.entries(filter).every(
    ([name, value]) => value === undefined || (item as Record<string, unknown>)[name] === value,
  );
}
