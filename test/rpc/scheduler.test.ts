import test from 'ava';
import { AdminError } from '../../src/ports/admin.ts';
import { StoreError } from '../../src/ports/store.ts';
import { noopPlan, refusal, rpcWorld, type Message } from './helpers.ts';

const COMPLETE = {
  title: 'nightly',
  priority: 2,
  sequential: true,
  onFailure: 'ON_FAILURE_COMPENSATE',
  completeBySeconds: 600,
  steps: [
    {
      name: 'fetch',
      task: {
        agent: 'http',
        resource: 'https://example.com/a',
        arguments: { method: 'POST' },
        payload: { mimeType: 'application/json', data: Buffer.from('{"a":"ä"}') },
        timeoutSeconds: 5,
        retry: { attempts: 5, jitter: 0 },
      },
      compensate: { agent: 'noop' },
      completeBySeconds: 100,
      concurrency: { key: 'example.com' },
    },
    {
      task: { agent: 'noop', payload: { mimeType: 'image/png', data: Buffer.from([0xff, 0xfe]) } },
      dependsOn: [0],
      condition: 'CONDITION_ALL_DONE',
    },
  ],
};

test('a plan arrives with all that was said of it, and what was not has its default', async t => {
  const { client, plans, blobs } = await rpcWorld(t);
  await client('scheduler').call('Submit', { plan: COMPLETE });
  const { spec, origin, idempotencyKey } = plans.submissions[0]!;
  const { digest, bytes } = await blobs.put(Buffer.from([0xff, 0xfe]));
  t.deepEqual({ origin, idempotencyKey }, { origin: 'grpc', idempotencyKey: null });
  t.deepEqual(spec, {
    title: 'nightly',
    priority: 2,
    sequential: true,
    onFailure: 'compensate',
    completeBySeconds: 600,
    steps: [
      {
        name: 'fetch',
        agent: 'http',
        resource: 'https://example.com/a',
        arguments: { method: 'POST' },
        payload: { mimeType: 'application/json', text: '{"a":"ä"}' },
        timeoutSeconds: 5,
        retry: { attempts: 5, firstWaitSeconds: 1, factor: 2, longestWaitSeconds: 60, jitter: 0 },
        compensate: { agent: 'noop', resource: '' },
        completeBySeconds: 100,
        concurrency: { key: 'example.com', limit: 1 },
      },
      {
        agent: 'noop',
        resource: '',
        payload: { mimeType: 'image/png', digest, bytes },
        dependsOn: [0],
        condition: 'all-done',
      },
    ],
  });
});

test('a plan of one bare step has the defaults of the admin API', async t => {
  const { client, plans } = await rpcWorld(t);
  const { plan, created } = await client('scheduler').call('Submit', { plan: noopPlan() });
  t.deepEqual(plans.submissions[0]!.spec, {
    title: null,
    priority: 5,
    sequential: false,
    onFailure: 'stop',
    completeBySeconds: null,
    steps: [{ agent: 'noop', resource: '' }],
  });
  t.true(created);
  t.like(plan, {
    plan: 'plan-1',
    state: 'PLAN_STATE_PENDING',
    steps: 1,
    endedAt: '',
    priority: 5,
    origin: 'grpc',
  });
});

test('the same key and plan give the same plan, however its arguments are ordered', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  const submit = (args: Message) =>
    scheduler.call('Submit', {
      plan: { steps: [{ task: { agent: 'noop', arguments: args } }] },
      idempotencyKey: 'night-1',
    });
  const first = await submit({ a: '1', b: '2' });
  const again = await submit({ b: '2', a: '1' });
  t.deepEqual([first['created'], again['created']], [true, false]);
  t.is(plans.submissions.length, 1);
  t.like(await refusal(submit({ a: '2' })), { code: 'ALREADY_EXISTS' });
});

test('everything wrong with a plan is told at once, where it is in the message', async t => {
  const { client } = await rpcWorld(t);
  const steps = [
    { task: { agent: 'http', resource: 'telex', timeoutSeconds: -1 }, dependsOn: [7] },
    { task: { agent: 'noop' }, compensate: { agent: 'noop', timeoutSeconds: -1 } },
  ];
  const { code, details, problems } = await refusal(
    client('scheduler').call('Submit', { plan: { priority: 99, steps } }),
  );
  t.is(code, 'INVALID_ARGUMENT');
  t.is(details, 'the plan is not right');
  t.deepEqual(
    problems.map(({ field }) => field),
    [
      'plan.priority',
      'plan.steps[0].task.timeout_seconds',
      'plan.steps[0].depends_on[0]',
      'plan.steps[1].compensate.timeout_seconds',
      'plan.steps[1].compensate',
      'plan.steps[0].task.resource',
    ],
  );
  t.is(problems[2]!['description'], 'there is no step 7; steps are numbered 0 to 1');
});

for (const [name, request, fields] of [
  ['no plan', {}, ['plan']],
  ['a step without a task', { plan: { steps: [{ name: 'x' }] } }, ['plan.steps[0].task']],
  [
    'a word of a later version, and a key with spaces',
    { plan: noopPlan(1, { onFailure: 77 }), idempotencyKey: 'a b' },
    ['plan.on_failure', 'idempotency_key'],
  ],
] as const) {
  test(`a request of the wrong shape is refused: ${name}`, async t => {
    const { client } = await rpcWorld(t);
    const { code, problems } = await refusal(client('scheduler').call('Submit', { ...request }));
    t.is(code, 'INVALID_ARGUMENT');
    t.deepEqual(
      problems.map(({ field }) => field),
      [...fields],
    );
  });
}

const kinds = [
  ['not-found', 'NOT_FOUND'],
  ['conflict', 'FAILED_PRECONDITION'],
  ['invalid', 'INVALID_ARGUMENT'],
  ['unavailable', 'UNAVAILABLE'],
  ['refused', 'PERMISSION_DENIED'],
  ['full', 'RESOURCE_EXHAUSTED'],
] as const;
for (const [kind, code] of kinds) {
  test(`what is ${kind} has the status ${code}`, async t => {
    const { client, plans } = await rpcWorld(t);
    plans.fail('plan', new AdminError(kind, 'so it is'));
    t.like(await refusal(client('scheduler').call('GetPlan', { plan: 'plan-1' })), {
      code,
      details: 'so it is',
    });
  });
}

test('a store that is away is UNAVAILABLE; a failure of ours is INTERNAL, and the log says which', async t => {
  const { client, plans, log } = await rpcWorld(t);
  const scheduler = client('scheduler');
  plans.fail('plan', new StoreError('no route', { outcome: 'not-sent', retryable: true }));
  t.like(await refusal(scheduler.call('GetPlan', { plan: 'plan-1' })), { code: 'UNAVAILABLE' });
  t.deepEqual(log.matching('failed'), []);
  plans.fail('plan', new TypeError('x is not a function'));
  const { code, details } = await refusal(scheduler.call('GetPlan', { plan: 'plan-1' }));
  t.is(code, 'INTERNAL');
  t.false(details.includes('function'));
  t.is(log.matching('x is not a function').length, 1);
});

test('plans are listed by what they are, page by page', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  for (const title of ['a-1', 'a-2', 'b-1', 'a-3'])
    await scheduler.call('Submit', { plan: noopPlan(1, { title }) });
  plans.begin('plan-2');
  plans.finish('plan-2', 0, { kind: 'completed', output: null });
  const titles = async (filter: Message) => {
    const { plans: found, next } = await scheduler.call('ListPlans', filter);
    return [(found as Message[]).map(({ title }) => title), next];
  };
  t.deepEqual(await titles({ title: 'a-', limit: 2 }), [['a-3', 'a-2'], 'plan-2']);
  t.deepEqual(await titles({ title: 'a-', limit: 2, after: 'plan-2' }), [['a-1'], '']);
  t.deepEqual(await titles({ states: ['PLAN_STATE_COMPLETED'] }), [['a-2'], '']);
  t.deepEqual(await titles({ states: ['PLAN_STATE_UNSPECIFIED'], origin: 'rest' }), [[], '']);
  t.like(await refusal(scheduler.call('ListPlans', { limit: -1 })), { code: 'INVALID_ARGUMENT' });
});

test('all steps come in their order, or those from an index on that are in some state', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  const COUNT = 1234;
  await scheduler.call('Submit', { plan: noopPlan(COUNT) });
  plans.begin('plan-1');
  plans.finish('plan-1', 700, { kind: 'completed', output: { value: { n: 1 } } });
  const all = await scheduler.all('ListSteps', { plan: 'plan-1' });
  t.deepEqual(
    all.map(({ index }) => index),
    Array.from({ length: COUNT }, (_, index) => index),
  );
  t.like(all[700], { state: 'STEP_STATE_COMPLETED', output: { json: '{"n":1}' }, attempt: 1 });
  const some = await scheduler.all('ListSteps', { plan: 'plan-1', first: 650, limit: 600 });
  t.deepEqual([some.length, some[0]!['index'], some.at(-1)!['index']], [584, 650, 1233]);
  const done = await scheduler.all('ListSteps', { plan: 'plan-1', states: ['STEP_STATE_COMPLETED'] });
  t.deepEqual(
    done.map(({ index }) => index),
    [700],
  );
  t.like(await refusal(scheduler.all('ListSteps', { plan: 'plan-9' })), { code: 'NOT_FOUND' });
});

test('what a step gave is read byte for byte, however large', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan(2) });
  plans.begin('plan-1');
  const bytes = Buffer.alloc(1_000_001, 'hop');
  plans.finish('plan-1', 0, { kind: 'completed', output: null }, bytes);
  plans.finish('plan-1', 1, { kind: 'completed', output: null });
  const pieces = await scheduler.all('ReadOutput', { plan: 'plan-1', index: 0 });
  t.true(pieces.length > 1);
  t.true(bytes.equals(Buffer.concat(pieces.map(({ data }) => data as Buffer))));
  t.deepEqual(await scheduler.all('ReadOutput', { plan: 'plan-1', index: 1 }), []);
});

test('cancel and retry ask for it, and say how the plan is then', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan(2) });
  plans.begin('plan-1');
  const cancelled = await scheduler.call('Cancel', { plan: 'plan-1', by: 'ann' });
  t.like(cancelled, { cancel: { kind: 'asked', by: 'ann' } });
  plans.finish('plan-1', 0, { kind: 'stopped' });
  plans.finish('plan-1', 1, { kind: 'stopped' });
  t.like(await scheduler.call('GetPlan', { plan: 'plan-1' }), { state: 'PLAN_STATE_CANCELLED' });
  t.like(await refusal(scheduler.call('Cancel', { plan: 'plan-1' })), { code: 'FAILED_PRECONDITION' });
  t.like(await scheduler.call('Retry', { plan: 'plan-1', steps: [0, 1] }), {
    state: 'PLAN_STATE_RUNNING',
    cancel: null,
  });
});
