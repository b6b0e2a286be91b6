import type { NodeName, Timestamp } from '../model/ids.ts';
import type {
  EndedStep,
  RetrySpec,
  StepHistory,
  StepRecord,
  StepResult,
  StepRun,
  StepTrouble,
} from '../model/plan.ts';
import { nextStepState, type StepEvent } from './step-machine.ts';

/** Chance, and the time as people read it. Elapsed time is counted on the asking node's own clock. */
export interface Moment {
  /** From 0 up to, but not, 1. */
  random: () => number;
  /** Wall-clock time so many milliseconds from now. */
  timestamp: (inMs: number) => Timestamp;
}

/** What became of an attempt: what its agent says, or that it was cut short because the agent of this node was told to end. */
export type AttemptEnd = StepResult | { kind: 'cut-short'; error: string };

/**
 * How long to wait after the given number of attempts: the first wait, times the factor for each attempt after the first, at
 * most the longest; chance (0 to 1) takes off up to the share called jitter.
 */
export function backoffMs(retry: RetrySpec, attempts: number, chance: number): number {
  const waitSeconds = Math.min(
    retry.longestWaitSeconds,
    retry.firstWaitSeconds * retry.factor ** Math.max(0, attempts - 1),
  );
  return Math.round(waitSeconds * 1000 * (1 - retry.jitter * chance));
}

const endings = {
  Complete: 'COMPLETED',
  Fail: 'FAILED',
  TimeOut: 'TIMED_OUT',
  Cancel: 'CANCELLED',
} as const satisfies Partial<Record<StepEvent, EndedStep['state']>>;

/** A step at the end of its own work. */
export function ended(
  record: StepRecord,
  event: keyof typeof endings,
  moment: Moment,
  more: { output?: StepHistory['output'] | null; trouble?: StepTrouble } = {},
): EndedStep {
  nextStepState(record.state, event);
  const history = historyOf(record, record.index);
  if (more.output) history.output = more.output;
  if (more.trouble) history.trouble = more.trouble;
  return { ...history, state: endings[event], endedAt: moment.timestamp(0) };
}

export function withFailure(record: StepRecord, failure: Omit<StepTrouble, 'failures'>): StepHistory {
  const history = historyOf(record, record.index);
  const { error, type, unknown } = failure;
  const failures = (record.trouble?.failures ?? 0) + 1;
  return { ...history, trouble: { failures, error, type, ...(unknown ? { unknown } : {}) } };
}

/** What is kept of a step when its state changes. */
export function historyOf(record: StepRecord | undefined, index: number): StepHistory {
  const history: StepHistory = { index, attempt: record?.attempt ?? 0 };
  if (record?.before !== undefined) history.before = record.before;
  if (record?.cut !== undefined) history.cut = record.cut;
  if (record?.spentMs !== undefined) history.spentMs = record.spentMs;
  if (record?.trouble) history.trouble = record.trouble;
  if (record?.output) history.output = record.output;
  if (record?.startedAt !== undefined) history.startedAt = record.startedAt;
  const by = workedBy(record);
  if (by !== null) history.by = by;
  return history;
}

/** Who works at a step right now, or did last; null = nobody yet. */
export function workedBy(record: StepRecord | undefined): NodeName | null {
  return (record && runOf(record)?.lockedBy) ?? record?.by ?? null;
}

/** Who works at a step right now, or null. */
export function runOf(record: StepRecord): StepRun | null {
  if (record.state === 'RUNNING') return record.run;
  return record.state === 'COMPENSATING' && 'run' in record.doing ? record.doing.run : null;
}
