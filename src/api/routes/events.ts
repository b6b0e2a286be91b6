import { z } from 'zod';
import type { EventView } from '../../model/views.ts';
import type { Admin, EventFilter, Listing } from '../../ports/admin.ts';
import { given, wholeNumber } from '../query.ts';
import { Refusal } from '../refusal.ts';
import { type Route, route, streamed } from '../route.ts';
import { serverSentEvents } from '../stream.ts';
import { eventView, listing } from '../wire.ts';

const EVENT_STREAM = 'text/event-stream';
const revision = z.string().regex(/^\d{1,19}$/, 'must be a revision');
const format = serverSentEvents<PlacedEvent>({
  id: placed => placed.place,
  data: placed => placed.event ?? undefined,
});

/** An event and its place in the stream. One transaction may record several events, so a revision is not enough. */
interface PlacedEvent {
  /** `<revision>` for the first event of a revision, then `<revision>-2`, `<revision>-3` …; `<revision>-all` after the last. */
  place: string;
  /** null = only the place: nothing has happened, and from there a stream that was cut goes on. */
  event: EventView | null;
}

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
            'revisions (`-2`, `-3` … for further events of one revision, `-all` for all of them): from after `Last-Event-ID` or `after`, ' +
            'else the newest `limit` (default 0), then as recorded.',
          content: { 'application/json': listing('EventList', eventView), [EVENT_STREAM]: eventView },
        },
      },
      handle: async request => {
        const { limit, after, ...rest } = request.query;
        const filter = given(rest);
        if (request.prefers('application/json', EVENT_STREAM) !== EVENT_STREAM) {
          const value = await newest(admin, { ...filter, limit: limit ?? 100, after: after ?? null });
          return { kind: 'json', status: 200, value };
        }
        const last = lastEventId(request.header('last-event-id'));
        const events =
          last === null
            ? followed(admin, filter, { after: after ?? null, limit: limit ?? 0 }, request.signal)
            : resumed(admin, filter, last, request.signal);
        return streamed(events, format, 'drop');
      },
    }),
  ];
}

/** Also asks when none are wanted: the list says as of which revision, and there a stream goes on. */
async function newest(admin: Admin, query: Parameters<Admin['events']>[0]): Promise<Listing<EventView>> {
  const list = await admin.events({ ...query, limit: Math.max(1, query.limit) });
  return query.limit > 0 ? list : { ...list, items: [] };
}

async function* followed(
  admin: Admin,
  filter: EventFilter,
  from: { after: string | null; limit: number },
  signal: AbortSignal,
): AsyncGenerator<PlacedEvent> {
  let after = from.after;
  if (after === null) {
    const list = await newest(admin, { ...filter, limit: from.limit, after: null });
    yield* placed(list.items);
    after = list.revision;
    yield { place: `${after}-all`, event: null };
  }
  yield* placed(admin.followEvents({ ...filter, after }, signal));
}

/** Asks for the last revision once more, since a client may have seen only some of its events. */
export async function* resumed(
  admin: Admin,
  filter: EventFilter,
  last: { revision: bigint; count: number },
  signal: AbortSignal,
): AsyncGenerator<PlacedEvent> {
  const after = String(last.revision > 0n ? last.revision - 1n : 0n);
  let seen = last.count;
  for await (const each of placed(admin.followEvents({ ...filter, after }, signal))) {
    if (seen > 0 && BigInt(each.event.revision) === last.revision) seen--;
    else yield each;
  }
}

export async function* placed(
  events: AsyncIterable<EventView> | EventView[],
): AsyncGenerator<PlacedEvent & { event: EventView }> {
  let revision = '';
  let count = 0;
  for await (const event of events) {
    count = event.revision === revision ? count + 1 : 1;
    revision = event.revision;
    yield { place: count === 1 ? revision : `${revision}-${count}`, event };
  }
}

export function lastEventId(header: string): { revision: bigint; count: number } | null {
  if (header === '') return null;
  const [, revision, count = '1'] = /^(\d{1,19})(?:-(\d{1,9}|all))?$/.exec(header) ?? [];
  if (revision !== undefined) {
    return { revision: BigInt(revision), count: count === 'all' ? Infinity : Number(count) };
  }
  throw new Refusal(400, 'invalid', `Last-Event-ID must be the id of an event, not "${header}"`);
}
