import test from 'ava';
import { KeyHolders, type KeyHoldersOptions } from '../../../src/agent/plans/key-holders.ts';
import { KnownPlan } from '../../../src/agent/plans/known-plan.ts';
import type { Entry } from '../../../src/ports/store.ts';
import { newPlan } from '../../../src/workflow/submission.ts';
import { noop, submission } from '../../support/plan-cluster.ts';
import { sessionRecord } from '../../support/store-worlds.ts';
import { record } from '../../workflow/helpers.ts';

/** One plan, two of whose steps run under the key `k` on node-2. */
function scene() {
  const sessions = new Map<string, unknown>([['node-2/first', sessionRecord()]]);
  const guards = new Map<string, { revision: bigint }>();
  const steps = { revision: 10n };
  const holders = new KeyHolders({
    sessions: { get: (name: string) => sessions.get(name) },
    guards: { get: (name: string) => guards.get(name) },
    steps,
  } as unknown as KeyHoldersOptions);
  const keyed = noop({ concurrency: { key: 'k', limit: 3 } });
  const given = { plan: 'p', submittedAt: '', origin: 'test', idempotencyKey: null };
  const made = newPlan(submission([keyed, keyed, noop()]).spec, given);
  const plan = new KnownPlan({ name: 'p', value: made.plan, revision: 1n } as Entry<'plans'>, 0);
  const value = {
    ...made.chunks[0]!,
    owner: { node: 'node-2', incarnation: 'first', operation: 'o' },
    steps: [record(0, 'RUNNING'), record(1, 'RUNNING'), record(2, 'RUNNING')],
  };
  plan.learnChunk({ name: 'p/000000', value, revision: 5n } as Entry<'steps'>, 0);
  holders.use(plan, true);
  holders.learn(plan, 0);
  return { holders, sessions, guards, steps };
}

test('steps that run under a key are counted, but for those of the asking chunk', t => {
  const { holders } = scene();
  t.is(holders.count('k', 'q/000000'), 2);
  t.is(holders.count('k', 'p/000000'), 0);
  t.is(holders.count('other', 'q/000000'), 0);
});

test('an owner that is gone holds no key, whoever has taken over what it ran', t => {
  const { holders, sessions } = scene();
  sessions.clear();
  t.is(holders.count('k', 'q/000000'), 0);
});

test('a start that its guard tells of, and its chunk does not yet, is waited for', t => {
  const { holders, guards, steps } = scene();
  t.deepEqual(holders.compare('k'), { kind: 'guards', name: 'k', is: 'absent' });
  guards.set('k', { revision: 12n });
  t.is(holders.compare('k'), null);
  steps.revision = 12n;
  t.deepEqual(holders.compare('k'), { kind: 'guards', name: 'k', revision: 12n });
});
