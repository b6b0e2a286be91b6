import test from 'ava';
import { join } from 'node:path';
import { planRoutes } from '../../src/api/routes/plans.ts';
import { watchedByMany } from '../support/busy-plan.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { planFeeds } from '../support/plan-feeds.ts';
import { served } from './helpers.ts';

test('with thousands who watch one plan by server-sent events the agent gets its own work done', async t => {
  const plans = new FakePlans();
  const feeds = planFeeds(plans);
  const { api } = await served(t, { extraRoutes: planRoutes(plans, feeds) });
  const script = join(import.meta.dirname, 'watch-many.ts');
  await watchedByMany(t, { plans, feeds, script, address: api.url, ok: 200 });
});
