import test, { type ExecutionContext } from 'ava';
import type { PlanFeeds } from '../../src/ports/plan-feeds.ts';
import { AdminError } from '../../src/ports/admin.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { eachChange, planFeeds } from '../support/plan-feeds.ts';
import { until } from '../support/until.ts';
import { plan, step } from '../workflow/helpers.ts';

interface Scene {
  plans: FakePlans;
  feeds: PlanFeeds;
  id: string;
}

/** The one that is shared, and the one of tests that are about something else. */
function contract(title: string, run: (t: ExecutionContext, scene: Scene) => Promise<void>): void {
  for (const [kind, make] of Object.entries({ shared: planFeeds, 'each change': eachChange })) {
    test(`${kind}: ${title}`, async t => {
      const plans = new FakePlans();
      const spec = plan([step(), step({ dependsOn: [0] })]);
      const submitted = await plans.submit({ spec, idempotencyKey: null, digest: 'd', origin: 'test' });
      await run(t, { plans, feeds: make(plans), id: submitted.plan.plan });
    });
  }
}

/** What is told until it ends: the last of each thing, and from where to go on. */
function watched({ feeds, id }: Scene, from: bigint | null, signal = new AbortController().signal) {
  const heard = { last: new Map<string, string>(), place: 0n, over: Promise.resolve() };
  heard.over = feeds.watch(
    id,
    from,
    ({ events }, revision) => {
      for (const event of events) {
        if (event.kind === 'plan') heard.last.set('plan', event.plan.state);
        else heard.last.set(String(event.step.index), event.step.state);
      }
      if (revision > 0n) heard.place = revision;
      return Promise.resolve();
    },
    signal,
  );
  return heard;
}

const completed = { kind: 'completed', output: null } as const;

contract('all of it is told, then what changes, until the plan has ended', async (t, scene) => {
  const { plans, id } = scene;
  const heard = watched(scene, null);
  await until('all of it was told', () => heard.last.size === 3 && heard.place > 0n);
  plans.begin(id);
  for (const index of [0, 1]) plans.finish(id, index, completed);
  await heard.over;
  t.deepEqual(Object.fromEntries(heard.last), { 0: 'COMPLETED', 1: 'COMPLETED', plan: 'COMPLETED' });
});

contract('whoever goes on from its place misses nothing', async (t, scene) => {
  const { plans, id } = scene;
  const leave = new AbortController();
  const first = watched(scene, null, leave.signal);
  await until('there is a place', () => first.place > 0n);
  leave.abort();
  await first.over;
  plans.begin(id);
  plans.finish(id, 0, completed);
  const second = watched(scene, first.place);
  await until('what was missed is told', () => second.last.get('1') === 'RUNNING');
  plans.finish(id, 1, completed);
  await second.over;
  t.deepEqual(Object.fromEntries(second.last), { 0: 'COMPLETED', 1: 'COMPLETED', plan: 'COMPLETED' });
});

contract('a plan that nobody knows, and what telling throws, end the watch with it', async (t, scene) => {
  const unknown = await t.throwsAsync(watched({ ...scene, id: 'nosuch' }, null).over, {
    instanceOf: AdminError,
  });
  t.is(unknown.kind, 'not-found');
  const broken = scene.feeds.watch(
    scene.id,
    null,
    () => Promise.reject(new Error('can not be told')),
    new AbortController().signal,
  );
  await t.throwsAsync(broken, { message: 'can not be told' });
  await until('nobody watches', () => scene.plans.open === 0);
});
