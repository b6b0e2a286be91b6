import { parseInstanceId, subjectOfInstance, type InstantMs, type NodeName } from '../model/ids.ts';
import type { Move } from '../model/placement.ts';
import type { PlanProblem, StepResult, StepSpec, StepWork } from '../model/plan.ts';
import type { SupervisorRequest } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { StepAgent, StepTask } from '../ports/step-agents.ts';
import type { Store } from '../ports/store.ts';
import { runningElsewhere, wantedOrWhyNot } from './wanted.ts';
import type { World } from './world.ts';

/** Anybody may make steps of it. */
export const MOVE = 'move';
const LOOK_EVERY_MS = 200;
/** The copy of the world here may be behind the answer by less than this. */
const TAKEN_BACK_MS = 5000;
/** Beside its own times to start and stop. */
const MOVES_WITHIN_SECONDS = 90;
/** Of a deployment of the same app that has to settle first. */
const RETRY = { attempts: 5, firstWaitSeconds: 5, factor: 2, longestWaitSeconds: 60, jitter: 0.2 };

export interface MoveAgentOptions {
  node: NodeName;
  world: World;
  store: Pick<Store, 'commit' | 'get'>;
  clock: Clock;
}

/** The step that moves one instance. */
export function moveStep(world: World, { instance, from, to, reason }: Move): StepSpec {
  const wanted = wantedOrWhyNot(world, instance);
  const { startTimeoutSeconds = 0, stopTimeoutSeconds = 0 } = 'notWanted' in wanted ? {} : wanted.process;
  return {
    name: `${instance} to ${to}`,
    agent: MOVE,
    resource: instance,
    arguments: { from, to, reason },
    timeoutSeconds: MOVES_WITHIN_SECONDS + startTimeoutSeconds + stopTimeoutSeconds,
    retry: RETRY,
  };
}

/**
 * Does steps that move an instance from one node to another, from wherever the step is: it asks the node that has it, which hands it over
 * or says why not, and sees it through until the copy there is ready and the one here is gone. What an earlier attempt has
 * come to is found, not done again. Once it is handed over it is on its way: nobody stops it.
 */
export function moveAgent(options: MoveAgentOptions): StepAgent {
  const { node, world, store, clock } = options;
  return { name: MOVE, check, run };

  async function run(task: StepTask, signal: AbortSignal): Promise<StepResult> {
    const { resource: instance, arguments: { from = '', to = '', reason = '' } = {} } = task.work;
    const [problem] = check(task.work);
    if (problem) return failed('FATAL', `${problem.field}: ${problem.message}`);
    const untilMs = clock.now() + task.remainingMs;
    const request = {
      id: `${task.plan}.${task.index}.${task.attempt}`,
      node: from,
      action: 'rebalance' as const,
      subject: subjectOfInstance(instance),
      to,
      reason,
      attempt: task.attempt,
      from: node,
      at: clock.timestamp(),
    };
    let asked = false;
    let doneSinceMs: InstantMs | null = null;
    try {
      for (;;) {
        const now = howItIs(instance, from, to);
        if (now.kind === 'moved')
          return { kind: 'completed', output: { value: `${instance} runs on ${to}` } };
        if (now.kind === 'hopeless') return failed('FATAL', now.why);
        if (signal.aborted) return await stopped(request, asked);
        if (clock.now() >= untilMs) return failed('RETRYABLE', now.why);
        if (now.kind === 'there') {
          const answer = world.answers.get(`${from}/${request.id}`)?.value;
          if (answer?.answer === 'refused') return failed('RETRYABLE', answer.reason);
          if (answer !== undefined) doneSinceMs ??= clock.now();
          if (doneSinceMs !== null && clock.now() - doneSinceMs > TAKEN_BACK_MS)
            return failed('RETRYABLE', `${to} did not take ${instance}, and ${from} has it again`);
          if (!asked) await ask(request);
          asked = true;
        }
        await clock.sleep(LOOK_EVERY_MS, signal);
      }
    } finally {
      // If the store can't be had, the supervisor clears it away.
      if (asked) await forget(request).catch(() => null);
    }
  }

  /** A request that is gone is not fulfilled any more: what is still there then stays there. */
  async function stopped(request: SupervisorRequest, asked: boolean): Promise<StepResult> {
    if (asked) await forget(request);
    const owner = await store.get('owners', request.subject);
    const isThere = owner?.value.node === request.node && owner.value.released === null;
    if (isThere) return { kind: 'stopped' };
    return failed('FATAL', `it is on its way to ${request.to ?? ''}, and goes on`);
  }

  async function ask(request: SupervisorRequest): Promise<void> {
    const name = `${request.node}/${request.id}`;
    await store.commit(
      [{ kind: 'requests', name, is: 'absent' }],
      [{ put: 'requests', name, value: { v: 1, request } }],
    );
  }

  /** Nobody does it later. @throws StoreError */
  async function forget(request: SupervisorRequest): Promise<void> {
    await store.commit([], [{ delete: 'requests', name: `${request.node}/${request.id}` }]);
  }

  function howItIs(
    instance: string,
    from: NodeName,
    to: NodeName,
  ): { kind: 'there' | 'on its way' | 'moved' | 'hopeless'; why: string } {
    const wanted = wantedOrWhyNot(world, instance);
    if ('notWanted' in wanted) return { kind: 'hopeless', why: wanted.notWanted };
    const owner = world.owners.get(subjectOfInstance(instance))?.value;
    if (owner === undefined) return { kind: 'hopeless', why: `nobody has ever run ${instance}` };
    if (owner.released !== null) return { kind: 'on its way', why: `${to} has not taken ${instance} yet` };
    if (owner.node === from) return { kind: 'there', why: `${from} has not let go of ${instance} yet` };
    if (owner.node !== to) return { kind: 'hopeless', why: `${owner.node} runs ${instance} now` };
    const ready = runningElsewhere(world).some(
      copy => copy.instance === instance && copy.node === to && copy.ready,
    );
    if (!ready) return { kind: 'on its way', why: `${instance} is not ready on ${to} yet` };
    return owner.mayStillRun.includes(from)
      ? { kind: 'on its way', why: `${from} has not stopped its copy of ${instance} yet` }
      : { kind: 'moved', why: '' };
  }
}

function check({ resource, arguments: given = {} }: StepWork): PlanProblem[] {
  const problems: PlanProblem[] = [];
  if (!isInstance(resource))
    problems.push({ field: 'resource', message: 'is no instance', hint: 'as in blog/web/0' });
  for (const name of ['from', 'to']) {
    if (given[name] === undefined)
      problems.push({ field: `arguments.${name}`, message: 'is missing', hint: 'the name of a node' });
  }
  if (given['from'] !== undefined && given['from'] === given['to'])
    problems.push({ field: 'arguments.to', message: 'is where it is already', hint: 'another node' });
  return problems;
}

function isInstance(text: string): boolean {
  try {
    parseInstanceId(text);
    return true;
  } catch {
    return false;
  }
}

function failed(type: 'RETRYABLE' | 'FATAL', error: string): StepResult {
  return { kind: 'failed', type, error };
}
