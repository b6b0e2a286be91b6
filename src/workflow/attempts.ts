import type { NodeName, Token } from '../model/ids.ts';
import type {
  EndedStep,
  RunningStep,
  StepHistory,
  StepRecord,
  StepSpec,
  StepTrouble,
  WaitingStep,
} from '../model/plan.ts';
import { backoffMs, ended, historyOf, runOf, withFailure, type AttemptEnd, type Moment } from './history.ts';
import { retryOf, timeoutMs } from './shape.ts';
import { nextStepState } from './step-machine.ts';
import { afterUndo } from './undo.ts';

/** What a result must name to be taken for that of the attempt that runs. */
export interface AttemptClaim {
  attempt: number;
  token: Token;
}

export type Acceptance = { accepted: true; record: StepRecord } | { accepted: false; reason: string };

/**
 * What an agent's answer makes of a step. It is refused, and must leave no trace in the record, when it is not of the attempt
 * that runs now under the token `held` by the chunk's owner, or came after the attempt's complete-by (`elapsedMs` since it was
 * started, on the owner's clock). A failed attempt is tried again when it is RETRYABLE, attempts are left, and the wait
 * ends inside the step's own complete-by.
 */
export function acceptResult(
  step: StepSpec,
  record: StepRecord | undefined,
  held: Token | null,
  claim: AttemptClaim,
  result: AttemptEnd,
  elapsedMs: number,
  moment: Moment,
): Acceptance {
  const refusal = whyRefused(step, record, held, claim, elapsedMs);
  if (record === undefined || refusal !== null) {
    return { accepted: false, reason: refusal ?? 'the step was never started' };
  }
  if (record.state === 'COMPENSATING') {
    return { accepted: true, record: afterUndo(step, record, result, moment) };
  }
  if (record.state !== 'RUNNING') return { accepted: false, reason: `the step is ${record.state}` };
  switch (result.kind) {
    case 'completed':
      return { accepted: true, record: ended(record, 'Complete', moment, { output: result.output }) };
    case 'stopped':
      return { accepted: true, record: ended(record, 'Cancel', moment) };
    case 'failed':
      return { accepted: true, record: afterFailure(step, record, { ...result, elapsedMs }, moment) };
    case 'cut-short':
      return { accepted: true, record: afterCut(step, record, result.error, elapsedMs, moment) };
  }
}

function whyRefused(
  step: StepSpec,
  record: StepRecord | undefined,
  held: Token | null,
  claim: AttemptClaim,
  elapsedMs: number,
): string | null {
  if (record === undefined) return 'the step was never started';
  const run = runOf(record);
  if (run === null) return `the step is ${record.state}: nothing of it runs`;
  if (claim.attempt !== record.attempt) {
    return `it is of attempt ${claim.attempt}, the one that runs is attempt ${record.attempt}`;
  }
  if (held === null || claim.token !== held) {
    return `it has token ${claim.token}, the owner's is ${held ?? 'not known'}`;
  }
  const limitMs =
    record.state === 'COMPENSATING' ? timeoutMs(step.compensate ?? step) : limitOf(step, record);
  return elapsedMs < limitMs
    ? null
    : `it came ${elapsedMs} ms after the start, its complete-by was ${limitMs} ms`;
}

/** How long the next, or the running, attempt of a step may take: its timeout, or what is left of its complete-by. */
export function limitOf(step: StepSpec, history: Pick<StepHistory, 'spentMs'>): number {
  const leftMs = (step.completeBySeconds ?? Infinity) * 1000 - (history.spentMs ?? 0);
  return Math.max(0, Math.min(timeoutMs(step), leftMs));
}

/** A step as its owner starts it. `waitedMs` = how long it waited after the attempt before. */
export function started(
  step: StepSpec,
  record: StepRecord | undefined,
  index: number,
  owner: NodeName,
  waitedMs: number,
  moment: Moment,
): RunningStep {
  nextStepState(record?.state ?? 'PENDING', 'Start');
  const history = historyOf(record, index);
  const spentMs = (history.spentMs ?? 0) + waitedMs;
  if (spentMs > 0) history.spentMs = spentMs;
  history.startedAt ??= moment.timestamp(0);
  return {
    ...history,
    attempt: history.attempt + 1,
    state: 'RUNNING',
    run: { lockedBy: owner, completeBy: moment.timestamp(limitOf(step, history)) },
  };
}

export interface AttemptFailure extends Omit<StepTrouble, 'failures'> {
  elapsedMs: number;
  /** Tried again without a wait: it was not the step that failed. */
  atOnce?: boolean;
}

/**
 * A running step whose attempt was cut short: not its fault, so that it is tried again at once and loses no attempt. But what may be
 * tried only once is not done again: nobody knows how far it came.
 */
function afterCut(
  step: StepSpec,
  record: RunningStep,
  error: string,
  elapsedMs: number,
  moment: Moment,
): WaitingStep | EndedStep {
  if (retryOf(step).attempts <= 1)
    return afterFailure(step, record, { error, type: 'RETRYABLE', elapsedMs, unknown: true }, moment);
  nextStepState(record.state, 'Wait');
  return {
    ...historyOf(record, record.index),
    cut: (record.cut ?? 0) + 1,
    spentMs: (record.spentMs ?? 0) + elapsedMs,
    state: 'RETRY_WAIT',
    wait: { waitMs: 0, nextRunAt: moment.timestamp(0) },
  };
}

/** A running step after its attempt failed: to be tried again, or at its end. */
export function afterFailure(
  step: StepSpec,
  record: RunningStep,
  failure: AttemptFailure,
  moment: Moment,
): WaitingStep | EndedStep {
  const history = withFailure(record, failure);
  const tries = record.attempt - (record.before ?? 0) - (record.cut ?? 0);
  const retry = retryOf(step);
  const waitMs = failure.atOnce ? 0 : backoffMs(retry, tries, moment.random());
  const spentMs = (record.spentMs ?? 0) + failure.elapsedMs;
  const inTime = spentMs + waitMs < (step.completeBySeconds ?? Infinity) * 1000;
  if (failure.type === 'FATAL' || tries >= retry.attempts || !inTime) {
    return ended({ ...record, ...history }, failure.unknown ? 'TimeOut' : 'Fail', moment);
  }
  nextStepState(record.state, 'Wait');
  return {
    ...history,
    spentMs,
    state: 'RETRY_WAIT',
    wait: { waitMs, nextRunAt: moment.timestamp(waitMs) },
  };
}
