import test from 'ava';
import fc from 'fast-check';
import { readManifests } from '../../src/manifest/read-manifest.ts';
import { problemText } from '../../src/model/problem.ts';
import { checkSubmission } from '../../src/workflow/check-submission.ts';
import { checkCron } from '../../src/workflow/cron.ts';
import { retryOf, shapeOf } from '../../src/workflow/shape.ts';
import { step } from '../workflow/helpers.ts';

const checks = { plan: checkSubmission, schedule: checkCron };
const read = (text: string) => readManifests([{ file: 'plan.yaml', text }], checks);
const problemsIn = (text: string) => read(text).problems.map(problemText);

function planIn(text: string) {
  const { plans, problems } = read(text);
  if (plans[0] === undefined) throw new Error(problems.map(problemText).join('\n'));
  return plans[0];
}

test('a plan says all that a plan can be', t => {
  const plan = planIn(
    `
kind: Plan
title: Nightly
priority: 1
sequential: true
on-failure: compensate
complete-by: 3600
idempotency-key: night/1
steps:
  - name: fetch
    agent: http
    resource: https://example.com/data
    arguments: {method: GET, retries: 1.10, follow: true}
    timeout: 30
    complete-by: 120
    retry: {attempts: 5, first-wait: 2, factor: 3, longest-wait: 30, jitter: 0}
    compensate: {agent: command, resource: rm data, timeout: 5}
  - agent: command
    resource: ./load
    payload: {rows: [1, 2]}
    depends-on: [fetch, 0]
    condition: all-done
    concurrency: {key: database, limit: 2}
  - {agent: noop, payload: "as it is", depends-on: [1]}
`.replace('[fetch, 0]', '[fetch]'),
  );
  t.deepEqual(plan.spec, {
    title: 'Nightly',
    priority: 1,
    sequential: true,
    onFailure: 'compensate',
    completeBySeconds: 3600,
    steps: [
      {
        name: 'fetch',
        agent: 'http',
        resource: 'https://example.com/data',
        arguments: { method: 'GET', retries: '1.10', follow: 'true' },
        timeoutSeconds: 30,
        completeBySeconds: 120,
        retry: { attempts: 5, firstWaitSeconds: 2, factor: 3, longestWaitSeconds: 30, jitter: 0 },
        compensate: { agent: 'command', resource: 'rm data', timeoutSeconds: 5 },
      },
      {
        agent: 'command',
        resource: './load',
        payload: { mimeType: 'application/json', text: '{"rows":[1,2]}' },
        dependsOn: [0],
        condition: 'all-done',
        concurrency: { key: 'database', limit: 2 },
      },
      {
        agent: 'noop',
        resource: '',
        payload: { mimeType: 'text/plain', text: 'as it is' },
        dependsOn: [1],
      },
    ],
  });
  t.like(plan, { idempotencyKey: 'night/1', schedule: null, payloadFiles: [], line: 2 });
});

test('what is not said of retries is as without any', t => {
  const { steps } = planIn(
    'kind: Plan\non-failure: compensate\nsteps: [{agent: noop, retry: {}, compensate: {agent: noop, retry: {attempts: 9}}}]',
  ).spec;
  t.deepEqual(steps[0]!.retry, retryOf(step()));
  t.like(steps[0]!.compensate!.retry, { ...retryOf(step()), attempts: 9 });
});

test('a schedule says when a plan is made', t => {
  const { schedule } = planIn(`
kind: Plan
steps: [{agent: noop}]
schedule: {name: nightly, cron: 30 2 * * *, time-zone: Europe/Berlin, overlap: replace, catch-up: {all: 3}, paused: true}
`);
  t.deepEqual(schedule, {
    name: 'nightly',
    paused: true,
    schedule: {
      expression: '30 2 * * *',
      timeZone: 'Europe/Berlin',
      overlap: 'replace',
      catchUp: { kind: 'all', atMost: 3 },
    },
  });
  t.deepEqual(planIn('kind: Plan\nsteps: [{agent: noop}]\nschedule: {name: a, cron: "@daily"}').schedule, {
    name: 'a',
    paused: false,
    schedule: { expression: '@daily', timeZone: 'UTC', overlap: 'forbid', catchUp: { kind: 'latest' } },
  });
});

test('payloads in files are told with their places, for whoever can read them', t => {
  const { payloadFiles } = planIn(`
kind: Plan
on-failure: compensate
steps:
  - {agent: noop, payload-file: a.json}
  - agent: noop
    payload-file: b.csv
    mime-type: text/csv
    compensate: {agent: noop, payload-file: c.txt}
`);
  t.deepEqual(payloadFiles, [
    {
      step: 0,
      of: 'work',
      file: 'a.json',
      mimeType: 'application/json',
      line: 5,
      column: 33,
      field: 'steps[0].payload-file',
    },
    {
      step: 1,
      of: 'work',
      file: 'b.csv',
      mimeType: 'text/csv',
      line: 7,
      column: 19,
      field: 'steps[1].payload-file',
    },
    {
      step: 1,
      of: 'undo',
      file: 'c.txt',
      mimeType: 'text/plain',
      line: 9,
      column: 45,
      field: 'steps[1].compensate.payload-file',
    },
  ]);
});

test('apps and plans may be in one file', t => {
  const { apps, plans, problems } = read(
    'metadata: {id: blog}\nrun: {start: ./blog}\n---\nkind: Plan\nsteps: [{agent: noop}]\n',
  );
  t.deepEqual(problems, []);
  t.deepEqual([apps.map(({ spec }) => spec.app), plans.map(({ line }) => line)], [['blog'], [4]]);
});

const wrong: [what: string, text: string, expected: string[]][] = [
  ['no steps', 'kind: Plan', ['plan.yaml:1:1: steps: is missing']],
  [
    'an empty list of steps',
    'kind: Plan\nsteps: []',
    ['plan.yaml:2:8: steps: a plan needs at least one step'],
  ],
  [
    'keys that nobody knows, here and further down',
    'kind: Plan\nsteps:\n  - {agent: noop, depend-on: [a]}\nsequental: true',
    [
      'plan.yaml:3:19: steps[0].depend-on: unknown key (did you mean "depends-on"?)',
      'plan.yaml:4:1: sequental: unknown section (did you mean "sequential"?)',
    ],
  ],
  [
    'a name that no step has',
    'kind: Plan\nsteps:\n  - {agent: noop, name: fetch}\n  - {agent: noop, depends-on: [fetsh, 0, 7]}',
    [
      'plan.yaml:4:32: steps[1].depends-on[0]: there is no step "fetsh" (did you mean "fetch"?)',
      'plan.yaml:4:42: steps[1].depends-on[2]: there is no step 7 (steps are numbered 0 to 1)',
    ],
  ],
  [
    'a name that two have',
    'kind: Plan\nsteps:\n  - {agent: noop, name: a}\n  - {agent: noop, name: a}',
    ['plan.yaml:4:25: steps[1].name: step 0 has the name "a" already'],
  ],
  [
    'a circle',
    'kind: Plan\nsteps:\n  - {agent: noop, name: a, depends-on: [b]}\n  - {agent: noop, name: b, depends-on: [a]}',
    ['plan.yaml:3:40: steps[0].depends-on: steps wait for each other in a circle: 0 after 1 after 0'],
  ],
  [
    'mistakes of every kind, in the order of the lines',
    `kind: Plan
priority: 11
steps:
  - agent: noop
    timeout: soon
    retry: {attempts: 0, first-wait: 90, longest-wait: 60}
    arguments: {list: [1]}
  - resource: x
    compensate: {agent: noop, timeout: 0}
    payload: a
    payload-file: b
complete-by: -1
`,
    [
      'plan.yaml:2:11: priority: must be a whole number from 0 to 9, not 11',
      'plan.yaml:5:14: steps[0].timeout: must be a number, not "soon" (seconds, as a number such as 30)',
      'plan.yaml:6:23: steps[0].retry.attempts: must be a whole number from 1 to 100, not 0',
      'plan.yaml:6:56: steps[0].retry.longest-wait: is shorter than the first wait of 90 s (make it at least as long)',
      'plan.yaml:7:23: steps[0].arguments.list: must be text',
      'plan.yaml:8:5: steps[1].agent: is missing (http, command, noop, or the name of a remote agent)',
      'plan.yaml:9:17: steps[1].compensate: would never be done (on-failure: compensate makes the plan undo what may have started)',
      'plan.yaml:9:40: steps[1].compensate.timeout: must be above 0, at most 86400, not 0',
      'plan.yaml:11:19: steps[1].payload-file: is given beside payload (keep one of the two)',
      'plan.yaml:12:14: complete-by: must be above 0, at most 604800, not -1',
    ],
  ],
  [
    'a schedule that never comes, in a zone that is none',
    'kind: Plan\nsteps: [{agent: noop}]\nschedule:\n  name: Nightly\n  cron: 0 0 31 feb *\n  time-zone: Mars\n  catch-up: {all: 0}',
    [
      'plan.yaml:4:9: schedule.name: is not the name of a schedule (1 to 63 lower-case letters, digits, dots, hyphens and underscores)',
      'plan.yaml:5:9: schedule.cron: never comes: none of its months has such a day (another day, or month)',
      'plan.yaml:6:14: schedule.time-zone: there is no time zone "Mars" (an IANA name, as in Europe/Berlin or UTC)',
      'plan.yaml:7:19: schedule.catch-up.all: must be a whole number from 1 to 100, not 0',
    ],
  ],
  [
    'a payload without a type',
    'kind: Plan\nsteps: [{agent: noop, payload: a, mime-type: ""}]',
    ['plan.yaml:2:46: steps[0].mime-type: must not be empty (of the payload, as in application/json)'],
  ],
];
for (const [what, text, expected] of wrong) {
  test(`refused: ${what}`, t => {
    t.deepEqual(problemsIn(text), expected);
    t.deepEqual(read(text).plans, []);
  });
}

test('a plan whose steps are large in number is read', t => {
  const lines = Array.from({ length: 10_000 }, (_, index) => {
    const after = index === 0 ? '' : `, depends-on: [step-${index - 1}]`;
    return `  - {name: step-${index}, agent: http, resource: "https://example.com/items/${index}"${after}}\n`;
  });
  t.is(planIn(`kind: Plan\nsteps:\n${lines.join('')}`).spec.steps.length, 10_000);
});

const value = fc.constantFrom('noop', '', 'a', '1', '-1', '[]', '{}', '[a]', '[0]', '{a: b}', 'null', 'true');
const keys = [
  ...['name', 'resource', 'arguments', 'payload', 'payload-file', 'mime-type', 'timeout', 'retry'],
  ...['depends-on', 'condition', 'complete-by', 'compensate', 'concurrency'],
];

test('whatever a step says: there are problems, or a plan that is right', t => {
  const stepText = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 6 }).map(
    entries =>
      `  - {agent: noop, ${Object.entries(entries)
        .map(([key, text]) => `${key}: ${text}`)
        .join(', ')}}\n`,
  );
  let accepted = 0;
  fc.assert(
    fc.property(fc.array(stepText, { minLength: 1, maxLength: 3 }), steps => {
      const { plans, problems } = read(`kind: Plan\nsteps:\n${steps.join('')}`);
      t.is(plans.length === 0, problems.length > 0);
      for (const { spec } of plans) {
        accepted++;
        t.deepEqual(checkSubmission(spec), []);
        t.notThrows(() => shapeOf(spec));
      }
    }),
    { numRuns: 1000 },
  );
  t.true(accepted > 10);
});
