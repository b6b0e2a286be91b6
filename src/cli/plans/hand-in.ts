import { ApiError } from '../../api/client.ts';
import type { LocatedPlan } from '../../manifest/read-manifest.ts';
import type { PlanView, ScheduleView } from '../../model/plan-views.ts';
import type { Problem } from '../../model/problem.ts';
import type { CommandContext } from '../context.ts';
import { CliFailure, EXIT } from '../failure.ts';
import { countText } from '../words.ts';

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
