/** The line for a named agent, and what stands at its head: the same on the in-memory etcd and on a real one. */
import test, { type ExecutionContext } from 'ava';
import { Ledger } from '../../src/agent/ledger.ts';
import { NameKeys } from '../../src/agent/names/name-keys.ts';
import { StaleTokens } from '../../src/agent/stale-tokens.ts';
import { lineFor } from '../../src/ownership/queue.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import { AdminError } from '../../src/ports/admin.ts';
import { StoreError, type Session, type Store } from '../../src/ports/store.ts';
import { startEtcd, type Etcd } from '../support/etcd.ts';
import { FakeLog } from '../support/fake-log.ts';
import { etcdWorld, fakeWorld, sessionRecord, type StoreWorld } from '../support/store-worlds.ts';

const NAME = 'nightly-report';
const AT = '2026-01-01T00:00:00.000Z';

let etcd: Etcd;
test.before(async () => {
  etcd = await startEtcd();
});
test.after.always(() => etcd.stop());

interface Member {
  node: string;
  store: Store;
  session: Session;
  keys: NameKeys;
  ledger: Ledger;
}

async function member(world: StoreWorld, node: string): Promise<Member> {
  const store = world.client(node);
  const [clock, random, log] = [systemClock(), systemRandom(), new FakeLog()];
  const ledger = new Ledger({ node, store, clock, log });
  const keys = new NameKeys({
    node,
    store,
    clock,
    random,
    ledger,
    stale: new StaleTokens({ node, ledger, count: () => undefined }),
    epoch: () => undefined,
  });
  const session = await store.openSession({ record: sessionRecord({ node }), resume: null });
  return { node, store, session, keys, ledger };
}

/** The session as the next agent of the node has it. */
async function goOn({ node, store, session }: Member): Promise<Session> {
  const { incarnation, lease } = session;
  await session.detach();
  const record = sessionRecord({ node });
  const resumed = await store.openSession({ record, resume: { incarnation, lease } });
  if (!resumed.resumed) throw new Error(`the session ${incarnation} is not there to go on with`);
  return resumed;
}

async function line(store: Store): Promise<string[]> {
  const { entries } = await store.list('waiters');
  return lineFor(NAME, entries).map(({ value }) => `${value.holder}@${value.node}`);
}

contract(
  'the line is in the order of asking, whatever the names; asking again keeps the place',
  async (t, { one, two }) => {
    await one.keys.enqueue(NAME, 'z', AT, one.session);
    await two.keys.enqueue(NAME, 'a', AT, two.session);
    await one.keys.enqueue('other', 'b', AT, one.session);
    await one.keys.enqueue(NAME, 'c', AT, one.session);
    t.deepEqual(await line(two.store), ['z@one', 'a@two', 'c@one']);
    await one.keys.enqueue(NAME, 'z', AT, one.session);
    t.deepEqual(await line(two.store), ['z@one', 'a@two', 'c@one']);
    await one.keys.leave(NAME, 'z', 'RequestTimedOut', 'too long');
    t.deepEqual(await line(two.store), ['a@two', 'c@one']);
  },
);

contract(
  'a place outlives the agent that took it, on the lease of the next',
  async (t, { one, two, world }) => {
    await one.keys.enqueue(NAME, 'z', AT, one.session);
    await two.keys.enqueue(NAME, 'a', AT, two.session);
    const resumed = await goOn(one);
    await one.keys.enqueue(NAME, 'z', AT, resumed);
    await world.killLease(one.session.lease);
    t.deepEqual(await line(two.store), ['z@one', 'a@two']);
  },
);

contract('a node that dies leaves no gap', async (t, { one, two, world }) => {
  await one.keys.enqueue(NAME, 'z', AT, one.session);
  await two.keys.enqueue(NAME, 'a', AT, two.session);
  await world.killLease(one.session.lease);
  t.deepEqual(await line(two.store), ['a@two']);
  t.is(await one.keys.enqueue(NAME, 'z', AT, one.session), null);
});

contract(
  'who takes the name leaves the line in the same transaction, and not on the strength of a key that is gone',
  async (t, { one, two, world }) => {
    const waiter = await one.keys.enqueue(NAME, 'z', AT, one.session);
    const gone = await two.keys.enqueue(NAME, 'a', AT, two.session);
    await world.delete('waiters', gone!);
    t.is(await two.keys.acquire(NAME, 'a', two.session, undefined, gone), null);
    const taken = await one.keys.acquire(NAME, 'z', one.session, undefined, waiter);
    t.deepEqual(await line(two.store), []);
    const owner = await two.store.get('owners', `agent/${NAME}`);
    t.is(taken!.token, String(owner!.revision));
    const events = await two.store.list('events', { after: owner!.revision - 1n });
    t.deepEqual(
      events.entries.map(({ value, createRevision }) => [value.kind, createRevision]),
      [['agent-assigned', owner!.revision]],
    );
    t.is(await two.keys.acquire(NAME, 'a', two.session, owner!, null), null, 'its owner lives');
  },
);

contract(
  'what was taken later writes the state; what was held up before writes nothing',
  async (t, { one, two }) => {
    const first = (await one.keys.acquire(NAME, 'z', one.session, undefined, null))!;
    const write = (
      who: Member,
      taken: typeof first,
      state: unknown,
      before: Parameters<NameKeys['writeState']>[5],
    ) => who.keys.writeState(NAME, 'z', taken, who.session, state, before);
    await write(one, first, 1, null);
    await one.keys.release(NAME, 'z', first.token, one.session, 'done');
    const released = await two.store.get('owners', `agent/${NAME}`);
    const second = (await two.keys.acquire(NAME, 'z', two.session, released!, null))!;
    t.true(BigInt(second.token) > BigInt(first.token));
    const kept = await two.keys.state(NAME);
    await t.throwsAsync(write(one, first, 'late', kept), { instanceOf: AdminError });
    await write(two, second, 2, kept);
    await t.throwsAsync(write(two, second, 'overtaken', kept), { instanceOf: AdminError });
    t.is((await one.keys.state(NAME))!.value.state, 2);
    await one.keys.release(NAME, 'z', first.token, one.session, 'late');
    t.is((await two.store.get('owners', `agent/${NAME}`))!.value.released, null);
  },
);

contract(
  'a release by the agent before, held up on its way, takes nothing from the one that goes on with its session',
  async (t, { one }) => {
    const { token } = (await one.keys.acquire(NAME, 'z', one.session, undefined, null))!;
    const resumed = await goOn(one);
    await t.throwsAsync(one.keys.release(NAME, 'z', token, one.session, 'done'), { instanceOf: StoreError });
    t.is((await one.store.get('owners', `agent/${NAME}`))!.value.released, null);
    await one.keys.release(NAME, 'z', token, resumed, 'done');
    t.is((await one.store.get('owners', `agent/${NAME}`))!.value.released?.reason, 'done');
  },
);

function contract(
  title: string,
  check: (t: ExecutionContext, scene: { world: StoreWorld; one: Member; two: Member }) => Promise<void>,
): void {
  for (const [kind, open] of [
    ['memory', fakeWorld],
    ['etcd', () => etcdWorld(etcd)],
  ] as const) {
    test.serial(`${kind}: ${title}`, async t => {
      const world = open();
      try {
        const [one, two] = [await member(world, 'one'), await member(world, 'two')];
        await check(t, { world, one, two });
        for (const { ledger } of [one, two]) await ledger.close();
      } finally {
        await world.close();
      }
    });
  }
}
