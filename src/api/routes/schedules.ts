import { z } from 'zod';
import type { Plans } from '../../ports/plans.ts';
import { jsonBody } from '../body.ts';
import { type Route, route, view } from '../route.ts';
import { listing } from '../wire.ts';
import { planSpecOf, planView, scheduleBody, scheduleName, scheduleView } from '../wire-plans.ts';

/** Those of apps have names that nobody could give one. */
const params = z.object({ name: z.string().min(1).max(256) });

/** Plans that are made again and again. */
export function scheduleRoutes(plans: Plans): Route[] {
  const paused = (id: string, verb: 'pause' | 'resume', summary: string): Route =>
    view({
      method: 'post',
      path: `/v1/schedules/{name}/${verb}`,
      id,
      summary,
      params,
      answer: scheduleView,
      handle: request => plans.pauseSchedule(request.params.name, verb === 'pause'),
    });
  return [
    view({
      path: '/v1/schedules',
      id: 'listSchedules',
      summary: 'All schedules, and when they fire next.',
      answer: listing('ScheduleList', scheduleView),
      handle: () => plans.schedules(),
    }),
    view({
      path: '/v1/schedules/{name}',
      id: 'getSchedule',
      summary: 'One schedule.',
      params,
      answer: scheduleView,
      handle: request => plans.schedule(request.params.name),
    }),
    view({
      method: 'put',
      path: '/v1/schedules/{name}',
      id: 'putSchedule',
      summary: 'Creates a schedule, or puts another in its place. Plans that it has made go on.',
      params: z.object({ name: scheduleName }),
      body: jsonBody(scheduleBody, { limit: 'planBytes' }),
      answer: scheduleView,
      handle: ({ params: { name }, body }) =>
        plans.putSchedule(name, { ...body, plan: planSpecOf(body.plan) }),
    }),
    paused('pauseSchedule', 'pause', 'Lets a schedule fire no more. Plans that it has made go on.'),
    paused('resumeSchedule', 'resume', 'Lets it fire again, from now on.'),
    view({
      method: 'post',
      path: '/v1/schedules/{name}/run',
      id: 'runSchedule',
      summary:
        'Makes its plan now, besides those at its times. 409 when one still runs and none may overlap it.',
      params,
      answer: planView,
      handle: request => plans.runSchedule(request.params.name),
    }),
    route({
      method: 'delete',
      path: '/v1/schedules/{name}',
      id: 'removeSchedule',
      summary:
        'Forgets a schedule. Plans that it has made go on. 409 for that of an app, whose manifest has it.',
      params,
      answers: { 204: { description: 'It is gone.', content: {} } },
      handle: async request => {
        await plans.removeSchedule(request.params.name);
        return { kind: 'empty' };
      },
    }),
  ];
}
