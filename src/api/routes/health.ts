import { z } from 'zod';
import type { Admin } from '../../ports/admin.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route, view } from '../route.ts';
import { doctorAnswer, readiness } from '../wire.ts';

/** For those who watch the agent itself. */
export function healthRoutes(admin: Admin): Route[] {
  return [
    view({
      path: '/healthz',
      id: 'alive',
      summary: 'Whether the agent answers at all. Needs no token.',
      answer: z.object({ alive: z.literal(true) }),
      handle: () => ({ alive: true as const }),
    }),
    view({
      path: '/readyz',
      id: 'ready',
      summary: 'Whether what the API says can be relied on; 503 with the reason when not.',
      answer: readiness,
      handle: () => {
        const state = admin.ready();
        if (!state.ready) throw new Refusal(503, 'not-ready', state.reason);
        return state;
      },
    }),
    route({
      method: 'get',
      path: '/metrics',
      id: 'metrics',
      summary: 'Prometheus text.',
      answers: { 200: { description: 'All metrics.', content: { 'text/plain': z.string() } } },
      handle: async () => ({
        kind: 'text',
        type: 'text/plain; version=0.0.4; charset=utf-8',
        text: await admin.metrics(),
      }),
    }),
    view({
      path: '/v1/doctor',
      id: 'doctor',
      summary: 'Checks of this node and its surroundings, each with what to do about it.',
      answer: doctorAnswer,
      handle: () => admin.doctor(),
    }),
  ];
}
