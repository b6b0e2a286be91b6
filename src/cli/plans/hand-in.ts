import { ApiError } from '../../api/client.ts';
import type { LocatedPlan } from '../../manifest/read-manifest.ts';
import type { PlanView, ScheduleView } from '../../model/plan-views.ts';
import type { Problem } from '../../model/problem.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import { countText } from '../words.ts';

/** Of whoever is told of problems anyway. */
const PATIENCE_MS = 5000;

export interface HandedIn {
  plans: (PlanView & { created: boolean })[];
  schedules: ScheduleView[];
}

/**
 * Gives plans to the cluster: those with a schedule to be made by it, the others to be done now. @throws CliFailure, with each
 * problem at its place, when one is refused
 */
export async function handIn(
  { api, io, out }: CommandContext,
  plans: readonly LocatedPlan[],
  sources: ReadonlyMap<string, string>,
): Promise<HandedIn> {
  const handed: HandedIn = { plans: [], schedules: [] };
  for (const plan of plans) {
    const client = await api();
    try {
      if (plan.schedule !== null) {
        const { name, schedule, paused } = plan.schedule;
        const request = { schedule, paused, plan: plan.spec };
        handed.schedules.push(await client.putSchedule(name, request, io.signal));
      } else {
        const submitted = await client.submitPlan(plan.spec, plan.idempotencyKey, io.signal);
        if (!submitted.created) out.note(`${submitted.plan} was submitted before under that key`);
        for (const trouble of submitted.troubles) out.note(trouble);
        handed.plans.push(submitted);
      }
    } catch (error) {
      throw refusal(error, plan, sources);
    }
  }
  return handed;
}

/** Of a step, all that its agent does not look at. */
const ASIDE = ['name', 'timeout', 'retry', 'condition', 'complete-by', 'concurrency'];
const STEP = /^(steps\[\d+\])\.?([a-z-]*)/;

/**
 * What the cluster has against a plan that has problems of its own, so that all can be mended at once: of those steps in which
 * nothing is wrong that it would look at. Nothing, when it can't be asked.
 */
export async function problemsBeside(
  { api, io }: CommandContext,
  plan: LocatedPlan,
  own: readonly Problem[],
): Promise<Problem[]> {
  const here = own.filter(({ file }) => file === plan.file);
  const fields = new Set(here.map(({ field }) => field));
  const wrong = new Set(
    here.flatMap(({ field }) => {
      const [, step, part = ''] = STEP.exec(field) ?? [];
      return step === undefined || ASIDE.includes(part) ? [] : [step];
    }),
  );
  const signal = AbortSignal.any([io.signal, AbortSignal.timeout(PATIENCE_MS)]);
  // What is wrong here is told in any case.
  const found = await api()
    .then(client => client.checkPlan(plan.spec, signal))
    .catch(() => []);
  return found
    .map(problem => placedIn(plan, problem))
    .filter(({ field }) => !fields.has(field) && !wrong.has(STEP.exec(field)?.[1] ?? ''));
}

/** What is refused is shown where it stands in the file. */
function refusal(error: unknown, plan: LocatedPlan, sources: ReadonlyMap<string, string>): unknown {
  const problems = error instanceof ApiError ? (error.problem.problems ?? []) : [];
  if (problems.length === 0) return error;
  return refusedPlan(
    problems.map(problem => placedIn(plan, problem)),
    sources,
    error,
  );
}

function refusedPlan(problems: Problem[], sources: ReadonlyMap<string, string>, cause?: unknown): CliFailure {
  const message = `the cluster refuses the plan: ${countText(problems.length, 'problem')}`;
  return new CliFailure(EXIT.failed, message, { problems, sources, cause });
}

/** Problems of a schedule's plan are told without where the plan was. */
export function placedIn(plan: LocatedPlan, { field, message, hint }: Problem): Problem {
  return plan.placed({ field: field.replace(/^plan\./, ''), message, hint });
}
