/**
 * Whole agents that share names, in a simulated cluster: one suite, because each test is a sentence about the same handful of
 * programs and commands, and what a rule of ownership 13 takes out is looked for in all of them.
 */
import test from 'ava';
import { deadlineMs, marginMs } from '../../../src/model/deadline.ts';
import type { CommandProgress, CommandRequest, NameRequest } from '../../../src/model/named-agents.ts';
import { AdminError } from '../../../src/ports/admin.ts';
import { StoreError } from '../../../src/ports/store.ts';
import { SimCluster, type SimNode } from '../../support/sim-cluster.ts';

const TTL_SECONDS = 10;
const NAME = 'nightly-report';
const SUBJECT = `agent/${NAME}`;

async function started(names = ['node-1', 'node-2']): Promise<{ cluster: SimCluster; nodes: SimNode[] }> {
  const cluster = new SimCluster(names, { ttlSeconds: TTL_SECONDS });
  await cluster.start();
  await cluster.advance(1000);
  return { cluster, nodes: names.map(name => cluster.node(name)) };
}

const never = new AbortController().signal;

function asks(holder: string, parts: Partial<NameRequest> = {}): NameRequest {
  return { holder, wait: false, waitSeconds: 0, ttlSeconds: 30, token: null, ...parts };
}

function isPage(cluster: SimCluster, page: number): boolean {
  return (cluster.etcd.contents('agents')[NAME]?.state as { page: number }).page === page;
}

function had(cluster: SimCluster, node: SimNode, request: NameRequest) {
  return cluster.whileTimePasses(node.agent.names.request(NAME, request, never));
}

/** A command line: what it was told, how it failed, and how to leave it. */
interface Line {
  told: CommandProgress[];
  failure: AdminError | null;
  leave: () => void;
  kind: (kind: CommandProgress['kind']) => CommandProgress | undefined;
}

let ids = 0;

function own(node: SimNode, parts: Partial<CommandRequest> = {}): Line & { id: string } {
  const id = parts.id ?? `c${++ids}`;
  const request: CommandRequest = {
    id,
    command: ['run', 'it'],
    directory: '/here',
    env: { A: 'b' },
    wait: false,
    timeoutSeconds: null,
    stopTimeoutSeconds: 2,
    ...parts,
  };
  return Object.assign(
    listening(signal => node.agent.names.run(NAME, request, signal)),
    { id },
  );
}

function attached(node: SimNode, id: string, after: string | null = null): Line {
  return listening(signal => node.agent.names.attach(NAME, id, after, signal));
}

function listening(open: (signal: AbortSignal) => AsyncIterable<CommandProgress>): Line {
  const leaving = new AbortController();
  const told: CommandProgress[] = [];
  const line: Line = {
    told,
    failure: null,
    leave: () => leaving.abort(new Error('the command line is gone')),
    kind: kind => told.find(item => item.kind === kind),
  };
  void (async () => {
    try {
      for await (const item of open(leaving.signal)) told.push(item);
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      line.failure = error;
    }
  })();
  return line;
}

function living(cluster: SimCluster): { node: string; unit: string }[] {
  return [...cluster.nodes.values()].flatMap(node =>
    node.commands.running(`${NAME}/own/0`).map(({ unit }) => ({ node: node.name, unit })),
  );
}

/** Looks at every step of the clock: the most that lived at once. */
async function mostAtOnce(cluster: SimCluster, forMs: number): Promise<number> {
  let most = 0;
  for (let passedMs = 0; passedMs < forMs; passedMs += 50) {
    await cluster.advance(50);
    most = Math.max(most, living(cluster).length);
  }
  return most;
}

test('a name is had by one holder at a time, also on one node, and says by whom and since when', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const first = await had(cluster, here, asks('first'));
  t.is(first.state, 'Assigned');
  const told = here.agent.admin.events({ kind: 'agent-assigned', limit: 1, after: null });
  // Written down in the transaction that took it, whose revision is the token.
  t.is(first.token, (await cluster.whileTimePasses(told)).items[0]!.revision);
  await cluster.advance(100);
  for (const node of [here, there]) {
    const refused = await t.throwsAsync(() => had(cluster, node, asks('second')), { instanceOf: AdminError });
    t.regex(refused.message, /held by first on node-1 since 2026-/);
    t.is(refused.kind, 'conflict');
    t.like(refused.details, { owner: 'node-1', holder: 'first', token: first.token });
  }
  await cluster.stop();
});

test('a request by who has it is answered from memory, with no round to the store', async t => {
  const { cluster, nodes } = await started();
  const node = nodes[0]!;
  const { token } = await had(cluster, node, asks('first'));
  node.store.setLink('silent');
  const again = await node.agent.names.request(NAME, asks('first', { token }), never);
  t.is(again.state, 'Assigned');
  const view = node.agent.names.agent(NAME);
  t.like(view, { state: 'Assigned', owner: 'node-1', holder: 'first', token });
  t.true(view.validForMs! > 0 && view.validForMs! <= TTL_SECONDS * 1000);
  t.true(again.validForMs! <= view.validForMs!);
  node.store.setLink('up');
  await cluster.stop();
});

test('what is answered is valid for no longer than the session, and not at all once that is lost', async t => {
  const { cluster, nodes } = await started();
  const node = nodes[0]!;
  const { token } = await had(cluster, node, asks('first', { ttlSeconds: 300 }));
  node.store.setLink('refused');
  const cutMs = cluster.clock.now();
  await cluster.advance(3000);
  const { validForMs } = await node.agent.names.request(NAME, asks('first', { token }), never);
  t.true(cluster.clock.now() + validForMs! <= deadlineMs(cutMs, TTL_SECONDS));
  await cluster.until(() =>
    node.agent.names.agent(NAME).requests.some(({ state }) => state === 'Unassigned'),
  );
  t.true(cluster.clock.now() <= deadlineMs(cutMs, TTL_SECONDS) + 10);
  await t.throwsAsync(() => node.agent.names.request(NAME, asks('first', { token }), never), {
    instanceOf: AdminError,
  });
  node.store.setLink('up');
  await cluster.until(() => cluster.events('agent-lost').length === 1);
  t.like(cluster.events('agent-lost')[0]!.details, { holder: 'first', fencingToken: token });
  await cluster.stop();
});

test('a holder that is not heard any more loses the name, only after nobody can act on it', async t => {
  const { cluster, nodes } = await started();
  const { token } = await had(cluster, nodes[0]!, asks('first', { ttlSeconds: 20 }));
  const heardMs = cluster.clock.now();
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.released !== null);
  t.true(cluster.clock.now() >= heardMs + 20_000 + marginMs(20) - 10);
  t.true(cluster.clock.now() <= heardMs + 20_000 + marginMs(20) + 500);
  const late = await t.throwsAsync(() => had(cluster, nodes[0]!, asks('first', { token })), {
    instanceOf: AdminError,
  });
  t.regex(late.message, /not held under token/);
  await cluster.stop();
});

test('waiters have it in the order in which they came, whatever node they are on', async t => {
  const { cluster, nodes } = await started(['node-1', 'node-2', 'node-3']);
  await had(cluster, nodes[0]!, asks('holder'));
  const order = ['a', 'b', 'c', 'd', 'e', 'f'];
  for (const [index, holder] of order.entries()) {
    const answer = await had(cluster, nodes[index % 3]!, asks(holder, { wait: true, ttlSeconds: 300 }));
    t.is(answer.state, 'Pending');
    await cluster.advance(50);
  }
  t.deepEqual(
    nodes[1]!.agent.names.agent(NAME).waiters.map(({ holder }) => holder),
    order,
  );
  const served: string[] = [];
  let holder = 'holder';
  for (const expected of order) {
    const owner = cluster.node(cluster.etcd.contents('owners')[SUBJECT]!.node);
    await cluster.whileTimePasses(owner.agent.names.release(NAME, holder, null));
    await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.released === null, 2000);
    holder = cluster.etcd.contents('owners')[SUBJECT]!.holder;
    served.push(holder);
    t.is(holder, expected);
  }
  t.deepEqual(Object.keys(cluster.etcd.contents('waiters')), []);
  const tokens = cluster.events('agent-assigned');
  t.is(tokens.length, order.length + 1);
  await cluster.stop();
});

test('nobody passes those who wait, and who asks without waiting is told who is first', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  await had(cluster, here, asks('holder'));
  await had(cluster, there, asks('patient', { wait: true, ttlSeconds: 300 }));
  await cluster.advance(100);
  there.store.setLink('refused');
  await cluster.whileTimePasses(here.agent.names.release(NAME, 'holder', null));
  await cluster.advance(100);
  const refused = await t.throwsAsync(() => had(cluster, here, asks('hasty')), { instanceOf: AdminError });
  t.regex(refused.message, /patient on node-2 is first in line/);
  there.store.setLink('up');
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.holder === 'patient');
  await cluster.stop();
});

test('a waiter whose node dies leaves no gap', async t => {
  const { cluster, nodes } = await started(['node-1', 'node-2', 'node-3']);
  await had(cluster, nodes[0]!, asks('holder'));
  await had(cluster, nodes[1]!, asks('doomed', { wait: true, ttlSeconds: 300 }));
  await had(cluster, nodes[2]!, asks('next', { wait: true, ttlSeconds: 300 }));
  await nodes[1]!.crash();
  await cluster.whileTimePasses(nodes[0]!.agent.names.release(NAME, 'holder', null));
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.holder === 'next', 15_000);
  t.pass();
  await cluster.stop();
});

test('a waiter whose session ended while it stood in line does not get it on the strength of its place', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  await had(cluster, here, asks('holder'));
  await had(cluster, there, asks('patient', { wait: true, ttlSeconds: 300 }));
  await cluster.advance(100);
  // Its key goes, as with its lease, and it has not heard of it when its turn comes.
  const [waiter] = Object.keys(cluster.etcd.contents('waiters'));
  cluster.etcd.losesEvents = true;
  cluster.etcd.delete('waiters', waiter!);
  await cluster.clock.settle();
  cluster.etcd.losesEvents = false;
  await cluster.whileTimePasses(here.agent.names.release(NAME, 'holder', null));
  // It stands in line anew, and gets it then.
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.holder === 'patient');
  const asked = cluster.events('agent-requested').filter(({ message }) => message.startsWith('patient '));
  t.is(asked.length, 2);
  await cluster.stop();
});

test('a place in line that vanished is taken again', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  await had(cluster, here, asks('holder', { ttlSeconds: 300 }));
  await had(cluster, there, asks('patient', { wait: true, ttlSeconds: 300 }));
  await cluster.advance(100);
  const [waiter] = Object.keys(cluster.etcd.contents('waiters'));
  cluster.etcd.delete('waiters', waiter!);
  await cluster.advance(1000);
  await cluster.whileTimePasses(here.agent.names.release(NAME, 'holder', null));
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.holder === 'patient', 15_000);
  t.is(cluster.etcd.contents('owners')[SUBJECT]!.released, null);
  await cluster.stop();
});

test('who has waited once, and asks without waiting, is answered at once', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  await had(cluster, here, asks('holder', { ttlSeconds: 300 }));
  await had(cluster, there, asks('patient', { wait: true }));
  await cluster.until(() => Object.keys(cluster.etcd.contents('waiters')).length === 0, 60_000);
  await t.throwsAsync(() => had(cluster, there, asks('patient')), { instanceOf: AdminError });
  await cluster.advance(1000);
  t.deepEqual(Object.keys(cluster.etcd.contents('waiters')), []);
  await cluster.stop();
});

test('a release that the store could not be told is tried again soon, and not all the time', async t => {
  const { cluster, nodes } = await started(['node-1']);
  const [node] = nodes as [SimNode];
  await had(cluster, node, asks('holder', { ttlSeconds: 300 }));
  const get = node.store.get.bind(node.store);
  let reads = 0;
  node.store.get = (kind, name) => {
    reads++;
    return get(kind, name);
  };
  node.store.setLink('refused');
  await t.throwsAsync(() => cluster.whileTimePasses(node.agent.names.release(NAME, 'holder', null)));
  await cluster.advance(4000);
  t.true(reads > 2 && reads < 40, `${reads} reads in 4 s`);
  node.store.setLink('up');
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.released !== null);
  t.pass();
  await cluster.stop();
});

test('a waiter that is not heard any more leaves the line, and that is told', async t => {
  const { cluster, nodes } = await started();
  await had(cluster, nodes[0]!, asks('holder', { ttlSeconds: 300 }));
  await had(cluster, nodes[1]!, asks('patient', { wait: true, ttlSeconds: 5 }));
  await cluster.until(() => Object.keys(cluster.etcd.contents('waiters')).length === 0, 6000);
  const [event] = cluster.events('agent-request-timed-out');
  t.deepEqual(event!.details['request'], { event: 'RequestTimedOut', from: 'Pending', to: 'Unassigned' });
  await cluster.stop();
});

test('a name of a node that died is free after the hold-down, and the ledger tells every move', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  await had(cluster, here, asks('first'));
  await here.crash();
  await cluster.until(() => Object.keys(cluster.etcd.contents('sessions')).length === 1);
  const goneMs = cluster.clock.now();
  await cluster.advance(500);
  t.is(there.agent.names.agent(NAME).state, 'Unassigned');
  const refused = await t.throwsAsync(() => had(cluster, there, asks('second')), { instanceOf: AdminError });
  t.regex(refused.message, /it is free in \d/);
  await had(cluster, there, asks('second', { wait: true, ttlSeconds: 300 }));
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.holder === 'second');
  t.true(cluster.clock.now() >= goneMs + TTL_SECONDS * 1000);
  await cluster.advance(500);
  t.deepEqual(
    cluster.events().flatMap(({ kind, subject }) => (subject === SUBJECT ? [kind] : [])),
    ['agent-assigned', 'agent-timed-out', 'agent-requested', 'agent-assigned'],
  );
  t.like(cluster.events('agent-timed-out')[0]!.details, {
    event: 'Timeout',
    from: 'Assigned',
    to: 'Unassigned',
  });
  await cluster.stop();
});

test('a name whose owner is there after all is refused by the store itself', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  await had(cluster, here, asks('first'));
  const sessions = cluster.etcd.contents('sessions');
  const [name] = Object.keys(sessions).filter(each => each.startsWith('node-1/'));
  await here.crash();
  await cluster.until(() => Object.keys(cluster.etcd.contents('sessions')).length === 1);
  await had(cluster, there, asks('second', { wait: true, ttlSeconds: 300 }));
  await cluster.advance(TTL_SECONDS * 900);
  // What no etcd would do to a copy of it: nothing but the transaction can know.
  cluster.etcd.losesEvents = true;
  cluster.etcd.put('sessions', name!, sessions[name!]!);
  await cluster.clock.settle();
  cluster.etcd.losesEvents = false;
  await cluster.advance(5000);
  t.is(cluster.etcd.contents('owners')[SUBJECT]!.holder, 'first');
  cluster.etcd.delete('sessions', name!);
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.holder === 'second');
  await cluster.stop();
});

test('what a program holds counts for as long as its node may believe to have it, also on that very node', async t => {
  const { cluster, nodes } = await started();
  const node = nodes[0]!;
  await had(cluster, node, asks('first', { ttlSeconds: 300 }));
  const { incarnation } = cluster.etcd.contents('owners')[SUBJECT]!;
  cluster.etcd.delete('sessions', `node-1/${incarnation}`);
  const goneMs = cluster.clock.now();
  await cluster.advance(1000);
  await had(cluster, node, asks('second', { wait: true, ttlSeconds: 300 }));
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.holder === 'second');
  t.true(cluster.clock.now() >= goneMs + TTL_SECONDS * 1000);
  await cluster.stop();
});

test('a command that is dead is another matter: its own node may have the name again at once', async t => {
  const { cluster, nodes } = await started();
  const node = nodes[0]!;
  const first = own(node);
  await cluster.until(() => first.kind('started') !== undefined);
  const { incarnation } = cluster.etcd.contents('owners')[SUBJECT]!;
  cluster.etcd.delete('sessions', `node-1/${incarnation}`);
  await cluster.until(() => first.kind('ended') !== undefined, 8000);
  const next = own(node, { wait: true });
  await cluster.until(() => next.kind('started') !== undefined || next.failure !== null, 5000);
  t.is(next.failure, null);
  await cluster.stop();
});

test('a new session does not put off the guard while a command of the lost one lives', async t => {
  const { cluster, nodes } = await started();
  const node = nodes[0]!;
  cluster.behaviour = () => ({ ignoresTerm: true });
  const first = own(node);
  await cluster.until(() => first.kind('started') !== undefined);
  const { incarnation } = cluster.etcd.contents('owners')[SUBJECT]!;
  const armedUntilMs = node.commandGuard.armedUntilMs()!;
  cluster.etcd.delete('sessions', `node-1/${incarnation}`);
  await cluster.until(() => node.agent.admin.ready().ready && first.kind('stopping') !== undefined);
  const other: CommandRequest = {
    id: 'other',
    command: ['it'],
    directory: '/here',
    env: {},
    wait: true,
    timeoutSeconds: null,
    stopTimeoutSeconds: 2,
  };
  const next = listening(signal => node.agent.names.run('other', other, signal));
  await cluster.until(() => cluster.etcd.contents('owners')['agent/other']?.released === null, 1500);
  while (living(cluster).length > 0) {
    t.is(node.commandGuard.armedUntilMs(), armedUntilMs);
    t.is(next.kind('started'), undefined);
    await cluster.advance(50);
  }
  await cluster.until(() => next.kind('started') !== undefined, 5000);
  t.true(node.commandGuard.armedUntilMs()! > armedUntilMs);
  await cluster.stop();
});

test('a state is kept under the token, outlives its owner, and a stale token writes nothing', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const first = await had(cluster, here, asks('first'));
  const put = (node: SimNode, holder: string, token: string, state: unknown) =>
    cluster.whileTimePasses(node.agent.names.putState(NAME, { holder, token, state }));
  await put(here, 'first', first.token!, { page: 1 });
  await put(here, 'first', first.token!, { page: 2 });
  here.store.setLink('silent');
  t.deepEqual((await here.agent.names.state(NAME))!.state, { page: 2 });
  here.store.setLink('up');
  await cluster.whileTimePasses(here.agent.names.release(NAME, 'first', first.token));
  await cluster.advance(100);
  const second = await had(cluster, there, asks('second'));
  t.like(await cluster.whileTimePasses(there.agent.names.state(NAME)), {
    state: { page: 2 },
    token: first.token,
    holder: 'first',
  });
  await t.throwsAsync(() => put(here, 'first', first.token!, { page: 3 }), { instanceOf: AdminError });
  await t.throwsAsync(() => put(there, 'second', first.token!, { page: 3 }), { instanceOf: AdminError });
  t.deepEqual([here.staleUses, there.staleUses], [['state'], ['state']]);
  await put(there, 'second', second.token!, { page: 4 });
  t.like(cluster.etcd.contents('agents')[NAME], { state: { page: 4 }, token: second.token });
  await cluster.stop();
});

test('what others can see of a state already is not denied by the node that writes it', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const { token } = await had(cluster, here, asks('first'));
  const put = (page: number) =>
    here.agent.names.putState(NAME, { holder: 'first', token: token!, state: { page } });
  await cluster.whileTimePasses(put(1));
  here.store.setLink('replies-lost');
  const writing = put(2);
  await cluster.until(() => isPage(cluster, 2));
  t.like(await cluster.whileTimePasses(there.agent.names.state(NAME)), { state: { page: 2 } });
  const reading = here.agent.names.state(NAME);
  here.store.setLink('up');
  t.like(await cluster.whileTimePasses(reading), { state: { page: 2 } });
  t.like(await cluster.whileTimePasses(writing), { state: { page: 2 } });
  await cluster.stop();
});

test('a state is not answered from memory while a write that nobody answered for may still come in', async t => {
  const { cluster, nodes } = await started();
  const [here] = nodes as [SimNode];
  const { token } = await had(cluster, here, asks('first'));
  const put = (page: number) =>
    cluster.whileTimePasses(
      here.agent.names.putState(NAME, { holder: 'first', token: token!, state: { page } }),
    );
  const read = () => cluster.whileTimePasses(here.agent.names.state(NAME));
  await put(1);
  here.store.setLink('silent');
  await t.throwsAsync(() => put(2), { instanceOf: StoreError });
  here.store.setLink('up');
  t.like(await read(), { state: { page: 1 } });
  const late = { ...cluster.etcd.contents('agents')[NAME]!, state: { page: 2 }, operation: 'late' };
  cluster.etcd.put('agents', NAME, late);
  t.like(await read(), { state: { page: 2 } });
  await put(3);
  here.store.setLink('silent');
  t.like(await here.agent.names.state(NAME), { state: { page: 3 } }, 'nothing can come in any more');
  await cluster.stop();
});

test('a state whose owner key another has taken is refused by the store itself', async t => {
  const { cluster, nodes } = await started();
  const node = nodes[0]!;
  const { token } = await had(cluster, node, asks('first'));
  const owner = cluster.etcd.contents('owners')[SUBJECT]!;
  cluster.etcd.losesEvents = true;
  cluster.etcd.put('owners', SUBJECT, { ...owner, node: 'node-2', holder: 'thief', operation: 'x' });
  await cluster.clock.settle();
  cluster.etcd.losesEvents = false;
  await t.throwsAsync(
    () =>
      cluster.whileTimePasses(node.agent.names.putState(NAME, { holder: 'first', token: token!, state: 1 })),
    { instanceOf: AdminError, message: /not in force/ },
  );
  t.deepEqual(node.staleUses, ['state']);
  t.is(cluster.etcd.contents('agents')[NAME], undefined);
  await cluster.stop();
});

test('a release compares the token: whoever has it since keeps it', async t => {
  const { cluster, nodes } = await started();
  const [here] = nodes as [SimNode];
  await had(cluster, here, asks('first'));
  const owner = cluster.etcd.contents('owners')[SUBJECT]!;
  cluster.etcd.losesEvents = true;
  cluster.etcd.put('owners', SUBJECT, { ...owner, holder: 'second', incarnation: 'other', operation: 'x' });
  await cluster.clock.settle();
  cluster.etcd.losesEvents = false;
  await cluster.whileTimePasses(here.agent.names.release(NAME, 'first', null));
  t.like(cluster.etcd.contents('owners')[SUBJECT], { holder: 'second', released: null });
  t.deepEqual(here.staleUses, ['release']);
  await cluster.stop();
});

test('what is tried under a stale token is counted each time, and told once', async t => {
  const { cluster, nodes } = await started();
  const [here] = nodes as [SimNode];
  const { token } = await had(cluster, here, asks('first'));
  await cluster.whileTimePasses(here.agent.names.release(NAME, 'first', token));
  await cluster.advance(100);
  await had(cluster, here, asks('second'));
  const zombie: (() => Promise<unknown>)[] = [
    () => here.agent.names.request(NAME, asks('first', { token }), never),
    () => here.agent.names.request(NAME, asks('second', { token }), never),
    () => here.agent.names.release(NAME, 'first', token),
    () => here.agent.names.release(NAME, 'second', token),
    () => here.agent.names.putState(NAME, { holder: 'first', token: token!, state: 1 }),
  ];
  for (const attempt of [...zombie, ...zombie])
    await t.throwsAsync(() => cluster.whileTimePasses(attempt()), { instanceOf: AdminError });
  t.deepEqual(here.staleUses.toSorted(), [
    ...Array<string>(4).fill('release'),
    ...Array<string>(4).fill('request'),
    ...Array<string>(2).fill('state'),
  ]);
  await cluster.advance(1000);
  const told = cluster.events('stale-token-refused');
  t.is(told.length, zombie.length);
  t.like(told[0], { subject: SUBJECT, details: { use: 'request', by: 'first', fencingToken: token } });
  t.is(
    told[0]!.message,
    `node-1 refused first to go on with ${SUBJECT}: token ${token!} is not in force any more`,
  );
  await cluster.stop();
});

test('a request without a token, a second holder and a waiter are nothing stale', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const { token } = await had(cluster, here, asks('first'));
  await t.throwsAsync(() => cluster.whileTimePasses(there.agent.names.request(NAME, asks('second'), never)));
  await had(cluster, here, asks('first', { token }));
  await cluster.whileTimePasses(here.agent.names.release(NAME, 'first', token));
  t.deepEqual([...here.staleUses, ...there.staleUses], []);
  await cluster.stop();
});

test('a name that was given back is remembered: its owner key stays', async t => {
  const { cluster, nodes } = await started();
  await had(cluster, nodes[0]!, asks('first'));
  await cluster.whileTimePasses(nodes[0]!.agent.names.release(NAME, 'first', null));
  await cluster.advance(100);
  t.like(nodes[1]!.agent.names.agent(NAME), { state: 'Unassigned', owner: null, token: null });
  t.regex(nodes[1]!.agent.names.agent(NAME).reason, /released by node-1/);
  await cluster.stop();
});

test('a claim whose reply was lost is found again, and one that nobody waits for any more goes back', async t => {
  const { cluster, nodes } = await started();
  const node = nodes[0]!;
  node.store.setLink('replies-lost');
  const waiting = t.throwsAsync(node.agent.names.request(NAME, asks('first', { wait: true }), never));
  const hasty = t.throwsAsync(node.agent.names.request('other', asks('first'), never));
  await cluster.until(() => Object.keys(cluster.etcd.contents('owners')).length === 2);
  await cluster.whileTimePasses(Promise.all([waiting, hasty]), 15_000);
  node.store.setLink('up');
  const answer = await had(cluster, node, asks('first', { wait: true, waitSeconds: 20 }));
  t.is(answer.state, 'Assigned');
  t.is(cluster.events('agent-assigned').length, 2);
  await cluster.until(() => cluster.etcd.contents('owners')['agent/other']?.released !== null);
  await cluster.stop();
});

test('a command runs under the guard with its token, what it writes is told, and its end', async t => {
  const { cluster, nodes } = await started();
  cluster.behaviour = () => ({ prints: [{ stream: 'stdout', text: 'hello' }] });
  const line = own(nodes[0]!);
  await cluster.until(() => living(cluster).length === 1);
  const { unit } = living(cluster)[0]!;
  const launch = nodes[0]!.commands.launches[0]!;
  t.like(launch, {
    guarded: true,
    directory: '/here',
    token: line.told[0] && 'token' in line.told[0] ? line.told[0].token : '',
  });
  t.is(launch.process.command, `exec 'run' 'it'`);
  t.is(launch.env['A'], 'b');
  await cluster.until(() => line.kind('output') !== undefined);
  nodes[0]!.commands.print(unit, 'stderr', 'and more');
  await cluster.advance(300);
  nodes[0]!.commands.print(unit, 'stdout', 'last words');
  nodes[0]!.commands.exit(unit, { code: 7 });
  await cluster.until(() => line.kind('ended') !== undefined);
  t.deepEqual(
    line.told.flatMap(item => (item.kind === 'output' ? [item.text] : [])),
    ['hello', 'and more', 'last words'],
  );
  t.like(line.kind('ended'), { code: 7, signal: null, reason: null, released: true });
  t.not(cluster.etcd.contents('owners')[SUBJECT]!.released, null);
  await cluster.stop();
});

test('a second command is refused, or waits its turn; the name goes over only after the first is dead', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  cluster.behaviour = () => ({ ignoresTerm: true });
  const first = own(here);
  await cluster.until(() => first.kind('started') !== undefined);
  const hasty = own(there);
  const patient = own(there, { wait: true });
  await cluster.until(() => hasty.failure !== null);
  t.regex(hasty.failure!.message, /held by command:c\d+ on node-1 since/);
  await cluster.until(() => patient.kind('waiting') !== undefined);
  here.agent.names.stopCommand(NAME, first.id, false);
  t.is(await mostAtOnce(cluster, 5000), 1);
  t.like(first.kind('ended'), { signal: 'SIGKILL', released: true });
  t.not(patient.kind('started'), undefined);
  t.is(living(cluster)[0]!.node, 'node-2');
  await cluster.stop();
});

test('a command is killed at once when asked a second time', async t => {
  const { cluster, nodes } = await started();
  cluster.behaviour = () => ({ ignoresTerm: true });
  const line = own(nodes[0]!);
  await cluster.until(() => line.kind('started') !== undefined);
  nodes[0]!.agent.names.stopCommand(NAME, line.id, false);
  await cluster.advance(100);
  t.is(living(cluster).length, 1);
  nodes[0]!.agent.names.stopCommand(NAME, line.id, true);
  await cluster.until(() => living(cluster).length === 0, 500);
  t.pass();
  await cluster.stop();
});

test('a command whose command line is gone is stopped after a short grace, and its name released', async t => {
  const { cluster, nodes } = await started();
  const line = own(nodes[0]!);
  await cluster.until(() => line.kind('started') !== undefined);
  line.leave();
  await cluster.advance(9000);
  t.is(living(cluster).length, 1);
  const back = attached(nodes[0]!, line.id);
  await cluster.advance(20_000);
  t.is(living(cluster).length, 1);
  back.leave();
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.released !== null, 12_000);
  t.is(living(cluster).length, 0);
  await cluster.stop();
});

test('a command line that goes while it waits takes its place with it', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const first = own(here);
  await cluster.until(() => first.kind('started') !== undefined);
  const waiting = own(there, { wait: true });
  const next = own(here, { wait: true });
  await cluster.until(() => Object.keys(cluster.etcd.contents('waiters')).length === 2);
  waiting.leave();
  await cluster.until(() => Object.keys(cluster.etcd.contents('waiters')).length === 1, 4000);
  here.agent.names.stopCommand(NAME, first.id, false);
  await cluster.until(() => next.kind('started') !== undefined, 4000);
  t.is(waiting.kind('started'), undefined);
  await cluster.stop();
});

test('waiting ends after the time it was given', async t => {
  const { cluster, nodes } = await started();
  const first = own(nodes[0]!);
  await cluster.until(() => first.kind('started') !== undefined);
  const late = own(nodes[1]!, { wait: true, timeoutSeconds: 5 });
  await cluster.until(() => late.failure !== null, 7000);
  t.regex(late.failure!.message, /in vain: nightly-report is held by/);
  await cluster.stop();
});

test('a node that is cut off stops its command before its deadline; nobody starts before one TTL more', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const first = own(here);
  await cluster.until(() => first.kind('started') !== undefined);
  const patient = own(there, { wait: true });
  await cluster.advance(500);
  here.store.setLink('refused');
  const cutMs = cluster.clock.now();
  await cluster.until(() => living(cluster).length === 0);
  const deadMs = cluster.clock.now();
  t.true(deadMs <= deadlineMs(cutMs, TTL_SECONDS));
  await cluster.until(() => patient.kind('started') !== undefined);
  t.true(cluster.clock.now() - deadMs >= TTL_SECONDS * 1000);
  t.is(living(cluster)[0]!.node, 'node-2');
  await cluster.until(() => first.kind('ended') !== undefined);
  t.regex((first.kind('ended') as { reason: string }).reason, /could not be renewed|is lost/);
  here.store.setLink('up');
  t.is(await mostAtOnce(cluster, 5000), 1);
  await cluster.stop();
});

test('an agent that is replaced keeps the command and its token, and its command line listens on', async t => {
  const { cluster, nodes } = await started();
  const [here] = nodes as [SimNode];
  const first = own(here);
  await cluster.until(() => first.kind('started') !== undefined);
  const { unit } = living(cluster)[0]!;
  const { token } = first.kind('started') as { token: string };
  first.leave();
  await here.restart();
  await cluster.advance(1000);
  const again = attached(here, first.id);
  await cluster.advance(30_000);
  t.deepEqual(
    living(cluster).map(other => other.unit),
    [unit],
  );
  t.like(again.kind('started'), { token });
  t.is(here.agent.names.agent(NAME).token, token);
  here.commands.exit(unit, { code: 3 });
  await cluster.until(() => again.kind('ended') !== undefined);
  t.like(again.kind('ended'), { code: 3, released: true });
  await cluster.stop();
});

test('an agent that comes back with a new session finds its command dead before anything else has the name', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const first = own(here);
  await cluster.until(() => first.kind('started') !== undefined);
  first.leave();
  const patient = own(there, { wait: true });
  await cluster.advance(500);
  await here.restart({ bootId: 'boot-2' });
  const armedUntilMs = here.commandGuard.armedUntilMs()!;
  await cluster.until(() => living(cluster).length === 0, 3000);
  t.true(cluster.clock.now() < armedUntilMs, 'its guard had not to do it');
  t.is(await mostAtOnce(cluster, 40_000), 1);
  t.not(patient.kind('started'), undefined);
  await cluster.stop();
});

test('a node that leaves stops its command and hands the name over without a hold-down', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const first = own(here);
  await cluster.until(() => first.kind('started') !== undefined);
  const patient = own(there, { wait: true });
  await cluster.advance(500);
  await cluster.whileTimePasses(here.leave());
  await cluster.until(() => patient.kind('started') !== undefined, 3000);
  t.is(living(cluster).length, 1);
  await cluster.stop();
});

test('a node that can guard nothing, or whose lease is too short, runs no command and says why', async t => {
  const cluster = new SimCluster(['node-1', 'node-2'], { ttlSeconds: TTL_SECONDS });
  cluster.node('node-2').unguarded = 'no PID namespace here';
  await cluster.start();
  await cluster.advance(1000);
  const slow = own(cluster.node('node-1'), { stopTimeoutSeconds: 9 });
  const unguarded = own(cluster.node('node-2'));
  await cluster.advance(100);
  t.regex(slow.failure!.message, /stop-timeout 9 s .* a lease-ttl of \d+ s works/);
  t.regex(unguarded.failure!.message, /no PID namespace/);
  await cluster.stop();
});

test('an operator asks any node: the owner stops what it runs, then releases', async t => {
  const { cluster, nodes } = await started();
  const [here, there] = nodes as [SimNode, SimNode];
  const first = own(here);
  await cluster.until(() => first.kind('started') !== undefined);
  const had = await cluster.whileTimePasses(there.agent.names.recall(NAME));
  t.is(had.owner, 'node-1');
  await cluster.until(() => first.kind('ended') !== undefined);
  t.like(first.kind('ended'), { reason: 'an operator asked for it', released: true });
  await cluster.advance(500);
  t.deepEqual(cluster.etcd.contents('requests'), {});
  await t.throwsAsync(() => there.agent.names.recall(NAME), {
    instanceOf: AdminError,
    message: /nobody owns/,
  });
  await cluster.stop();
});

test('a program that was asked to give a name back is told at its next word, and loses it when its time is over', async t => {
  const { cluster, nodes } = await started();
  const [here] = nodes as [SimNode];
  const { token } = await had(cluster, here, asks('first', { ttlSeconds: 5 }));
  const heardMs = cluster.clock.now();
  await cluster.whileTimePasses(here.agent.names.recall(NAME));
  await t.throwsAsync(() => here.agent.names.request(NAME, asks('first', { token }), never), {
    instanceOf: AdminError,
  });
  t.is(cluster.etcd.contents('owners')[SUBJECT]!.released, null);
  await cluster.until(() => cluster.etcd.contents('owners')[SUBJECT]!.released !== null, 10_000);
  t.true(cluster.clock.now() >= heardMs + 5000 + marginMs(5) - 10);
  await cluster.stop();
});

test('an operator clears a node that is gone from what may still run, and none that can speak for itself', async t => {
  const { cluster, nodes } = await started();
  const owner = {
    v: 1 as const,
    subject: 'instance/blog/web/0',
    node: 'node-1',
    incarnation: 'gone',
    ttlSeconds: 10,
    holder: 'agent',
    operation: 'x',
    mayStillRun: ['node-2', 'node-9'],
    released: null,
    token: null,
  };
  cluster.etcd.put('owners', owner.subject, owner);
  const clear = (node: string) =>
    cluster.whileTimePasses(nodes[0]!.agent.names.clearMayStillRun(owner.subject, node));
  await t.throwsAsync(() => clear('node-3'), { instanceOf: AdminError, message: /on node-2, node-9/ });
  await clear('node-9');
  t.false(cluster.etcd.contents('owners')[owner.subject]!.mayStillRun.includes('node-9'));
  t.is(cluster.events('may-still-run-cleared').length, 1);
  await cluster.stop();
});

test('whoever joins has a snapshot and then the ledger: together nothing is missing and nothing twice', async t => {
  const { cluster, nodes } = await started();
  cluster.add('node-9', { ttlSeconds: TTL_SECONDS });
  await cluster.start('node-9');
  await cluster.advance(1000);
  const { names, admin } = cluster.node('node-9').agent;
  const turns = (async () => {
    for (let turn = 0; turn < 12; turn++) {
      const node = nodes[turn % 2]!;
      await node.agent.names.request(
        NAME,
        asks(`h${turn}`, { wait: true, waitSeconds: 20, ttlSeconds: 300 }),
        never,
      );
      await cluster.clock.sleep(turn % 3);
      await node.agent.names.release(NAME, `h${turn}`, null);
    }
  })();
  await cluster.until(() => cluster.events('agent-released').length === 4, 10_000, 1);
  const { revision, agent } = await cluster.whileTimePasses(names.snapshot(NAME));
  const leaving = new AbortController();
  const told: { revision: string; kind: string }[] = [];
  const following = (async () => {
    const filter = { subject: SUBJECT, after: revision };
    for await (const event of admin.followEvents(filter, leaving.signal)) told.push(event);
  })();
  await cluster.whileTimePasses(turns);
  await cluster.advance(500);
  leaving.abort();
  await following;
  const ledger = await cluster.whileTimePasses(admin.events({ subject: SUBJECT, limit: 1000, after: null }));
  const [before, after] = [true, false].map(past =>
    ledger.items.filter(event => BigInt(event.revision) <= BigInt(revision) === past),
  );
  t.deepEqual(
    told.map(event => event.revision),
    after!.map(event => event.revision),
  );
  const moves = before!.filter(({ kind }) => kind === 'agent-assigned' || kind === 'agent-released');
  t.is(agent.state, moves.at(-1)!.kind === 'agent-assigned' ? 'Assigned' : 'Unassigned');
  t.true(after!.length > 0 && before!.length > 0);
  await cluster.stop();
});
