import type { Problem } from '../../model/problem.ts';
import type { ApplyRequest, DeployProgress } from '../../model/views.ts';
import type { Admin } from '../../ports/admin.ts';
import { Refusal } from '../refusal.ts';
import { type Answer, type AnswerSchemas, type RouteRequest, streamed } from '../route.ts';
import { jsonLines } from '../stream.ts';
import { appliedAnswer, deployProgress } from '../wire.ts';

const JSON_LINES = 'application/x-ndjson';

export const deployAnswers: AnswerSchemas = {
  200: {
    description:
      `What was applied; or, for \`Accept: ${JSON_LINES}\`, each step as it happens, one JSON document a line, ` +
      'the last of kind `done` or `failed`. Blank lines are heartbeats.',
    content: { 'application/json': appliedAnswer, [JSON_LINES]: deployProgress },
  },
};

/** Told step by step, or waited for, as the client prefers. Cancelled when the client leaves before its release is wanted. */
export async function deploy(
  admin: Admin,
  apply: ApplyRequest,
  { prefers, signal }: Pick<RouteRequest<unknown, unknown, unknown>, 'prefers' | 'signal'>,
): Promise<Answer> {
  const progress = admin.apply(apply, signal);
  return prefers('application/json', JSON_LINES) === JSON_LINES
    ? streamed(progress, jsonLines())
    : await outcomeOf(progress);
}

/** Waits for the end. @throws Refusal 422 when it was refused or has failed */
async function outcomeOf(progress: AsyncIterable<DeployProgress>): Promise<Answer> {
  let answer: Answer | null = null;
  const failures: (DeployProgress & { kind: 'failed' })[] = [];
  for await (const step of progress) {
    if (step.kind === 'failed') failures.push(step);
    if (step.kind !== 'done') continue;
    if (step.result.kind === 'refused') throw refusedApply(step.result.problems);
    answer = { kind: 'json', status: 200, value: step.result };
  }
  const [failed] = failures;
  if (failed !== undefined) {
    const detail = `${failed.app}: ${failed.step} failed: ${failed.message}`;
    throw new Refusal(422, 'deploy-failed', detail, { extensions: { failures } });
  }
  if (answer === null) throw new Error('a deployment ended without saying how');
  return answer;
}

/** The 422 that lists everything wrong with what was to be applied. */
export function refusedApply(problems: Problem[]): Refusal {
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const detail = `nothing was changed: ${problems[0]?.message ?? 'refused'}${more}`;
  return new Refusal(422, 'invalid', detail, { extensions: { problems } });
}
