import type { StepResult } from '../model/plan.ts';
import type { Clock } from '../ports/clock.ts';
import type { StepTask } from '../ports/step-agents.ts';
import type { AttemptId } from './read-work.ts';
import { outputMessageOf } from './views.ts';
import { enumName } from './words.ts';

/** One attempt that a worker was told to make, while somebody waits for what becomes of it. */
export interface Assigned {
  id: AttemptId;
  /** Past it a result counts no more. */
  deadlineMs: number;
  /** Why it was told to stop; null = it was not. */
  stopping: string | null;
  /** Whether the worker has said what became of it. */
  told: boolean;
  /** Once. */
  settle: (result: StepResult) => void;
}

export interface AssignedHooks {
  /** Somebody wants it to stop. */
  stop: (assigned: Assigned, reason: string) => void;
  /** It was told to stop, and nothing was heard for so long. */
  unanswered: (assigned: Assigned) => void;
  settled: (assigned: Assigned) => void;
}

/** Resolves to what becomes of it. The signal's abort reaches the worker, and is given up after `stopMs` without an answer. */
export function assign(
  task: StepTask,
  { clock, stopMs, signal }: { clock: Clock; stopMs: number; signal: AbortSignal },
  hooks: AssignedHooks,
): { assigned: Assigned; result: Promise<StepResult> } {
  const { plan, index: step, attempt, token } = task;
  let resolve: (result: StepResult) => void = () => undefined;
  const result = new Promise<StepResult>(settled => (resolve = settled));
  let cancelTimer: () => void = () => undefined;
  const stop = (): void => {
    assigned.stopping = wordsOf(signal.reason);
    hooks.stop(assigned, assigned.stopping);
    cancelTimer = clock.after(stopMs, () => hooks.unanswered(assigned));
  };
  const assigned: Assigned = {
    id: { plan, step, attempt, token },
    deadlineMs: clock.now() + task.remainingMs,
    stopping: null,
    told: false,
    settle: outcome => {
      signal.removeEventListener('abort', stop);
      cancelTimer();
      hooks.settled(assigned);
      resolve(outcome);
    },
  };
  signal.addEventListener('abort', stop, { once: true });
  return { assigned, result };
}

export function keyOf({ plan, step, attempt, token }: AttemptId): string {
  return `${plan}/${step}/${attempt}/${token}`;
}

export function assignMessageOf(agent: string, attempt: AttemptId, task: StepTask): object {
  const { kind, work, payload, inputs, idempotencyKey, remainingMs } = task;
  return {
    attempt,
    kind: enumName('KIND', kind),
    agent,
    resource: work.resource,
    arguments: work.arguments ?? {},
    payload: payload && { mimeType: payload.mimeType, data: payload.bytes },
    inputs: Object.fromEntries([...inputs].map(([index, output]) => [index, outputMessageOf(output)])),
    idempotencyKey,
    remainingMs: Math.max(0, Math.floor(remainingMs)),
  };
}

function wordsOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : 'it is to stop';
}
