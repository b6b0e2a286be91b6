import { instanceOfSubject, type NodeName } from '../model/ids.ts';
import { agentOfSubject } from '../model/named-agents.ts';
import type { AnswerRecord, SupervisorRequest } from '../model/records.ts';
import { AdminError } from '../ports/admin.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Compare, Store } from '../ports/store.ts';
import type { Crowd } from './crowd.ts';
import { wishDrain } from './drain-wishes.ts';
import type { Holdings } from './holdings.ts';
import type { InstanceLoop } from './instance-loop.ts';
import type { Ledger } from './ledger.ts';
import { Loop } from './loop.ts';
import type { NamedAgents } from './names/named-agents.ts';
import { stepOfSubject } from './plans/overdue.ts';
import type { PlanEngine } from './plans/plan-engine.ts';
import { rankedAnew } from './ranked-anew.ts';
import { whyFixed } from './rebalancing.ts';
import { placementInputs, wantedOrWhyNot } from './wanted.ts';
import type { World } from './world.ts';

export interface RequestLoopOptions {
  node: NodeName;
  world: World;
  store: Store;
  holdings: Holdings;
  instances: InstanceLoop;
  names: NamedAgents;
  plans: Pick<PlanEngine, 'endLateStep'>;
  crowd: Crowd;
  ledger: Ledger;
  clock: Clock;
  log: Log;
}

/** Hears what the supervisor, or an operator, asks of this node, and accepts it or says why not. */
export function requestLoop(options: RequestLoopOptions): Loop {
  const { world, node } = options;
  /** By request: what was done is not done again because its answer is not there yet. */
  const answers = new Map<string, AnswerRecord>();
  return new Loop({
    name: 'requests',
    clock: options.clock,
    log: options.log,
    everyMs: 10_000,
    round: async () => {
      const asked = world.requests.all().filter(entry => entry.value.request.node === node);
      const known = new Set(asked.map(entry => entry.value.request.id));
      for (const id of answers.keys()) if (!known.has(id)) answers.delete(id);
      for (const { name, value } of asked) {
        if (world.answers.get(name) !== undefined) continue;
        const { request } = value;
        const answer = answers.get(request.id) ?? (await answerTo(options, request));
        answers.set(request.id, answer);
        await options.store.commit(
          [{ kind: 'requests', name, is: 'present' }],
          [{ put: 'answers', name, value: answer }],
        );
      }
      await clearAnswers(options);
      return null;
    },
  });
}

/** To requests that the supervisor has forgotten. Nobody else may: etcd can hold a node's answers to that node. */
async function clearAnswers({ world, store, node }: RequestLoopOptions): Promise<void> {
  for (const { name } of world.answers.all()) {
    if (!name.startsWith(`${node}/`) || world.requests.get(name) !== undefined) continue;
    await store.commit([{ kind: 'requests', name, is: 'absent' }], [{ delete: 'answers', name }]);
  }
}

async function answerTo(options: RequestLoopOptions, request: SupervisorRequest): Promise<AnswerRecord> {
  const { ledger, clock, node } = options;
  const refusal = await performOrWhyNot(options, request);
  ledger.note({
    kind: refusal === null ? 'request-accepted' : 'request-refused',
    subject: request.subject,
    message:
      refusal === null
        ? `${node} did as asked: ${request.action} ${request.subject}`
        : `${node} refuses: ${refusal}`,
    details: { request: request.id },
  });
  return {
    v: 1,
    id: request.id,
    node,
    answer: refusal === null ? 'done' : 'refused',
    reason: refusal ?? `${request.action} of ${request.subject} is done`,
    at: clock.timestamp(),
  };
}

async function performOrWhyNot(
  options: RequestLoopOptions,
  request: SupervisorRequest,
): Promise<string | null> {
  const { holdings, instances, names, plans, node, store } = options;
  const agent = agentOfSubject(request.subject);
  if (request.action === 'release' && agent !== null) return names.recallHere(agent, request.reason);
  if (request.action === 'drain') return emptiesItself(options, request);
  if (request.action === 'rebalance') return handsOver(options, request);
  const step = stepOfSubject(request.subject);
  if (request.action === 'retry-step' && step !== null) return plans.endLateStep(step);
  if (request.action !== 'restart') return `${node} does not know how to ${request.action}`;
  // A node that was cut off may hear of a request before it hears that the subject was taken from it: the store knows.
  const owner = holdings.held().has(request.subject) ? await store.get('owners', request.subject) : null;
  if (owner?.value.node !== node) return `${node} does not own ${request.subject}`;
  const instance = instanceOfSubject(request.subject);
  if (instance === null) return null;
  const { pid = null, reason } = request;
  const found = await instances.restart(instance, pid, `the supervisor asked: ${reason}`);
  return found || pid === null ? null : `process ${pid} of ${instance} is gone already`;
}

/** To the node that the request names, if that can take it: the copy here runs on until the one there is ready. */
async function handsOver(options: RequestLoopOptions, request: SupervisorRequest): Promise<string | null> {
  const { node, world, holdings, crowd } = options;
  const { subject, to = '', reason } = request;
  const holding = holdings.held().get(subject);
  if (!holding) return `${node} does not own ${subject}`;
  const { instance } = holding;
  const wanted = wantedOrWhyNot(world, instance);
  if ('notWanted' in wanted) return wanted.notWanted;
  const fixed = holding.exclusive ? `${instance} is exclusive` : whyFixed(world, wanted);
  if (fixed !== null) return fixed;
  const inputs = placementInputs(world, undefined, crowd.unsteady());
  const ranking = rankedAnew(world, inputs, wanted, []);
  if (!ranking?.candidates.some(candidate => candidate.node === to)) {
    const why = ranking?.excluded.find(other => other.node === to)?.reason ?? 'is not there';
    return `${to} ${why}`;
  }
  const app = world.apps.get(wanted.record.app);
  if (!app) return `there is no app "${wanted.record.app}" any more`;
  const compares: Compare[] = [
    // A release that is deployed at this very moment goes first.
    { kind: 'apps', name: app.name, revision: app.revision },
    // Whoever takes the request back can count on it.
    { kind: 'requests', name: `${node}/${request.id}`, is: 'present' },
  ];
  await holdings.handOver(holding, `${reason}: it moves to ${to}`, { node: to, compares });
  return null;
}

/** Makes the wish its own: it stands until an operator says otherwise. */
async function emptiesItself(
  options: RequestLoopOptions,
  { subject, reason }: SupervisorRequest,
): Promise<string | null> {
  const { node } = options;
  if (subject !== `node/${node}`) return `${node} empties nobody but itself`;
  try {
    await wishDrain(options, node, `the supervisor asked: ${reason}`);
  } catch (error) {
    if (error instanceof AdminError && error.kind === 'conflict') return error.message;
    throw error;
  }
  return null;
}
