import test from 'ava';
import { beside } from '../../src/cli/plans/beside.ts';
import type { PlanSpec, StepWork } from '../../src/model/plan.ts';
import type { Problem } from '../../src/model/problem.ts';

const work: StepWork = {
  agent: 'http',
  resource: 'https://a/{{0}}',
  arguments: { verb: 'GET', to: '{{0.id}}' },
};
const spec: PlanSpec = {
  title: null,
  steps: [work, { ...work, compensate: work }],
  priority: 5,
  sequential: false,
  onFailure: 'compensate',
  completeBySeconds: null,
};
const at = (field: string): Problem => ({ file: 'a', line: 1, column: 1, field, message: 'x', hint: null });

const ofWork = ['resource', 'arguments.verb', 'arguments.to', 'arguments.payload-from'];
const found = ['steps[0]', 'steps[1]', 'steps[1].compensate'].flatMap(step =>
  ofWork.map(field => `${step}.${field}`),
);
const without = (...fields: string[]): string[] => found.filter(field => !fields.includes(field));
const ofStep = (step: string): string[] => found.filter(field => field.startsWith(step));

const rows: Record<string, [own: string, left: string[]]> = {
  'what is known is not told again': ['steps[0].resource', without('steps[0].resource')],
  'what no agent looks at hides nothing': ['steps[1].retry.attempts', found],
  'one argument hides no other': ['steps[1].arguments.verb', without('steps[1].arguments.verb')],
  'arguments that are none hide all of them': [
    'steps[1].arguments',
    without('steps[1].arguments.verb', 'steps[1].arguments.to', 'steps[1].arguments.payload-from'),
  ],
  'a payload hides where else it is to come from': [
    'steps[1].payload-file',
    without('steps[1].arguments.payload-from'),
  ],
  'dependencies hide what refers to steps': [
    'steps[1].depends-on[0]',
    without(
      ...['resource', 'arguments.to', 'arguments.payload-from'].flatMap(field => [
        `steps[1].${field}`,
        `steps[1].compensate.${field}`,
      ]),
    ),
  ],
  'the order of all hides what refers to steps': [
    'sequential',
    found.filter(field => field.endsWith('verb')),
  ],
  'an agent hides its own work alone': [
    'steps[1].agent',
    without(...ofWork.map(field => `steps[1].${field}`)),
  ],
  'the agent of what undoes it hides that': [
    'steps[1].compensate.agent',
    without(...ofStep('steps[1].compensate')),
  ],
  'a key that nobody knows may be any of them': ['steps[0].resorce', without(...ofStep('steps[0]'))],
  'what is no step hides all of it': ['steps[1]', without(...ofStep('steps[1]'))],
  'what undoes it and is nothing hides only itself': [
    'steps[1].compensate',
    without(...ofStep('steps[1].compensate')),
  ],
  'what is wrong elsewhere hides nothing': ['priority', found],
};

for (const [name, [own, left]] of Object.entries(rows)) {
  test(`beside what is wrong in a file: ${name}`, t => {
    const told = beside({ spec }, [at(own)], found.map(at));
    t.deepEqual(
      told.map(({ field }) => field),
      left,
    );
  });
}
