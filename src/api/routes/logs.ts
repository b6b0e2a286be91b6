import { z } from 'zod';
import type { LogLine } from '../../model/views.ts';
import type { Admin, LogOptions } from '../../ports/admin.ts';
import { given, wholeNumber } from '../query.ts';
import { type Route, route, streamed } from '../route.ts';
import { jsonLines, plainLines, serverSentEvents, type StreamFormat } from '../stream.ts';
import { logLine } from '../wire.ts';

const EVENT_STREAM = 'text/event-stream';
/** The longest that the agent gives out, and what percent-encoding makes of it. */
const LONGEST_CURSOR = 12_000;

/** A line, or (null) only the place from where a stream that is cut before the first line goes on. */
interface PlacedLine {
  cursor: string | null;
  line: LogLine | null;
}

const events = serverSentEvents<PlacedLine>({
  id: ({ cursor }) => cursor,
  data: ({ line }) => line ?? undefined,
});
const lineFormats: Record<string, StreamFormat<LogLine>> = {
  'application/x-ndjson': jsonLines(),
  'text/plain': plainLines(line => `${line.instance} ${line.text}`),
};

export function logRoutes(admin: Admin): Route[] {
  return [
    route({
      method: 'get',
      path: '/v1/logs/{target*}',
      id: 'readLogs',
      summary:
        'What an instance (`app/process/index`), a process type or an app has written, on whatever node.',
      params: z.object({ target: z.string() }),
      query: z.strictObject({
        lines: wholeNumber(100_000).default(100),
        follow: z.enum(['true', 'false']).default('false'),
        after: z.string().max(LONGEST_CURSOR).optional(),
      }),
      answers: {
        200: {
          description:
            'The newest `lines` of each instance, then, with `follow`, as they come. One a line or event. ' +
            'Each has a `cursor` (the id of its event): `after` it, or `Last-Event-ID`, the same reading goes on.',
          content: {
            'application/x-ndjson': logLine,
            'text/event-stream': logLine,
            'text/plain': z.string(),
          },
        },
      },
      handle: ({ params, query, header, prefers, signal }) => {
        const type = prefers('application/x-ndjson', EVENT_STREAM, 'text/plain');
        const last = header('last-event-id');
        const after = last === '' ? query.after : last;
        const options = { lines: query.lines, follow: query.follow === 'true', ...given({ after }) };
        if (type === EVENT_STREAM) return streamed(placed(admin, params.target, options, signal), events);
        return streamed(admin.logs(params.target, options, signal), lineFormats[type] ?? jsonLines());
      },
    }),
  ];
}

async function* placed(
  admin: Admin,
  target: string,
  options: LogOptions,
  signal: AbortSignal,
): AsyncGenerator<PlacedLine> {
  let begin: (place: PlacedLine) => void = () => undefined;
  const beginning = new Promise<PlacedLine>(resolve => (begin = resolve));
  const onPlace = (cursor: string): void => begin({ cursor, line: null });
  const lines = admin.logs(target, { ...options, onPlace }, signal)[Symbol.asyncIterator]();
  try {
    let next = lines.next();
    const first = await Promise.race([next, beginning]);
    if ('cursor' in first) yield first;
    for (let result = await next; result.done !== true; result = await next) {
      const { cursor = null, ...line } = result.value;
      yield { cursor, line };
      next = lines.next();
    }
  } finally {
    await lines.return?.();
  }
}
