import test from 'ava';
import type { NameRequest } from '../../../src/model/named-agents.ts';
import { SimCluster, type SimNode } from '../../support/sim-cluster.ts';

const NAME = 'nightly-report';
const never = new AbortController().signal;

function words(node: SimNode): string[] {
  const { summary, lines } = node.agent.admin.explain(`agent/${NAME}`);
  return [summary, ...lines];
}

test('how a name stands is told through all states of the three machines, by any node', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: 10 });
  await cluster.start();
  await cluster.advance(1000);
  const [owning, other] = [cluster.node('node-1'), cluster.node('node-2')];
  const ask = (node: SimNode, holder: string, parts: Partial<NameRequest> = {}) =>
    cluster.whileTimePasses(
      node.agent.names.request(
        NAME,
        { holder, wait: false, waitSeconds: 0, ttlSeconds: 300, token: null, ...parts },
        never,
      ),
    );
  t.deepEqual(words(other), [
    `${NAME} is Inactive`,
    'owned by nobody: nobody has taken it yet',
    'nobody waits for it',
  ]);

  const { token } = await ask(owning, 'first');
  await ask(other, 'second', { wait: true });
  await cluster.advance(100);
  const [summary, owned, node, ...more] = words(other);
  t.is(summary, `${NAME} is Assigned to first on node-1`);
  t.regex(owned!, new RegExp(`^owned with token ${token} since 2026-`));
  t.is(node, 'node-1 is Active');
  t.regex(more[0]!, /^1\. in line: second on node-2, since 2026-/);
  t.regex(more[1]!, /^asked for at node-2 by second: Pending since 2026-.*: /);
  const own = words(owning);
  t.regex(own[2]!, /^its holder may act on it for \d\.\d s, and longer if it is heard again$/);
  t.regex(own.at(-1)!, /^asked for at node-1 by first: Assigned since 2026-/);

  await owning.crash();
  await cluster.until(() => words(other)[0] === `${NAME} is Unassigned`);
  const [, nobody, gone, held] = words(other);
  t.is(nobody, 'owned by nobody: the session of node-1 is gone');
  t.is(gone, 'node-1, which had it last, is ConnectionLost');
  t.regex(held!, /^held down: what had it last may not be dead before \d+\.\d s from now$/);

  await cluster.until(() => words(other)[0] === `${NAME} is Assigned to second on node-2`);
  await cluster.whileTimePasses(other.agent.names.release(NAME, 'second', null));
  await cluster.until(() => words(other)[0] === `${NAME} is Unassigned`);
  t.is(words(other)[1], 'owned by nobody: released by node-2: its holder released it');
  t.regex(words(other).at(-1)!, /^asked for at node-2 by second: Unassigned since 2026-/);
  await cluster.stop();
});

test('every move of a node is in the ledger, in the words of its machine', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: 10 });
  await cluster.start();
  await cluster.advance(1000);
  const node = cluster.node('node-1');
  node.store.setLink('refused');
  await cluster.until(() => node.agent.admin.node().state === 'ConnectionLost');
  node.store.setLink('up');
  await cluster.until(() => node.agent.admin.node().state === 'Active');
  await cluster.advance(1000);
  const moves = ['session-opened', 'session-lost', 'session-resumed']
    .flatMap(kind => cluster.events(kind))
    .filter(({ subject }) => subject === 'node/node-1')
    .map(({ details: { event, from, to } }) => `${String(from)} ${String(event)} ${String(to)}`);
  t.deepEqual(moves.sort(), [
    'Active TimedOut ConnectionLost',
    'ConnectionLost Reconnect Active',
    'Inactive Started Active',
  ]);
  await cluster.stop();
});
