import type { OnFailure, PlanSpec, RetrySpec, StepCondition, StepSpec, StepWork } from '../model/plan.ts';

const defaultTimeoutSeconds = 60;
const defaultRetry: RetrySpec = {
  attempts: 3,
  firstWaitSeconds: 1,
  factor: 2,
  longestWaitSeconds: 60,
  jitter: 0.2,
};

/** Undoing is tried longer: giving it up needs a person. */
export const defaultUndoRetry: RetrySpec = { ...defaultRetry, attempts: 10 };

/** What follows from a plan's spec once and for all: made once per plan and kept. */
export interface PlanShape {
  steps: readonly StepSpec[];
  /** Who does its steps, each once. */
  agents: readonly string[];
  onFailure: OnFailure;
  /** null = none. */
  completeByMs: number | null;
  /** By index: what each step waits for, sequential plans' step before included. */
  parents: readonly (readonly number[])[];
  children: readonly (readonly number[])[];
  conditions: readonly StepCondition[];
  /** Every step after all its parents; the lowest index first where there is a choice. */
  order: readonly number[];
  /** By index: its place in that order. */
  places: Int32Array;
  /** Whether anything in it can be undone. */
  undoable: boolean;
}

/** @throws Error when the spec is not one that `checkPlan` accepts and its steps wait for each other in a circle. */
export function shapeOf(spec: PlanSpec): PlanShape {
  const parents = parentsOf(spec);
  const children = childrenOf(parents);
  const order = topologicalOrder(parents, children);
  if (order.length < spec.steps.length)
    throw new Error('the steps of this plan wait for each other in a circle');
  const places = new Int32Array(order.length);
  for (const [place, index] of order.entries()) places[index] = place;
  return {
    steps: spec.steps,
    agents: [...new Set(spec.steps.map(({ agent }) => agent))],
    onFailure: spec.onFailure,
    completeByMs: spec.completeBySeconds === null ? null : spec.completeBySeconds * 1000,
    parents,
    children,
    conditions: spec.steps.map(step => step.condition ?? 'all-succeeded'),
    order,
    places,
    undoable: spec.onFailure === 'compensate' && spec.steps.some(step => step.compensate !== undefined),
  };
}

/** What each step waits for. Only indexes that exist, each once. */
export function parentsOf(spec: PlanSpec): number[][] {
  const exists = (parent: number): boolean =>
    Number.isInteger(parent) && parent >= 0 && parent < spec.steps.length;
  return spec.steps.map((step, index) => {
    const before = spec.sequential && index > 0 ? [index - 1] : [];
    return [...new Set([...before, ...(step.dependsOn ?? [])])].filter(exists);
  });
}

export function childrenOf(parents: readonly (readonly number[])[]): number[][] {
  const children: number[][] = parents.map(() => []);
  for (const [index, all] of parents.entries()) for (const parent of all) children[parent]?.push(index);
  return children;
}

/** Kahn's order. Steps in a circle, or behind one, are missing from it. */
export function topologicalOrder(
  parents: readonly (readonly number[])[],
  children: readonly (readonly number[])[],
): number[] {
  const left = parents.map(all => all.length);
  const order = left.flatMap((count, index) => (count === 0 ? [index] : []));
  for (const index of order) {
    for (const child of children[index] ?? []) {
      left[child] = (left[child] ?? 0) - 1;
      if (left[child] === 0) order.push(child);
    }
  }
  return order;
}

/** One step of a plan. @throws RangeError when there is none */
export function stepSpec(shape: PlanShape, index: number): StepSpec {
  const step = shape.steps[index];
  if (step === undefined) throw new RangeError(`the plan has no step ${index}`);
  return step;
}

export function timeoutMs(work: StepWork): number {
  return (work.timeoutSeconds ?? defaultTimeoutSeconds) * 1000;
}

export function retryOf(work: StepWork): RetrySpec {
  return work.retry ?? defaultRetry;
}

/** Known to the resource as one effect, however often it is tried: sent with every attempt. */
export function effectKey(plan: string, index: number, kind: 'work' | 'undo'): string {
  return kind === 'work' ? `${plan}/${index}` : `${plan}/${index}/undo`;
}
