import test from 'ava';
import { clusterMembers } from '../../src/main/members.ts';
import type { SessionRecord } from '../../src/model/records.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeEtcd } from '../support/fake-store.ts';

async function world() {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock, { cluster: 'prod' });
  const store = etcd.client('node-1');
  const arrive = async (node: string) => {
    etcd.put('sessions', `${node}/a`, { v: 1, node, peer: null as SessionRecord['peer'] } as SessionRecord);
    await clock.settle();
  };
  const leave = async (node: string) => {
    etcd.delete('sessions', `${node}/a`);
    await clock.settle();
  };
  const { isMember, reachable } = clusterMembers(store, { cluster: 'prod', clock });
  return { clock, etcd, store, arrive, leave, isMember, reachable };
}

test('a node is known by its name, alone or with its cluster', async t => {
  const { arrive, isMember } = await world();
  await arrive('node-2');
  t.true(isMember(['node-2.prod']));
  t.true(isMember(['something', 'node-2']));
  for (const name of ['node-2.test', 'node-2.prod.prod', 'node-22', 'node', 'etcd.prod', '', '.prod']) {
    t.false(isMember([name]), name);
  }
  t.false(isMember([]));
});

test('who comes is known at once; who goes is known for ten minutes more', async t => {
  const { clock, arrive, leave, isMember } = await world();
  await arrive('node-1');
  t.false(isMember(['node-2']));
  await arrive('node-2');
  t.true(isMember(['node-2']));
  await leave('node-2');
  await clock.advance(599_000);
  t.true(isMember(['node-2']), 'a session lost and made anew costs nobody its peers');
  await clock.advance(2_000);
  t.false(isMember(['node-2']));
  await arrive('node-2');
  t.true(isMember(['node-2']));
});

test('before etcd was ever heard nobody is turned away for a name', async t => {
  const { clock, etcd } = await world();
  const store = etcd.client('late');
  store.setLink('refused');
  const { isMember } = clusterMembers(store, { cluster: 'prod', clock });
  t.true(isMember(['node-7.prod']));
  store.setLink('up');
  await clock.advance(10_000);
  t.false(isMember(['node-7.prod']));
});

test('the nodes that have a session are reached where they say, once each', async t => {
  const { clock, etcd, arrive, leave, reachable } = await world();
  t.deepEqual(reachable(), []);
  const peer = { host: '10.0.0.2', port: 7400 };
  for (const incarnation of ['a', 'b']) {
    etcd.put('sessions', `node-2/${incarnation}`, { v: 1, node: 'node-2', peer } as SessionRecord);
  }
  etcd.put('sessions', 'node-3/a', { v: 1, node: 'node-3', peer: null } as SessionRecord);
  await clock.settle();
  t.deepEqual(reachable(), [{ node: 'node-2', peer }]);
  await leave('node-2');
  etcd.delete('sessions', 'node-2/b');
  await arrive('node-4');
  t.deepEqual(reachable(), []);
});
