import test, { type ExecutionContext } from 'ava';
import { oldReleasesLoop } from '../../../src/agent/deploy/old-releases.ts';
import type { Kind } from '../../../src/model/records.ts';
import type { FakeEtcd } from '../../support/fake-store.ts';
import { webApp } from '../../support/sim-cluster.ts';
import { runningPromise } from '../../support/nouns.ts';
import { appRecord, member } from '../helpers.ts';

const HOUR_MS = 60 * 60_000;
const names = (releases: Record<string, unknown>): string[] => Object.keys(releases);
const of = (...numbers: number[]): string[] => numbers.map(number => `blog/00000${number}`);

/** An app at release 9 of nine, and the loop of a node. `meanwhile` = just before something is removed. */
async function nine(
  t: ExecutionContext,
  meanwhile: (etcd: FakeEtcd) => void = () => undefined,
  elected = (): string | null => 'supervisor/1',
) {
  const one = await member();
  const { etcd, store, world, clock } = one;
  const spec = webApp(1);
  const at = clock.timestamp();
  for (let release = 1; release <= 9; release++) {
    const replaces = release - 1;
    const record = {
      v: 1 as const,
      app: 'blog',
      release,
      spec,
      artifact: null,
      replaces,
      deployment: `plan-${release}`,
      at,
    };
    etcd.put('releases', of(release)[0]!, record);
  }
  etcd.put('apps', 'blog', appRecord(spec, { release: 9 }));
  const loop = oldReleasesLoop({
    ...one,
    store: {
      list: <K extends Kind>(kind: K) => store.list(kind),
      commit: (compares, writes) => {
        meanwhile(etcd);
        return store.commit(compares, writes);
      },
    },
    world,
    elected,
  });
  t.teardown(() => loop.stop());
  const looked = async (): Promise<string[]> => {
    await clock.settle();
    loop.start();
    await clock.advance(1000);
    return names(etcd.contents('releases'));
  };
  return { ...one, spec, looked };
}

test('what still runs somewhere stays', async t => {
  const { etcd, looked } = await nine(t);
  const promise = runningPromise({ app: 'blog', release: 2 }, 'node-2');
  etcd.put('promises', `node-2/${promise.name}`, { v: 1, promise });
  t.deepEqual(await looked(), of(2, 5, 6, 7, 8, 9));
});

test('what a deployment that goes on has made stays, until that has ended', async t => {
  const { etcd, clock, looked } = await nine(t);
  const plan = {
    ...{
      v: 1 as const,
      plan: 'plan-3',
      steps: [],
      chunks: 1,
      submittedAt: clock.timestamp(),
      origin: 'deploy blog',
    },
    ...{ idempotencyKey: null, cancel: null },
    spec: { title: null, priority: 0, sequential: true, onFailure: 'stop' as const, completeBySeconds: null },
  };
  etcd.put('plans', 'plan-3', { ...plan, settled: null });
  t.deepEqual(await looked(), of(3, 5, 6, 7, 8, 9));
  etcd.put('plans', 'plan-3', { ...plan, settled: { state: 'COMPLETED', at: clock.timestamp() } });
  await clock.advance(HOUR_MS);
  t.deepEqual(names(etcd.contents('releases')), of(5, 6, 7, 8, 9));
});

test('an app that somebody changes meanwhile is left alone', async t => {
  const spec = webApp(1);
  let changed = 0;
  const { looked } = await nine(t, etcd => {
    changed++;
    etcd.put('apps', 'blog', appRecord(spec, { release: 1 }));
  });
  t.is((await looked()).length, 9);
  t.is(changed, 1);
});

test('nothing goes of an app that is being deployed, or begins to be meanwhile', async t => {
  let begun = 0;
  const { clock, looked } = await nine(t, etcd => {
    begun++;
    etcd.put('deploys', 'blog', {
      ...{ v: 1, app: 'blog', plan: 'p', node: 'node-1', since: '2026-01-01T00:00:00Z', token: '0' },
      asked: webApp(1),
      draft: null,
    });
  });
  t.is((await looked()).length, 9);
  await clock.advance(HOUR_MS);
  t.is((await looked()).length, 9);
  t.is(begun, 1);
});

test('of an app that is gone only the newest stays, so that its number is not used again', async t => {
  const { etcd, looked } = await nine(t);
  etcd.delete('apps', 'blog');
  t.deepEqual(await looked(), of(9));
});

test('a node removes nothing until it is elected, and then does within a minute', async t => {
  let elected: string | null = null;
  const { etcd, clock, looked } = await nine(t, undefined, () => elected);
  t.is((await looked()).length, 9);
  elected = 'supervisor/1';
  await clock.advance(60_000);
  t.deepEqual(names(etcd.contents('releases')), of(5, 6, 7, 8, 9));
});
