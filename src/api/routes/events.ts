import { z } from 'zod';
import type { EventView } from '../../model/views.ts';
import type { Admin, EventFilter } from '../../ports/admin.ts';
import { given, wholeNumber } from '../query.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route, streamed } from '../route.ts';
import { serverSentEvents } from '../stream.ts';
import { eventView, listing } from '../wire.ts';

const EVENT_STREAM = 'text/event-stream';
const revision = z.string().regex(/^\d{1,19}$/, 'must be a revision');
const format = serverSentEvents<EventView>(event => event.revision);

/** The ledger of what happened: listed, or followed without losing anything. */
export function eventRoutes(admin: Admin): Route[] {
  return [
    route({
      method: 'get',
      path: '/v1/events',
      id: 'listEvents',
      summary: 'The newest events, oldest first; or, as server-sent events, those to come as well.',
      query: z.strictObject({
        kind: z.string().optional(),
        subject: z.string().optional(),
        node: z.string().optional(),
        instance: z.string().optional(),
        limit: wholeNumber(1000).optional(),
        after: revision.optional(),
      }),
      answers: {
        200: {
          description:
            `A list of the newest \`limit\` (default 100). For \`Accept: ${EVENT_STREAM}\` a stream whose ids are ` +
            'revisions: from after `Last-Event-ID` or `after`, else the newest `limit` (default 0), then as recorded.',
          content: { 'application/json': listing('EventList', eventView), [EVENT_STREAM]: eventView },
        },
      },
      handle: async request => {
        const { limit, after, ...rest } = request.query;
        const filter = given(rest);
        if (request.prefers('application/json', EVENT_STREAM) !== EVENT_STREAM) {
          const value = await admin.events({ ...filter, limit: limit ?? 100, after: after ?? null });
          return { kind: 'json', status: 200, value };
        }
        const last = lastEventId(request.header('last-event-id')) ?? after ?? null;
        return streamed(followed(admin, filter, { last, limit: limit ?? 0 }, request.signal), format, 'drop');
      },
    }),
  ];
}

async function* followed(
  admin: Admin,
  filter: EventFilter,
  from: { last: string | null; limit: number },
  signal: AbortSignal,
): AsyncGenerator<EventView> {
  let after = from.last;
  if (after === null) {
    // Even for none of them the list says as of which revision, and that is where the stream goes on.
    const newest = await admin.events({ ...filter, limit: from.limit, after: null });
    yield* newest.items;
    after = newest.revision;
  }
  yield* admin.followEvents({ ...filter, after }, signal);
}

function lastEventId(header: string): string | null {
  if (header === '') return null;
  if (!revision.safeParse(header).success) {
    throw new Refusal(400, 'invalid', `Last-Event-ID must be a revision, not "${header}"`);
  }
  return header;
}
