import { observersOf } from '../assess/observers.ts';
import { outcomeOf } from '../assess/outcome.ts';
import { trustOf } from '../assess/trust.ts';
import { instanceOfSubject, parseInstanceId, subjectOfInstance, type NodeName } from '../model/ids.ts';
import type { RunningBody } from '../model/node-promise.ts';
import { tokenOf, type AppRecord, type Capacity, type Rollout } from '../model/records.ts';
import type { InstanceStatus } from '../model/reconciliation.ts';
import type { AppView, InstanceView, NodeView, PromiseView, SubjectView } from '../model/views.ts';
import { standing } from '../ownership/standing.ts';
import { whyNowhere } from '../placement/explain.ts';
import { rank } from '../placement/rank.ts';
import { wantedRelease } from '../reconcile/wanted-release.ts';
import { evidenceAgainst, leftover, silences, unreachableNodes } from './evidence.ts';
import { placementInputs, wantedInstances, wantedOrWhyNot } from './wanted.ts';
import type { World } from './world.ts';

const NOBODY = { node: '', incarnation: '' };

/** What the node itself adds to its own row, which nobody else can know. */
export interface OwnStanding {
  node: NodeName;
  state: NodeView['state'];
  remainingMs: number | null;
}

export function nodeViews(world: World, own: OwnStanding): NodeView[] {
  const { placed } = placementInputs(world);
  const assessments = world.assessments.all().map(entry => entry.value.assessment);
  const unreachable = unreachableNodes(world);
  const unheard = silences(world);
  const present = [...world.nodes().values()].map(({ value }) => ({
    session: value,
    state: 'Active' as const,
  }));
  const lost = world.lostNodes().map(session => ({ session, state: 'ConnectionLost' as const }));
  const all = [...present, ...lost].sort((a, b) => (a.session.node < b.session.node ? -1 : 1));
  return all.map(({ session, state }) => {
    const here = placed.filter(instance => instance.node === session.node);
    return {
      name: session.node,
      state: session.node === own.node ? own.state : state,
      unreachable: unreachable.has(session.node),
      unheardBy: (unheard.get(session.node) ?? []).map(({ assessor, at, evidence }) => ({
        node: assessor,
        since: at,
        evidence,
      })),
      incarnation: session.incarnation,
      pid: session.pid,
      version: session.version,
      platform: session.platform,
      labels: session.labels,
      roles: session.roles,
      capacity: session.capacity,
      reserved: here.reduce<Capacity>(
        (sum, { reserves }) => ({
          memoryBytes: sum.memoryBytes + reserves.memoryBytes,
          cpu: sum.cpu + reserves.cpu,
        }),
        { memoryBytes: 0, cpu: 0 },
      ),
      instances: here.length,
      leaseTtlSeconds: session.ttlSeconds,
      remainingMs: session.node === own.node ? own.remainingMs : null,
      draining: session.draining,
      drain: drainOf(world, session.node),
      admin: session.admin,
      peer: session.peer,
      trust: trustOf(session.node, assessments),
      startedAt: session.startedAt,
    };
  });
}

function drainOf(world: World, node: NodeName): NodeView['drain'] {
  const body = world.promises.get(`${node}/draining`)?.value.promise.body;
  return body?.kind === 'draining' ? { reason: body.reason, left: body.left, stays: body.stays } : null;
}

/** Wanted instances, and those that somebody still has though nobody wants them. */
export function instanceViews(world: World): InstanceView[] {
  const wanted = wantedInstances(world).map(instance => instance.instance);
  const owned = world.owners.all().flatMap(entry => {
    const instance = instanceOfSubject(entry.name);
    return instance !== null && entry.value.released === null ? [instance] : [];
  });
  const said = new Map(bodies(world).map(({ node, body }) => [`${body.instance}@${node}`, body]));
  const unreachable = unreachableNodes(world);
  const views = [...new Set([...wanted, ...owned])].sort(naturally).map(id => {
    const view = instanceView(world, id, said);
    return view.node !== null && unreachable.has(view.node) ? asLastSaid(world, view, view.node) : view;
  });
  return withWhyNowhere(world, views);
}

/** Of what nobody has and no node could take: what each of them has against it. */
function withWhyNowhere(world: World, views: InstanceView[]): InstanceView[] {
  if (views.every(({ node }) => node !== null)) return views;
  const { free, nodes, placed } = placementInputs(world);
  const nowhere = new Map(
    rank(free, nodes, placed).flatMap(ranking =>
      ranking.candidates.length === 0 ? [[ranking.instance, whyNowhere(ranking)]] : [],
    ),
  );
  return views.map(view => {
    const why = view.node === null ? nowhere.get(view.instance) : undefined;
    if (why === undefined) return view;
    return { ...view, trouble: `no node can take it: ${why ?? 'there is none'}` };
  });
}

/** On a node whose agent its observers do not hear: what nobody else finds there either may run or not. */
function asLastSaid(world: World, view: InstanceView, node: NodeName): InstanceView {
  const { instance, state, endpoint, trouble } = view;
  if (endpoint !== null && evidenceAgainst(world, node, instance) === null) return view;
  const why = `${node} is unreachable in the eyes of its observers; what it said last of this instance: ${state}`;
  return { ...view, state: 'unknown', ready: false, trouble: trouble === null ? why : `${why}\n${trouble}` };
}

/** What a node that has not heard the store can say: its own instances, owned by nobody as far as it knows. */
export function ownInstanceViews(node: NodeName, statuses: readonly InstanceStatus[]): InstanceView[] {
  return statuses.map(status => {
    const { app, process, index } = parseInstanceId(status.instance);
    const { instance, state, ready, release, version, endpoint, pid, trouble } = status;
    const known = {
      instance,
      app,
      process,
      index,
      node,
      state,
      ready,
      release,
      version,
      endpoint,
      pid,
      trouble,
    };
    return { ...known, token: null, exclusive: false, mayStillRun: [] };
  });
}

export function appView(record: AppRecord, instances: InstanceView[]): AppView {
  const own = instances.filter(instance => instance.app === record.app);
  const processes = Object.fromEntries(
    record.spec.processes.map(process => {
      const ready = own.filter(
        instance => instance.process === process.type && instance.ready && instance.index < process.scale,
      );
      return [process.type, { scale: process.scale, ready: ready.length, exclusive: process.exclusive }];
    }),
  );
  return {
    app: record.app,
    title: record.spec.title,
    release: record.release,
    generation: record.generation,
    processes,
    hostnames: record.spec.hostnames,
    artifact: record.artifact?.digest ?? null,
    rollout: record.rollout ? { from: record.rollout.before.release, stage: record.rollout.stage } : null,
    givenUp: record.givenUp ?? null,
    conditions: conditions(record, own),
    appliedAt: record.appliedAt,
  };
}

export function promiseViews(world: World): PromiseView[] {
  const nodes = [...world.nodes().keys()];
  const assessments = world.assessments.all().map(entry => entry.value.assessment);
  return world.promises.all().map(({ value: { promise } }) => {
    const own = assessments.filter(
      other => other.promiser === promise.promiser && other.promise === promise.name,
    );
    const observers = observersOf(promise.promiser, nodes);
    return { ...promise, outcome: outcomeOf(own, observers), assessments: own, observers };
  });
}

export function subjectViews(world: World): SubjectView[] {
  const live = world.liveIncarnations();
  return world.owners.all().map(entry => {
    const stand = standing(entry, live, NOBODY);
    return {
      subject: entry.name,
      state: stand.state,
      owner: stand.state === 'Assigned' ? entry.value.node : null,
      incarnation: stand.state === 'Assigned' ? entry.value.incarnation : null,
      token: stand.state === 'Assigned' ? tokenOf(entry) : null,
      mayStillRun: entry.value.mayStillRun,
    };
  });
}

function instanceView(world: World, id: string, said: ReadonlyMap<string, RunningBody>): InstanceView {
  const { app, process, index } = parseInstanceId(id);
  const owner = world.owners.get(subjectOfInstance(id));
  const stand = standing(owner, world.liveIncarnations(), NOBODY);
  const kept = stand.state === 'Assigned' ? undefined : stillAnswers(world, id);
  const node = stand.state === 'Assigned' || kept ? (owner?.value.node ?? null) : null;
  // Somebody who lost its session may run it still, and say so again: then that is what there is.
  const body = kept ?? (node !== null ? said.get(`${id}@${node}`) : undefined);
  return {
    instance: id,
    app,
    process,
    index,
    node,
    state: node === null ? 'unplaced' : (body?.state ?? 'pending'),
    ready: body?.ready ?? false,
    release: body?.release ?? null,
    version: body?.version ?? null,
    endpoint: body?.endpoint ?? null,
    pid: body?.pid ?? null,
    token: owner && node !== null ? tokenOf(owner) : null,
    exclusive:
      world.apps.get(app)?.value.spec.processes.find(other => other.type === process)?.exclusive ?? false,
    mayStillRun: owner?.value.mayStillRun ?? [],
    trouble: body?.trouble ?? (node === null || kept ? stand.reason : null),
  };
}

/** What a node that is cut off from the store last said of an instance, which its observers still find there. */
function stillAnswers(world: World, id: string): RunningBody | undefined {
  const owner = world.owners.get(subjectOfInstance(id));
  const wanted = wantedOrWhyNot(world, id);
  if (!owner || 'notWanted' in wanted || leftover(world, owner, wanted) !== 'answers') return undefined;
  return world.assessments
    .all()
    .map(({ value }) => value.assessment.answering)
    .filter(promise => promise?.promiser === owner.value.node)
    .flatMap(promise => (promise?.body.kind === 'running' ? [promise.body] : []))
    .find(body => body.instance === id);
}

/** `Ready` always, and beside it what stands in its way. Copies that stand beside are ready or not for their rollout alone. */
function conditions(record: AppRecord, own: InstanceView[]): AppView['conditions'] {
  const serving = own.flatMap(instance => {
    const wanted = wantedRelease(record, instance.process, instance.index);
    return wanted === null || wanted.serves === 'not-yet' ? [] : [{ instance, wanted }];
  });
  const late = serving.flatMap(({ instance, wanted }) => {
    const isRight = wanted.serves === 'after-old' || instance.version === wanted.version;
    return instance.ready && isRight ? [] : [instance];
  });
  const failed = late.filter(instance => instance.state === 'failed');
  const words = (instances: InstanceView[]): string =>
    instances.map(({ instance, state }) => `${instance} ${state}`).join(', ');
  const ready = !record.removing && late.length === 0;
  const message = ready
    ? `all ${serving.length} instance(s) are ready`
    : `not ready at this release: ${words(late)}`;
  const found: AppView['conditions'] = [
    { type: 'Ready', status: ready, reason: ready ? 'AllReady' : 'NotAllReady', message },
  ];
  if (record.removing) {
    const left = `${own.length} instance(s) are still to be stopped`;
    found.push({ type: 'Removing', status: true, reason: 'RemoveAsked', message: left });
  } else if (failed.length > 0) {
    found.push({
      type: 'Degraded',
      status: true,
      reason: 'InstancesFailed',
      message: `given up: ${words(failed)}`,
    });
  } else if (!ready) {
    found.push({ type: 'Progressing', status: true, reason: 'InstancesLate', message: words(late) });
  }
  return [...found, ...releaseConditions(record)];
}

const stageWords: Record<Rollout['stage'], string> = {
  canary: 'a share of the instances tries it',
  beside: 'copies of it get ready beside',
  replacing: 'the instances are replaced',
};

function releaseConditions({ app, release, spec, rollout, givenUp }: AppRecord): AppView['conditions'] {
  const found: AppView['conditions'] = [];
  if (rollout) {
    const waits = rollout.stage !== 'replacing' && spec.deploy.promote === 'manual';
    const word = waits ? `, until hop3-agent promote ${app}, or rollback ${app}` : '';
    const message = `release ${release} takes the place of ${rollout.before.release}: ${stageWords[rollout.stage]}${word}`;
    found.push({ type: 'RollingOut', status: true, reason: 'ReleaseChanges', message });
  }
  if (givenUp) {
    const message = `release ${givenUp.release} was given up for ${givenUp.to}: ${givenUp.reason}`;
    found.push({ type: 'RolledBack', status: true, reason: 'GivenUp', message });
  }
  return found;
}

function bodies(world: World): { node: NodeName; body: RunningBody }[] {
  return world.promises
    .all()
    .flatMap(({ value: { promise } }) =>
      promise.body.kind === 'running' ? [{ node: promise.promiser, body: promise.body }] : [],
    );
}

/** `web/2` before `web/10`. */
function naturally(a: string, b: string): number {
  const [left, right] = [parseInstanceId(a), parseInstanceId(b)];
  if (left.app !== right.app) return left.app < right.app ? -1 : 1;
  if (left.process !== right.process) return left.process < right.process ? -1 : 1;
  return left.index - right.index;
}
