import test from 'ava';
import { copiesLoop } from '../../src/agent/copies-loop.ts';
import { rendezvousOrder } from '../../src/model/rendezvous.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { runningPromise } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { appRecord, member } from './helpers.ts';

test('what an app runs is on two nodes at least, though only one runs or built it', async t => {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3', 'node-4', 'node-5']);
  await cluster.start();
  await cluster.run(webApp(1));
  await cluster.advance(70_000);
  const { digest } = cluster.etcd.contents('apps')['blog']!.artifact!;
  const holders = [...cluster.nodes.values()]
    .filter(node => node.artifacts.stored.has(digest))
    .map(node => node.name);
  const chosen = rendezvousOrder(digest, [...cluster.nodes.keys()]).slice(0, 2);
  for (const name of chosen) t.true(holders.includes(name), `${name} of ${holders.join(', ')}`);
  t.true(holders.length <= 4, 'not everybody');
});

test('losing the node that built it loses nothing: another starts what it ran', async t => {
  const cluster = new SimCluster(['node-1', 'node-2', 'node-3', 'node-4']);
  await cluster.start();
  const builder = 'node-1';
  await cluster.run(webApp(4), { on: builder });
  await cluster.advance(70_000);
  const other = 'node-2';
  await cluster.node(builder).crash();
  await cluster.until(() => cluster.settled('blog', other));
  t.pass();
});

async function copying() {
  const one = await member();
  const network = new Map<string, FakeArtifacts>();
  const artifacts = new FakeArtifacts(network);
  const other = new FakeArtifacts(network);
  network.set('node-2:7400', other);
  const digest = other.hold('blog');
  let fetched = 0;
  const loop = copiesLoop({ ...one, artifacts, onFetched: () => fetched++ });
  const { etcd } = one;
  etcd.put('apps', 'blog', appRecord(webApp(1), { artifact: { digest, bytes: 1, platform: null } }));
  const session = { node: 'node-2', incarnation: 'i', roles: ['apps'], peer: { host: 'node-2', port: 7400 } };
  etcd.put('sessions', 'node-2/i', sessionRecord(session));
  return {
    ...one,
    loop,
    artifacts,
    network,
    digest,
    fetched: () => fetched,
    promised: () =>
      etcd.put('promises', `node-2/holding:${digest}`, {
        v: 1,
        promise: {
          ...runningPromise({}, 'node-2'),
          name: `holding:${digest}`,
          body: { kind: 'holding', artifact: digest, bytes: 1 },
        },
      }),
  };
}

test('it fetches once, and says that it holds more now', async t => {
  const { clock, loop, artifacts, digest, fetched, promised } = await copying();
  promised();
  await clock.settle();
  loop.start();
  await clock.advance(300_000);
  t.true(artifacts.stored.has(digest));
  t.is(fetched(), 1);
  await loop.stop();
});

test('as long as nobody promises to hold it there is nobody to ask', async t => {
  const { clock, loop, log, fetched, promised } = await copying();
  loop.start();
  await clock.advance(120_000);
  t.is(fetched(), 0);
  t.deepEqual(log.matching('could not be copied'), []);
  promised();
  await clock.advance(61_000);
  t.is(fetched(), 1);
  await loop.stop();
});

test('a holder that does not answer is asked again, and nothing else waits for it', async t => {
  const { clock, loop, log, network, fetched, promised } = await copying();
  const other = network.get('node-2:7400')!;
  network.delete('node-2:7400');
  promised();
  await clock.settle();
  loop.start();
  await clock.advance(20_000);
  t.is(fetched(), 0);
  t.true(log.matching('could not be copied here').length >= 3);
  network.set('node-2:7400', other);
  await clock.advance(6000);
  t.is(fetched(), 1);
  await loop.stop();
});
