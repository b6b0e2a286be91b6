import type { StepTask } from '../../src/ports/step-agents.ts';

/** One attempt at a step of nothing in particular. */
export function stepTask(parts: Partial<StepTask> = {}): StepTask {
  return {
    plan: 'plan-1',
    index: 0,
    attempt: 1,
    token: '7',
    idempotencyKey: 'plan-1/0',
    kind: 'work',
    work: { agent: 'noop', resource: '' },
    payload: null,
    inputs: new Map(),
    remainingMs: 60_000,
    node: 'node-1',
    ...parts,
  };
}
