import { z } from 'zod';
import type { PlanProblem } from '../../model/plan.ts';
import type { PlanView } from '../../model/plan-views.ts';
import { AdminError } from '../../ports/admin.ts';
import type { Plans } from '../../ports/plans.ts';
import { jsonBody } from '../body.ts';
import { wholeNumber } from '../query.ts';
import { type Route, view } from '../route.ts';
import {
  executionPlan,
  executionPlanOf,
  planOfCommand,
  planStateAnswer,
  planStateOf,
  publishedField,
  scheduleCommand,
  taskStateAnswer,
  taskStateOf,
} from '../wire-boltzmann.ts';
import { planId } from '../wire-plans.ts';
import { digestOf, keyOf } from './plans.ts';

const params = z.object({ planId });

/** The four routes that Boltzmann has published, for clients that are there already; new ones take those under /v1. */
export function boltzmannRoutes(plans: Plans): Route[] {
  const shown = async (plan: PlanView) => {
    const { items } = await plans.steps(plan.plan, {});
    return executionPlanOf(plan, items);
  };
  const wrong = (command: z.output<typeof scheduleCommand>): PlanProblem[] => {
    const { spec, problems } = planOfCommand(command);
    return [...problems, ...inPublishedWords(plans.check(spec))];
  };
  return [
    view({
      method: 'post',
      path: '/scheduler/schedule',
      id: 'boltzmannSchedule',
      summary: "Boltzmann's way to submit a plan; /v1/plans is ours.",
      body: jsonBody(scheduleCommand, { limit: 'planBytes', wrong }),
      answer: executionPlan,
      handle: async ({ body, header }) => {
        const idempotencyKey = keyOf(header('idempotency-key'), body.idempotency_key);
        const problems = wrong(body);
        if (problems.length > 0) throw invalid(problems);
        const { spec } = planOfCommand(body);
        const submission = { spec, idempotencyKey, digest: digestOf(spec), origin: 'boltzmann' };
        const { plan } = await plans.submit(submission);
        return await shown(plan);
      },
    }),
    view({
      path: '/plans/{planId}',
      id: 'boltzmannPlan',
      summary: "Boltzmann's view of a plan.",
      params,
      answer: executionPlan,
      handle: async request => await shown(await plans.plan(request.params.planId)),
    }),
    view({
      path: '/states/plans/{planId}',
      id: 'boltzmannPlanState',
      summary: "Boltzmann's view of how far a plan is.",
      params,
      answer: planStateAnswer,
      handle: async request => {
        const plan = await plans.plan(request.params.planId);
        return planStateOf(plan, await errorOf(plans, plan));
      },
    }),
    view({
      path: '/states/plans/{planId}/tasks/{taskId}',
      id: 'boltzmannTaskState',
      summary: "Boltzmann's view of how far a task is.",
      params: z.object({ planId, taskId: wholeNumber(1_000_000) }),
      answer: taskStateAnswer,
      handle: async request => taskStateOf(await plans.step(request.params.planId, request.params.taskId)),
    }),
  ];
}

/** What went wrong first. */
async function errorOf(plans: Plans, plan: PlanView): Promise<string> {
  const { FAILED = 0, TIMED_OUT = 0, COMPENSATED = 0, COMPENSATION_FAILED = 0 } = plan.counts;
  if (FAILED + TIMED_OUT + COMPENSATED + COMPENSATION_FAILED === 0) return '';
  const { items } = await plans.steps(plan.plan, {
    states: ['FAILED', 'TIMED_OUT', 'COMPENSATED', 'COMPENSATION_FAILED'],
  });
  return items.find(({ error }) => error !== null)?.error ?? '';
}

function inPublishedWords(problems: PlanProblem[]): PlanProblem[] {
  return problems.map(problem => ({ ...problem, field: publishedField(problem.field) }));
}

function invalid(problems: PlanProblem[]): AdminError {
  const [first] = problems;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : '';
  const detail = `the plan is not right: ${first?.field ?? ''}: ${first?.message ?? ''}${more}`;
  return new AdminError('invalid', detail, { problems });
}
