import test, { type ExecutionContext } from 'ava';
import { planRoutes } from '../../src/api/routes/plans.ts';
import type { AdminApiOptions } from '../../src/api/server.ts';
import type { PlanChange } from '../../src/model/plan-views.ts';
import { AdminError } from '../../src/ports/admin.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { planFeeds } from '../support/plan-feeds.ts';
import { until } from '../support/until.ts';
import { plan, step } from '../workflow/helpers.ts';
import { eventStream, firstText, served, stalledClient, take } from './helpers.ts';

const completed = { kind: 'completed', output: null } as const;
const chain = plan([step({ name: 'fetch' }), step({ name: 'load', dependsOn: [0] })]);

async function withPlans(t: ExecutionContext, limits: AdminApiOptions['limits'] = {}) {
  const plans = new FakePlans();
  const feeds = planFeeds(plans);
  return { ...(await served(t, { extraRoutes: planRoutes(plans, feeds), limits })), plans, feeds };
}

test('a watch tells the whole, then each change, and ends with the plan', async t => {
  const { client, plans } = await withPlans(t);
  const { plan: id } = await client.submitPlan(chain, null);
  const heard: PlanChange[] = [];
  for await (const { value } of client.watchPlan(id)) {
    if (value === null) continue;
    heard.push(value);
    const last = value.kind === 'step' && value.step.state === 'RUNNING' ? value.step.index : null;
    if (heard.length === 3) plans.begin(id);
    else if (last !== null) plans.finish(id, last, completed);
  }
  t.deepEqual(
    heard.slice(0, 3).map(({ kind }) => kind),
    ['step', 'step', 'plan'],
  );
  const states = (index: number) =>
    heard.flatMap(event => (event.kind === 'step' && event.step.index === index ? [event.step.state] : []));
  t.deepEqual(states(0), ['PENDING', 'RUNNING', 'COMPLETED']);
  t.deepEqual(states(1), ['PENDING', 'RUNNING', 'COMPLETED']);
  t.is(heard.flatMap(event => (event.kind === 'plan' ? [event.plan.state] : [])).at(-1), 'COMPLETED');
  t.is(plans.open, 0);
});

test('a watch that was cut anywhere goes on without missing a change', async t => {
  const { client, plans } = await withPlans(t);
  const wide = plan([step(), step(), step()]);
  const { plan: id } = await client.submitPlan(wide, null);
  plans.begin(id);
  for (const index of [0, 1, 2]) plans.finish(id, index, completed);
  const final = (events: PlanChange[]) =>
    new Map(
      events.map(event =>
        event.kind === 'plan' ? ['plan', event.plan.state] : [String(event.step.index), event.step.state],
      ),
    );
  // As if the watch had begun before anything happened.
  const all = (await take(Infinity, client.watchPlan(id, '1'))).map(({ id: place, value }) => ({
    place,
    value: value!,
  }));
  for (let cut = 1; cut <= all.length; cut++) {
    const before = all.slice(0, cut);
    const lastId = before.at(-1)!.place;
    const after = await take(Infinity, client.watchPlan(id, lastId === '' ? '1' : lastId));
    t.deepEqual(
      final([...before.map(({ value }) => value), ...after.map(({ value }) => value!)]),
      final(all.map(({ value }) => value)),
      `cut after ${cut}`,
    );
    t.true(
      after.length < all.length || lastId === '',
      `cut after ${cut}: it goes on, and does not begin again`,
    );
  }
});

test('a client that leaves a watch frees it', async t => {
  const { client, plans } = await withPlans(t);
  const { plan: id } = await client.submitPlan(chain, null);
  await take(1, client.watchPlan(id));
  while (plans.open > 0) await new Promise(resolve => setImmediate(resolve));
  t.is(plans.open, 0);
});

test('a stream has a place to go on from only once all has been told', async t => {
  const { api, client, plans } = await withPlans(t);
  // More than is told at once.
  const { plan: id } = await client.submitPlan(plan(Array.from({ length: 150 }, () => step())), null);
  const path = `/v1/plans/${id}/events`;
  const text = await firstText(api.url, path, /"kind":"plan"[^]*\n\n$/);
  const [opening, ...events] = text.trimEnd().split('\n\n');
  t.is(opening, 'retry: 1000');
  t.deepEqual(
    events.flatMap((event, at) => (event.startsWith('id: ') ? [at] : [])),
    [150],
  );
  plans.begin(id);
  const place = /id: (\d+)/.exec(text)?.[1] ?? '';
  t.regex(await firstText(api.url, path, /RUNNING/, { ...eventStream, 'last-event-id': place }), /RUNNING/);
});

test('all who watch one plan share one watch of it, which ends with the last of them', async t => {
  const { client, plans, feeds } = await withPlans(t);
  const { plan: id } = await client.submitPlan(chain, null);
  const leave = Array.from({ length: 20 }, () => new AbortController());
  const others = leave.map(({ signal }) => take(Infinity, client.watchPlan(id, '', signal)));
  const last = take(Infinity, client.watchPlan(id));
  await until('all watch', () => feeds.watchers === 21);
  t.is(plans.open, 1);
  for (const one of leave) one.abort(new Error('enough'));
  for (const other of others) await t.throwsAsync(other, { message: 'enough' });
  await until('one is left', () => feeds.watchers === 1);
  t.is(plans.open, 1);
  plans.begin(id);
  for (const index of [0, 1]) plans.finish(id, index, completed);
  t.like((await last).at(-1)?.value, { kind: 'plan', plan: { state: 'COMPLETED' } });
  await until('nobody watches', () => plans.open === 0);
});

test('a watch that tells nothing has a heartbeat', async t => {
  const { api, client } = await withPlans(t, { heartbeatMs: 20 });
  const { plan: id } = await client.submitPlan(chain, null);
  t.regex(
    await firstText(api.url, `/v1/plans/${id}/events`, /(: still here\n\n){3}/),
    /^retry: 1000\n\ndata: /,
  );
});

test('a client that takes nothing for too long is dropped from a watch', async t => {
  const { api, plans, feeds, log } = await withPlans(t, { stallMs: 100 });
  // Nearly as large as a plan can be: more than the buffers of a connection hold that nobody reads from.
  const spec = plan(Array.from({ length: 1900 }, () => step({ arguments: { filler: 'x'.repeat(4000) } })));
  const { plan: large } = await plans.submit({ spec, idempotencyKey: null, digest: '', origin: 'rest' });
  const stalled = stalledClient(`${api.url}/v1/plans/${large.plan}/events`);
  t.teardown(() => stalled.destroy());
  await until('it is dropped', () => log.matching('does not read').length > 0);
  t.regex(JSON.stringify(log.matching('does not read')), /taken nothing/);
  await until('nobody watches', () => feeds.watchers === 0);
});

test('a watch of what is not there is refused, and one that breaks off says why', async t => {
  const { client, plans, ask } = await withPlans(t);
  t.is((await ask('/v1/plans/nosuch/events')).status, 404);
  const { plan: id } = await client.submitPlan(chain, null);
  const path = `/v1/plans/${id}/events`;
  t.is((await ask(path, { headers: { 'last-event-id': 'yesterday' } })).status, 400);
  const head = await ask(path, { method: 'HEAD' });
  t.regex(head.headers.get('content-type') ?? '', /^text\/event-stream/);
  t.is(plans.open, 0);
  const watch = plans.watch.bind(plans);
  plans.watch = async function* (...asked) {
    for await (const event of watch(...asked)) {
      yield event;
      if (event.kind === 'plan' && event.plan.state === 'RUNNING')
        throw new AdminError('unavailable', 'the store is away');
    }
  };
  const told: PlanChange[] = [];
  const watching = (async () => {
    for await (const { value } of client.watchPlan(id)) {
      if (value !== null) told.push(value);
      if (value?.kind === 'plan' && value.plan.state === 'PENDING') plans.begin(id);
    }
  })();
  await t.throwsAsync(watching, { message: /the store is away/ });
});
