import test from 'ava';
import { PlanBook, type PlanBookOptions } from '../../../src/agent/plans/plan-book.ts';
import { PlanWatch } from '../../../src/agent/plans/plan-watch.ts';
import type { StepRecord } from '../../../src/model/plan.ts';
import type { PlanEvent } from '../../../src/model/plan-views.ts';
import type { Entry } from '../../../src/ports/store.ts';
import { newPlan } from '../../../src/workflow/submission.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeLog } from '../../support/fake-log.ts';
import { completed, noop, PlanCluster, submission } from '../../support/plan-cluster.ts';

async function heardOf(cluster: PlanCluster, place: number, plan: string, after: string | null) {
  const heard: PlanEvent[] = [];
  const { plans } = cluster.node(place).engine;
  for await (const event of plans.watch(plan, after, new AbortController().signal)) heard.push(event);
  return heard;
}

/** The last that was said of each thing. */
function lastOf(events: PlanEvent[]): Map<string, string> {
  return new Map(
    events.map(event =>
      event.kind === 'plan' ? ['plan', event.plan.state] : [`${event.step.index}`, event.step.state],
    ),
  );
}

test('a watch that is cut after any event goes on at any node, and misses nothing', async t => {
  let turn = 0;
  const cluster = await PlanCluster.start(3, () => ({ afterMs: 10 + 7 * (turn++ % 13), result: completed }));
  const plan = await cluster.submit(200);
  const watching = heardOf(cluster, 1, plan, null);
  await cluster.ended(plan);
  const all = await cluster.whileTimePasses(watching);
  const end = lastOf(all);
  t.is(end.size, 201);
  t.deepEqual([...new Set(end.values())], ['COMPLETED']);
  const revisions = all.map(({ revision }) => BigInt(revision));
  t.true(revisions.every((revision, place) => place === 0 || revision >= (revisions[place - 1] ?? 0n)));
  // Not told whole before its first word of the plan.
  t.is(
    all.findIndex(({ revision }) => revision !== '0'),
    all.findIndex(({ kind }) => kind === 'plan'),
  );
  let shortest = Infinity;
  for (let cut = 1; cut < all.length; cut += 3) {
    const revision = all[cut - 1]?.revision ?? '0';
    const rest = await cluster.whileTimePasses(
      heardOf(cluster, cut % 3, plan, revision === '0' ? null : revision),
    );
    t.deepEqual(lastOf([...all.slice(0, cut), ...rest]), end, `cut after ${cut}`);
    shortest = Math.min(shortest, rest.length);
  }
  // It goes on, and does not begin again.
  t.true(shortest < 100, String(shortest));
});

test('whoever watches at a node that does nothing of the plan hears of each change once, like everybody', async t => {
  const cluster = await PlanCluster.start(2, () => ({ afterMs: 50, result: completed }));
  const plan = await cluster.submit(
    Array.from({ length: 20 }, () => noop()),
    { sequential: true },
  );
  const watching = [0, 1].map(place => heardOf(cluster, place, plan, null));
  await cluster.ended(plan);
  for (const heard of await Promise.all(watching.map(each => cluster.whileTimePasses(each)))) {
    const told = heard.flatMap(event =>
      event.kind === 'step' ? `${event.step.index} ${event.step.state}` : [],
    );
    t.deepEqual([...new Set(told)], told);
  }
});

test('a watch at a node that loses its session meanwhile goes on to the end of the plan', async t => {
  const cluster = await PlanCluster.start(3, () => ({ afterMs: 1_000, result: completed }));
  const plan = await cluster.submit(
    Array.from({ length: 60 }, () => noop()),
    { sequential: true },
  );
  const watching = heardOf(cluster, 1, plan, null);
  const sessions = () =>
    Object.keys(cluster.etcd.contents('sessions')).filter(name => name.startsWith('node-2/'));
  const before = sessions();
  cluster.node(1).store.setLink('refused');
  await cluster.clock.advanceUntil(() => sessions().length === 0);
  cluster.node(1).store.setLink('up');
  await cluster.clock.advanceUntil(() => sessions().length > 0);
  t.notDeepEqual(sessions(), before);
  t.is(cluster.record(plan)?.settled, null);
  await cluster.ended(plan);
  const end = lastOf(await cluster.whileTimePasses(watching));
  t.is(end.size, 61);
  t.deepEqual([...new Set(end.values())], ['COMPLETED']);
});

test('whoever takes its time has heard of every end when it hears of the end of the plan', async t => {
  let turn = 0;
  const cluster = await PlanCluster.start(3, () => ({ afterMs: 10 + 7 * (turn++ % 13), result: completed }));
  const plan = await cluster.submit(200);
  const { plans } = cluster.node(1).engine;
  const ended = new Set<number>();
  const watching = async (): Promise<number> => {
    for await (const event of plans.watch(plan, null, new AbortController().signal)) {
      if (event.kind === 'plan') {
        if (event.plan.endedAt !== null) return ended.size;
      } else if (event.step.state === 'COMPLETED') ended.add(event.step.index);
      await cluster.clock.sleep(5);
    }
    return -1;
  };
  t.is(await cluster.whileTimePasses(watching()), 200);
});

test('the end of a plan that is heard of before those of its steps is told after them', async t => {
  const clock = new FakeClock();
  const mirror = { all: () => [], get: () => undefined, revision: 0n, onChange: () => () => undefined };
  const world = { plans: mirror, steps: mirror, guards: mirror, sessions: mirror };
  const store = { list: () => Promise.reject(new Error('all is known')) };
  const book = new PlanBook({ world, store, clock, log: new FakeLog() } as unknown as PlanBookOptions);
  const given = { plan: 'p', submittedAt: clock.timestamp(), origin: 'test', idempotencyKey: null };
  const made = newPlan(submission(1).spec, given);
  const entry = <K extends 'plans' | 'steps'>(
    kind: K,
    name: string,
    value: Entry<K>['value'],
    revision: bigint,
  ) => ({ kind, name, value, createRevision: 1n, revision, lease: null }) as Entry<K>;
  const [chunk] = made.chunks;
  const plan = book.learnNew(entry('plans', 'p', made.plan, 1n), submission(1).spec.steps, [
    entry('steps', 'p/000000', chunk!, 1n),
  ]);
  const events = new PlanWatch(book, plan, 1n, {
    caughtUp: () => 1n,
    here: { node: 'node-1', has: () => true, does: () => true },
  }).events();
  const next = async () => {
    const { value } = (await events.next()) as { value: PlanEvent | undefined };
    return value === undefined
      ? 'the end'
      : value.kind === 'plan'
        ? `plan ${value.plan.state}`
        : value.step.state;
  };
  t.is(await next(), 'plan PENDING');
  const at = clock.timestamp();
  book.learnPlan(entry('plans', 'p', { ...made.plan, settled: { state: 'COMPLETED', at } }, 5n));
  const after = next();
  await clock.settle();
  const done: StepRecord = { index: 0, attempt: 1, state: 'COMPLETED', endedAt: at };
  book.learnChunk(entry('steps', 'p/000000', { ...chunk!, steps: [done] }, 5n));
  t.deepEqual([await after, await next(), await next()], ['COMPLETED', 'plan COMPLETED', 'the end']);
});
