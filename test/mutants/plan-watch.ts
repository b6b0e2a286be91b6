import type { Mutant } from './ownership.ts';

const watch = { file: 'src/agent/plans/plan-watch.ts', test: 'test/agent/plans/plan-watch.test.ts' };

/** Each takes out one thing that keeps what is told of a plan from being missed. */
export const planWatchMutants: Mutant[] = [
  {
    ...watch,
    name: 'plans: a watch goes on after what it has not told yet',
    search: "yield { kind: 'step', revision: String(this.#told), changed, step: stepView(plan, index) };",
    replace: "yield { kind: 'step', revision: String(upTo), changed, step: stepView(plan, index) };",
  },
  {
    ...watch,
    name: 'plans: the end of a plan is told before that of its steps',
    search: '(!this.#plan.settled || (this.#plan.over && this.#steps.size === 0))',
    replace: '(!this.#plan.settled || this.#plan.over)',
  },
  {
    ...watch,
    name: 'plans: the end of a plan is told though the ends of its steps have not been heard of',
    search: '(!this.#plan.settled || (this.#plan.over && this.#steps.size === 0))',
    replace: '(!this.#plan.settled || this.#steps.size === 0)',
  },
  {
    ...watch,
    name: 'plans: a watch that goes on leaves out what was written since',
    search: 'if (chunk === undefined || (after !== null && chunk.entry.revision <= after)) continue;',
    replace: 'if (chunk === undefined || after !== null) continue;',
  },
  {
    ...watch,
    name: 'plans: a watch ends when its node has lost its session',
    search: 'if (known === undefined) {',
    replace: 'if (known !== this.#plan) {',
  },
];
