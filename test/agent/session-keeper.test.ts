import test from 'ava';
import { SessionKeeper } from '../../src/agent/session-keeper.ts';
import { Ledger } from '../../src/agent/ledger.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLocalState } from '../support/fake-local-state.ts';
import { FakeLog } from '../support/fake-log.ts';
import { FakeRandom } from '../support/fake-random.ts';
import { FakeEtcd } from '../support/fake-store.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { events } from './helpers.ts';

function machine() {
  const clock = new FakeClock();
  const etcd = new FakeEtcd(clock);
  const state = new FakeLocalState();
  let starts = 0;
  return {
    clock,
    etcd,
    state,
    sessions: () => Object.keys(etcd.contents('sessions')),
    /** A new agent's keeper on the same machine. */
    keeper: (parts: { bootId?: string; ttlSeconds?: number } = {}) => {
      const log = new FakeLog();
      const store = etcd.client('node-1', { log });
      const ledger = new Ledger({ node: 'node-1', store, clock, log });
      const random = new FakeRandom(++starts);
      const record = () => sessionRecord({ ttlSeconds: parts.ttlSeconds ?? 10 });
      const bootId = parts.bootId ?? 'boot-1';
      const settlingMs = () => 10_000;
      const keeper = new SessionKeeper({
        store,
        state,
        clock,
        random,
        log,
        ledger,
        bootId,
        settlingMs,
        record,
      });
      return { store, log, ledger, keeper };
    },
  };
}

test('it is Inactive, then Active, and says so once', async t => {
  const { clock, keeper, sessions } = machine();
  const one = keeper().keeper;
  const states: string[] = [];
  one.onChange(() => states.push(one.state));
  t.is(one.state, 'Inactive');
  t.is(one.current(), null);
  one.start();
  await clock.advance(60_000);
  t.deepEqual(states, ['Active'], 'renewals change nothing');
  t.is(sessions().length, 1);
  t.is(sessions()[0], `node-1/${one.current()!.incarnation}`);
});

test('without a store it waits, and joins when there is one', async t => {
  const { clock, keeper, sessions } = machine();
  const { keeper: one, store } = keeper();
  store.setLink('refused');
  one.start();
  await clock.advance(30_000);
  t.is(one.state, 'Inactive');
  store.setLink('up');
  await clock.advance(3000);
  t.is(one.state, 'Active');
  t.is(sessions().length, 1);
});

test('rule 9: the next agent of this boot goes on with the session', async t => {
  const { clock, etcd, keeper, sessions } = machine();
  const first = keeper();
  first.keeper.start();
  await clock.advance(1000);
  const { incarnation, lease } = first.keeper.current()!;
  await first.keeper.stop({ leave: false });
  t.is(first.keeper.current(), null);
  await clock.advance(2000);
  const second = keeper();
  second.keeper.start();
  await clock.advance(1000);
  t.like(second.keeper.current(), { incarnation, resumed: true });
  t.not(second.keeper.current()!.lease, lease);
  t.is(sessions().length, 1);
  t.is(events(etcd, 'session-resumed').length, 1);
});

for (const { title, parts, waitMs } of [
  { title: 'of another boot', parts: { bootId: 'boot-2' }, waitMs: 0 },
  { title: 'with another TTL', parts: { ttlSeconds: 20 }, waitMs: 0 },
  { title: 'after its lease has run out', parts: {}, waitMs: 10_100 },
]) {
  test(`rule 9: the next agent ${title} comes with a new one`, async t => {
    const { clock, keeper } = machine();
    const first = keeper();
    first.keeper.start();
    await clock.advance(1000);
    const { incarnation } = first.keeper.current()!;
    await first.keeper.stop({ leave: false });
    await clock.advance(waitMs);
    const second = keeper(parts);
    second.keeper.start();
    await clock.advance(1000);
    t.is(second.keeper.current()?.resumed, false);
    t.not(second.keeper.current()!.incarnation, incarnation);
  });
}

for (const [title, saved] of Object.entries({
  'no document': undefined,
  'one of another make': { incarnation: 7 },
  'one that is no object': 'session',
})) {
  test(`a state directory with ${title} means a new session`, async t => {
    const { clock, keeper, state } = machine();
    if (saved !== undefined) await state.write('session', saved);
    const { keeper: one } = keeper();
    one.start();
    await clock.advance(1000);
    t.is(one.current()?.resumed, false);
  });
}

test('rule 9: what was lost by a living agent is never resumed', async t => {
  const { clock, keeper, sessions, etcd } = machine();
  const { keeper: one, store } = keeper();
  one.start();
  await clock.advance(1000);
  const { incarnation } = one.current()!;
  store.setLink('silent');
  await clock.advance(8000);
  t.is(one.state, 'ConnectionLost');
  t.regex(one.lostReason!, /could not be renewed/);
  store.setLink('up');
  await clock.advance(8000);
  t.is(one.state, 'Active');
  t.not(one.current()!.incarnation, incarnation);
  t.false(one.current()!.resumed);
  t.is(sessions().length, 1);
  t.deepEqual(
    events(etcd)
      .map(event => event.kind)
      .filter(kind => kind.startsWith('session-')),
    ['session-opened', 'session-lost', 'session-opened'],
  );
});

test('a renewal that is heard after the loss brings nothing back', async t => {
  const { clock, keeper } = machine();
  const { keeper: one, store } = keeper();
  const renewed: (() => void)[] = [];
  const open = store.openSession.bind(store);
  store.openSession = async options => {
    const session = await open(options);
    const onRenewed = session.onRenewed.bind(session);
    session.onRenewed = listener => {
      renewed.push(listener);
      onRenewed(listener);
    };
    return session;
  };
  one.start();
  await clock.advance(1000);
  store.setLink('silent');
  await clock.advance(8000);
  t.is(one.state, 'ConnectionLost');
  t.notThrows(() => renewed[0]!());
  t.is(one.state, 'ConnectionLost');
});

test('rule 4: after its deadline a session is not in force, though no timer has fired yet', async t => {
  const { clock, keeper } = machine();
  const { keeper: one } = keeper();
  one.start();
  await clock.advance(1000);
  clock.freeze(one.current()!.deadlineMs() - clock.now());
  t.is(one.current(), null);
  t.is(one.state, 'ConnectionLost');
});

test('leaving ends the session at once, and the next agent does not look for it', async t => {
  const { clock, keeper, sessions, state } = machine();
  const first = keeper();
  first.keeper.start();
  await clock.advance(1000);
  await first.keeper.stop({ leave: true });
  t.deepEqual(sessions(), []);
  t.is(await state.read('session'), null);
});

test('a session that is just being opened when it stops is ended, too', async t => {
  const { clock, keeper, sessions } = machine();
  const { keeper: one, store } = keeper();
  store.setReplyDelay(500);
  one.start();
  await clock.advance(600);
  const stopped = one.stop({ leave: true });
  await clock.advance(10_000);
  await stopped;
  t.deepEqual(sessions(), []);
});

test('a session that could not be written down is not kept beside the next one', async t => {
  const { clock, keeper, sessions, state } = machine();
  const { keeper: one } = keeper();
  const write = state.write.bind(state);
  let full = true;
  state.write = async (name, value) => {
    if (full) throw new Error('no space left on device');
    await write(name, value);
  };
  one.start();
  await clock.advance(5000);
  full = false;
  t.is(one.current(), null, 'it is not used');
  await clock.advance(20_000);
  t.is(sessions().length, 1);
  t.is(sessions()[0], `node-1/${one.current()!.incarnation}`);
});

test('who stopped listening is not called', async t => {
  const { clock, keeper } = machine();
  const { keeper: one } = keeper();
  let calls = 0;
  one.onChange(() => calls++)();
  one.start();
  await clock.advance(1000);
  t.is(calls, 0);
});
