import type { PlanCancel, StepRecord } from '../model/plan.ts';
import { historyOf, type Moment } from './history.ts';
import type { PlanShape } from './shape.ts';
import { nextStepState } from './step-machine.ts';
import { planState, survey } from './survey.ts';

export type RetryByHand =
  /** Of the steps that change; written, chunk by chunk, after `settled` and `cancel` of the plan were set back to null. */
  { kind: 'retry'; records: StepRecord[] } | { kind: 'refused'; reason: string };

/**
 * What a person's retry makes of a plan that has ended: of the steps that failed, timed out or were cancelled (`only` = of these
 * alone), and of all that was skipped after them; or of undoings that were given up. What has completed stays. Attempts
 * are counted on, so that a late result of an earlier one is still refused, but the limit starts anew.
 */
export function retryByHand(
  shape: PlanShape,
  records: readonly (StepRecord | undefined)[],
  cancel: PlanCancel | null,
  only: ReadonlySet<number> | null,
  moment: Moment,
): RetryByHand {
  const state = planState(shape, survey(shape, records), cancel);
  switch (state) {
    case 'COMPENSATION_FAILED':
      return chosen(records, only, record => undoAgain(record, moment), 'was given up while it was undone');
    case 'FAILED':
    case 'CANCELLED':
      return workAgain(shape, records, only);
    case 'COMPLETED':
      return { kind: 'refused', reason: 'every step has completed' };
    case 'COMPENSATED':
      return { kind: 'refused', reason: 'its steps have been undone: submit it anew' };
    default:
      return { kind: 'refused', reason: `the plan has not ended, it is ${state}` };
  }
}

function workAgain(
  shape: PlanShape,
  records: readonly (StepRecord | undefined)[],
  only: ReadonlySet<number> | null,
): RetryByHand {
  const again = chosen(records, only, pendingAgain, 'failed');
  if (again.kind === 'refused') return again;
  const touched = new Set(again.records.map(({ index }) => index));
  for (const index of shape.order) {
    const record = records[index];
    if (record?.state !== 'SKIPPED') continue;
    if (shape.onFailure === 'continue' && !shape.parents[index]?.some(parent => touched.has(parent)))
      continue;
    touched.add(index);
    again.records.push({ ...historyOf(record, index), state: nextPending(record) });
  }
  return { kind: 'retry', records: again.records.sort((a, b) => a.index - b.index) };
}

function chosen(
  records: readonly (StepRecord | undefined)[],
  only: ReadonlySet<number> | null,
  again: (record: StepRecord) => StepRecord | null,
  what: string,
): RetryByHand {
  const changed = records.flatMap((record, index) => {
    if (record === undefined || (only !== null && !only.has(index))) return [];
    const after = again(record);
    return after === null ? [] : [after];
  });
  const wrong = [...(only ?? [])].find(index => !changed.some(record => record.index === index));
  if (wrong !== undefined) {
    return {
      kind: 'refused',
      reason: `step ${wrong} is ${records[wrong]?.state ?? 'PENDING'}: it is none that ${what}`,
    };
  }
  return changed.length > 0
    ? { kind: 'retry', records: changed }
    : { kind: 'refused', reason: `there is no step that ${what}` };
}

function pendingAgain(record: StepRecord): StepRecord | null {
  if (record.state !== 'FAILED' && record.state !== 'TIMED_OUT' && record.state !== 'CANCELLED') return null;
  return {
    ...historyOf(record, record.index),
    before: record.attempt - (record.cut ?? 0),
    spentMs: 0,
    state: nextPending(record),
  };
}

function nextPending(record: StepRecord): 'PENDING' {
  nextStepState(record.state, 'Again');
  return 'PENDING';
}

function undoAgain(record: StepRecord, moment: Moment): StepRecord | null {
  if (record.state !== 'COMPENSATION_FAILED') return null;
  nextStepState(record.state, 'Again');
  const { undoes } = record;
  const wait = { waitMs: 0, nextRunAt: moment.timestamp(0) };
  return { ...historyOf(record, record.index), state: 'COMPENSATING', undoes, undos: 0, doing: { wait } };
}
