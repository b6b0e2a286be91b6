import test from 'ava';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BusyPlan, otherShare } from '../support/busy-plan.ts';
import { until } from '../support/until.ts';
import { planRoutes } from '../../src/api/routes/plans.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { planFeeds } from '../support/plan-feeds.ts';
import { served } from './helpers.ts';

const WATCHERS = 2000;
/** What telling them may take of this process's own processor time, at most; about a fifth is usual. */
const SHARE = 1 / 3;
const MEASURED_CPU_MS = 1000;

test(`with ${WATCHERS} watchers of one plan by server-sent events the agent gets its own work done`, async t => {
  t.timeout(120_000);
  const plans = new FakePlans();
  const feeds = planFeeds(plans);
  const { api } = await served(t, { extraRoutes: planRoutes(plans, feeds) });
  const plan = new BusyPlan();
  let watches = 0;
  plans.watch = (_id, _after, signal) => {
    watches++;
    return plan.watch(signal);
  };
  const script = join(import.meta.dirname, 'watch-many.ts');
  const watching = spawn(process.execPath, ['--import=tsx', script, api.url, String(WATCHERS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => watching.kill('SIGKILL'));
  const lines: string[] = [];
  createInterface({ input: watching.stdout }).on('line', line => lines.push(line));
  await until('all have begun', () => lines.includes('begun'), 60_000);
  t.is(feeds.watchers, WATCHERS);
  const share = await otherShare(MEASURED_CPU_MS, plan);
  plan.end();
  const told = await until('all have ended', () => lines[1], 60_000);

  t.log(`${(share * 100).toFixed(0)} % of the processor time went into telling`, told);
  t.true(share <= SHARE, `${(share * 100).toFixed(0)} % of the processor time went into telling`);
  const { statuses, heard, attempts } = JSON.parse(told) as {
    statuses: number[];
    heard: number;
    attempts: number[];
  };
  t.deepEqual([statuses, heard, attempts], [[200], WATCHERS, [plan.attempt]]);
  t.is(watches, 1);
});
