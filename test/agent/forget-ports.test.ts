import test from 'ava';
import { forgetPorts } from '../../src/agent/forget-ports.ts';
import { StoreError } from '../../src/ports/store.ts';
import { appSpec, processSpec } from '../support/nouns.ts';
import { SimCluster } from '../support/sim-cluster.ts';
import { member, ownerRecord } from './helpers.ts';

const KEY = 'node-9/8448/tcp';
const PORT = { v: 1 as const, app: 'blog', instance: 'blog/web/0' };
const SUBJECT = 'instance/blog/web/0';

for (const { title, exclusive } of [
  { title: 'when another has taken what was exclusive', exclusive: true },
  { title: 'when an operator has said that it runs no more what may run twice', exclusive: false },
]) {
  test(`a port of a node that does not come back is forgotten ${title}`, async t => {
    const cluster = new SimCluster();
    await cluster.start();
    const processes = [processSpec({ exclusive, stopTimeoutSeconds: 2 })];
    const ports = [{ number: 8448, protocol: 'tcp' as const, name: 'federation' }];
    await cluster.run(appSpec({ processes, ports }));
    const [key = ''] = Object.keys(cluster.etcd.contents('ports'));
    const lost = key.split('/')[0]!;
    await cluster.node(lost).crash();
    await cluster.until(() => cluster.owner('blog/web/0')?.node !== lost);
    await cluster.until(() => cluster.settled('blog'));
    const there = (): boolean => key in cluster.etcd.contents('ports');
    if (!exclusive) {
      await cluster.advance(6 * 60_000);
      t.true(there(), 'it may still run there');
      const asked = [...cluster.nodes.values()].find(({ name }) => name !== lost)!;
      await cluster.whileTimePasses(asked.agent.names.clearMayStillRun(SUBJECT, lost));
    }
    await cluster.until(() => !there(), 6 * 60_000, 1000);
    const taken = Object.keys(cluster.etcd.contents('ports'));
    t.deepEqual(taken, [`${cluster.owner('blog/web/0')?.node}/8448/tcp`]);
    await cluster.stop();
  });
}

test('a port of an instance that its node has taken again since it was looked at is not forgotten', async t => {
  const { etcd, clock, world, store, log } = await member();
  etcd.put('owners', SUBJECT, ownerRecord());
  etcd.put('ports', KEY, PORT);
  await clock.settle();
  const seen = world.owners.get(SUBJECT);
  etcd.put('owners', SUBJECT, ownerRecord({ node: 'node-9' }));
  await clock.settle();
  const late = { ports: world.ports, owners: { get: () => seen }, nodes: () => new Map() } as never;
  await forgetPorts({ world: late, store, log });
  t.deepEqual(Object.keys(etcd.contents('ports')), [KEY]);
  t.deepEqual(log.matching('forgot ports'), [], 'nothing was forgotten');
  etcd.put('owners', SUBJECT, ownerRecord());
  await clock.settle();
  await forgetPorts({ world, store, log });
  t.deepEqual(etcd.contents('ports'), {});
  t.deepEqual(
    log.matching('forgot ports').map(({ fields }) => fields),
    [{ ports: [KEY] }],
  );
});

test('where etcd lets nobody else write them they stay, and nothing fails', async t => {
  const { etcd, clock, world, log } = await member();
  etcd.put('ports', KEY, PORT);
  await clock.settle();
  const refused = new StoreError('permission denied', { outcome: 'refused', retryable: false });
  await forgetPorts({ world, store: { commit: () => Promise.reject(refused) }, log });
  t.is(log.matching('this node may not remove them').length, 1);
  const silent = new StoreError('no answer', { outcome: 'unknown', retryable: true });
  await t.throwsAsync(forgetPorts({ world, store: { commit: () => Promise.reject(silent) }, log }));
});
