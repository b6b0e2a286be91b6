/**
 * One suite for all: what plans in memory promise the tests of REST, gRPC and the command line, the engine keeps, on an etcd in
 * memory and on a real one. Agents say what the test wants; which of two nodes works at a step is their own business.
 */
import test, { type ExecutionContext } from 'ava';
import type { PlanSpec, StepResult, StepSpec } from '../../src/model/plan.ts';
import type { PlanEvent } from '../../src/model/plan-views.ts';
import { AdminError } from '../../src/ports/admin.ts';
import type { Plans, PlanSubmission } from '../../src/ports/plans.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { noop, submission } from '../support/plan-cluster.ts';
import { plansWorlds, type PlansWorld } from '../support/plans-worlds.ts';

let etcd: Etcd;

test.before(async () => {
  etcd = await startEtcd();
});
test.after.always(() => etcd.stop());

function contract(name: string, promise: (t: ExecutionContext, world: PlansWorld) => Promise<void>): void {
  for (const [which, make] of Object.entries(plansWorlds)) {
    test(`${which}: ${name}`, async t => {
      const world = await make(etcd);
      t.teardown(() => world.close());
      await promise(t, world);
    });
  }
}

const never = new AbortController().signal;
const completed: StepResult = { kind: 'completed', output: null };
const fatal: StepResult = { kind: 'failed', type: 'FATAL', error: 'no such host' };
const busy: StepResult = { kind: 'failed', type: 'RETRYABLE', error: 'busy' };
const atOnce = { attempts: 2, firstWaitSeconds: 0, factor: 1, longestWaitSeconds: 0, jitter: 0 };
const chain = [noop({ name: 'fetch' }), noop({ name: 'load', dependsOn: [0] })];

async function submit(
  { plans }: PlansWorld,
  steps: StepSpec[] = chain,
  more: Partial<PlanSpec> = {},
): Promise<string> {
  return (await plans.submit(submission(steps, more))).plan.plan;
}

async function refused(t: ExecutionContext, kind: AdminError['kind'], work: () => Promise<unknown>) {
  const error = await t.throwsAsync(work, { instanceOf: AdminError });
  t.is(error.kind, kind, error.message);
  return error;
}

contract('a plan is shown as it was submitted, by every node', async (t, world) => {
  const payload = { mimeType: 'text/plain', text: 'é' };
  const steps = [noop({ name: 'fetch', arguments: { a: '1' }, payload }), noop({ dependsOn: [0] })];
  const { plan, created } = await world.plans.submit(
    submission(steps, { title: 'nightly', priority: 2, onFailure: 'continue', completeBySeconds: 600 }),
  );
  t.true(created);
  for (const plans of [world.plans, world.other]) {
    t.like(await plans.plan(plan.plan), {
      title: 'nightly',
      origin: 'test',
      priority: 2,
      steps: 2,
      endedAt: null,
      sequential: false,
      onFailure: 'continue',
      completeBySeconds: 600,
      idempotencyKey: null,
      cancel: null,
      troubles: [],
    });
    const { items } = await plans.steps(plan.plan, {});
    t.is(items.length, 2);
    t.like(items[0], { index: 0, name: 'fetch', agent: 'noop', arguments: { a: '1' }, dependsOn: [] });
    t.deepEqual(items[0]?.payload, { mimeType: 'text/plain', bytes: 2 });
    t.like(items[1], {
      index: 1,
      name: null,
      arguments: {},
      dependsOn: [0],
      payload: null,
      state: 'PENDING',
    });
    t.deepEqual(await plans.step(plan.plan, 1), items[1]!);
  }
});

contract('a plan with anything wrong is refused whole, with all that is wrong', async (t, { plans }) => {
  const wrong = submission([noop({ dependsOn: [7] }), noop({ timeoutSeconds: 0 })]);
  const error = await refused(t, 'invalid', () => plans.submit(wrong));
  const { problems } = error.details as { problems: { field: string }[] };
  t.deepEqual(problems.map(({ field }) => field).sort(), [
    'steps[0].dependsOn[0]',
    'steps[1].timeoutSeconds',
  ]);
  t.deepEqual(plans.check(wrong.spec), problems);
  t.deepEqual(plans.check(submission(1).spec), []);
  t.deepEqual((await plans.list({ limit: 10 })).items, []);
});

contract('of a plan that nobody has submitted nothing can be had', async (t, { plans }) => {
  const asks: (() => Promise<unknown>)[] = [
    () => plans.plan('none'),
    () => plans.steps('none', {}),
    () => plans.step('none', 0),
    () => plans.output('none', 0, never),
    () => plans.cancel('none', 'ann'),
    () => plans.retry('none', null),
    () => plans.forget('none'),
    () => heard(plans, 'none', null),
  ];
  for (const ask of asks) await refused(t, 'not-found', ask);
});

contract('a step that a plan has not got is not found', async (t, world) => {
  const id = await submit(world);
  for (const index of [2, -1, 0.5]) {
    await refused(t, 'not-found', () => world.plans.step(id, index));
    await refused(t, 'not-found', () => world.plans.output(id, index, never));
    await refused(t, 'not-found', () => world.plans.retry(id, [index]));
  }
});

contract('one key and body are one plan, whoever is asked; another body is a conflict', async (t, world) => {
  const { plans, other } = world;
  const request: PlanSubmission = { ...submission(1), idempotencyKey: 'order/7' };
  const first = await plans.submit(request);
  t.true(first.created);
  t.is(first.plan.idempotencyKey, 'order/7');
  const again = await other.submit(request);
  t.false(again.created);
  t.is(again.plan.plan, first.plan.plan);
  const error = await refused(t, 'conflict', () => other.submit({ ...request, digest: 'sha256:other' }));
  t.is(error.details['plan'], first.plan.plan);
  t.true((await plans.submit({ ...request, idempotencyKey: 'order/8' })).created);
});

contract('plans are listed newest first, in pages', async (t, { plans }) => {
  for (const title of ['a-1', 'b', 'a-2', 'a-3'])
    await plans.submit({ ...submission(1, { title }), origin: title === 'b' ? 'rest' : 'test' });
  const titles = async (filter: Parameters<Plans['list']>[0]) => {
    const { items, next } = await plans.list(filter);
    return { titles: items.map(({ title }) => title), next };
  };
  t.deepEqual(await titles({ limit: 10 }), { titles: ['a-3', 'a-2', 'b', 'a-1'], next: null });
  t.deepEqual(await titles({ limit: 4 }), { titles: ['a-3', 'a-2', 'b', 'a-1'], next: null });
  t.deepEqual((await titles({ limit: 10, origin: 'rest' })).titles, ['b']);
  const first = await titles({ limit: 2, title: 'a-' });
  t.deepEqual(first.titles, ['a-3', 'a-2']);
  // What comes meanwhile moves no page.
  await plans.submit(submission(1, { title: 'a-4' }));
  t.deepEqual(await titles({ limit: 2, title: 'a-', after: first.next! }), { titles: ['a-1'], next: null });
  t.deepEqual((await titles({ limit: 10, states: ['FAILED'] })).titles, []);
  t.is((await titles({ limit: 10, states: ['PENDING', 'RUNNING'] })).titles.length, 5);
  await refused(t, 'invalid', () => plans.list({ limit: 1, after: 'the last one' }));
});

contract('steps come in their order, by state, from a certain one on', async (t, world) => {
  const { plans } = world;
  const id = await submit(world, [noop(), noop(), noop(), noop({ dependsOn: [0] })], {
    onFailure: 'continue',
  });
  await world.begin(id);
  await world.finish(id, 1, fatal);
  const indexes = async (filter: Parameters<Plans['steps']>[1]) =>
    (await plans.steps(id, filter)).items.map(({ index }) => index);
  t.deepEqual(await indexes({}), [0, 1, 2, 3]);
  t.deepEqual(await indexes({ states: ['RUNNING'] }), [0, 2]);
  t.deepEqual(await indexes({ states: ['FAILED', 'PENDING'] }), [1, 3]);
  t.deepEqual(await indexes({ first: 1, limit: 2 }), [1, 2]);
  t.deepEqual(await indexes({ states: ['RUNNING'], first: 1 }), [2]);
  t.deepEqual(await indexes({ first: 4 }), []);
  t.deepEqual((await plans.plan(id)).counts, { RUNNING: 2, FAILED: 1, PENDING: 1 });
});

contract('a step says who works at it and by when; once ended, who did, and when', async (t, world) => {
  const id = await submit(world);
  await world.begin(id);
  const runs = await world.plans.step(id, 0);
  t.like(runs, { state: 'RUNNING', attempt: 1, failures: 0, endedAt: null, output: null });
  for (const known of [runs.token, runs.lockedBy, runs.completeBy, runs.startedAt]) t.not(known, null);
  await world.finish(id, 0, { kind: 'completed', output: { value: { rows: 3 } } });
  const done = await world.plans.step(id, 0);
  t.like(done, { state: 'COMPLETED', attempt: 1, lockedBy: null, ranOn: runs.lockedBy, completeBy: null });
  t.deepEqual(done.output, { value: { rows: 3 } });
  t.not(done.endedAt, null);
  t.is((await world.plans.step(id, 1)).state, 'RUNNING');
  await world.finish(id, 1, completed);
  const plan = await world.plans.plan(id);
  t.is(plan.state, 'COMPLETED');
  t.not(plan.endedAt, null);
  t.deepEqual(plan.counts, { COMPLETED: 2 });
});

contract('what is RETRYABLE is tried again as often as it may be, what is FATAL is not', async (t, world) => {
  const id = await submit(
    world,
    [noop({ retry: atOnce }), noop({ retry: atOnce }), noop({ dependsOn: [0] })],
    {
      onFailure: 'continue',
    },
  );
  await world.begin(id);
  const { idempotencyKey } = await world.plans.step(id, 0);
  await world.finish(id, 0, busy);
  t.like(await world.plans.step(id, 0), {
    state: 'RUNNING',
    attempt: 2,
    failures: 1,
    error: 'busy',
    failureType: 'RETRYABLE',
    idempotencyKey,
  });
  await world.finish(id, 0, busy);
  t.like(await world.plans.step(id, 0), { state: 'FAILED', attempt: 2, failures: 2 });
  await world.finish(id, 1, fatal);
  t.like(await world.plans.step(id, 1), { state: 'FAILED', attempt: 1, failures: 1, failureType: 'FATAL' });
  const skipped = await world.plans.step(id, 2);
  t.is(skipped.state, 'SKIPPED');
  t.regex(skipped.reason ?? '', /step 0/);
  t.is((await world.plans.plan(id)).state, 'FAILED');
});

contract(
  'the output of a step is had as it was given, and of one that has given none: nothing',
  async (t, world) => {
    const id = await submit(world, [noop(), noop(), noop(), noop({ dependsOn: [0] })]);
    await world.begin(id);
    await world.finish(id, 0, { kind: 'completed', output: { value: 'héllo' } });
    await world.finish(id, 1, { kind: 'completed', output: { value: { rows: 3 } } });
    await world.finish(id, 2, completed);
    const text = async (index: number) => {
      const bytes = await world.other.output(id, index, never);
      return bytes === null ? null : new TextDecoder().decode(bytes);
    };
    t.is(await text(0), 'héllo');
    t.is(await text(1), '{"rows":3}');
    t.is(await text(2), null);
    const error = await refused(t, 'conflict', () => text(3));
    t.regex(error.message, /step 3 .* RUNNING/);
  },
);

contract('cancelled, nothing more is started; it has ended when what ran has stopped', async (t, world) => {
  const { plans } = world;
  const id = await submit(world);
  await world.begin(id);
  const asked = await world.other.cancel(id, 'ann');
  t.like(asked.cancel, { kind: 'asked', by: 'ann' });
  t.is(asked.endedAt, null);
  t.is((await plans.cancel(id, 'bob')).cancel?.by, 'ann');
  await world.finish(id, 0, { kind: 'stopped' });
  t.like(await plans.plan(id), { state: 'CANCELLED', counts: { CANCELLED: 2 } });
  await refused(t, 'conflict', () => plans.cancel(id, 'ann'));
});

contract(
  'what has ended badly is retried by hand: all of it, or the steps that are named',
  async (t, world) => {
    const { plans } = world;
    const id = await submit(world, [noop(), noop(), noop({ dependsOn: [0] })], { onFailure: 'continue' });
    await world.begin(id);
    await refused(t, 'conflict', () => plans.retry(id, null));
    await world.finish(id, 0, fatal);
    await world.finish(id, 1, fatal);
    t.is((await plans.plan(id)).state, 'FAILED');
    await refused(t, 'conflict', () => plans.retry(id, [2]));
    t.is((await plans.retry(id, [1])).endedAt, null);
    await world.begin(id);
    t.like(await plans.step(id, 1), { state: 'RUNNING', attempt: 2 });
    await world.finish(id, 1, completed);
    t.like(await plans.plan(id), { state: 'FAILED', counts: { FAILED: 1, COMPLETED: 1, SKIPPED: 1 } });
    await world.other.retry(id, null);
    await world.begin(id);
    await world.finish(id, 0, completed);
    await world.finish(id, 2, completed);
    t.is((await plans.plan(id)).state, 'COMPLETED');
    await refused(t, 'conflict', () => plans.retry(id, null));
  },
);

contract(
  'a plan that has ended is forgotten, and its key with it; one that has not is kept',
  async (t, world) => {
    const { plans } = world;
    const request = { ...submission(1), idempotencyKey: 'k' };
    const { plan } = (await plans.submit(request)).plan;
    await world.begin(plan);
    await refused(t, 'conflict', () => plans.forget(plan));
    await world.finish(plan, 0, completed);
    await plans.forget(plan);
    await refused(t, 'not-found', () => plans.plan(plan));
    t.deepEqual((await plans.list({ limit: 10 })).items, []);
    t.true((await plans.submit(request)).created);
  },
);

async function heard(plans: Plans, id: string, after: string | null): Promise<PlanEvent[]> {
  const all: PlanEvent[] = [];
  for await (const event of plans.watch(id, after, never)) all.push(event);
  return all;
}

/** The last that was told of each thing. */
function picture(events: readonly PlanEvent[]): Record<string, string> {
  return Object.fromEntries(
    events.map(event =>
      event.kind === 'plan'
        ? ['plan', event.plan.state]
        : [event.step.index, `${event.step.state} ${event.step.attempt}`],
    ),
  );
}

contract(
  'whoever watches is told first how all of it is, then of each change, and of its end last',
  async (t, world) => {
    const id = await submit(world);
    await world.begin(id);
    const events: PlanEvent[] = [];
    const watching = (async () => {
      for await (const event of world.other.watch(id, null, never)) {
        events.push(event);
        if (events.length === 3) await world.finish(id, 0, completed);
        if (event.kind === 'step' && event.step.index === 1 && event.step.state === 'RUNNING')
          void world.finish(id, 1, completed);
      }
    })();
    await watching;
    t.deepEqual(
      events.slice(0, 3).map(event => (event.kind === 'plan' ? 'plan' : `${event.step.index}`)),
      ['0', '1', 'plan'],
    );
    t.deepEqual(picture(events), { 0: 'COMPLETED 1', 1: 'COMPLETED 1', plan: 'COMPLETED' });
    t.is(events.at(-1)?.kind, 'plan');
    // Until all of it has been told there is nowhere to go on from.
    t.deepEqual(
      events.slice(0, 2).map(({ revision }) => revision),
      ['0', '0'],
    );
    const revisions = events.map(({ revision }) => BigInt(revision));
    t.true(revisions.every((revision, place) => place === 0 || revision >= revisions[place - 1]!));
    // The first picture comes in any order.
    for (const thing of ['plan', 'step'] as const) {
      const told = events.slice(3).filter(({ kind }) => kind === thing);
      const changes = told.map(({ changed }) => BigInt(changed));
      t.true(
        changes.every((changed, place) => changed > 0n && (place === 0 || changed >= changes[place - 1]!)),
      );
    }
  },
);

contract(
  'a watch that was cut goes on at any node, after any event, and misses nothing',
  async (t, world) => {
    const id = await submit(world, [noop({ retry: atOnce }), noop({ dependsOn: [0] }), noop()], {
      onFailure: 'continue',
    });
    const whole = heard(world.plans, id, null);
    await world.begin(id);
    await world.finish(id, 2, fatal);
    await world.finish(id, 0, busy);
    await world.finish(id, 0, completed);
    await world.finish(id, 1, completed);
    const events = await whole;
    const end = { 0: 'COMPLETED 2', 1: 'COMPLETED 1', 2: 'FAILED 1', plan: 'FAILED' };
    t.deepEqual(picture(events), end);
    for (let cut = 1; cut <= events.length; cut++) {
      const { revision } = events[cut - 1]!;
      const plans = cut % 2 === 0 ? world.plans : world.other;
      const rest = await heard(plans, id, revision === '0' ? null : revision);
      t.deepEqual(picture([...events.slice(0, cut), ...rest]), end, `cut after ${cut} of ${events.length}`);
      t.is(rest.at(-1)?.kind, 'plan', 'it is told of the end');
    }
  },
);

contract('a watch goes on from the revision at which the plan was shown', async (t, world) => {
  const id = await submit(world);
  await world.begin(id);
  const { revision } = await world.plans.plan(id);
  const watching = heard(world.plans, id, revision);
  await world.finish(id, 0, completed);
  await world.finish(id, 1, completed);
  t.deepEqual(picture(await watching), { 0: 'COMPLETED 1', 1: 'COMPLETED 1', plan: 'COMPLETED' });
  await refused(t, 'invalid', () => heard(world.plans, id, 'yesterday'));
});

contract('a watch ends when it is told to, and when its plan is forgotten', async (t, world) => {
  const { plans } = world;
  const id = await submit(world);
  await world.begin(id);
  const abort = new AbortController();
  const watching = (async () => {
    for await (const event of plans.watch(id, null, abort.signal))
      if (event.kind === 'plan') setImmediate(() => abort.abort());
  })();
  await watching;
  await world.finish(id, 0, fatal);
  const told = await heard(plans, id, null);
  t.deepEqual(picture(told), { 0: 'FAILED 1', 1: 'SKIPPED 0', plan: 'FAILED' });
  t.deepEqual(picture(await heard(plans, id, told.at(-1)!.revision))['plan'], 'FAILED');
});

contract('schedules are put, shown, paused and removed', async (t, { plans }) => {
  const schedule = {
    expression: '@daily',
    timeZone: 'Europe/Berlin',
    overlap: 'forbid',
    catchUp: { kind: 'latest' },
  } as const;
  const plan = submission(2, { title: 'nightly' }).spec;
  const put = await plans.putSchedule('nightly', { schedule, plan, paused: false });
  t.like(put, { name: 'nightly', paused: false, title: 'nightly', steps: 2, origin: 'api', running: [] });
  t.deepEqual(put.schedule, schedule);
  t.not(put.nextFireAt, null);
  t.is((await plans.pauseSchedule('nightly', true)).nextFireAt, null);
  t.not((await plans.pauseSchedule('nightly', false)).nextFireAt, null);
  const wrong = { ...schedule, expression: 'often', timeZone: 'Mars/Base' };
  const error = await refused(t, 'invalid', () =>
    plans.putSchedule('weekly', { schedule: wrong, plan, paused: false }),
  );
  const { problems } = error.details as { problems: { field: string }[] };
  t.deepEqual(
    problems.map(({ field }) => field),
    ['schedule.expression', 'schedule.timeZone'],
  );
  await plans.removeSchedule('nightly');
  await refused(t, 'not-found', () => plans.removeSchedule('nightly'));
  await refused(t, 'not-found', () => plans.pauseSchedule('nightly', true));
  await refused(t, 'not-found', async () => plans.schedule('nightly'));
});
