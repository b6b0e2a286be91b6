import test from 'ava';
import type { AppSpec, CronSpec } from '../../../src/model/app-spec.ts';
import type { PlanRecord } from '../../../src/model/plan.ts';
import type { AppRecord } from '../../../src/model/records.ts';
import { releaseState } from '../../../src/model/rollout.ts';
import { AdminError } from '../../../src/ports/admin.ts';
import { appSpec } from '../../support/nouns.ts';
import { completed, PlanCluster, submission, type Behaviour } from '../../support/plan-cluster.ts';
import { appRecord } from '../helpers.ts';

const schedule: CronSpec['schedule'] = {
  expression: '* * * * *',
  timeZone: 'UTC',
  overlap: 'forbid',
  catchUp: { kind: 'latest' },
};

function withCron(command: string, parts: Partial<CronSpec> = {}): AppSpec {
  return appSpec({
    crons: [{ name: 'tidy', command, schedule, timeoutSeconds: 600, attempts: 1, ...parts }],
  });
}

/** Two nodes that run commands, and an app whose record each change writes as a whole. */
async function started(behave: Behaviour = () => completed) {
  const cluster = new PlanCluster();
  cluster.behave = behave;
  for (const name of ['node-1', 'node-2']) await cluster.add(name, ['command']);
  const want = async (spec: AppSpec, parts: Partial<AppRecord> = {}): Promise<AppRecord> => {
    const record = appRecord(spec, parts);
    cluster.etcd.put('apps', spec.app, record);
    await cluster.clock.advance(200);
    return record;
  };
  return {
    cluster,
    want,
    schedules: () => cluster.etcd.contents('schedules'),
    plans: (): PlanRecord[] => Object.values(cluster.etcd.contents('plans')),
    commands: () => cluster.asked.map(({ task }) => task.work.resource),
  };
}

test('a scheduled command of an app is a schedule, which goes with its line, its app, and any of its nodes', async t => {
  const { cluster, want, schedules, plans, commands } = await started();
  await want(withCron('./tidy --all'));
  t.like(schedules()['blog/tidy'], { origin: 'app/blog', schedule, paused: false });
  t.like(schedules()['blog/tidy']?.plan.steps[0], {
    agent: 'command',
    resource: './tidy --all',
    arguments: { app: 'blog' },
    timeoutSeconds: 600,
    retry: { attempts: 1 },
  });
  await cluster.clock.advance(60_000);
  t.deepEqual(commands(), ['./tidy --all']);
  t.is(plans()[0]?.origin, 'schedule blog/tidy');
  await cluster.node().crash();
  await cluster.clock.advance(180_000);
  t.is(plans().length, 4);
  t.is(new Set(plans().map(({ idempotencyKey }) => idempotencyKey)).size, 4);
  await want(appSpec({ crons: [] }));
  t.deepEqual(schedules(), {});
  await want(withCron('./tidy'));
  t.truthy(schedules()['blog/tidy']);
  await want(withCron('./tidy'), { removing: true });
  t.deepEqual(schedules(), {});
});

test('a new release changes what is run and nothing else; what is as it was is not written', async t => {
  const { cluster, want, schedules, commands } = await started();
  await want(withCron('./one'));
  await cluster.whileTimePasses(cluster.node().engine.plans.pauseSchedule('blog/tidy', true));
  await want(withCron('./two'), { release: 2 });
  t.like(schedules()['blog/tidy'], { paused: true });
  t.is(schedules()['blog/tidy']?.plan.steps[0]?.resource, './two');
  const revision = async () => (await cluster.node().store.get('schedules', 'blog/tidy'))?.revision;
  const written = await cluster.whileTimePasses(revision());
  await want(withCron('./two'), { release: 3, generation: 7 });
  await cluster.clock.advance(120_000);
  t.is(await cluster.whileTimePasses(revision()), written);
  await cluster.whileTimePasses(cluster.node().engine.plans.pauseSchedule('blog/tidy', false));
  await cluster.clock.advance(60_000);
  t.deepEqual(commands(), ['./two']);
});

test('while a release is only tried, the one before has its commands run; a rollback brings them back', async t => {
  const { want, schedules } = await started();
  const before = releaseState(await want(withCron('./old')));
  const command = () => schedules()['blog/tidy']?.plan.steps[0]?.resource;
  await want(withCron('./new'), { release: 2, rollout: { before, stage: 'canary' } });
  t.is(command(), './old');
  await want(withCron('./new'), { release: 2, rollout: { before, stage: 'replacing' } });
  t.is(command(), './new');
  await want(withCron('./old'), { release: 1 });
  t.is(command(), './old');
});

test('no firing is of a release that is not wanted any more, whatever its node has not heard of', async t => {
  const { cluster, want, commands } = await started();
  await want(withCron('./old'));
  // Just before the minute: the release is another one, and the schedule not yet.
  const { store } = cluster.node();
  const commit = store.commit.bind(store);
  store.commit = async (compares, writes) => {
    const fires = writes.some(write => 'put' in write && write.put === 'plans');
    if (fires && commands().length === 0) {
      store.commit = commit;
      cluster.etcd.put('apps', 'blog', appRecord(withCron('./new'), { release: 2 }));
    }
    return commit(compares, writes);
  };
  await cluster.clock.advance(70_000);
  t.deepEqual(commands(), ['./new']);
});

test('of a removed app also what runs is cancelled; when only the line goes, it runs to its end', async t => {
  const slow: Behaviour = () => ({ afterMs: 300_000, result: completed });
  const { cluster, want, plans } = await started(slow);
  await want(withCron('./slow'));
  await cluster.clock.advance(60_000);
  await want(appSpec({ crons: [] }));
  await cluster.clock.advance(5_000);
  t.is(plans()[0]?.cancel, null);
  await want(withCron('./slow'));
  await cluster.clock.advance(60_000);
  t.is(plans().length, 2);
  await want(withCron('./slow'), { removing: true });
  await cluster.clock.advance(5_000);
  t.deepEqual(
    plans()
      .map(({ cancel }) => cancel?.by ?? null)
      .sort(),
    ['app/blog', null],
  );
});

test('it is tried out without waiting for its time, and its line alone removes it', async t => {
  const slow: Behaviour = () => ({ afterMs: 20_000, result: completed });
  const { cluster, want } = await started(slow);
  await want(withCron('./report', { schedule: { ...schedule, expression: '@yearly' } }));
  const served = cluster.node(1).engine.plans;
  const made = await cluster.whileTimePasses(served.runSchedule('blog/tidy'));
  t.like(made, { origin: 'schedule blog/tidy', title: 'tidy of blog' });
  const refusal = async (work: Promise<unknown>): Promise<string> => {
    const error = await t.throwsAsync(cluster.whileTimePasses(work), { instanceOf: AdminError });
    return `${error.kind}: ${error.message}`;
  };
  t.is(
    await refusal(served.runSchedule('blog/tidy')),
    `conflict: blog/tidy: left out: ${made.plan} of this schedule has not ended`,
  );
  t.is(
    await refusal(served.removeSchedule('blog/tidy')),
    'conflict: the schedule "blog/tidy" is that of the app "blog": take it out of its manifest, or pause it',
  );
  t.is(await refusal(served.runSchedule('none')), 'not-found: there is no schedule "none"');
  t.is((await cluster.ended(made.plan)).state, 'COMPLETED');
  const again = await cluster.whileTimePasses(served.runSchedule('blog/tidy'));
  t.not(again.plan, made.plan);
});

test('a schedule of that name that somebody else has is left alone', async t => {
  const { cluster, want, schedules } = await started();
  const request = { schedule, plan: submission(1).spec, paused: true };
  await cluster.whileTimePasses(cluster.node().engine.plans.putSchedule('blog/tidy', request));
  await want(withCron('./tidy'));
  await cluster.clock.advance(120_000);
  t.is(schedules()['blog/tidy']?.origin, 'api');
});
