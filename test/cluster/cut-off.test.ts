import test from 'ava';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ask, startCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: 3 });
  await cluster.apply('shop', { scale: { web: 3 } });
  await cluster.ready('shop', 3);
});
test.after.always(() => cluster.stop());

test.serial(
  'an agent started with no store in reach brings up what it ran last, and says that it is cut off',
  async t => {
    const before = await cluster.ready('shop', 3);
    const node = cluster.node('node-2');
    const own = before.filter(instance => instance.node === 'node-2');
    t.true(own.length > 0);
    const { mode } = await stat(join(node.stateDir, 'state', 'last-run.json'));
    t.is(mode & 0o077, 0, 'it holds secrets');
    await cluster.etcd.first.stop();
    await node.crash();
    await node.start();
    const again = await until('it runs again, with no store', async () => {
      const { items } = await node.api.instances({ app: 'shop' }).catch(() => ({ items: [] }));
      const ready = items.filter(instance => instance.ready);
      return ready.length === own.length ? ready : null;
    });
    for (const instance of again) t.is((await ask(instance))['instance'], instance.instance);
    const { ready, reason } = await node.api.ready();
    t.false(ready);
    t.regex(reason, /this node is cut off: it has not heard the store since its agent started/);
    t.is((await node.api.node()).state, 'ConnectionLost');
    t.is((await node.api.app('shop')).conditions[0]?.type, 'CutOff');
    await cluster.etcd.first.start();
    await cluster.etcd.first.healthy();
    // Until its new session has taken it again, the others may still show what the old one said.
    await cluster.ready('shop', 3, all =>
      again.every(({ instance, pid }) =>
        all.some(now => now.instance === instance && now.node === 'node-2' && now.pid === pid),
      ),
    );
    for (const instance of again)
      t.is((await ask(instance))['pid'], instance.pid, 'it was not started again');
  },
);
