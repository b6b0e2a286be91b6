import test, { type ExecutionContext } from 'ava';
import { ApiError } from '../../src/api/client.ts';
import { boltzmannRoutes } from '../../src/api/routes/boltzmann.ts';
import { planRoutes } from '../../src/api/routes/plans.ts';
import { scheduleRoutes } from '../../src/api/routes/schedules.ts';
import { AdminError } from '../../src/ports/admin.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { planFeeds } from '../support/plan-feeds.ts';
import { plan, step } from '../workflow/helpers.ts';
import { answersAsDocumented, type Asked, documentOf, operationsOf } from './as-documented.ts';
import { served, take, withJson } from './helpers.ts';

const completed = { kind: 'completed', output: null } as const;
const failed = { kind: 'failed', type: 'FATAL', error: 'no such host' } as const;
const chain = plan([step({ name: 'fetch' }), step({ name: 'load', dependsOn: [0] })], { title: 'nightly' });

async function withPlans(t: ExecutionContext) {
  const plans = new FakePlans();
  const extraRoutes = [
    ...planRoutes(plans, planFeeds(plans)),
    ...scheduleRoutes(plans),
    ...boltzmannRoutes(plans),
  ];
  return { ...(await served(t, { extraRoutes })), plans };
}

test('a plan is submitted, shown with its steps, and found in the list', async t => {
  const { client, ask } = await withPlans(t);
  const { plan: id, created } = await client.submitPlan(chain, null);
  t.true(created);
  t.like(await client.planOf(id), { title: 'nightly', state: 'PENDING', steps: 2, counts: { PENDING: 2 } });
  const { items } = await client.stepsOf(id);
  t.deepEqual(
    items.map(({ name, state, dependsOn }) => ({ name, state, dependsOn })),
    [
      { name: 'fetch', state: 'PENDING', dependsOn: [] },
      { name: 'load', state: 'PENDING', dependsOn: [0] },
    ],
  );
  t.deepEqual(await client.stepOf(id, 1), items[1]!);
  t.like((await client.plans()).items[0], { plan: id, title: 'nightly' });
  const answer = await ask('/v1/plans', { method: 'POST', ...withJson({ steps: [{ agent: 'noop' }] }) });
  t.is(answer.status, 201);
  t.is(answer.headers.get('location'), '/v1/plans/plan-2');
});

const repeated: [
  what: string,
  key: (n: number) => { header?: string; field?: string },
  body: object,
  status: number,
][] = [
  ['the key as a header', () => ({ header: 'k1' }), {}, 200],
  ['the key in quotes, as the draft has it', n => (n === 1 ? { header: 'k1' } : { header: '"k1"' }), {}, 200],
  ['the key as a field', n => (n === 1 ? { header: 'k1' } : { field: 'k1' }), {}, 200],
  ['the same, written otherwise', () => ({ header: 'k1' }), { priority: 5, sequential: false }, 200],
  ['another plan under the key', () => ({ header: 'k1' }), { sequential: true }, 409],
  ['another key', n => ({ header: `k${n}` }), {}, 201],
  ['no key', () => ({}), {}, 201],
  ['two keys', n => (n === 1 ? { header: 'k1' } : { header: 'k1', field: 'k2' }), {}, 400],
  ['a key with spaces', n => (n === 1 ? {} : { header: 'a b' }), {}, 400],
];
for (const [what, keyOf, again, expected] of repeated) {
  test(`submitted twice: ${what} gives ${expected}`, async t => {
    const { ask, plans } = await withPlans(t);
    const submit = (n: number, more: object) => {
      const { header, field } = keyOf(n);
      const body = withJson({
        steps: [{ agent: 'noop', arguments: { b: '1', a: '2' } }],
        ...(field !== undefined && { idempotencyKey: field }),
        ...more,
      });
      const headers = { ...body.headers, ...(header !== undefined && { 'idempotency-key': header }) };
      return ask('/v1/plans', { method: 'POST', body: body.body, headers });
    };
    t.is((await submit(1, {})).status, 201);
    const second = await submit(2, again);
    t.is(second.status, expected);
    t.is(plans.submissions.length, expected === 201 ? 2 : 1);
    if (expected === 200) t.like(await second.json(), { plan: 'plan-1', created: false });
  });
}

test('everything wrong with a plan is told at once, each with its field', async t => {
  const { client, ask } = await withPlans(t);
  const wrong = plan([step({ dependsOn: [0] }), step({ dependsOn: [7], timeoutSeconds: 0, agent: 'http' })]);
  const error = await t.throwsAsync(client.submitPlan(wrong, null), { instanceOf: ApiError });
  t.is(error.status, 422);
  const fields = error.problem.problems?.map(({ field }) => field);
  t.deepEqual(fields, [
    'steps[0].dependsOn[0]',
    'steps[1].timeoutSeconds',
    'steps[1].dependsOn[0]',
    'steps[1].resource',
  ]);
  t.deepEqual(
    (await client.checkPlan(wrong)).map(({ field }) => field),
    fields,
  );
  t.deepEqual(await client.checkPlan(chain), []);
  const circle = [3, 2].map(other => ({ agent: 'noop', dependsOn: [other] }));
  const shape = withJson({
    steps: [
      { agent: 'noop', dependOn: [1], timeoutSeconds: -1 },
      { resource: 1, dependsOn: ['a'] },
      ...circle,
    ],
    sequntial: true,
    priority: 12,
  });
  const { problems } = (await (await ask('/v1/plans', { method: 'POST', ...shape })).json()) as {
    problems: { field: string; message: string; hint: string | null }[];
  };
  const said = problems.map(({ field, message, hint }) => `${field} ${message}${hint ? ` (${hint})` : ''}`);
  t.deepEqual(said.sort(), [
    'priority must be a whole number from 0 to 9, not 12',
    'sequntial unknown key (did you mean "sequential"?)',
    'steps[0].dependOn unknown key (did you mean "dependsOn"?)',
    'steps[1].agent is missing (`http`, `command`, `noop`, or the name of a remote agent.)',
    'steps[1].dependsOn[0] must be a number, not "a"',
    'steps[1].resource must be text, not 1',
    'steps[2].dependsOn steps wait for each other in a circle: 2 after 3 after 2',
  ]);
});

test('a plan of the most steps with large payloads is taken whole', async t => {
  const { client, plans } = await withPlans(t);
  const text = 'é'.repeat(300);
  const steps = Array.from({ length: 10_000 }, (_, index) =>
    step({ payload: { mimeType: 'text/plain', text: `${index} ${text}` } }),
  );
  const { plan: id } = await client.submitPlan(plan(steps), null);
  t.deepEqual(plans.submissions[0]!.spec.steps, steps);
  t.is((await client.stepsOf(id)).items.length, 10_000);
});

test('a body that is too large is refused as a whole, and one step too many is named', async t => {
  const { client, plans, ask } = await withPlans(t);
  const large = JSON.stringify({ steps: [], title: 'x'.repeat(33 * 1_048_576) });
  const answer = await ask('/v1/plans', {
    method: 'POST',
    body: large,
    headers: { 'content-type': 'application/json' },
  });
  t.is(answer.status, 413);
  const many = plan(Array.from({ length: 10_001 }, () => step()));
  const error = await t.throwsAsync(client.submitPlan(many, null), { instanceOf: ApiError });
  t.is(error.status, 422);
  t.deepEqual(plans.submissions, []);
});

const busy: [kind: 'full' | 'unavailable', status: number][] = [
  ['full', 429],
  ['unavailable', 503],
];
for (const [kind, status] of busy) {
  test(`${status} says when to ask again`, async t => {
    const { ask, plans } = await withPlans(t);
    plans.fail('submit', new AdminError(kind, 'not now'));
    const answer = await ask('/v1/plans', { method: 'POST', ...withJson({ steps: [{ agent: 'noop' }] }) });
    t.is(answer.status, status);
    t.regex(answer.headers.get('retry-after') ?? '', /^[1-9]\d*$/);
  });
}

test('lists come in pages, and say where the next begins', async t => {
  const { client } = await withPlans(t);
  for (const title of ['a', 'b', 'c', 'd', 'e']) await client.submitPlan({ ...chain, title }, null);
  const first = await client.plans({ limit: 2 });
  t.deepEqual(
    first.items.map(({ title }) => title),
    ['e', 'd'],
  );
  const second = await client.plans({ limit: 2, after: first.next! });
  t.deepEqual(
    second.items.map(({ title }) => title),
    ['c', 'b'],
  );
  const last = await client.plans({ limit: 2, after: second.next! });
  t.deepEqual(
    last.items.map(({ title }) => title),
    ['a'],
  );
  t.is(last.next, null);
  t.is((await client.plans({ states: ['PENDING', 'RUNNING'] })).items.length, 5);
  t.is((await client.plans({ states: ['FAILED'] })).items.length, 0);
  t.is((await client.plans({ title: 'c', origin: 'rest' })).items.length, 1);
});

test('steps come by state and from a certain one on', async t => {
  const { client, plans, ask } = await withPlans(t);
  const { plan: id } = await client.submitPlan(
    plan([step(), step(), step()], { onFailure: 'continue' }),
    null,
  );
  plans.begin(id);
  plans.finish(id, 1, failed);
  t.deepEqual(
    (await client.stepsOf(id, { states: ['RUNNING'] })).items.map(({ index }) => index),
    [0, 2],
  );
  const page = (await (await ask(`/v1/plans/${id}/steps?first=1&limit=1`)).json()) as {
    items: { index: number }[];
  };
  t.deepEqual(
    page.items.map(({ index }) => index),
    [1],
  );
  t.is((await ask(`/v1/plans/${id}/steps?state=GONE`)).status, 400);
});

test('the output of a step comes byte for byte', async t => {
  const { client, plans, ask } = await withPlans(t);
  const { plan: id } = await client.submitPlan(plan([step(), step(), step()]), null);
  plans.begin(id);
  const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => index % 256);
  plans.finish(id, 0, completed, bytes);
  plans.finish(id, 1, completed);
  const read = async (index: number) => Buffer.concat(await take(Infinity, client.outputOf(id, index)));
  t.deepEqual(new Uint8Array(await read(0)), bytes);
  t.is((await read(1)).length, 0);
  t.is((await ask(`/v1/plans/${id}/steps/1/output`)).status, 204);
  t.is((await ask(`/v1/plans/${id}/steps/2/output`)).status, 409);
  const { headers } = await ask(`/v1/plans/${id}/steps/0/output`);
  t.is(headers.get('content-disposition'), 'attachment');
});

test('a plan is cancelled by somebody, retried, and forgotten once it has ended', async t => {
  const { client, plans } = await withPlans(t);
  const { plan: id } = await client.submitPlan(chain, null);
  plans.begin(id);
  const status = async (asked: Promise<unknown>) =>
    (await t.throwsAsync(asked, { instanceOf: ApiError })).status;
  t.is(await status(client.forgetPlan(id)), 409);
  t.like(await client.cancelPlan(id, 'ada@laptop'), { cancel: { kind: 'asked', by: 'ada@laptop' } });
  plans.finish(id, 0, { kind: 'stopped' });
  t.is((await client.planOf(id)).state, 'CANCELLED');
  t.is(await status(client.cancelPlan(id, 'ada')), 409);
  t.is(await status(client.retryPlan(id, [7])), 404);
  t.is((await client.retryPlan(id, [0])).cancel, null);
  plans.begin(id);
  plans.finish(id, 0, failed);
  await client.retryPlan(id, null);
  plans.begin(id);
  plans.finish(id, 0, completed);
  plans.finish(id, 1, completed);
  t.is((await client.planOf(id)).state, 'COMPLETED');
  t.is(await status(client.retryPlan(id, null)), 409);
  await client.forgetPlan(id);
  t.is(await status(client.planOf(id)), 404);
});

test('a schedule is put, shown, paused, resumed, replaced and removed', async t => {
  const { client, ask } = await withPlans(t);
  const schedule = {
    expression: '@daily',
    timeZone: 'Europe/Berlin',
    overlap: 'forbid',
    catchUp: { kind: 'latest' },
  } as const;
  const request = { schedule, plan: chain, paused: false };
  t.like(await client.putSchedule('nightly', request), {
    name: 'nightly',
    schedule,
    paused: false,
    steps: 2,
  });
  t.true((await client.pauseSchedule('nightly', true)).paused);
  t.false((await client.pauseSchedule('nightly', false)).paused);
  const usual = await ask('/v1/schedules/nightly', {
    method: 'PUT',
    ...withJson({ schedule: { expression: '@hourly' }, plan: { steps: [{ agent: 'noop' }] } }),
  });
  t.like(await usual.json(), {
    schedule: { expression: '@hourly', timeZone: 'UTC', overlap: 'forbid', catchUp: { kind: 'latest' } },
    steps: 1,
  });
  t.is((await client.schedules()).items.length, 1);
  await client.removeSchedule('nightly');
  const gone = await t.throwsAsync(client.scheduleOf('nightly'), { instanceOf: ApiError });
  t.is(gone.status, 404);
  const wrong = {
    ...request,
    schedule: { ...schedule, expression: 'daily', timeZone: 'Mars' },
    plan: plan([]),
  };
  const refused = await t.throwsAsync(client.putSchedule('nightly', wrong), { instanceOf: ApiError });
  t.deepEqual(
    refused.problem.problems?.map(({ field }) => field),
    ['schedule.expression', 'schedule.timeZone', 'steps'],
  );
});

const oneStep = withJson({ steps: [{ agent: 'noop' }] });
const cron = withJson({ schedule: { expression: '@daily' }, plan: { steps: [{ agent: 'noop' }] } });
const command = withJson({ tasks: [{ driver: 'noop', mime_type: 'application/json', payload: [1] }] });

/** In this order, of a plan-1 that the test lets run. */
const asked: Asked[] = [
  ['checkPlan', 'POST', '/v1/plans/check', oneStep, 200],
  ['submitPlan', 'POST', '/v1/plans', withJson({ steps: [] }), 422],
  ['listPlans', 'GET', '/v1/plans?state=running&limit=5', {}, 200],
  ['listPlans', 'GET', '/v1/plans?state=gone', {}, 400],
  ['getPlan', 'GET', '/v1/plans/plan-1', {}, 200],
  ['getPlan', 'GET', '/v1/plans/plan-9', {}, 404],
  ['listSteps', 'GET', '/v1/plans/plan-1/steps', {}, 200],
  ['getStep', 'GET', '/v1/plans/plan-1/steps/0', {}, 200],
  ['getStep', 'GET', '/v1/plans/plan-1/steps/9', {}, 404],
  ['getStepOutput', 'GET', '/v1/plans/plan-1/steps/0/output', {}, 200],
  ['watchPlan', 'GET', '/v1/plans/plan-2/events', {}, 200],
  ['retryPlan', 'POST', '/v1/plans/plan-2/retry', {}, 200],
  ['cancelPlan', 'POST', '/v1/plans/plan-2/cancel', withJson({ by: 'ada' }), 200],
  ['retryStep', 'POST', '/v1/plans/plan-2/steps/0/retry', {}, 200],
  ['cancelPlan', 'POST', '/v1/plans/plan-2/cancel', {}, 200],
  ['forgetPlan', 'DELETE', '/v1/plans/plan-2', {}, 204],
  ['putSchedule', 'PUT', '/v1/schedules/nightly', cron, 200],
  ['putSchedule', 'PUT', '/v1/schedules/Nightly', cron, 400],
  ['listSchedules', 'GET', '/v1/schedules', {}, 200],
  ['getSchedule', 'GET', '/v1/schedules/nightly', {}, 200],
  ['pauseSchedule', 'POST', '/v1/schedules/nightly/pause', {}, 200],
  ['resumeSchedule', 'POST', '/v1/schedules/nightly/resume', {}, 200],
  ['runSchedule', 'POST', '/v1/schedules/nightly/run', {}, 200],
  ['removeSchedule', 'DELETE', '/v1/schedules/nightly', {}, 204],
  ['boltzmannSchedule', 'POST', '/scheduler/schedule', command, 200],
  ['boltzmannPlan', 'GET', '/plans/plan-1', {}, 200],
  ['boltzmannPlanState', 'GET', '/states/plans/plan-1', {}, 200],
  ['boltzmannTaskState', 'GET', '/states/plans/plan-1/tasks/0', {}, 200],
  ['boltzmannTaskState', 'GET', '/states/plans/plan-1/tasks/7', {}, 404],
];

test('every operation answers as the document says', async t => {
  const { ask, plans } = await withPlans(t);
  const key = { 'idempotency-key': 'k' };
  const keyed = { ...oneStep, headers: { ...oneStep.headers, ...key } };
  await answersAsDocumented(t, ask, [
    ['submitPlan', 'POST', '/v1/plans', keyed, 201],
    ['submitPlan', 'POST', '/v1/plans', keyed, 200],
    ['submitPlan', 'POST', '/v1/plans', oneStep, 201],
  ]);
  plans.begin('plan-1');
  plans.finish('plan-1', 0, { kind: 'completed', output: { value: { rows: 3 } } }, Buffer.from('{"rows":3}'));
  plans.begin('plan-2');
  plans.finish('plan-2', 0, failed);
  await answersAsDocumented(t, ask, asked);
  const exercised = new Set(['submitPlan', ...asked.filter(row => row[4] < 300).map(([id]) => id)]);
  const ours = operationsOf(await documentOf(ask))
    .map(({ operationId }) => operationId)
    .filter(id => /Plan|Step|Schedule|boltzmann/.test(id));
  t.deepEqual([...exercised].sort(), ours.filter(id => id !== 'planApps').sort());
});
