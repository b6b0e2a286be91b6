import type { ExecutionContext } from 'ava';
import { startAdminApi, type AdminApi, type AdminApiOptions } from '../../src/api/server.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { FakeLog } from './fake-log.ts';

/** The real admin API on a free port of loopback, before whatever answers, until the test is over. */
export async function servedAdmin(
  t: ExecutionContext,
  options: Pick<AdminApiOptions, 'admin'> & Partial<AdminApiOptions>,
): Promise<AdminApi> {
  const api = await startAdminApi({
    listen: { host: '127.0.0.1', port: 0, tls: null },
    socket: null,
    tokens: [],
    log: new FakeLog(),
    clock: systemClock(),
    ...options,
  });
  t.teardown(() => api.close());
  return api;
}
