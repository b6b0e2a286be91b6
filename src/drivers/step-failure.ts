import type { StepResult } from '../model/plan.ts';

/** Trying again can't help. What an agent throws otherwise may pass. */
export class FatalFailure extends Error {}

/** What an attempt that ended with this has come to. */
export function failureOf(error: unknown): StepResult {
  const type = error instanceof FatalFailure ? 'FATAL' : 'RETRYABLE';
  return { kind: 'failed', type, error: textOf(error) };
}

/** Of several addresses that were tried there is one error each, and none of them all. */
function textOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(textOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}
