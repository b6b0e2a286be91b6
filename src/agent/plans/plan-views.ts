import { chunkToken, type StepRecord, type StepRun, type StepSpec, type StepWait } from '../../model/plan.ts';
import type { PlanSummary, PlanView, StepView } from '../../model/plan-views.ts';
import { workedBy } from '../../workflow/history.ts';
import { effectKey } from '../../workflow/shape.ts';
import type { KnownPlan } from './known-plan.ts';
import { unmanned, type Here } from './unmanned.ts';

/** Named one by one in a plan's view; of more only the number. */
const TROUBLES_TOLD = 20;

export function planSummary(plan: KnownPlan): PlanSummary {
  const { value } = plan.entry;
  return {
    plan: plan.id,
    title: value.spec.title,
    state: plan.state(),
    origin: value.origin,
    priority: value.spec.priority,
    steps: plan.steps,
    submittedAt: value.submittedAt,
    endedAt: value.settled?.at ?? null,
  };
}

export function planView(plan: KnownPlan, revision: bigint, here: Here): PlanView {
  const { value } = plan.entry;
  const { sequential, onFailure, completeBySeconds } = value.spec;
  return {
    ...planSummary(plan),
    sequential,
    onFailure,
    completeBySeconds,
    idempotencyKey: value.idempotencyKey,
    cancel: value.cancel,
    counts: plan.counts(),
    troubles: [...unmanned(plan, here), ...troubles(plan)],
    revision: String(revision),
  };
}

export function stepView(plan: KnownPlan, index: number): StepView {
  const spec = plan.spec?.steps[index];
  if (spec === undefined) throw new RangeError(`plan ${plan.id} has no step ${index} that is known here`);
  const record = plan.records[index];
  const chunk = plan.chunks[plan.chunkOf(index)];
  const { run, wait } = goingOn(record);
  return {
    plan: plan.id,
    index,
    name: spec.name ?? null,
    agent: spec.agent,
    resource: spec.resource,
    arguments: spec.arguments ?? {},
    dependsOn: spec.dependsOn ?? [],
    payload: payloadOf(spec),
    state: record?.state ?? 'PENDING',
    attempt: record?.attempt ?? 0,
    token: chunk === undefined ? null : chunkToken(chunk.entry),
    lockedBy: run?.lockedBy ?? null,
    ranOn: workedBy(record),
    completeBy: run?.completeBy ?? null,
    nextRunAt: wait?.nextRunAt ?? null,
    failures: record?.trouble?.failures ?? 0,
    error: record?.trouble?.error ?? null,
    failureType: record?.trouble?.type ?? null,
    reason: record?.state === 'SKIPPED' ? record.reason : null,
    output: record?.output ?? null,
    startedAt: record?.startedAt ?? null,
    endedAt: record && 'endedAt' in record ? record.endedAt : null,
    idempotencyKey: effectKey(plan.id, index, 'work'),
  };
}

function goingOn(record: StepRecord | undefined): { run?: StepRun; wait?: StepWait } {
  switch (record?.state) {
    case 'RUNNING':
      return { run: record.run };
    case 'RETRY_WAIT':
      return { wait: record.wait };
    case 'COMPENSATING':
      return record.doing;
    default:
      return {};
  }
}

/** What a person should see to: what could not be stopped, and what could not be undone. */
function troubles(plan: KnownPlan): string[] {
  if (plan.sound) return [];
  const all = plan.records.flatMap(record => {
    const error = record?.trouble?.error;
    if (record === undefined || error === undefined) return [];
    if (record.state === 'COMPENSATION_FAILED') return `step ${record.index} could not be undone: ${error}`;
    const cancelled =
      plan.entry.value.cancel && (record.state === 'CANCELLED' || record.state === 'TIMED_OUT');
    return cancelled && record.trouble?.unknown ? `step ${record.index}: ${error}` : [];
  });
  const more = all.length - TROUBLES_TOLD;
  return more > 0 ? [...all.slice(0, TROUBLES_TOLD), `and ${more} more like these`] : all;
}

const encoder = new TextEncoder();

function payloadOf({ payload }: StepSpec): StepView['payload'] {
  if (payload === undefined) return null;
  const bytes = 'text' in payload ? encoder.encode(payload.text).length : payload.bytes;
  return { mimeType: payload.mimeType, bytes };
}
