import test from 'ava';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

const INTERVAL_MS = 2000;
const names = (count: number): string[] => Array.from({ length: count }, (_, index) => `node-${index + 1}`);

/** Five nodes with so many instances, and when each of them changed hands from then on. */
async function five(scale: number) {
  const cluster = new SimCluster(names(5));
  await cluster.start();
  await cluster.run(webApp(scale));
  await cluster.advance(10_000);
  const takenAtMs: number[] = [];
  const owners = new Map<string, string>();
  const watch = (): void => {
    for (const [subject, owner] of Object.entries(cluster.etcd.contents('owners'))) {
      const before = owners.get(subject);
      if (before !== undefined && before !== owner.node) takenAtMs.push(cluster.clock.now());
      owners.set(subject, owner.node);
    }
  };
  watch();
  const until = (condition: () => boolean, limitMs?: number): Promise<void> =>
    cluster.until(() => {
      watch();
      return condition();
    }, limitMs);
  const kinds = (): string[] =>
    cluster
      .events()
      .map(event => event.kind)
      .filter(kind => kind.startsWith('brake-'));
  return { cluster, takenAtMs, until, kinds };
}

/** The pauses between takeovers, in ms, that were too short. */
function hasty(takenAtMs: readonly number[]): number[] {
  const pauses = takenAtMs.slice(1).map((atMs, index) => atMs - takenAtMs[index]!);
  return pauses.filter(pauseMs => pauseMs < INTERVAL_MS - 50);
}

test('when 60 % of the nodes die at once, takeovers are paced, and all runs in the end', async t => {
  const { cluster, takenAtMs, until, kinds } = await five(15);
  const survivors = ['node-4', 'node-5'];
  await Promise.all(['node-1', 'node-2', 'node-3'].map(name => cluster.node(name).crash()));
  await until(
    () => Object.values(cluster.etcd.contents('owners')).every(({ node }) => survivors.includes(node)),
    90_000,
  );
  await until(() => cluster.settled('blog', 'node-4'));
  t.is(takenAtMs.length, 9);
  t.deepEqual(hasty(takenAtMs), []);
  await cluster.advance(40_000);
  t.deepEqual(kinds(), ['brake-engaged', 'brake-released']);
  t.regex(
    cluster.events('brake-engaged')[0]!.message,
    /^3 of 5 nodes vanished together \(more than 40 %\): at most 30 takeovers a minute$/,
  );
});

test('two of five are no crowd: what they had is taken at once', async t => {
  const { cluster, takenAtMs, until, kinds } = await five(15);
  await Promise.all(['node-1', 'node-2'].map(name => cluster.node(name).crash()));
  await until(() => takenAtMs.length === 6, 30_000);
  await until(() => cluster.settled('blog', 'node-4'));
  t.true(takenAtMs.at(-1)! - takenAtMs[0]! < 13_000, 'no longer than a lease');
  t.deepEqual(kinds(), []);
});

test('the brake stays on while something waits, and new work is not held up by it', async t => {
  const { cluster, takenAtMs, until, kinds } = await five(40);
  await Promise.all(['node-1', 'node-2', 'node-3'].map(name => cluster.node(name).crash()));
  await until(() => kinds().length > 0, 30_000);
  await cluster.run({ ...webApp(6), app: 'shop', hostnames: ['shop.example.com'] }, { on: 'node-4' });
  t.false(cluster.settled('blog', 'node-4'));
  t.true(cluster.node('node-4').agent.admin.supervisor().brake.active);
  await until(() => cluster.settled('blog', 'node-4'), 120_000);
  t.is(takenAtMs.length, 24);
  // The last is of one node alone, and that is no crowd.
  t.deepEqual(hasty(takenAtMs.slice(0, -1)), [], 'also long after the nodes went');
  await cluster.advance(40_000);
  t.deepEqual(kinds(), ['brake-engaged', 'brake-released']);
  t.false(cluster.node('node-4').agent.admin.supervisor().brake.active);
});

test('nodes that come back let the brake go, and take their own again at once', async t => {
  const { cluster, takenAtMs, until, kinds } = await five(15);
  const away = ['node-1', 'node-2', 'node-3'];
  for (const name of away) cluster.node(name).store.setLink('silent');
  await until(() => kinds().length === 1, 30_000);
  for (const name of away) cluster.node(name).store.setLink('up');
  await until(() => cluster.settled('blog', 'node-4'), 10_000);
  await cluster.advance(5000);
  t.deepEqual(kinds(), ['brake-engaged', 'brake-released']);
  t.deepEqual(takenAtMs, [], 'they answered all the time');
});

test('a node that comes and goes every 5 s causes one move, and then gets nothing new', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  await cluster.advance(10_000);
  const node = cluster.node('node-2');
  const moves = (): number =>
    cluster
      .events('subject-acquired')
      .filter(({ details }) => (details['mayStillRun'] as string[]).length > 0).length;
  for (let round = 0; round < 8; round++) {
    node.offline = !node.offline;
    await cluster.advance(5000);
  }
  t.is(moves(), 1);
  await cluster.node('node-1').agent.admin.scale('blog', { web: 6 });
  await cluster.until(() => cluster.settled('blog', 'node-1'));
  const owned = (): string[] =>
    Object.values(cluster.etcd.contents('owners'))
      .filter(owner => owner.node === 'node-2' && owner.released === null)
      .map(({ subject }) => subject);
  t.deepEqual(owned(), []);
  const { ranking } = cluster.node('node-1').agent.admin.explain('blog/web/5');
  t.regex(
    ranking!.excluded.find(each => each.node === 'node-2')!.reason,
    /^comes and goes: it went twice within 10 s, the last time \d+ s ago; it has to be there for 60 s$/,
  );
  await cluster.advance(61_000);
  await cluster.node('node-1').agent.admin.scale('blog', { web: 9 });
  await cluster.until(() => cluster.settled('blog', 'node-1'));
  t.is(owned().length, 3, 'once it has been there for a minute it is as good as any');
});
