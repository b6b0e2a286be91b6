import test from 'ava';
import { Turns } from '../../../src/agent/deploy/turns.ts';
import type { DeploymentRecord, ReleaseDraft } from '../../../src/model/records.ts';
import type { Store } from '../../../src/ports/store.ts';
import { appSpec } from '../../support/nouns.ts';
import { stepTask } from '../../support/step-task.ts';
import { member } from '../helpers.ts';

const draft = (release: number): ReleaseDraft => ({
  spec: appSpec(),
  release,
  before: null,
  impact: 'rebuild',
  secrets: {},
});
const task = (token: string) => stepTask({ token, work: { agent: 'deploy', resource: 'blog' } });

/** The turn of `blog` is that of the task's plan. */
async function deploying() {
  const { etcd, keeper, store } = await member({ node: 'node-1' });
  let reads = 0;
  const counting: Pick<Store, 'get' | 'commit'> = {
    get: (kind, name) => {
      reads++;
      return store.get(kind, name);
    },
    commit: (compares, writes) => store.commit(compares, writes),
  };
  const turns = new Turns({ node: 'node-1', store: counting, keeper });
  const put = (token: string, made: ReleaseDraft | null): void => {
    const record: DeploymentRecord = {
      v: 1,
      app: 'blog',
      plan: task(token).plan,
      node: 'node-1',
      since: '2026-01-01T00:00:00.000Z',
      asked: appSpec(),
      token,
      draft: made,
    };
    etcd.put('deploys', 'blog', record);
  };
  put('0', null);
  return { turns, put, reads: () => reads };
}

test('what a step has written is known to the next under its token, and read anew under another', async t => {
  const { turns, put, reads } = await deploying();
  await turns.write(await turns.mine(task('7')), task('7'), draft(1));
  const before = reads();
  const next = await turns.mine(task('7'));
  t.is(next.value.draft?.release, 1);
  t.is(reads(), before);
  // Its revision is the right one, too.
  await turns.write(next, task('7'), draft(2));
  // Another node has gone on with it, then this one again.
  put('8', draft(3));
  t.is((await turns.mine(task('9'))).value.draft?.release, 3);
});

test('after a write that was refused nothing is taken for known', async t => {
  const { turns, put } = await deploying();
  const held = await turns.mine(task('7'));
  await turns.write(held, task('7'), draft(1));
  put('7', draft(2));
  await t.throwsAsync(turns.write(held, task('7'), draft(3)), {
    message: 'another node goes on with the deployment of "blog"',
  });
  t.is((await turns.mine(task('7'))).value.draft?.release, 2);
});

test('a step with an older token than the record has is refused', async t => {
  const { turns, put } = await deploying();
  put('8', draft(1));
  await t.throwsAsync(turns.mine(task('7')), {
    message: 'another node goes on with this deployment: node-1 has an old token, 7',
  });
});
