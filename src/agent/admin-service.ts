import { rank } from '../placement/rank.ts';
import { instanceOfSubject, parseInstanceId, subjectOfInstance, type NodeName } from '../model/ids.ts';
import type { AppRecord } from '../model/records.ts';
import type { InstanceStatus } from '../model/reconciliation.ts';
import type { AppView, Doctor, EventView, Explanation, InstanceView, NodeView } from '../model/views.ts';
import { AdminError, type Admin, type EventFilter, type Listing } from '../ports/admin.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Driver } from '../ports/driver.ts';
import type { Peers } from '../ports/peers.ts';
import { StoreError, type Entry, type Store } from '../ports/store.ts';
import { Channel } from './channel.ts';
import type { Deployments } from './deployments.ts';
import type { Ledger } from './ledger.ts';
import { readLogs } from './logs.ts';
import type { SessionKeeper } from './session-keeper.ts';
import { recover } from './recover.ts';
import type { Supervisor } from './supervise-loop.ts';
import type { Crowd } from './crowd.ts';
import { leftover } from './evidence.ts';
import { supervisorOf } from './supervise-loop.ts';
import { appView, instanceViews, nodeViews, ownInstanceViews, promiseViews, subjectViews } from './views.ts';
import { placementInputs, wantedOrWhyNot, type HeldDown } from './wanted.ts';
import type { World } from './world.ts';

/** Answers from an older copy than this are not given as the truth. */
const TOO_STALE_MS = 30_000;

export interface AdminServiceOptions {
  node: NodeName;
  world: World;
  store: Store;
  keeper: SessionKeeper;
  supervisor: Supervisor;
  deployments: Deployments;
  artifacts: Artifacts & { inspect(digest: string): Promise<{ packageStart: boolean; files: string[] }> };
  driver: Driver;
  peers: Peers;
  ledger: Ledger;
  clock: Clock;
  /** What this node is, before its session shows it. */
  self: () => Omit<NodeView, 'state' | 'remainingMs' | 'reserved' | 'instances' | 'trust'>;
  /** How long an exclusive subject without an owner must still be left alone. */
  heldDown: HeldDown;
  crowd: Crowd;
  /** What this node says of its own instances. */
  statuses: () => readonly InstanceStatus[];
  doctor: () => Promise<Doctor['checks']>;
  metrics: () => Promise<string>;
  leave: () => Promise<void>;
}

/** Serves the admin API from this node's copy of the world; what it changes, it changes in the store. */
export function adminService(options: AdminServiceOptions): Admin {
  const { world, store, keeper, clock, node, deployments, artifacts } = options;
  const listing = <T>(items: T[]): Listing<T> => ({ revision: String(world.revision()), items });

  const ownView = (): NodeView => {
    const session = keeper.current();
    const remainingMs = session ? Math.max(0, Math.round(session.deadlineMs() - clock.now())) : null;
    // To whoever asks, not having heard the store yet is as good as not hearing it any more.
    const state = world.memory.fromMemory ? 'ConnectionLost' : keeper.state;
    const row = nodeViews(world, { node, state, remainingMs }).find(other => other.name === node);
    return (
      row ?? {
        ...options.self(),
        state,
        remainingMs,
        reserved: { memoryBytes: 0, cpu: 0 },
        instances: world.memory.fromMemory ? options.statuses().length : 0,
        trust: 1,
      }
    );
  };

  const recordOf = (app: string): Entry<'apps'> => {
    const entry = world.apps.get(app);
    if (!entry) {
      const known = world.apps.all().map(other => other.name);
      throw new AdminError('not-found', `there is no app "${app}"`, { known });
    }
    return entry;
  };

  const instancesSeen = (): InstanceView[] =>
    world.memory.fromMemory ? ownInstanceViews(node, options.statuses()) : instanceViews(world);

  const appSeen = (record: AppRecord, instances: InstanceView[]): AppView => {
    const seen = appView(record, instances);
    const cutOff = whyCutOff();
    return cutOff === null ? seen : { ...seen, conditions: [cutOff, ...seen.conditions] };
  };

  /** What is shown may be old, and nothing can be changed. */
  const whyCutOff = (): AppView['conditions'][number] | null => {
    if (!world.memory.fromMemory && keeper.state !== 'ConnectionLost') return null;
    const message = `${node} is cut off from the store: this is what it last heard`;
    return { type: 'CutOff', status: true, reason: 'StoreNotHeard', message };
  };

  const view = (app: string): AppView => appSeen(recordOf(app).value, instancesSeen());

  const change = async (app: string, edit: (record: AppRecord) => AppRecord): Promise<AppView> => {
    for (let attempt = 0; attempt < 5; attempt++) {
      const entry = await asAdminErrors(() => store.get('apps', app));
      if (!entry || entry.value.removing) throw new AdminError('not-found', `there is no app "${app}"`);
      const record = edit(entry.value);
      const result = await asAdminErrors(() =>
        store.commit(
          [{ kind: 'apps', name: app, revision: entry.revision }],
          [{ put: 'apps', name: app, value: record }],
        ),
      );
      if (result.kind === 'committed') return appView(record, instanceViews(world));
    }
    throw new AdminError('conflict', `"${app}" is being changed by others all the time; nothing was changed`);
  };

  return {
    ready() {
      if (world.memory.fromMemory)
        return {
          ready: false,
          reason:
            'this node is cut off: it has not heard the store since its agent started, and runs what it ran last',
        };
      if (!world.synced()) return { ready: false, reason: 'the copy of the cluster is not complete yet' };
      const staleMs = world.staleMs();
      if (staleMs > TOO_STALE_MS)
        return { ready: false, reason: `the store has not been heard for ${Math.round(staleMs / 1000)} s` };
      // Without a session it is a node that the others do not see.
      if (keeper.state !== 'Active' || keeper.current() === null)
        return { ready: false, reason: keeper.lostReason ?? 'this node has no session yet' };
      return { ready: true, reason: 'in step with the store' };
    },
    node: ownView,
    nodes() {
      const others = nodeViews(world, { node, state: keeper.state, remainingMs: null }).filter(
        other => other.name !== node,
      );
      return listing([...others, ownView()].sort((a, b) => (a.name < b.name ? -1 : 1)));
    },
    apps() {
      const instances = instancesSeen();
      return listing(world.apps.all().map(entry => appSeen(entry.value, instances)));
    },
    app: view,
    instances(filter) {
      return listing(
        instancesSeen().filter(
          instance =>
            (filter.app === undefined || instance.app === filter.app) &&
            (filter.node === undefined || instance.node === filter.node) &&
            (filter.process === undefined || instance.process === filter.process),
        ),
      );
    },
    promises(filter) {
      return listing(
        promiseViews(world).filter(
          promise =>
            (filter.of === undefined || promise.promiser === filter.of) &&
            (filter.outcome === undefined || promise.outcome === filter.outcome) &&
            (filter.kind === undefined || promise.body.kind === filter.kind) &&
            (filter.app === undefined || ('app' in promise.body && promise.body.app === filter.app)),
        ),
      );
    },
    assessments(filter) {
      return listing(
        world.assessments
          .all()
          .map(entry => entry.value.assessment)
          .filter(
            assessment =>
              (filter.promiser === undefined || assessment.promiser === filter.promiser) &&
              (filter.assessor === undefined || assessment.assessor === filter.assessor),
          ),
      );
    },
    async requests() {
      const { entries, revision } = await asAdminErrors(() => store.list('requests'));
      return {
        revision: String(revision),
        items: entries.map(({ name, value }) => ({
          ...value.request,
          answer: world.answers.get(name)?.value ?? null,
        })),
      };
    },
    supervisor() {
      const first = supervisorOf(world);
      return {
        node: first?.value.node ?? null,
        incarnation: first?.value.incarnation ?? null,
        candidates: world.supervisor.all().map(entry => entry.value.node),
        brake: options.supervisor.brake(),
      };
    },
    subjects(filter) {
      return listing(
        subjectViews(world).filter(subject => filter.owner === undefined || subject.owner === filter.owner),
      );
    },

    async events(filter) {
      const { entries, revision } = await asAdminErrors(() =>
        store.list('events', filter.after === null ? {} : { after: BigInt(filter.after) }),
      );
      const items = entries.map(eventView).sort(byRevision).filter(matches(filter));
      return { revision: String(revision), items: items.slice(Math.max(0, items.length - filter.limit)) };
    },
    followEvents: (filter, signal) => followEvents(store, filter, signal),
    logs: (target, logOptions, signal) => readLogs(options, target, logOptions, signal),
    explain: target => explain(world, target, options),

    plan: request => asAdminErrors(() => deployments.plan(request)),
    apply: (request, signal) => deployments.apply(request, signal),
    async remove(app) {
      await change(app, record => ({ ...record, removing: true, generation: record.generation + 1 }));
      options.ledger.note({
        kind: 'app-removed',
        subject: `app/${app}`,
        message: `"${app}" is not wanted any more`,
      });
    },
    async scale(app, scales) {
      const changed = await change(app, record => scaled(record, scales));
      const words = Object.entries(scales).map(([type, count]) => `${type}=${count}`);
      options.ledger.note({
        kind: 'app-scaled',
        subject: `app/${app}`,
        message: `"${app}" is scaled to ${words.join(' ')}`,
      });
      return changed;
    },
    async restart(app, process) {
      const changed = await change(app, record => restarted(record, process));
      options.ledger.note({
        kind: 'app-restarted',
        subject: `app/${app}`,
        message: `a restart of "${app}" was asked for`,
      });
      return changed;
    },
    receiveArtifact: (stream, expected) => artifacts.receive(stream, expected),
    async artifacts() {
      const own = (await artifacts.list()).map(artifact => ({ node, ...artifact }));
      const others = world.promises
        .all()
        .flatMap(({ value: { promise } }) =>
          promise.body.kind === 'holding' && promise.promiser !== node
            ? [{ node: promise.promiser, digest: promise.body.artifact, bytes: promise.body.bytes }]
            : [],
        );
      return [...own, ...others];
    },
    inspectArtifact: digest => artifacts.inspect(digest),
    async doctor() {
      return { checks: await options.doctor() };
    },
    recover: () => asAdminErrors(() => recover(options)),
    leave: options.leave,
    metrics: options.metrics,
  };
}

function scaled(record: AppRecord, scales: Record<string, number>): AppRecord {
  const types = record.spec.processes.map(process => process.type);
  for (const type of Object.keys(scales)) {
    if (!types.includes(type)) {
      throw new AdminError(
        'invalid',
        `"${record.app}" has no process type "${type}"; it has ${types.join(', ')}`,
      );
    }
  }
  const processes = record.spec.processes.map(process => ({
    ...process,
    scale: scales[process.type] ?? process.scale,
  }));
  return { ...record, generation: record.generation + 1, spec: { ...record.spec, processes } };
}

function restarted(record: AppRecord, process: string | null): AppRecord {
  const types = record.spec.processes.map(other => other.type);
  if (process !== null && !types.includes(process)) {
    throw new AdminError(
      'invalid',
      `"${record.app}" has no process type "${process}"; it has ${types.join(', ')}`,
    );
  }
  const restarts = { ...record.restarts };
  for (const type of process === null ? types : [process]) restarts[type] = (restarts[type] ?? 0) + 1;
  return { ...record, generation: record.generation + 1, restarts };
}

async function* followEvents(
  store: Store,
  filter: EventFilter & { after: string },
  signal: AbortSignal,
): AsyncIterable<EventView> {
  const mirror = store.mirror('events');
  const channel = new Channel<EventView>();
  const wanted = matches(filter);
  let seen = BigInt(filter.after);
  const send = (entries: Entry<'events'>[]): void => {
    const news = entries.filter(entry => entry.createRevision > seen);
    for (const event of news.map(eventView).sort(byRevision)) if (wanted(event)) channel.send(event);
    seen = news.reduce((highest, entry) => max(highest, entry.createRevision), seen);
  };
  const stop = mirror.onChange(changes =>
    send(changes.flatMap(change => (change.after ? [change.after] : []))),
  );
  const close = (): void => channel.close();
  signal.addEventListener('abort', close, { once: true });
  try {
    yield* channel;
  } finally {
    signal.removeEventListener('abort', close);
    stop();
    mirror.close();
  }
}

type ExplainOptions = Pick<AdminServiceOptions, 'heldDown' | 'crowd'>;

function explain(world: World, target: string, options: ExplainOptions): Explanation {
  const promise = promiseViews(world).find(view => `${view.promiser}/${view.name}` === target);
  if (promise) {
    return {
      about: target,
      summary: `${promise.name} of ${promise.promiser} is ${promise.outcome}`,
      lines: [
        `promised to ${promise.promisee} at ${promise.madeAt}`,
        `observed by ${promise.observers.join(', ') || 'nobody: no other node is there'}`,
        ...promise.assessments.map(
          ({ assessor, outcome, evidence, at }) => `${assessor} says ${outcome}: ${evidence} (${at})`,
        ),
      ],
      ranking: null,
    };
  }
  const instance = instanceOfSubject(target) ?? target;
  const known = instanceViews(world).find(view => view.instance === instance);
  if (!known)
    throw new AdminError(
      'not-found',
      `"${target}" is neither an instance (APP/TYPE/N), a subject nor a promise (NODE/NAME)`,
    );
  return explainInstance(world, known, options);
}

function explainInstance(world: World, view: InstanceView, { heldDown, crowd }: ExplainOptions): Explanation {
  const subject = subjectOfInstance(view.instance);
  const inputs = placementInputs(world, heldDown, crowd.unsteady());
  const wanted = wantedOrWhyNot(world, parseable(view.instance));
  const lines: string[] = [];
  if ('notWanted' in wanted) lines.push(`not wanted: ${wanted.notWanted}`);
  else lines.push(`wanted at release ${wanted.record.release} of "${wanted.record.app}"`);
  if (view.node !== null)
    lines.push(`owned by ${view.node} with token ${view.token ?? 'none'}; it says: ${view.state}`);
  else lines.push(`owned by nobody: ${view.trouble ?? 'never taken'}`);
  const held = inputs.heldDown.find(({ instance }) => instance === view.instance);
  if (held) {
    const seconds = (held.forMs / 1000).toFixed(1);
    lines.push(`held down: where it ran last it may not be dead before ${seconds} s from now`);
  }
  lines.push(...whyNotTaken(world, view.instance));
  const brake = crowd.brake();
  if (view.node === null && brake.reason !== null) lines.push(`the brake is on: ${brake.reason}`);
  if (view.mayStillRun.length > 0) lines.push(`may still run on ${view.mayStillRun.join(', ')}`);
  if (view.node !== null && view.trouble !== null) lines.push(view.trouble);
  if ('notWanted' in wanted)
    return { about: subject, summary: `${view.instance} is ${view.state}`, lines, ranking: null };
  // Ranked as if it were free now, without its own reservation, so that its present place can be compared.
  const free = inputs.free.find(other => other.subject === subject) ?? {
    instance: view.instance,
    subject,
    spec: wanted.spec,
    process: wanted.process,
    index: wanted.index,
    platform: wanted.record.artifact?.platform ?? null,
    runsOn: view.node !== null ? [view.node] : [],
    tiedTo: [],
    refusals: [],
  };
  const ranking = rank(
    [free],
    inputs.nodes,
    inputs.placed.filter(other => other.instance !== view.instance),
  )[0];
  return {
    about: subject,
    summary: `${view.instance} is ${view.state}${view.node === null ? '' : ` on ${view.node}`}`,
    lines,
    ranking: ranking ? { candidates: ranking.candidates, excluded: ranking.excluded } : null,
  };
}

/** Of what a node had whose session is gone. */
function whyNotTaken(world: World, instance: string): string[] {
  const owner = world.owners.get(subjectOfInstance(instance));
  const wanted = wantedOrWhyNot(world, parseable(instance));
  if (!owner || 'notWanted' in wanted || world.sessionLives(owner)) return [];
  const { node } = owner.value;
  switch (leftover(world, owner, wanted)) {
    case 'answers':
      return [
        `${node} is cut off from the store, and it still answers: it stays there until ${node} is back`,
      ];
    case 'asked':
      return [`the observers of ${node} are asked whether it still answers`];
    case 'free':
      return [];
  }
}

function parseable(instance: string): string {
  parseInstanceId(instance);
  return instance;
}

/** Known by the revision it was recorded at: writing it again, after a lost reply, makes it no other event. */
function eventView(entry: Entry<'events'>): EventView {
  const { at, kind, subject, node, message, details } = entry.value;
  return { revision: String(entry.createRevision), at, kind, subject, node, message, details };
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function byRevision(a: EventView, b: EventView): number {
  const difference = BigInt(a.revision) - BigInt(b.revision);
  if (difference !== 0n) return difference < 0n ? -1 : 1;
  return a.at < b.at ? -1 : a.at > b.at ? 1 : 0;
}

function matches(filter: EventFilter): (event: EventView) => boolean {
  return event =>
    (filter.kind === undefined || event.kind === filter.kind) &&
    (filter.subject === undefined || event.subject === filter.subject) &&
    (filter.node === undefined || event.node === filter.node) &&
    (filter.instance === undefined || isAbout(event.subject, filter.instance));
}

/** As itself, as a subject, or as what a promise of some node is about. */
function isAbout(subject: string, instance: string): boolean {
  return subject === instance || subject.endsWith(`/${instance}`) || subject.endsWith(`:${instance}`);
}

/** The store being away is not the asker's mistake. */
async function asAdminErrors<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new AdminError('unavailable', `the store does not answer: ${error.message}`, {
      outcome: error.outcome,
    });
  }
}
