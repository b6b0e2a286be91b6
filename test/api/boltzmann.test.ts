import test, { type ExecutionContext } from 'ava';
import { boltzmannRoutes } from '../../src/api/routes/boltzmann.ts';
import type { StepPayload } from '../../src/model/plan.ts';
import { AdminError } from '../../src/ports/admin.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { served, withJson } from './helpers.ts';

/**
 * The routes that Boltzmann (github.com/NeutrinoCorp/boltzmann) has published, as its clients know them; then what they got
 * wrong, by the numbers of the list that was made of it by reading. Of those that can't be seen in an answer:
 * 4, 5, 6, 7, 8, 10, 14, 15 and 16 are in test/workflow/boltzmann.test.ts and the engine's own tests, 3 and 11 in those
 * of the http agent of steps.
 */

interface Answer<T> {
  status: number;
  type: string;
  retryAfter: string | null;
  body: T;
}
interface TaskShown {
  task_id: number;
  driver: string;
  payload_size: number;
  depends_on: number[];
}
interface PlanShown {
  data: { execution_plan: { plan_id: string; with_fairness: boolean; tasks: TaskShown[] } };
}
interface StateShown {
  data: { state: Record<string, unknown> };
}
interface ProblemShown {
  detail: string;
  problems?: { field: string; message: string }[];
}

async function boltzmann(t: ExecutionContext) {
  const plans = new FakePlans();
  const { ask } = await served(t, { extraRoutes: boltzmannRoutes(plans) });
  const answerTo = async <T>(path: string, init?: RequestInit): Promise<Answer<T>> => {
    const response = await ask(path, init);
    return {
      status: response.status,
      type: response.headers.get('content-type')?.split(';')[0] ?? '',
      retryAfter: response.headers.get('retry-after'),
      body: (await response.json()) as T,
    };
  };
  return {
    plans,
    schedule: <T = PlanShown>(body: object, headers: Record<string, string> = {}) => {
      const json = withJson(body);
      return answerTo<T>('/scheduler/schedule', {
        method: 'POST',
        body: json.body,
        headers: { ...json.headers, ...headers },
      });
    },
    planAnswer: (id: string) => answerTo<PlanShown>(`/plans/${id}`),
    planState: async (id: string) => (await answerTo<StateShown>(`/states/plans/${id}`)).body.data.state,
    taskState: async (id: string, task: number) =>
      (await answerTo<StateShown>(`/states/plans/${id}/tasks/${task}`)).body.data.state,
    answerTo,
  };
}

type World = Awaited<ReturnType<typeof boltzmann>>;

const json = 'application/json';
const noop = { driver: 'noop', resource_url: 'https://example.com', mime_type: json };
const completed = { kind: 'completed', output: null } as const;
const failed = { kind: 'failed', type: 'FATAL', error: 'the answer was 500' } as const;
const textOf = (payload: StepPayload | undefined) => (payload && 'text' in payload ? payload.text : null);

test('schedule answers with the plan, field by field as published', async t => {
  const { schedule, planAnswer } = await boltzmann(t);
  const agent_arguments = { 'http.method': 'POST', 'headers.accept': 'text/plain' };
  const task = { driver: 'http', resource_url: 'https://example.com/a', agent_arguments, mime_type: json };
  const { status, body } = await schedule({ tasks: [{ ...task, payload: { a: [1] } }], with_fairness: true });
  t.is(status, 200);
  t.deepEqual(body, {
    data: {
      execution_plan: {
        plan_id: 'plan-1',
        with_fairness: true,
        tasks: [{ task_id: 0, execution_plan_id: 'plan-1', ...task, payload_size: 9, depends_on: [] }],
      },
    },
  } as object);
  t.deepEqual((await planAnswer('plan-1')).body, body);
});

test('a state has the published name, times, durations and error', async t => {
  const { schedule, plans, planState, taskState } = await boltzmann(t);
  await schedule({ tasks: [noop] });
  plans.begin('plan-1');
  t.like(await taskState('plan-1', 0), {
    state_id: 'boltzmann.Task#plan-1&0',
    resource_name: 'boltzmann.Task',
    resource_id: 'plan-1&0',
    status: 'RUNNING',
    start_time: '2026-01-01T00:00:00.000Z',
    start_time_millis: 1_767_225_600_000,
    end_time: '0001-01-01T00:00:00Z',
    end_time_millis: -62_135_596_800_000,
    execution_duration: 0,
    execution_duration_millis: 0,
    execution_error: '',
    attempt: 1,
    token: '7',
    locked_by: 'n1',
  });
  plans.finish('plan-1', 0, failed);
  t.like(await planState('plan-1'), {
    state_id: 'execplan.ExecutionPlanReference#plan-1',
    resource_name: 'execplan.ExecutionPlanReference',
    resource_id: 'plan-1',
    status: 'FAILED',
    end_time_millis: 1_767_225_600_000,
    execution_error: 'the answer was 500',
    counts: { FAILED: 1 },
  });
});

test('what Boltzmann lacks can be said beside what it has', async t => {
  const { schedule, plans } = await boltzmann(t);
  const compensate = { ...noop, payload: 'undo' };
  const { body } = await schedule({
    tasks: [
      { ...noop, compensate, timeout: 5, retry: { max_attempts: 4, initial: 0.5 }, complete_by: 60 },
      { ...noop, depends_on: [0], condition: 'any_failed', concurrency_key: 'db', concurrency_limit: 2 },
    ],
    priority: 1,
    on_failure: 'compensate',
    complete_by: 600,
    idempotency_key: 'k1',
  });
  t.deepEqual(body.data.execution_plan.tasks[1]!.depends_on, [0]);
  const { spec, idempotencyKey } = plans.submissions[0]!;
  t.is(idempotencyKey, 'k1');
  t.like(spec, { priority: 1, onFailure: 'compensate', completeBySeconds: 600, sequential: false });
  t.like(spec.steps[0], {
    timeoutSeconds: 5,
    completeBySeconds: 60,
    retry: { attempts: 4, firstWaitSeconds: 0.5, factor: 2, longestWaitSeconds: 60, jitter: 0.2 },
    compensate: { agent: 'noop', payload: { mimeType: json, text: '"undo"' } },
  });
  t.like(spec.steps[1], { condition: 'any-failed', concurrency: { key: 'db', limit: 2 } });
});

const defects: [name: string, holds: (t: ExecutionContext, world: World) => Promise<void>][] = [
  [
    '1: each task of a batch has its own payload',
    async (t, { schedule, plans }) => {
      const payloads = Array.from({ length: 50 }, (_, index) => ({ index, text: 'x'.repeat(index) }));
      await schedule({ tasks: payloads.map(payload => ({ ...noop, payload })) });
      t.deepEqual(
        plans.submissions[0]!.spec.steps.map(({ payload }) => JSON.parse(textOf(payload) ?? '') as unknown),
        payloads,
      );
    },
  ],
  [
    '2: a payload longer than 512 bytes is sent whole',
    async (t, { schedule, plans }) => {
      const payload = { text: 'é'.repeat(500_000) };
      const { body } = await schedule({ tasks: [{ ...noop, payload }] });
      t.is(textOf(plans.submissions[0]!.spec.steps[0]!.payload), JSON.stringify(payload));
      t.is(body.data.execution_plan.tasks[0]!.payload_size, Buffer.byteLength(JSON.stringify(payload)));
    },
  ],
  [
    '3: the names of headers reach the agent as they are',
    async (t, { schedule, plans }) => {
      const agent_arguments = { 'headers.accept': 'a', 'headers.etag': 'b', 'headers.headers.x': 'c' };
      await schedule({ tasks: [{ ...noop, agent_arguments }] });
      t.deepEqual(plans.submissions[0]!.spec.steps[0]!.arguments, agent_arguments);
    },
  ],
  [
    '9: each failure is recorded at its own task, and the others go on',
    async (t, { schedule, plans, taskState, planState }) => {
      await schedule({ tasks: [noop, noop, noop] });
      plans.begin('plan-1');
      plans.finish('plan-1', 0, { ...failed, error: 'first' });
      plans.finish('plan-1', 2, { ...failed, error: 'third' });
      plans.finish('plan-1', 1, completed);
      const states = await Promise.all([0, 1, 2].map(task => taskState('plan-1', task)));
      t.deepEqual(
        states.map(({ status, execution_error }) => [status, execution_error]),
        [
          ['FAILED', 'first'],
          ['COMPLETED', ''],
          ['FAILED', 'third'],
        ],
      );
      t.like(await planState('plan-1'), { status: 'FAILED', execution_error: 'first' });
    },
  ],
  [
    '10: a store that failed ten times is asked an eleventh',
    async (t, { schedule, plans }) => {
      for (let time = 1; time <= 10; time++) {
        plans.fail('submit', new AdminError('unavailable', 'the store is away'));
        const { status, retryAfter } = await schedule<ProblemShown>({ tasks: [noop] });
        t.is(status, 503);
        t.regex(retryAfter ?? '', /^\d+$/);
      }
      t.is((await schedule({ tasks: [noop] })).status, 200);
    },
  ],
  [
    '11: what a resource refuses is FAILED, and what one gives is kept',
    async (t, { schedule, plans, taskState }) => {
      await schedule({ tasks: [noop, noop] });
      plans.begin('plan-1');
      plans.finish('plan-1', 0, failed);
      plans.finish('plan-1', 1, { kind: 'completed', output: { value: { status: 200 } } });
      t.like(await taskState('plan-1', 0), { status: 'FAILED', failure_type: 'FATAL' });
      t.like(await taskState('plan-1', 1), { status: 'COMPLETED', output: { value: { status: 200 } } });
    },
  ],
  [
    '12: a task has a time by which it ends, and is tried again',
    async (t, { schedule, plans, taskState }) => {
      await schedule({ tasks: [{ ...noop, timeout: 5, retry: { max_attempts: 2 } }] });
      plans.begin('plan-1');
      t.not((await taskState('plan-1', 0))['complete_by'], null);
      plans.finish('plan-1', 0, { kind: 'failed', type: 'RETRYABLE', error: 'busy' });
      t.like(await taskState('plan-1', 0), { status: 'RUNNING', attempt: 2, failure_count: 1 });
      plans.finish('plan-1', 0, { kind: 'failed', type: 'RETRYABLE', error: 'busy' });
      t.like(await taskState('plan-1', 0), { status: 'FAILED', attempt: 2, execution_error: 'busy' });
    },
  ],
  [
    '13: a plan and its tasks have a state at once',
    async (t, { schedule, planState, taskState }) => {
      await schedule({ tasks: [noop] });
      t.is((await planState('plan-1'))['status'], 'PENDING');
      t.like(await taskState('plan-1', 0), { status: 'PENDING', start_time: '0001-01-01T00:00:00Z' });
    },
  ],
  [
    '14: a plan with fairness has a state for each task, and stops at the first that fails',
    async (t, { schedule, plans, taskState }) => {
      await schedule({ tasks: [noop, noop, noop], with_fairness: true });
      plans.begin('plan-1');
      t.is((await taskState('plan-1', 1))['status'], 'PENDING');
      plans.finish('plan-1', 0, completed);
      plans.finish('plan-1', 1, failed);
      const states = await Promise.all([0, 1, 2].map(task => taskState('plan-1', task)));
      t.deepEqual(
        states.map(({ status }) => status),
        ['COMPLETED', 'FAILED', 'SKIPPED'],
      );
    },
  ],
  [
    '15: as many tasks come out as went in, more than 512 too',
    async (t, { schedule, planAnswer }) => {
      await schedule({ tasks: Array.from({ length: 3_000 }, () => noop) });
      const { tasks } = (await planAnswer('plan-1')).body.data.execution_plan;
      t.deepEqual(
        tasks.map(task => task.task_id),
        Array.from({ length: 3_000 }, (_, index) => index),
      );
    },
  ],
  [
    '16: a plan that says nothing but what it must is accepted',
    async (t, { schedule }) => {
      t.is((await schedule({ tasks: [{ driver: 'noop' }] })).status, 200);
    },
  ],
  [
    '17: a failure without words is a failure',
    async (t, { schedule, plans, taskState }) => {
      await schedule({ tasks: [noop] });
      plans.begin('plan-1');
      plans.finish('plan-1', 0, { ...failed, error: '' });
      t.like(await taskState('plan-1', 0), { status: 'FAILED', execution_error: '' });
    },
  ],
];
for (const [name, holds] of defects) {
  test(`defect ${name}`, async t => {
    await holds(t, await boltzmann(t));
  });
}

const refused: [what: string, body: object, status: number, fields: string[]][] = [
  ['no tasks', { tasks: [] }, 422, ['tasks']],
  ['no driver', { tasks: [{ mime_type: json }] }, 422, ['tasks[0].driver']],
  [
    'a resource that its driver can make nothing of',
    { tasks: [{ driver: 'http' }] },
    422,
    ['tasks[0].resource_url'],
  ],
  ['a misspelt field', { tasks: [{ ...noop, mimetype: json }] }, 422, ['tasks[0].mimetype']],
  [
    'a misspelt field, and what is wrong elsewhere',
    {
      tasks: [
        { ...noop, mimetype: json },
        { ...noop, depends_on: [1] },
      ],
    },
    422,
    ['tasks[0].mimetype', 'tasks[1].depends_on[0]'],
  ],
  ['a payload of no type', { tasks: [{ driver: 'noop', payload: 1 }] }, 422, ['tasks[0].mime_type']],
  [
    'a payload that no codec knows',
    { tasks: [{ ...noop, mime_type: 'image/png', payload: {} }] },
    422,
    ['tasks[0].payload'],
  ],
  [
    'all problems at once, in the words of the request',
    {
      tasks: [
        { ...noop, depends_on: [1], timeout: 0, retry: { max_attempts: 0 } },
        { ...noop, depends_on: [0, 9], concurrency_key: '', compensate: { driver: '' } },
      ],
      complete_by: -1,
    },
    422,
    [
      'complete_by',
      'tasks[0].timeout',
      'tasks[0].retry.max_attempts',
      'tasks[1].depends_on[1]',
      'tasks[1].compensate.driver',
      'tasks[1].compensate',
      'tasks[1].concurrency_key',
      'tasks[0].depends_on',
    ],
  ],
];
for (const [what, command, expected, fields] of refused) {
  test(`defect 13: an error says what it is: ${what}`, async t => {
    const { schedule, plans } = await boltzmann(t);
    const { status, type, body } = await schedule<ProblemShown>(command);
    t.is(status, expected);
    t.is(type, 'application/problem+json');
    t.deepEqual(
      body.problems?.map(({ field }) => field),
      fields,
    );
    t.deepEqual(plans.submissions, []);
  });
}

test('defect 13: what is not there is 404, another plan under the same key 409', async t => {
  const { schedule, answerTo } = await boltzmann(t);
  const key = { 'idempotency-key': 'k1' };
  await schedule({ tasks: [noop] }, key);
  t.is((await schedule({ tasks: [noop] }, key)).body.data.execution_plan.plan_id, 'plan-1');
  const statuses: [path: string, status: number][] = [
    ['/plans/plan-2', 404],
    ['/states/plans/plan-2', 404],
    ['/states/plans/plan-1/tasks/1', 404],
    ['/states/plans/plan-1/tasks/10000', 404],
    ['/states/plans/plan-1/tasks/first', 400],
  ];
  for (const [path, expected] of statuses) {
    const { status, type } = await answerTo(path);
    t.is(status, expected, path);
    t.is(type, 'application/problem+json', path);
  }
  t.is((await schedule<ProblemShown>({ tasks: [noop, noop] }, key)).status, 409);
});
