import test from 'ava';
import { forgetInstances } from '../../src/agent/forget-instances.ts';
import { appSpec } from '../support/nouns.ts';
import { SimCluster } from '../support/sim-cluster.ts';
import { appRecord, member, ownerRecord } from './helpers.ts';

const SUBJECT = 'instance/blog/web/0';
const released = { at: '2026-01-01T00:00:00.000Z', reason: 'the app is removed' };

test('what a lost node may still run outlives its app until that node says that it does not', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(appSpec());
  const lost = cluster.owner('blog/web/0')!.node;
  await cluster.node(lost).crash();
  await cluster.until(() => cluster.owner('blog/web/0')?.node !== lost);
  const asked = [...cluster.nodes.values()].find(({ name }) => name !== lost)!;
  await cluster.whileTimePasses(asked.agent.admin.remove('blog'));
  await cluster.until(() => cluster.etcd.contents('apps')['blog'] === undefined, 60_000);
  await cluster.advance(11 * 60_000);
  t.deepEqual(cluster.owner('blog/web/0')?.mayStillRun, [lost]);
  await cluster.node(lost).start();
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT] === undefined, 6 * 60_000, 1000);
  t.pass();
  await cluster.stop();
});

for (const { title, change } of [
  { title: 'that was taken since it was looked at', change: { owners: ownerRecord() } },
  { title: 'whose app is there again', change: { apps: appRecord() } },
]) {
  test(`one ${title} stays`, async t => {
    const { etcd, clock, world, store, log } = await member();
    etcd.put('owners', SUBJECT, ownerRecord({ released }));
    await clock.settle();
    const seen = world.owners.all();
    if (change.owners) etcd.put('owners', SUBJECT, change.owners);
    if (change.apps) etcd.put('apps', 'blog', change.apps);
    await clock.settle();
    const late = { owners: { all: () => seen }, apps: { get: () => undefined } } as never;
    await forgetInstances({ world: late, store, log });
    t.deepEqual(Object.keys(etcd.contents('owners')), [SUBJECT]);
    t.deepEqual(log.matching('forgot'), []);
  });
}
