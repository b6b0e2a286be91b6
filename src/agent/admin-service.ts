import type { AppName, NodeName } from '../model/ids.ts';
import type { AppRecord } from '../model/records.ts';
import type { InstanceStatus } from '../model/reconciliation.ts';
import type { AppView, Doctor, InstanceView, NodeView } from '../model/views.ts';
import { AdminError, type Admin, type Listing } from '../ports/admin.ts';
import type { Artifacts } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';
import type { Driver } from '../ports/driver.ts';
import type { Peers } from '../ports/peers.ts';
import type { Plans } from '../ports/plans.ts';
import type { Entry, Store } from '../ports/store.ts';
import { asAdminErrors } from './admin-errors.ts';
import { AppChanges } from './app-changes.ts';
import { deploymentsSeen } from './deploy/deployment-plan.ts';
import type { Deployments } from './deploy/deployments.ts';
import type { Ledger } from './ledger.ts';
import type { PlanEngine } from './plans/plan-engine.ts';
import { readLogs } from './logs.ts';
import type { SessionKeeper } from './session-keeper.ts';
import { recover } from './recover.ts';
import type { Supervisor } from './supervise-loop.ts';
import type { Crowd } from './crowd.ts';
import { endDrain, wishDrain } from './drain-wishes.ts';
import { explain } from './explain.ts';
import type { ExplainNameOptions } from './names/explain-name.ts';
import { followEvents, pastEvents } from './read-events.ts';
import { applyMoves, proposedMoves } from './rebalancing.ts';
import type { Rollbacks } from './deploy/rollbacks.ts';
import { supervisorOf } from './supervise-loop.ts';
import { appView, instanceViews, nodeViews, ownInstanceViews, promiseViews, subjectViews } from './views.ts';
import type { HeldDown } from './wanted.ts';
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
  rollbacks: Rollbacks;
  planEngine: Pick<PlanEngine, 'open'>;
  plans: Plans;
  artifacts: Artifacts & { inspect(digest: string): Promise<{ packageStart: boolean; files: string[] }> };
  driver: Driver;
  peers: Peers;
  ledger: Ledger;
  clock: Clock;
  /** What this node is, before its session shows it. */
  self: () => Omit<
    NodeView,
    'state' | 'unreachable' | 'unheardBy' | 'remainingMs' | 'reserved' | 'instances' | 'trust'
  >;
  /** How long an exclusive subject without an owner must still be left alone. */
  heldDown: HeldDown;
  crowd: Crowd;
  names: Pick<ExplainNameOptions, 'agent' | 'untilFreeMs'>;
  /** What this node says of its own instances. */
  statuses: () => readonly InstanceStatus[];
  doctor: () => Promise<Doctor['checks']>;
  metrics: () => Promise<string>;
  leave: () => Promise<void>;
}

/** Serves the admin API from this node's copy of the world; what it changes, it changes in the store. */
export function adminService(options: AdminServiceOptions): Admin {
  const { world, store, keeper, clock, node, deployments, artifacts } = options;
  const changes = new AppChanges(options);
  const { rollbacks } = options;
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
        unreachable: false,
        unheardBy: [],
        remainingMs,
        reserved: { memoryBytes: 0, cpu: 0 },
        instances: world.memory.fromMemory ? options.statuses().length : 0,
        trust: 1,
      }
    );
  };

  const nodesSeen = (): NodeView[] => {
    const seen = nodeViews(world, { node, state: keeper.state, remainingMs: null });
    const others = seen.filter(other => other.name !== node);
    return [...others, ownView()].sort((a, b) => (a.name < b.name ? -1 : 1));
  };

  const nodeSeen = (name: NodeName): NodeView => {
    const found = nodesSeen().find(other => other.name === name);
    if (!found) throw new AdminError('not-found', `there is no node "${name}"`);
    return found;
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
    const deploying = deploymentOf(record.app);
    const conditions = [...(cutOff ? [cutOff] : []), ...seen.conditions, ...deploying];
    return { ...seen, conditions };
  };

  const deploymentOf = (app: AppName): AppView['conditions'] =>
    deploymentsSeen(options.planEngine.open())
      .filter(deployment => deployment.app === app)
      .map(({ plan, step, node: by, undoing }) => ({
        type: 'Deploying',
        status: true,
        reason: undoing ? 'Undoing' : 'StepsLeft',
        message: `${undoing ? 'is undone' : step} on ${by ?? 'no node yet'}, plan ${plan}`,
      }));

  /** What is shown may be old, and nothing can be changed. */
  const whyCutOff = (): AppView['conditions'][number] | null => {
    if (!world.memory.fromMemory && keeper.state !== 'ConnectionLost') return null;
    const message = `${node} is cut off from the store: this is what it last heard`;
    return { type: 'CutOff', status: true, reason: 'StoreNotHeard', message };
  };

  const view = (app: string): AppView => appSeen(recordOf(app).value, instancesSeen());

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
    nodes: () => listing(nodesSeen()),
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

    events: filter => asAdminErrors(() => pastEvents(store, filter)),
    followEvents: (filter, signal) => followEvents(store, filter, signal),
    logs: (target, logOptions, signal) => readLogs(options, target, logOptions, signal),
    drain: async (name, reason) => {
      await wishDrain(options, name, reason);
      return nodeSeen(name);
    },
    undrain: async name => {
      await endDrain(options, name);
      return nodeSeen(name);
    },
    rebalancing: () => ({ revision: String(world.revision()), ...proposedMoves(options) }),
    rebalance: async () => ({ revision: String(world.revision()), ...(await applyMoves(options)) }),
    explain: target =>
      explain(world, target, { ...options, names: { ...options.names, node, nodes: nodesSeen } }),

    plan: request => asAdminErrors(() => deployments.plan(request)),
    apply: (request, signal) => deployments.apply(request, signal),
    remove: app => changes.remove(app),
    scale: async (app, scales) => {
      const { record, warnings } = await changes.scale(app, scales);
      return { ...appView(record, instanceViews(world)), warnings };
    },
    promote: async app => appView(await changes.promote(app), instanceViews(world)),
    releases: app => rollbacks.releases(app),
    rollback: async (app, release) => appView(await rollbacks.rollback(app, release), instanceViews(world)),
    restart: async (app, process) => appView(await changes.restart(app, process), instanceViews(world)),
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
    async inspectArtifact(digest) {
      if (await artifacts.has(digest)) return artifacts.inspect(digest);
      throw new AdminError('not-found', `artifact ${digest} is not on ${node}`);
    },
    async doctor() {
      return { checks: await options.doctor() };
    },
    recover: () => asAdminErrors(() => recover(options)),
    leave: options.leave,
    metrics: options.metrics,
  };
}
