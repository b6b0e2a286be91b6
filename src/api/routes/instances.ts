import { z } from 'zod';
import type { Admin } from '../../ports/admin.ts';
import { Refusal } from '../refusal.ts';
import { type Route, view } from '../route.ts';
import { explanation, instanceView, listing, subjectView } from '../wire.ts';
import { given } from '../query.ts';

/** What runs where, who owns it, and why there. */
export function instanceRoutes(admin: Admin): Route[] {
  return [
    view({
      path: '/v1/instances',
      id: 'listInstances',
      summary: 'Wanted and running instances of all nodes.',
      query: z.strictObject({
        app: z.string().optional(),
        node: z.string().optional(),
        process: z.string().optional(),
      }),
      answer: listing('InstanceList', instanceView),
      handle: ({ query }) => admin.instances(given(query)),
    }),
    view({
      path: '/v1/instances/{app}/{process}/{index}',
      id: 'getInstance',
      summary: 'One instance.',
      params: z.object({ app: z.string(), process: z.string(), index: z.string() }),
      answer: instanceView,
      handle: ({ params: { app, process, index } }) => {
        const id = `${app}/${process}/${index}`;
        const found = admin.instances({ app, process }).items.find(each => each.instance === id);
        if (found === undefined)
          throw new Refusal(404, 'not-found', `nobody wants or runs an instance ${id}`);
        return found;
      },
    }),
    view({
      path: '/v1/subjects',
      id: 'listSubjects',
      summary: 'Everything that is or was owned, by whom, with which fencing token.',
      query: z.strictObject({ owner: z.string().optional() }),
      answer: listing('SubjectList', subjectView),
      handle: ({ query }) => admin.subjects(given(query)),
    }),
    view({
      path: '/v1/explain/{target*}',
      id: 'explain',
      summary: 'Why an instance or subject is where it is, or a promise (`node/name`) is judged as it is.',
      params: z.object({ target: z.string() }),
      answer: explanation,
      handle: ({ params }) => admin.explain(params.target),
    }),
  ];
}
