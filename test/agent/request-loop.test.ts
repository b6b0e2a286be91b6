import test from 'ava';
import type { SupervisorRequest } from '../../src/model/records.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

const SUBJECT = 'instance/blog/web/0';

async function asking() {
  const cluster = new SimCluster(['node-1']);
  cluster.behaviour = () => ({ readyAfterMs: 200 });
  await cluster.start();
  await cluster.run(webApp(1));
  const node = cluster.node('node-1');
  let asked = 0;
  return {
    cluster,
    node,
    ask: (parts: Partial<SupervisorRequest> = {}): string => {
      const id = `r${++asked}`;
      const request: SupervisorRequest = {
        id,
        node: 'node-1',
        action: 'restart',
        subject: SUBJECT,
        reason: 'broken in the eyes of node-2',
        attempt: 0,
        from: 'node-2',
        at: '2026-01-01T00:00:00.000Z',
        ...parts,
      };
      cluster.etcd.put('requests', `${request.node}/${id}`, { v: 1, request });
      return id;
    },
    answer: (id: string) => cluster.etcd.contents('answers')[`node-1/${id}`],
  };
}

test('a restart is done, answered, and told', async t => {
  const { cluster, ask, answer } = await asking();
  const { unit } = cluster.copies('blog/web/0')[0]!;
  const id = ask({ pid: unit.pid! });
  await cluster.until(() => answer(id) !== undefined);
  t.like(answer(id), { answer: 'done', node: 'node-1', id });
  await cluster.until(() => cluster.settled('blog') && cluster.copies('blog/web/0').length === 1);
  t.not(cluster.copies('blog/web/0')[0]!.unit.pid, unit.pid);
  await cluster.advance(1000);
  t.is(cluster.events('request-accepted').length, 1);
  t.deepEqual(cluster.events('instance-exited'), [], 'what was asked for is no crash');
});

for (const { title, parts, reason } of [
  { title: 'what it does not own', parts: { subject: 'instance/blog/web/7' }, reason: /does not own/ },
  {
    title: 'to restart for the sake of a process that is gone',
    parts: { pid: 1 },
    reason: /process 1 of blog\/web\/0 is gone already/,
  },
  {
    title: 'to move what no release has been proven of yet',
    parts: { action: 'rebalance' as const, to: 'node-2' },
    reason: /no release of "blog" has been found healthy yet/,
  },
  {
    title: 'a release, which it would not do',
    parts: { action: 'release' as const },
    reason: /how to release/,
  },
]) {
  test(`it refuses ${title}, with the reason`, async t => {
    const { cluster, node, ask, answer } = await asking();
    const id = ask(parts);
    await cluster.until(() => answer(id) !== undefined);
    t.is(answer(id)?.answer, 'refused');
    t.regex(answer(id)!.reason, reason);
    t.is(node.driver.stops.length, 0);
    await cluster.advance(1000);
    t.is(cluster.events('request-refused').length, 1);
  });
}

test('what another node is asked is none of its business', async t => {
  const { cluster, node, ask } = await asking();
  ask({ node: 'node-2' });
  await cluster.advance(15_000);
  t.is(node.driver.stops.length, 0);
  t.deepEqual(cluster.etcd.contents('answers'), {});
});

for (const link of ['silent', 'replies-lost', 'refused'] as const) {
  test(`with a store that is ${link} at the answer, a request is still done once`, async t => {
    const { cluster, node, ask, answer } = await asking();
    const commit = node.store.commit.bind(node.store);
    let cut = true;
    node.store.commit = async (compares, writes) => {
      const answers = writes.some(write => 'put' in write && write.put === 'answers');
      if (answers && cut) {
        cut = false;
        node.store.setLink(link);
        cluster.clock.after(3000, () => node.store.setLink('up'));
      }
      return commit(compares, writes);
    };
    const id = ask();
    await cluster.until(() => answer(id) !== undefined && node.agent.admin.ready().ready);
    await cluster.advance(15_000);
    t.is(node.driver.stops.length, 1);
    t.is(answer(id)?.answer, 'done');
    t.is(cluster.events('request-accepted').length, 1);
  });
}

test('two requests in a row are two: the first is not done again while its answer is on its way', async t => {
  const { cluster, node, ask, answer } = await asking();
  const first = ask();
  const second = ask({ subject: 'instance/blog/web/7' });
  await cluster.until(() => answer(first) !== undefined && answer(second) !== undefined);
  const third = ask({ subject: 'instance/blog/web/8' });
  await cluster.until(() => answer(third) !== undefined);
  await cluster.advance(15_000);
  t.is(node.driver.stops.length, 1);
});

test('an answer to what nobody asks any more is not written', async t => {
  const { cluster, node, ask, answer } = await asking();
  const stop = node.driver.stop.bind(node.driver);
  const id = 'r1';
  node.driver.stop = async (...args) => {
    cluster.etcd.delete('requests', `node-1/${id}`);
    await stop(...args);
  };
  t.is(ask(), id);
  await cluster.advance(15_000);
  t.is(answer(id), undefined);
});

test("once a request is forgotten its answer goes too, and another node's answers are left to that node", async t => {
  const { cluster, node, ask, answer } = await asking();
  const id = ask();
  await cluster.until(() => answer(id) !== undefined);
  const other = { ...(answer(id) as object), id: 'r9', node: 'node-9' };
  cluster.etcd.put('answers', 'node-9/r9', other as never);
  cluster.etcd.delete('requests', `${node.name}/${id}`);
  await cluster.until(() => answer(id) === undefined);
  await cluster.advance(15_000);
  t.deepEqual(Object.keys(cluster.etcd.contents('answers')), ['node-9/r9']);
});
