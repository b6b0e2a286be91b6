import test from 'ava';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

const HOUR_MS = 60 * 60_000;

test('what nothing needs any more goes within the hour; what runs, is wanted or could be gone back to stays', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const { artifacts } = cluster.node('node-1');
  for (let release = 1; release <= 8; release++) await cluster.run(webApp(1), { content: `blog ${release}` });
  const stray = artifacts.hold('nobody needs this');
  const releases = Object.values(cluster.etcd.contents('releases'));
  t.is(releases.length, 8);
  await cluster.clock.advance(HOUR_MS + 1000);
  t.false(artifacts.stored.has(stray));
  t.deepEqual(
    releases.map(({ artifact }) => artifacts.stored.has(artifact!.digest)),
    [false, false, false, true, true, true, true, true],
    'the newest five',
  );
  t.deepEqual([...artifacts.releases.keys()], ['blog/8'], 'only what runs is unpacked');
  t.is(cluster.copies('blog/web/0').length, 1);
});

test('an unpacked release that still serves, or is being deployed, stays', async t => {
  const cluster = new SimCluster(['node-1']);
  await cluster.start();
  const node = cluster.node('node-1');
  await cluster.run(webApp(1));
  // The second never gets ready: the first serves on.
  cluster.behaviour = () => ({ endsAfterMs: 10, code: 1, readyAfterMs: 1e9 });
  await cluster.apply(webApp(1), { content: 'blog 2' });
  await cluster.advance(60_000);
  const hooks = node.artifacts.runHooks.bind(node.artifacts);
  let during: string[] = [];
  node.artifacts.runHooks = async (...args) => {
    await cluster.clock.sleep(HOUR_MS);
    during = [...node.artifacts.releases.keys()];
    return hooks(...args);
  };
  const applying = cluster.apply(webApp(1, { beforeRun: ['true'] }), { content: 'blog 3' }).catch(() => []);
  await cluster.clock.advance(HOUR_MS + 1000);
  t.deepEqual(during.sort(), ['blog/1', 'blog/2', 'blog/3']);
  await applying;
});
