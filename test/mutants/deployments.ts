import type { Mutant } from './ownership.ts';

const turns = { file: 'src/agent/deploy/turns.ts', test: 'test/agent/deploy/deployments.test.ts' };
const plans = 'test/agent/deploy/deploy-plans.test.ts';
const platforms = { file: 'src/agent/deploy/deploy-agent.ts', test: 'test/agent/deploy/platforms.test.ts' };
const old = { file: 'src/agent/deploy/old-releases.ts', test: 'test/agent/deploy/old-releases.test.ts' };
const collecting = { file: 'src/agent/collect-loop.ts', test: 'test/agent/collect-loop.test.ts' };
const keeping = { file: 'src/artifacts/local-artifacts.ts', test: 'test/artifacts/build.test.ts' };

/** Each takes out one thing that keeps deployments of an app apart, or lets another node go on with one. */
export const deploymentMutants: Mutant[] = [
  {
    ...turns,
    name: 'deployments: a turn is taken while its plan goes on',
    search: "    if (plan.value.settled === null) return { kind: 'taken', by: held.value };\n",
    replace: '',
  },
  {
    ...turns,
    test: 'test/agent/deploy/turns.test.ts',
    name: 'deployments: a node goes on from what it wrote before another had the turn',
    search: ' && own.value.token === token) return own;',
    replace: ') return own;',
  },
  {
    ...turns,
    test: 'test/agent/deploy/turns.test.ts',
    name: 'deployments: what could not be written is taken for written',
    search: "    if (result.kind === 'refused') throw overtaken(name);\n    this.#written.set",
    replace: '    this.#written.set',
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
    search: '...inTheMaking(world.deploys.all())',
    replace: '...[]',
  },
  {
    file: 'src/agent/deploy/rolling.ts',
    test: plans,
    name: 'deployments: what was rolled is rolled again',
    search: 'held === null ? await this.#rolledBefore(task) : await this.#roll(held, task)',
    replace: 'await this.#roll(held ?? (await this.#options.turns.mine(task)), task)',
  },
  {
    file: 'src/reconcile/copies.ts',
    test: 'test/agent/deploy/rollout-loop.test.ts',
    name: 'deployments: what only stood ready beside gets requests when something newer is wanted',
    search: 'outdated.find(({ version }) => version === desired.before) ?? ',
    replace: '',
  },
  {
    file: 'src/agent/deploy/change-release.ts',
    test: 'test/agent/deploy/rollout-loop.test.ts',
    name: 'deployments: what stood ready beside nothing gets requests when something newer is wanted',
    search: "rollout?.stage === 'beside' ? [...earlier, release] : earlier",
    replace: 'earlier',
  },
  {
    file: 'src/agent/deploy/rollout-loop.ts',
    test: 'test/agent/deploy/rollout-loop.test.ts',
    name: 'deployments: what became of a release is told after it is so',
    search: '      ledger.draft({ ...event, subject: `app/${entry.name}` }),\n    ],\n  );',
    replace: '    ],\n  );\n  ledger.note({ ...event, subject: `app/${entry.name}` });',
  },
  {
    file: 'src/agent/app-changes.ts',
    test: 'test/agent/admin-service.test.ts',
    name: 'deployments: who changes an app is answered before the change is seen',
    search: "      await worldShows(this.#options, 'apps', result.revision);\n",
    replace: '',
  },
  {
    ...keeping,
    file: 'src/artifacts/cas.ts',
    name: 'deployments: what is uploaded is spoken for once it is there',
    search:
      '      this.arrives(stored.digest);\n      await rename(temporary, this.pathOf(stored.digest));\n      await flushDirectory(this.directory);\n',
    replace:
      '      await rename(temporary, this.pathOf(stored.digest));\n      await flushDirectory(this.directory);\n      this.arrives(stored.digest);\n',
  },
  {
    ...platforms,
    name: 'deployments: a node does what only others can run',
    search: '    isForOthers: work => platforms.isForOthers(work),\n',
    replace: '',
  },
  {
    ...platforms,
    file: 'src/drivers/step-agents.ts',
    name: 'deployments: a scheduled command runs where its release does not',
    search: '        isForOthers: work => first.agent.isForOthers?.(work) === true,\n',
    replace: '',
  },
  {
    ...platforms,
    file: 'src/agent/agent.ts',
    name: 'deployments: what was left to others is not looked at again',
    search: 'if (after) planEngine.lookAgain(after.value.plan);',
    replace: 'void after;',
  },
  {
    ...platforms,
    file: 'src/agent/deploy/preparing.ts',
    name: 'deployments: what no node that is left can run is made wanted',
    search: 'before !== undefined && lost === null &&',
    replace: 'before !== undefined &&',
  },
  {
    ...platforms,
    file: 'src/agent/deploy/preparing.ts',
    name: 'deployments: what went with its node is made wanted',
    search: 'lost === null && (await supplies.canBeHad(before.digest))',
    replace: 'lost === null',
  },
  {
    ...platforms,
    file: 'src/agent/deploy/platforms.ts',
    name: 'deployments: a release is for the platform of whoever is asked for it',
    search: 'artifact?.platform ?? platform ?? null',
    replace: 'artifact?.platform ?? null',
  },
  {
    ...old,
    name: 'old releases: what was changed since it was looked at is removed all the same',
    search: "{ kind: 'apps', name: app, revision: current.revision }",
    replace: "{ kind: 'releases', name: old[0]!.name, revision: old[0]!.revision }",
  },
  {
    ...old,
    name: 'old releases: what is looked at before a deployment began is removed in the middle of it',
    search: "    { kind: 'deploys', name: app, is: 'absent' },\n",
    replace: '',
  },
  {
    ...old,
    name: 'old releases: what still runs somewhere is removed',
    search: '[...running, ...settling]',
    replace: 'settling',
  },
  {
    ...old,
    name: 'old releases: what is still watched until it is settled is removed',
    search: '[...running, ...settling]',
    replace: 'running',
  },
  {
    ...collecting,
    name: 'collecting: what runs is taken away because nobody wants it',
    search: '        ...instances\n          .units()\n          .map',
    replace: '        ...[].map',
  },
  {
    ...collecting,
    name: 'collecting: it begins before the node has looked at what runs',
    search: '      if (instances.statuses() === null) return LOOK_AGAIN_MS;\n',
    replace: '',
  },
  {
    ...collecting,
    name: 'collecting: a release falls between what is being made and what is wanted',
    search: "  const deploys = await store.list('deploys');\n  const apps = await store.list('apps');\n",
    replace: "  const apps = await store.list('apps');\n  const deploys = await store.list('deploys');\n",
  },
  {
    ...collecting,
    name: 'collecting: what is being built loses its source',
    search: '    ...inTheMaking(deploys.entries),\n',
    replace: '',
  },
  {
    ...collecting,
    name: 'collecting: what a rollout would go back to is taken away',
    search: '...(value.rollout ? [{ ...value, ...value.rollout.before }] : []),',
    replace: '',
  },
  {
    ...keeping,
    name: 'collecting: what was just unpacked is taken from whoever starts there',
    search: 'wanted.has(place) || this.usedRecently(place)',
    replace: 'wanted.has(place)',
  },
  {
    ...keeping,
    name: 'collecting: a release is handed out while it is being removed',
    search: '        await this.removals.get(place);\n',
    replace: '',
  },
  {
    name: 'deployments: a turn that may have ended is taken for what this node wrote of it',
    file: 'src/agent/deploy/rolling.ts',
    search: 'turns.mayEnd(app);',
    replace: 'void app;',
    test: 'test/agent/deploy/deploy-plans.test.ts',
  },
];
