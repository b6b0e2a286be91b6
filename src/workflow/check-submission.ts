import type { PlanProblem, PlanSpec, StepPayload, StepWork } from '../model/plan.ts';
import { checkPlan, planLimits } from './check-plan.ts';

const UNKNOWN_DIGEST = `sha256:${'0'.repeat(64)}`;

/** The same as `checkPlan`, of a plan that is handed in: its payloads are there in full, and need not fit into the store. */
export function checkSubmission(spec: PlanSpec): PlanProblem[] {
  return checkPlan({ ...spec, steps: spec.steps.map(step => ({ ...stored(step), ...undoStored(step) })) });
}

function undoStored({ compensate }: { compensate?: StepWork }): { compensate?: StepWork } {
  return compensate ? { compensate: stored(compensate) } : {};
}

function stored<T extends StepWork>(work: T): T {
  const { payload } = work;
  return payload !== undefined && 'text' in payload ? { ...work, payload: putElsewhere(payload) } : work;
}

function putElsewhere(payload: StepPayload & { text: string }): StepPayload {
  const { mimeType, text } = payload;
  const bytes = new TextEncoder().encode(text).length;
  return bytes <= planLimits.inlinePayloadBytes ? payload : { mimeType, digest: UNKNOWN_DIGEST, bytes };
}
