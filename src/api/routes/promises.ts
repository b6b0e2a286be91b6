import { z } from 'zod';
import type { Admin } from '../../ports/admin.ts';
import { Refusal } from '../refusal.ts';
import { type Route, view } from '../route.ts';
import { assessment, listing, promiseDetail, promiseView, requestView, supervisorView } from '../wire.ts';
import { given } from '../query.ts';

const HISTORY = 100;

/** Who promised what to whom, who judged it how, and what the supervisor asks about it. */
export function promiseRoutes(admin: Admin): Route[] {
  return [
    view({
      path: '/v1/promises',
      id: 'listPromises',
      summary: 'Promises that stand, with the judgements of their observers.',
      query: z.strictObject({
        of: z.string().optional(),
        outcome: z.string().optional(),
        kind: z.string().optional(),
        app: z.string().optional(),
      }),
      answer: listing('PromiseList', promiseView),
      handle: ({ query }) => admin.promises(given(query)),
    }),
    view({
      path: '/v1/promises/{node}/{name*}',
      id: 'getPromise',
      summary: 'One promise, and its history also after it was withdrawn or has expired.',
      params: z.object({ node: z.string(), name: z.string() }),
      answer: promiseDetail,
      handle: async ({ params: { node, name } }) => {
        const { revision, items } = admin.promises({ of: node });
        const promise = items.find(each => each.name === name) ?? null;
        const subject = `${node}/${name}`;
        const history = (await admin.events({ subject, limit: HISTORY, after: null })).items;
        if (promise === null && history.length === 0) {
          throw new Refusal(404, 'not-found', `node "${node}" has never promised "${name}"`);
        }
        return { revision, promise, history };
      },
    }),
    view({
      path: '/v1/assessments',
      id: 'listAssessments',
      summary: 'Each observer’s own judgements.',
      query: z.strictObject({ promiser: z.string().optional(), assessor: z.string().optional() }),
      answer: listing('AssessmentList', assessment),
      handle: ({ query }) => admin.assessments(given(query)),
    }),
    view({
      path: '/v1/requests',
      id: 'listRequests',
      summary: 'What the supervisor asks of nodes, and what they answered.',
      answer: listing('RequestList', requestView),
      handle: () => admin.requests(),
    }),
    view({
      path: '/v1/supervisor',
      id: 'getSupervisor',
      summary: 'Who supervises, who could, and whether the brake is on.',
      answer: supervisorView,
      handle: () => admin.supervisor(),
    }),
  ];
}
