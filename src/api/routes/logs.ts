import { z } from 'zod';
import type { LogLine } from '../../model/views.ts';
import type { Admin } from '../../ports/admin.ts';
import { wholeNumber } from '../query.ts';
import { type Route, route, streamed } from '../route.ts';
import { jsonLines, plainLines, serverSentEvents, type StreamFormat } from '../stream.ts';
import { logLine } from '../wire.ts';

const formats: Record<string, StreamFormat<LogLine>> = {
  'application/x-ndjson': jsonLines(),
  'text/event-stream': serverSentEvents({ id: () => null, data: line => line }),
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
      }),
      answers: {
        200: {
          description:
            'The newest `lines` of each instance, then, with `follow`, as they come. One a line or event.',
          content: {
            'application/x-ndjson': logLine,
            'text/event-stream': logLine,
            'text/plain': z.string(),
          },
        },
      },
      handle: ({ params, query, prefers, signal }) => {
        const type = prefers('application/x-ndjson', 'text/event-stream', 'text/plain');
        const options = { lines: query.lines, follow: query.follow === 'true' };
        return streamed(admin.logs(params.target, options, signal), formats[type] ?? jsonLines());
      },
    }),
  ];
}
