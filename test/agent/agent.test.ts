import test from 'ava';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

test('three nodes run an app of nine instances, each on one node', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(9));
  await cluster.advance(15000);
  const revision = cluster.etcd.revision;
  const orig = cluster.etcd.txn.bind(cluster.etcd);
  cluster.etcd.txn = r => {
    const reply = orig(r);
    if (r.success.some(o => 'put' in o || 'delete' in o))
      t.log(
        cluster.clock.timestamp(),
        r.success.map(o => JSON.stringify(o).slice(0, 300)),
      );
    return reply;
  };
  await cluster.advance(600_000);
  t.is(cluster.etcd.revision, revision);
  await cluster.stop();
  await cluster.advance(20_000);
  t.is(cluster.clock.pending, 0);
});
