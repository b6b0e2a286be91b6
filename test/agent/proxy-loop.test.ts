import test from 'ava';
import { ProxyLoop } from '../../src/agent/proxy-loop.ts';
import { StaleTokens } from '../../src/agent/stale-tokens.ts';
import type { AppSpec } from '../../src/model/app-spec.ts';
import type { RunningBody } from '../../src/model/node-promise.ts';
import type { Entry, Mirror, Session } from '../../src/ports/store.ts';
import { FakeProxy, FakeProxyProcess } from '../support/fake-proxy.ts';
import { appSpec, processSpec, runningPromise } from '../support/nouns.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { appRecord, events, member, ownerRecord } from './helpers.ts';

const HOST = 'blog.example.com';

/** A proxy's loop on one node, and other nodes that promise what they are told to. */
async function proxying(spec: Partial<AppSpec> = {}) {
  const one = await member({ node: 'edge' });
  const { clock, etcd, store } = one;
  const running = new FakeProxyProcess();
  const { apps, owners, promises, sessions } = one.world;
  let past: { revision: bigint; all: Entry<'sessions'>[] } | null = null;
  const late: Mirror<'sessions'> = {
    get synced() {
      return sessions.synced;
    },
    get revision() {
      return past?.revision ?? sessions.revision;
    },
    get: name => sessions.get(name),
    all: () => past?.all ?? sessions.all(),
    onChange: listener => sessions.onChange(listener),
    staleMs: () => sessions.staleMs(),
    ready: signal => sessions.ready(signal),
    close: () => sessions.close(),
  };
  const world = { apps, owners, promises, sessions: late };
  const stale = new StaleTokens({ ...one, count: use => refused.push(use) });
  const refused: string[] = [];
  const loop = new ProxyLoop({ ...one, stale, world, proxy: new FakeProxy({ process: running }) });
  const put = (more: Partial<AppSpec>) => etcd.put('apps', 'blog', appRecord(appSpec({ ...spec, ...more })));
  put({});
  loop.start();
  return {
    ...one,
    loop,
    refused,
    running,
    put,
    settle: () => clock.advance(5000),
    /** The mirror of the sessions stays as it is, or catches up. */
    holdSessions: (isHeld: boolean) => {
      past = isHeld ? { revision: sessions.revision, all: sessions.all() } : null;
    },
    /** Under a promise of its own, on its session's lease. */
    promise: async (node: string, session: Session, parts: Partial<RunningBody> = {}) => {
      const promise = runningPromise(parts, node);
      const name = `${node}/${promise.name}`;
      await store.commit([], [{ put: 'promises', name, value: { v: 1, promise }, lease: session.lease }]);
    },
    join: (node: string, incarnation = 'first') =>
      store.openSession({ record: sessionRecord({ node, incarnation }), resume: null }),
    /** The port that answers, or the status. */
    ask: () => {
      const answer = new FakeProxy({ process: running }).ask(HOST);
      return answer?.status === 200 ? answer.endpoint.port : answer?.status;
    },
  };
}

test('an instance gets requests once it is ready, and none once its promise is taken back', async t => {
  const { ask, etcd, join, loop, promise, settle } = await proxying();
  const session = await join('node-1');
  await promise('node-1', session, { ready: false, state: 'starting' });
  await settle();
  t.is(ask(), 503);
  await promise('node-1', session);
  await settle();
  t.is(ask(), 4001);
  etcd.delete('promises', 'node-1/running:blog/web/0');
  await settle();
  t.is(ask(), 503);
  await loop.stop();
});

test('one whose promise expired with its session stays until another is ready', async t => {
  const { ask, etcd, join, loop, promise, settle } = await proxying();
  const [first, second] = [await join('node-1'), await join('node-2')];
  await promise('node-1', first);
  await settle();
  etcd.killLease(first.lease);
  await settle();
  t.is(ask(), 4001);
  const endpoint = { host: '127.0.0.1', port: 4002 };
  await promise('node-2', second, { endpoint, ready: false, state: 'starting' });
  await settle();
  t.is(ask(), 4001);
  await promise('node-2', second, { endpoint });
  await settle();
  t.is(ask(), 4002);
  await loop.stop();
});

test('a promise that is seen to be gone before its session is was not taken back', async t => {
  const { ask, clock, etcd, holdSessions, join, loop, promise, settle } = await proxying();
  const first = await join('node-1');
  await promise('node-1', first);
  await settle();
  holdSessions(true);
  etcd.killLease(first.lease);
  await clock.advance(1500);
  t.is(ask(), 4001);
  holdSessions(false);
  await settle();
  t.is(ask(), 4001);
  await loop.stop();
});

test('a node that is back has not taken back what it promised before', async t => {
  const { ask, etcd, join, loop, promise, settle } = await proxying();
  const first = await join('node-1');
  await promise('node-1', first);
  await settle();
  etcd.killLease(first.lease);
  const second = await join('node-1', 'second');
  await settle();
  t.is(ask(), 4001);
  await promise('node-1', second, { endpoint: { host: '127.0.0.1', port: 4003 } });
  await settle();
  t.is(ask(), 4003);
  await loop.stop();
});

test('what expired goes when it is not wanted any more, or its address is another’s', async t => {
  const processes = [processSpec({ scale: 2 })];
  const { ask, etcd, join, loop, promise, put, settle } = await proxying({ processes });
  const [first, second] = [await join('node-1'), await join('node-2')];
  await promise('node-1', first, { instance: 'blog/web/1', index: 1 });
  await settle();
  etcd.killLease(first.lease);
  await settle();
  t.is(ask(), 4001);
  put({ processes: [processSpec({ scale: 1 })] });
  await settle();
  t.is(ask(), 503);

  put({ processes });
  await promise('node-2', second, { instance: 'blog/web/1', index: 1 });
  await settle();
  t.is(ask(), 4001);
  etcd.killLease(second.lease);
  const third = await join('node-3');
  await promise('node-3', third, { instance: 'shop/web/0', app: 'shop' });
  await settle();
  t.is(ask(), 503);
  await loop.stop();
});

test('unhealthy instances get requests only where none is healthy', async t => {
  const processes = [processSpec({ scale: 2 })];
  const { ask, join, loop, promise, settle } = await proxying({ processes });
  const session = await join('node-1');
  const other = { instance: 'blog/web/1', index: 1, endpoint: { host: '127.0.0.1', port: 4002 } };
  await promise('node-1', session, { ready: false, state: 'unhealthy' });
  await promise('node-1', session, other);
  await settle();
  t.deepEqual([ask(), ask()], [4002, 4002]);
  await promise('node-1', session, { ...other, ready: false, state: 'unhealthy' });
  await settle();
  t.deepEqual([ask(), ask()].sort(), [4001, 4002]);
  await loop.stop();
});

test('of what is exclusive only the copy under the token in force gets requests, whatever the others promise', async t => {
  const processes = [processSpec({ exclusive: true })];
  const { ask, clock, etcd, join, loop, promise, settle, refused } = await proxying({ processes });
  const own = (node: string, incarnation = 'first', parts = {}) =>
    etcd.put('owners', 'instance/blog/web/0', ownerRecord({ node, incarnation, exclusive: true, ...parts }));
  const former = await join('node-1');
  const owner = await join('node-2');
  await promise('node-1', former);
  await clock.advance(2000);
  t.is(ask(), 503, 'nobody owns it');
  own('node-1');
  await settle();
  t.is(ask(), 4001);
  t.deepEqual(refused, [], 'a promise may come before the owner key that it is made under');
  own('node-2');
  await settle();
  t.is(ask(), 503, 'who promises it does not own it any more');
  await settle();
  t.deepEqual(refused, ['route'], 'counted once, however often the proxy is fed');
  const [told] = events(etcd, 'stale-token-refused');
  t.like(told, { subject: 'instance/blog/web/0', node: 'edge', details: { use: 'route', by: 'node-1' } });
  await promise('node-2', owner, { endpoint: { host: '127.0.0.1', port: 4002 } });
  await settle();
  t.deepEqual([ask(), ask()], [4002, 4002]);
  own('node-2', 'second');
  await join('node-2', 'second');
  await settle();
  t.is(ask(), 503, 'it was promised under another incarnation than the one that owns it');
  own('node-1');
  await settle();
  t.is(ask(), 4001);
  own('node-1', 'first', { released: { at: '', reason: 'stopped' } });
  await settle();
  t.is(ask(), 503, 'it was released');
  own('node-1');
  await settle();
  await former.revoke();
  await settle();
  t.is(ask(), 503, 'its session is gone');
  await loop.stop();
});

test('what stands in the way is told once, and that it is over', async t => {
  const { clock, join, log, loop, promise, running } = await proxying();
  await promise('node-1', await join('node-1'));
  running.unreachable = true;
  await clock.advance(20_000);
  t.is(log.matching('does not answer').length, 1);
  running.unreachable = false;
  await clock.advance(2000);
  t.is(log.matching('works again').length, 1);
  await loop.stop();
});
