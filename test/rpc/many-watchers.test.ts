import test from 'ava';
import { join } from 'node:path';
import { watchedByMany } from '../support/busy-plan.ts';
import { rpcWorld } from './helpers.ts';

test('with thousands who watch one plan over gRPC the agent gets its own work done', async t => {
  const { server, plans, feeds } = await rpcWorld(t);
  const script = join(import.meta.dirname, 'watch-many.ts');
  await watchedByMany(t, { plans, feeds, script, address: server.address, ok: 'OK' });
});
