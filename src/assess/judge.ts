import type { NodeName, Timestamp } from '../model/ids.ts';
import type { Assessment, NodePromise, Outcome, PromiseBody, RunningBody } from '../model/node-promise.ts';
import { trustAfter } from './trust.ts';

/** One lost packet breaks no promise. */
const badProbesToBreak = 2;

export interface ProbeOutcome {
  verdict: 'good' | 'refused' | 'unreachable';
  evidence: string;
}

export interface JudgeInput {
  assessor: NodeName;
  promise: NodePromise;
  /** null = there was nothing to ask. */
  probe: ProbeOutcome | null;
  previous: Assessment | undefined;
  /** Whether this assessor can rely on its own view, and the words why not. */
  footing: { sure: boolean; reason: string };
  /** Bad probes in a row, this one included. */
  consecutiveBad: number;
  /** How long the promiser's agent has sent no beat; null or absent = it was heard lately. */
  silentMs?: number | null;
  /** The promise has expired with its lease; this is how it was last made. */
  lapsed?: boolean;
  at: Timestamp;
}

/** This assessor's own judgement of one promise; null = as before, or not to be said yet. */
export function judge(input: JudgeInput): Assessment | null {
  const { assessor, promise, previous, at } = input;
  const finding = find(input);
  if (finding === null) return null;
  const unreachable = finding.unreachable ?? false;
  const answering = finding.answering === true ? promise : undefined;
  const { pid = previous?.pid } = finding;
  const same =
    finding.outcome === previous?.outcome &&
    pid === previous.pid &&
    unreachable === (previous.unreachable ?? false) &&
    (answering === undefined) === (previous.answering === undefined);
  if (same) return null;
  return {
    assessor,
    promiser: promise.promiser,
    promise: promise.name,
    outcome: finding.outcome,
    evidence: finding.evidence,
    at,
    ...(finding.pid === undefined ? {} : { pid: finding.pid }),
    ...(unreachable ? { unreachable } : {}),
    ...(answering ? { answering } : {}),
    trust: trustAfter(previous?.trust ?? 1, finding.outcome),
  };
}

interface Finding {
  outcome: Outcome;
  evidence: string;
  pid?: number;
  unreachable?: true;
  answering?: true;
}

function find(input: JudgeInput): Finding | null {
  const { promise, probe, previous, footing, consecutiveBad } = input;
  if (!footing.sure && probe?.verdict !== 'good')
    return { outcome: 'indeterminate', evidence: footing.reason };
  if (input.lapsed === true) return lapsedFinding(input);
  const unreachable = unreachableFinding(input);
  if (unreachable !== null) return unreachable;
  if (promise.body.kind === 'running' && !promise.body.ready) return unready(promise.body, previous);
  if (probe === null) {
    return promise.verify.method === 'lease'
      ? good('its lease lives', previous)
      : { outcome: 'indeterminate', evidence: 'not asked' };
  }
  if (probe.verdict === 'good') return good(probe.evidence, previous);
  if (consecutiveBad < badProbesToBreak) return null;
  const evidence = `${probe.evidence} (${consecutiveBad} bad checks in a row)`;
  return { outcome: 'broken', evidence, ...processOf(promise.body) };
}

/** What is broken is a process rather than an instance: the next one may be well, and is not to pay for it. */
function processOf(body: PromiseBody): { pid?: number } {
  return body.kind === 'running' && body.pid !== null ? { pid: body.pid } : {};
}

/**
 * Neither a beat from the agent nor an answer from what was promised (design 5, rule 12). An instance that still answers
 * is not gone, whatever became of its agent; one that has nothing to be asked is never said to be.
 */
function unreachableFinding({ promise, probe, silentMs }: JudgeInput): Finding | null {
  if (silentMs === null || silentMs === undefined) return null;
  const silence = `no beat from ${promise.promiser} for ${(silentMs / 1000).toFixed(1)} s`;
  if (promise.body.kind === 'capacity') return { outcome: 'broken', evidence: silence, unreachable: true };
  if (promise.body.kind !== 'running' || probe?.verdict !== 'unreachable') return null;
  return { outcome: 'broken', evidence: `${silence}, and ${probe.evidence}`, unreachable: true };
}

/**
 * What is left of a promise that expired with its lease (design 5, rule 12): it answers, or it is gone. Of an agent that
 * is heard, one lost packet says nothing; of a silent one, the first is enough. A bad answer is neither.
 */
function lapsedFinding(input: JudgeInput): Finding | null {
  const { promise, probe, previous, consecutiveBad, silentMs } = input;
  const expired = `the session of ${promise.promiser} is gone`;
  if (probe === null)
    return { outcome: 'broken', evidence: `${expired}, and it has nothing to be asked`, unreachable: true };
  if (probe.verdict === 'good') {
    const { outcome, evidence } = good(probe.evidence, previous);
    return { outcome, evidence: `${expired}, and it still answers: ${evidence}`, answering: true };
  }
  const agentHeard = silentMs === null || silentMs === undefined;
  if (agentHeard && consecutiveBad < badProbesToBreak) return null;
  const evidence = `${expired}, and ${probe.evidence}`;
  return probe.verdict === 'unreachable'
    ? { outcome: 'broken', evidence, unreachable: true }
    : { outcome: 'broken', evidence };
}

/** After a break, the first good check is the repair; only the next one makes it kept again. */
function good(evidence: string, previous: Assessment | undefined): Finding {
  return { outcome: previous?.outcome === 'broken' ? 'repaired' : 'kept', evidence };
}

/** A copy that is not ready has nothing to be asked; what the promiser itself says of it is the evidence. */
function unready(body: RunningBody, previous: Assessment | undefined): Finding | null {
  const { state, trouble } = body;
  switch (state) {
    case 'failed':
    case 'backoff':
    case 'unhealthy':
      return {
        outcome: 'broken',
        evidence: `by its own word ${state}${trouble === null ? '' : `: ${trouble}`}`,
        ...processOf(body),
      };
    case 'pending':
    case 'starting':
    case 'standby':
    case 'running':
    case 'stopping':
      // On the way back from a break it is as broken as before: the next good check shall count as a repair.
      return previous?.outcome === 'broken' ? null : { outcome: 'indeterminate', evidence: state };
  }
}
