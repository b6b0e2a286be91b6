import type { PlanSpec, StepRecord, StepSpec } from '../../src/model/plan.ts';
import type { Moment } from '../../src/workflow/history.ts';
import type { Outlook } from '../../src/workflow/moves.ts';
import { shapeOf } from '../../src/workflow/shape.ts';

export const moment: Moment = { random: () => 0, timestamp: inMs => `+${inMs}` };

export function step(more: Partial<StepSpec> = {}): StepSpec {
  return { agent: 'noop', resource: '', ...more };
}

export function plan(steps: StepSpec[], more: Partial<PlanSpec> = {}): PlanSpec {
  return {
    title: null,
    steps,
    priority: 5,
    sequential: false,
    onFailure: 'stop',
    completeBySeconds: null,
    ...more,
  };
}

/** `RUNNING` and so on, with the least a record in that state has. */
export function record(
  index: number,
  state: StepRecord['state'],
  more: Partial<StepRecord> = {},
): StepRecord {
  const history = { index, attempt: state === 'PENDING' || state === 'SKIPPED' ? 0 : 1 };
  const base: Record<string, unknown> = { ...history, state };
  const wait = { waitMs: 1_000, nextRunAt: '' };
  const run = { lockedBy: 'node-1', completeBy: '' };
  if (state === 'RUNNING') base['run'] = run;
  else if (state === 'RETRY_WAIT') base['wait'] = wait;
  else if (state !== 'PENDING' && state !== 'COMPENSATING') base['endedAt'] = '';
  if (state === 'SKIPPED') base['reason'] = '';
  if (state.startsWith('COMPENSAT')) Object.assign(base, { undoes: 'COMPLETED', undos: 1 });
  if (state === 'COMPENSATING') base['doing'] = { run };
  return { ...base, ...more } as unknown as StepRecord;
}

/** A chunk's outlook with the whole plan in one chunk, nothing known but the records, and everything since now. */
export function outlook(spec: PlanSpec, records: StepRecord[] = [], more: Partial<Outlook> = {}): Outlook {
  const byIndex = new Array<StepRecord | undefined>(spec.steps.length).fill(undefined);
  for (const one of records) byIndex[one.index] = one;
  return {
    shape: shapeOf(spec),
    records: byIndex,
    chunk: { first: 0, count: spec.steps.length },
    self: 'node-1',
    cancel: null,
    settled: false,
    nowMs: 100_000,
    planSinceMs: 100_000,
    cancelSinceMs: 100_000,
    sinceMs: () => undefined,
    slots: 1_000,
    holders: () => 0,
    moment,
    ...more,
  };
}
