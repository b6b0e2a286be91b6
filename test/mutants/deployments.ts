import type { Mutant } from './ownership.ts';

const turns = { file: 'src/agent/deploy/turns.ts', test: 'test/agent/deploy/deployments.test.ts' };
const plans = 'test/agent/deploy/deploy-plans.test.ts';

/** Each takes out one thing that keeps deployments of an app apart, or lets another node go on with one. */
export const deploymentMutants: Mutant[] = [
  {
    ...turns,
    name: 'deployments: a turn is taken while its plan goes on',
    search: "    if (plan.value.settled === null) return { kind: 'taken', by: held.value };\n",
    replace: '',
  },
  {
    file: 'src/agent/deploy/rolling.ts',
    test: plans,
    name: 'rule 4: a deployment writes though its turn is lost',
    search: 'compares: turns.compares(held)',
    replace: 'compares: []',
  },
  {
    file: 'src/agent/copies-loop.ts',
    test: plans,
    name: 'deployments: what is being made is on one node alone',
    search: '...inTheMaking(world)',
    replace: '...[]',
  },
  {
    file: 'src/agent/deploy/rolling.ts',
    test: plans,
    name: 'deployments: what was rolled is rolled again',
    search: 'held === null ? await this.#rolledBefore(task) : await this.#roll(held, task)',
    replace: 'await this.#roll(held ?? (await this.#options.turns.mine(task)), task)',
  },
];
