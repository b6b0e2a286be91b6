import test from 'ava';
import { defaultPlanLimits } from '../../../src/model/node-config.ts';
import type { CronSchedule, PlanRecord } from '../../../src/model/plan.ts';
import { completed, noop, PlanCluster, submission } from '../../support/plan-cluster.ts';

test('a step is taken from an owner that lives and does nothing, within its time, the asking and the taking over', async t => {
  const cluster = await PlanCluster.start(2, (_task, node) => (node === 'node-2' ? null : completed));
  const timeoutSeconds = 5;
  const plan = await cluster.submit([noop({ timeoutSeconds })], {}, 1);
  t.deepEqual(
    cluster.asked.map(({ node }) => node),
    ['node-2'],
  );
  // Its session lives on, and nothing that it writes is ever answered.
  cluster.node(1).store.commit = () => new Promise(() => undefined);
  const startedMs = cluster.clock.now();
  await cluster.clock.advanceUntil(() => cluster.asked.length > 1, 60_000);
  // One second late, seen within a second, three for an answer, and one more look.
  t.true(cluster.clock.now() - startedMs <= timeoutSeconds * 1000 + 1000 + 1000 + 3000 + 1000 + 500);
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  await cluster.clock.advance(500);
  t.is(
    Object.values(cluster.etcd.contents('requests')).filter(({ request }) => request.action === 'retry-step')
      .length,
    1,
  );
  t.is(cluster.events('step-taken-over').length, 1);
});

test('two supervisors at once ask twice, and take a step from its owner once', async t => {
  const cluster = await PlanCluster.start(3, (_task, node) => (node === 'node-3' ? null : completed));
  cluster.allSupervise = true;
  const plan = await cluster.submit([noop({ timeoutSeconds: 5 })], {}, 2);
  cluster.node(2).store.commit = () => new Promise(() => undefined);
  // Both have decided before either has written: what the second writes comes after somebody else has gone on.
  for (const [place, afterMs] of [1_000, 4_000].entries()) {
    const { store } = cluster.node(place);
    const commit = store.commit.bind(store);
    store.commit = async (compares, writes) => {
      const frees = writes.some(
        write => 'put' in write && write.put === 'steps' && write.value.owner === null,
      );
      if (frees) await cluster.clock.sleep(afterMs);
      return commit(compares, writes);
    };
  }
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  await cluster.clock.advance(10_000);
  const asked = Object.values(cluster.etcd.contents('requests')).map(({ request }) => request);
  t.deepEqual(asked.map(({ from, action }) => `${from} ${action}`).sort(), [
    'node-1 retry-step',
    'node-2 retry-step',
  ]);
  t.is(cluster.events('step-taken-over').length, 1);
  t.deepEqual(cluster.attempts(), ['0 1', '0 2']);
});

test('where there is room again, the most urgent plan goes first, and of equals the one that came first', async t => {
  const cluster = new PlanCluster();
  cluster.limits = { ...defaultPlanLimits, atOnce: 1 };
  cluster.behave = () => ({ afterMs: 1_000, result: completed });
  await cluster.add('node-1');
  const names = new Map<string, string>();
  for (const [name, priority] of [
    ['first', 5],
    ['low', 9],
    ['second', 5],
    ['urgent', 0],
    ['third', 5],
  ] as const) {
    names.set(await cluster.submit(2, { priority }), name);
  }
  for (const plan of names.keys()) await cluster.ended(plan);
  t.is(
    cluster.asked.map(({ task }) => `${names.get(task.plan)} ${task.index}`).join(', '),
    'first 0, urgent 0, urgent 1, first 1, second 0, second 1, third 0, third 1, low 0, low 1',
  );
});

const everyMinute: CronSchedule = {
  expression: '* * * * *',
  timeZone: 'UTC',
  overlap: 'allow',
  catchUp: { kind: 'latest' },
};

function plans(cluster: PlanCluster): PlanRecord[] {
  return Object.values(cluster.etcd.contents('plans'));
}

test('a schedule fires once each time, also when its leader goes', async t => {
  const cluster = await PlanCluster.start(2);
  const request = { schedule: everyMinute, plan: submission(1).spec, paused: false };
  await cluster.whileTimePasses(cluster.node().engine.plans.putSchedule('nightly', request));
  await cluster.clock.advance(130_000);
  t.is(plans(cluster).length, 2);
  await cluster.node().crash();
  await cluster.clock.advance(180_000);
  t.is(plans(cluster).length, 5);
  t.is(new Set(plans(cluster).map(({ idempotencyKey }) => idempotencyKey)).size, 5);
  const view = cluster.node().engine.plans.schedule('nightly');
  t.is(view.lastFiredAt, '2026-01-01T00:05:00.000Z');
  t.is(view.nextFireAt, '2026-01-01T00:06:00.000Z');
});

for (const [overlap, made, running] of [
  ['allow', 3, 3],
  ['forbid', 1, 1],
  ['replace', 3, 1],
] as const) {
  test(`plans of a schedule that overlap: ${overlap}`, async t => {
    const cluster = await PlanCluster.start(1, () => ({ afterMs: 3_600_000, result: completed }));
    const plan = submission([noop({ timeoutSeconds: 7200 })]).spec;
    const request = { schedule: { ...everyMinute, overlap }, plan, paused: false };
    await cluster.whileTimePasses(cluster.node().engine.plans.putSchedule('s', request));
    await cluster.clock.advance(190_000);
    t.is(plans(cluster).length, made);
    t.is(plans(cluster).filter(({ settled }) => settled === null).length, running);
  });
}

test('a schedule that is paused makes up for nothing, and one that cannot be is refused with all that is wrong', async t => {
  const cluster = await PlanCluster.start();
  const { plans: served } = cluster.node().engine;
  const request = { schedule: everyMinute, plan: submission(1).spec, paused: true };
  await cluster.whileTimePasses(served.putSchedule('s', request));
  await cluster.clock.advance(120_000);
  await cluster.whileTimePasses(served.pauseSchedule('s', false));
  await cluster.clock.advance(30_000);
  t.is(plans(cluster).length, 0);
  const wrong = { ...request, schedule: { ...everyMinute, expression: 'often', timeZone: 'Mars/Base' } };
  const error = await t.throwsAsync(cluster.whileTimePasses(served.putSchedule('No Name', wrong)));
  const { problems } = (error as unknown as { details: { problems: { field: string }[] } }).details;
  t.deepEqual(
    problems.map(({ field }) => field),
    ['name', 'schedule.expression', 'schedule.timeZone'],
  );
});

test('plans that ended long ago are taken out of the store, and so are parts of plans that never came to be', async t => {
  const cluster = await PlanCluster.start();
  const kept = await cluster.submit(1);
  await cluster.ended(kept);
  const [chunk] = cluster.chunks(kept);
  const record = cluster.record(kept)!;
  const settled = { state: 'COMPLETED', at: '2025-12-01T00:00:00.000Z' } as const;
  cluster.etcd.put('steps', 'old/000000', { ...chunk!, plan: 'old' });
  cluster.etcd.put('plans', 'old', { ...record, plan: 'old', settled });
  cluster.etcd.put('steps', 'orphan/000000', { ...chunk!, plan: 'orphan' });
  cluster.etcd.put('definitions', 'orphan/000000', { v: 1, plan: 'orphan', first: 0, steps: [] });
  await cluster.clock.advance(130_000);
  t.deepEqual(Object.keys(cluster.etcd.contents('plans')), [kept]);
  t.true(
    'orphan/000000' in cluster.etcd.contents('steps'),
    'it may be that of a plan that is just being submitted',
  );
  await cluster.clock.advance(11 * 60_000);
  t.deepEqual(Object.keys(cluster.etcd.contents('steps')), [`${kept}/000000`]);
  t.deepEqual(cluster.etcd.contents('definitions'), {});
});

test('of plans that have ended those that ended last are kept, as many as they should be', async t => {
  const cluster = new PlanCluster();
  cluster.limits = { ...defaultPlanLimits, keep: 2 };
  await cluster.add('node-1');
  const ended: string[] = [];
  for (let count = 0; count < 4; count++) {
    const plan = await cluster.submit(1);
    await cluster.ended(plan);
    ended.push(plan);
    await cluster.clock.advance(1_000);
  }
  cluster.behave = () => null;
  const open = await cluster.submit([noop({ timeoutSeconds: 3600 })]);
  await cluster.clock.advance(65_000);
  t.deepEqual(Object.keys(cluster.etcd.contents('plans')).sort(), [...ended.slice(2), open].sort());
  t.is(Object.keys(cluster.etcd.contents('steps')).length, 3);
});

test('with as many open plans as a node may have it takes no more, until one has ended', async t => {
  const cluster = new PlanCluster();
  cluster.limits = { ...defaultPlanLimits, open: 2 };
  cluster.behave = () => ({ afterMs: 1_000, result: completed });
  await cluster.add('node-1');
  const first = await cluster.submit(1);
  await cluster.submit(1);
  const refused = cluster.whileTimePasses(cluster.node().engine.plans.submit(submission(1)));
  await t.throwsAsync(refused, { message: /there are 2 plans that have not ended/ });
  await cluster.ended(first);
  await cluster.clock.advance(100);
  await t.notThrowsAsync(cluster.submit(1));
});

for (const atOnce of [1, 3, 100]) {
  test(`a node that works at ${atOnce} attempts at once does all, and never more than that`, async t => {
    let [running, most] = [0, 0];
    const cluster = new PlanCluster();
    cluster.limits = { ...defaultPlanLimits, atOnce };
    cluster.behave = () => {
      most = Math.max(most, ++running);
      cluster.clock.after(50, () => running--);
      return { afterMs: 50, result: completed };
    };
    await cluster.add('node-1');
    const plan = await cluster.submit(150);
    t.is((await cluster.ended(plan)).state, 'COMPLETED');
    t.true(most <= atOnce && most >= 0.8 * atOnce, `${most} at once`);
  });
}

for (const [catchUp, made] of [
  [{ kind: 'none' }, []],
  [{ kind: 'latest' }, ['00:10']],
  [{ kind: 'all', atMost: 3 }, ['00:06', '00:08', '00:10']],
  [{ kind: 'all', atMost: 100 }, ['00:02', '00:04', '00:06', '00:08', '00:10']],
] as const) {
  test(`what nobody was there for: ${JSON.stringify(catchUp)} makes up for ${made.length} of five firings`, async t => {
    const cluster = await PlanCluster.start();
    const schedule = { ...everyMinute, expression: '*/2 * * * *', catchUp };
    const request = { schedule, plan: submission(1).spec, paused: false };
    await cluster.whileTimePasses(cluster.node().engine.plans.putSchedule('s', request));
    await cluster.node().crash();
    // The last of them was longer ago than an election takes, and is not on time any more.
    await cluster.clock.advance(11.3 * 60_000);
    await cluster.add('node-2');
    await cluster.clock.advance(11_000);
    const fired = plans(cluster).map(({ idempotencyKey }) =>
      new Date(Number(idempotencyKey?.split('/')[2])).toISOString().slice(11, 16),
    );
    t.deepEqual(fired.sort(), [...made]);
    await cluster.clock.advance(60_000);
    t.is(plans(cluster).length, made.length + 1, 'the next is on time');
  });
}
