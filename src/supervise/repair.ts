import { subjectOfInstance, type InstantMs, type NodeName } from '../model/ids.ts';
import type { Assessment, NodePromise } from '../model/node-promise.ts';
import type { AnswerRecord, SupervisorRequest } from '../model/records.ts';
import type { SupervisorPolicy } from './policy.ts';

export interface SupervisedPromise {
  promise: NodePromise;
  assessments: Assessment[];
  observers: NodeName[];
}

/** A request that is in the store. */
export interface KnownRequest {
  request: SupervisorRequest;
  answer: AnswerRecord | null;
  /** Since when this supervisor has seen it. */
  sinceMs: InstantMs;
}

export type NewRequest = Omit<SupervisorRequest, 'id' | 'at' | 'from'>;

export type Repair =
  | { kind: 'none' }
  /** A quorum finds it kept: what was asked before is not held against the next time. */
  | { kind: 'healthy' }
  | { kind: 'wait'; untilMs: InstantMs }
  | { kind: 'ask'; request: NewRequest }
  | { kind: 'give-up'; subject: string; attempts: number; reason: string };

/**
 * What to do about one promise to run something. Only a copy that its node believes to be fine is asked about: one that
 * is starting, backing off or given up is in its node's own hands. One that is not reached, nor its agent, is for others to
 * take: a restart would end what may be well, and says nothing of a node that has come back since. Nor is one that has
 * taken the place of what was found broken. `requests` are the earlier ones for this promise.
 */
export function repairOf(
  supervised: SupervisedPromise,
  requests: KnownRequest[],
  policy: SupervisorPolicy,
  nowMs: InstantMs,
): Repair {
  const { promise } = supervised;
  if (promise.body.kind !== 'running') return { kind: 'none' };
  if (quorumSays(supervised, ['kept', 'repaired']).length > 0) return { kind: 'healthy' };
  const { pid } = promise.body;
  const ofThisCopy = supervised.assessments.filter(
    each => each.unreachable !== true && (each.pid === undefined || each.pid === pid),
  );
  const broken = quorumSays({ ...supervised, assessments: ofThisCopy }, ['broken']);
  const claimsToWork = promise.body.state === 'running' || promise.body.state === 'unhealthy';
  if (broken.length === 0 || !claimsToWork) return { kind: 'none' };

  const subject = subjectOfInstance(promise.body.instance);
  const reason = `broken in the eyes of ${broken.map(({ assessor }) => assessor).join(', ')}: ${broken[0]?.evidence ?? ''}`;
  const last = requests.reduce<KnownRequest | null>(
    (latest, each) => (latest && latest.request.attempt >= each.request.attempt ? latest : each),
    null,
  );
  const attempt = last === null ? 0 : last.request.attempt + 1;
  if (last !== null) {
    const untilMs = Math.max(pendingUntilMs(last, policy, nowMs), backoffUntilMs(last, policy));
    if (nowMs < untilMs) return { kind: 'wait', untilMs };
  }
  if (attempt >= policy.maxAttempts) return { kind: 'give-up', subject, attempts: attempt, reason };
  const which = pid === null ? {} : { pid };
  const { promiser: node } = promise;
  return { kind: 'ask', request: { node, action: 'restart', subject, ...which, reason, attempt } };
}

/** The judgements of more than half of the observers, if that many agree; else none. */
function quorumSays(
  { assessments, observers }: SupervisedPromise,
  outcomes: Assessment['outcome'][],
): Assessment[] {
  const agreeing = assessments.filter(
    ({ assessor, outcome }) => observers.includes(assessor) && outcomes.includes(outcome),
  );
  return agreeing.length > observers.length / 2 ? agreeing : [];
}

function pendingUntilMs(last: KnownRequest, policy: SupervisorPolicy, nowMs: InstantMs): InstantMs {
  const pending = last.answer === null || last.answer.answer === 'accepted';
  return pending ? last.sinceMs + policy.answerWithinMs : nowMs;
}

function backoffUntilMs({ request, sinceMs }: KnownRequest, policy: SupervisorPolicy): InstantMs {
  return sinceMs + policy.firstBackoffMs * 2 ** request.attempt;
}
