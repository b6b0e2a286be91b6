import type { StepOutput, StepRecord } from '../model/plan.ts';
import type { PlanShape } from './shape.ts';

/** What a step is given of the steps it depends on: the outputs of those that completed, by index. */
export function outputsFor(
  shape: PlanShape,
  records: readonly (StepRecord | undefined)[],
  index: number,
): Map<number, StepOutput> {
  const outputs = new Map<number, StepOutput>();
  for (const parent of shape.parents[index] ?? []) {
    const record = records[parent];
    if (record?.state === 'COMPLETED' && record.output) outputs.set(parent, record.output);
  }
  return outputs;
}
