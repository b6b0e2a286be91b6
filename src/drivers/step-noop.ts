import type { StepResult } from '../model/plan.ts';
import type { Blobs } from '../ports/blobs.ts';
import type { Clock } from '../ports/clock.ts';
import type { StepAgent } from '../ports/step-agents.ts';
import { checkArguments, oneOf, wholeNumber, type ArgumentRules } from './step-arguments.ts';
import { outputOf } from './step-output.ts';

const RULES: ArgumentRules = {
  'delay-ms': wholeNumber(0, 86_400_000),
  fail: oneOf('retryable', 'fatal'),
  'fail-attempts': wholeNumber(1, 1_000_000),
  echo: oneOf('true', 'false'),
};

/**
 * Does nothing, to try plans out: after `delay-ms` it completes, with the payload as its output if `echo` is true; or it fails
 * as `fail` says, at its first `fail-attempts` attempts or at all of them.
 */
export function noopAgent({ clock, blobs }: { clock: Clock; blobs: Blobs }): StepAgent {
  return {
    name: 'noop',
    check: work => checkArguments(work, RULES),
    async run({ work, payload, attempt }, signal): Promise<StepResult> {
      const given = work.arguments ?? {};
      if (given['delay-ms'] !== undefined) await clock.sleep(Number(given['delay-ms']), signal);
      if (signal.aborted) return { kind: 'stopped' };
      if (given['fail'] !== undefined && attempt <= Number(given['fail-attempts'] ?? Infinity)) {
        const type = given['fail'] === 'fatal' ? 'FATAL' : 'RETRYABLE';
        return { kind: 'failed', type, error: 'it was told to fail' };
      }
      const echo = given['echo'] === 'true' && payload !== null;
      return { kind: 'completed', output: echo ? await outputOf(payload, blobs) : null };
    },
  };
}
