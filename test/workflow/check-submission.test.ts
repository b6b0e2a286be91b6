import test from 'ava';
import fc from 'fast-check';
import type { StepPayload } from '../../src/model/plan.ts';
import { checkPlan, planLimits } from '../../src/workflow/check-plan.ts';
import { checkSubmission } from '../../src/workflow/check-submission.ts';
import { plan, step } from './helpers.ts';

const payload = (bytes: number): StepPayload => ({ mimeType: 'text/plain', text: 'x'.repeat(bytes) });

test('a payload that is too large for the store may be handed in, of the work and of its undoing', t => {
  const compensate = { agent: 'noop', resource: '', payload: payload(100_000) };
  const spec = plan([step({ payload: payload(planLimits.inlinePayloadBytes + 1), compensate })], {
    onFailure: 'compensate',
  });
  t.is(checkPlan(spec).length, 2);
  t.deepEqual(checkSubmission(spec), []);
});

test('one that is too large for anything may not', t => {
  const spec = plan([step({ payload: payload(planLimits.payloadBytes + 1) })]);
  t.deepEqual(
    checkSubmission(spec).map(({ field }) => field),
    ['steps[0].payload'],
  );
});

test('whatever else is wrong with a plan is wrong when it is handed in', t => {
  const anyStep = fc.record(
    {
      agent: fc.constantFrom('noop', ''),
      resource: fc.constant(''),
      dependsOn: fc.array(fc.integer({ min: -1, max: 3 }), { maxLength: 2 }),
      timeoutSeconds: fc.constantFrom(0, 1),
      payload: fc.constantFrom(payload(0), { mimeType: '', text: 'a' }),
    },
    { requiredKeys: ['agent', 'resource'] },
  );
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 3 }), steps => {
      t.deepEqual(checkSubmission(plan(steps)), checkPlan(plan(steps)));
    }),
  );
});
