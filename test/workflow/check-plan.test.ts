import test from 'ava';
import fc from 'fast-check';
import type { PlanSpec } from '../../src/model/plan.ts';
import { checkPlan, planLimits } from '../../src/workflow/check-plan.ts';
import { shapeOf } from '../../src/workflow/shape.ts';
import { plan, step } from './helpers.ts';

const retry = { attempts: 3, firstWaitSeconds: 1, factor: 2, longestWaitSeconds: 60, jitter: 0.2 };
const long = 'x'.repeat(4_097);

const rows: [string, PlanSpec, string[]][] = [
  ['the least a plan can be', plan([step()]), []],
  ['no steps at all', plan([]), ['steps: a plan needs at least one step']],
  ['the most steps', plan(Array.from({ length: planLimits.steps }, () => step())), []],
  [
    'one step more',
    plan(Array.from({ length: 10_001 }, () => step())),
    ['steps: 10001 steps are too many (at most 10000: submit several plans)'],
  ],
  [
    'a priority that is none',
    plan([step()], { priority: 10 }),
    ['priority: must be a whole number from 0 to 9, not 10'],
  ],
  [
    'a broken priority',
    plan([step()], { priority: 1.5 }),
    ['priority: must be a whole number from 0 to 9, not 1.5'],
  ],
  [
    'no time at all',
    plan([step({ completeBySeconds: 0, timeoutSeconds: NaN })], { completeBySeconds: -1 }),
    [
      'completeBySeconds: must be above 0, at most 604800, not -1',
      'steps[0].timeoutSeconds: must be above 0, at most 86400, not NaN',
      'steps[0].completeBySeconds: must be above 0, at most 604800, not 0',
    ],
  ],
  [
    'parents that do not exist, twice, and itself',
    plan([step(), step({ dependsOn: [0, 2, -1, 0.5, 0, 1] })]),
    [
      'steps[1].dependsOn[1]: there is no step 2 (steps are numbered 0 to 1)',
      'steps[1].dependsOn[2]: there is no step -1 (steps are numbered 0 to 1)',
      'steps[1].dependsOn[3]: there is no step 0.5 (steps are numbered 0 to 1)',
      'steps[1].dependsOn[4]: step 0 is named twice',
      'steps[1].dependsOn[5]: a step cannot wait for itself',
    ],
  ],
  [
    'a circle with a tail before and behind it',
    plan([
      step(),
      step({ dependsOn: [0, 3] }),
      step({ dependsOn: [1] }),
      step({ dependsOn: [2] }),
      step({ dependsOn: [3] }),
    ]),
    ['steps[1].dependsOn: steps wait for each other in a circle: 1 after 3 after 2 after 1'],
  ],
  [
    'two circles',
    plan([
      step({ dependsOn: [1] }),
      step({ dependsOn: [0] }),
      step({ dependsOn: [3] }),
      step({ dependsOn: [2] }),
    ]),
    [
      'steps[0].dependsOn: steps wait for each other in a circle: 0 after 1 after 0',
      'steps[2].dependsOn: steps wait for each other in a circle: 2 after 3 after 2',
    ],
  ],
  [
    'a step of a sequential plan that waits for a later one',
    plan([step({ dependsOn: [1] }), step()], { sequential: true }),
    [
      'steps[0].dependsOn: steps wait for each other in a circle: 0 after 1 after 0 (in a sequential plan each step waits ' +
        'for the one before as well)',
    ],
  ],
  [
    'conditions on nothing',
    plan([
      step({ condition: 'any-failed' }),
      step({ condition: 'any-succeeded' }),
      step({ condition: 'all-done' }),
    ]),
    [
      'steps[0].condition: any-failed can never hold (the step depends on no other)',
      'steps[1].condition: any-succeeded can never hold (the step depends on no other)',
    ],
  ],
  [
    'a condition on the step before',
    plan([step(), step({ condition: 'any-failed' })], { sequential: true }),
    [],
  ],
  [
    'retries out of bounds',
    plan([
      step({ retry: { attempts: 0, firstWaitSeconds: 9, factor: 0.5, longestWaitSeconds: 8, jitter: 2 } }),
      step({ retry }),
    ]),
    [
      'steps[0].retry.attempts: must be a whole number from 1 to 100, not 0',
      'steps[0].retry.factor: must be from 1 to 10, not 0.5',
      'steps[0].retry.jitter: must be from 0 to 1, not 2',
      'steps[0].retry.longestWaitSeconds: is shorter than the first wait of 9 s (make it at least as long)',
    ],
  ],
  [
    'two limits for one key',
    plan([
      step({ concurrency: { key: 'db', limit: 2 } }),
      step({ concurrency: { key: 'db', limit: 3 } }),
      step({ concurrency: { key: '', limit: 0 } }),
    ]),
    [
      'steps[1].concurrency.limit: is 3, but 2 for the same key "db" in step 0 (one key has one limit)',
      'steps[2].concurrency.key: must not be empty',
      'steps[2].concurrency.limit: must be a whole number from 1 to 10000, not 0',
    ],
  ],
  [
    'texts that are too long',
    plan([
      step({
        agent: '',
        name: 'x'.repeat(129),
        resource: 'é'.repeat(1_025),
        arguments: { a: long },
        payload: { mimeType: 'text/plain', text: long },
      }),
    ]),
    [
      'steps[0].name: is 129 characters long (at most 128)',
      'steps[0].agent: must not be empty',
      'steps[0].resource: is 2050 bytes long (at most 2048: put more into the payload)',
      'steps[0].arguments: are 4098 bytes long (at most 4096 in all: put more into the payload)',
      'steps[0].payload: is 4097 bytes long, at most 4096 are possible (longer ones go to the artifact store, and their ' +
        'digest here)',
    ],
  ],
  [
    'a payload elsewhere',
    plan([
      step({ payload: { mimeType: 'a/b', digest: `sha256:${'0'.repeat(64)}`, bytes: 5_000_000 } }),
      step({ payload: { mimeType: '', digest: 'md5:0', bytes: 65 * 1024 * 1024 } }),
    ]),
    [
      'steps[1].payload.mimeType: must not be empty',
      'steps[1].payload: is 68157440 bytes long, at most 67108864 are possible (a payload is never cut)',
      'steps[1].payload.digest: is not a digest (sha256: and 64 hexadecimal digits)',
    ],
  ],
  [
    'a way to undo that is wrong itself',
    plan([step({ compensate: { agent: '', resource: '', timeoutSeconds: 0 } })], { onFailure: 'compensate' }),
    [
      'steps[0].compensate.agent: must not be empty',
      'steps[0].compensate.timeoutSeconds: must be above 0, at most 86400, not 0',
    ],
  ],
  [
    'a way to undo in a plan that never undoes',
    plan([step({ compensate: step() })]),
    [
      'steps[0].compensate: would never be done (onFailure: compensate makes the plan undo what may have started)',
    ],
  ],
];
for (const [what, spec, expected] of rows) {
  test(`a plan is checked: ${what}`, t => {
    const texts = checkPlan(spec).map(
      ({ field, message, hint }) => `${field}: ${message}${hint === null ? '' : ` (${hint})`}`,
    );
    t.deepEqual(texts, expected);
  });
}

test('too many dependencies are refused', t => {
  const all = Array.from({ length: 400 }, (_, index) => index);
  const many = plan([
    ...all.map(() => step()),
    ...Array.from({ length: 300 }, () => step({ dependsOn: all })),
  ]);
  t.deepEqual(
    checkPlan(many).map(({ field, message }) => `${field}: ${message}`),
    ['steps: 120000 dependencies are too many'],
  );
});

test('a plan is accepted exactly when its steps can be put in an order', t => {
  const graph = fc.integer({ min: 1, max: 12 }).chain(count =>
    fc.tuple(
      fc.array(fc.uniqueArray(fc.nat({ max: count - 1 }), { maxLength: 2 }), {
        minLength: count,
        maxLength: count,
      }),
      fc.boolean(),
    ),
  );
  let refused = 0;
  fc.assert(
    fc.property(graph, ([parents, sequential]) => {
      const spec = plan(
        parents.map((dependsOn, index) => step({ dependsOn: dependsOn.filter(parent => parent !== index) })),
        { sequential },
      );
      const problems = checkPlan(spec);
      if (problems.length === 0) t.notThrows(() => shapeOf(spec));
      else {
        refused++;
        t.throws(() => shapeOf(spec), { message: /circle/ });
        for (const { message } of problems) assertCircle(message);
      }
      function assertCircle(message: string): void {
        const circle = message.replace(/^.*: /, '').split(' after ').map(Number);
        t.is(circle[0], circle.at(-1));
        for (const [place, index] of circle.slice(0, -1).entries()) {
          const parent = circle[place + 1] ?? -1;
          t.true(
            spec.steps[index]?.dependsOn?.includes(parent) === true || (sequential && parent === index - 1),
            message,
          );
        }
      }
    }),
  );
  t.true(refused > 0);
});
