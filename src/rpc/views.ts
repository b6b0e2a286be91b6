import type { StepOutput } from '../model/plan.ts';
import type { PlanEvent, PlanSummary, PlanView, StepView } from '../model/plan-views.ts';
import { enumName } from './words.ts';

/** What is shown of plans, as the messages of the .proto. A field that is null is not sent. */

export function planMessageOf(plan: PlanSummary | PlanView): object {
  return {
    ...plan,
    state: enumName('PLAN_STATE', plan.state),
    ...('counts' in plan && {
      onFailure: enumName('ON_FAILURE', plan.onFailure),
      counts: Object.entries(plan.counts).map(([state, count]) => ({
        state: enumName('STEP_STATE', state),
        count,
      })),
    }),
  };
}

export function stepMessageOf(step: StepView): object {
  const { payload, state, failureType, output, ...same } = step;
  return {
    ...same,
    payloadMimeType: payload?.mimeType,
    payloadSize: payload?.bytes,
    state: enumName('STEP_STATE', state),
    failureType: failureType && enumName('FAILURE_TYPE', failureType),
    output: output && outputMessageOf(output),
  };
}

export function outputMessageOf(output: StepOutput): object {
  return 'digest' in output
    ? { stored: { digest: output.digest, size: output.bytes } }
    : { json: JSON.stringify(output.value) };
}

export function changeMessageOf(event: PlanEvent): object {
  return event.kind === 'plan' ? { plan: planMessageOf(event.plan) } : { step: stepMessageOf(event.step) };
}
