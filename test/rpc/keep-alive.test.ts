import test from 'ava';
import { connect, constants } from 'node:http2';
import { mock } from 'node:test';
import { promisify } from 'node:util';
import { services } from '../../src/rpc/descriptors.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';
import { noopPlan, rpcWorld } from './helpers.ts';

/** How long a connection may say nothing before it is asked whether it is there, and how long that answer may take. */
const SILENCE_MS = 20_000;
const ANSWER_MS = 10_000;

test('a connection that answers is left alone, one that has gone without a word is found out, and who watched through it is let go', async t => {
  const world = await rpcWorld(t);
  const proxy = await startTcpProxy(Number(world.server.address.split(':')[1]));
  t.teardown(() => proxy.stop());
  await world.client('scheduler').call('Submit', { plan: noopPlan() });
  mock.timers.enable({ apis: ['setTimeout'] });
  t.teardown(() => mock.timers.reset());
  const session = connect(proxy.url);
  session.on('error', () => undefined);
  t.teardown(() => session.destroy());
  let asked = 0;
  session.on('ping', () => asked++);
  watch(session);
  await until('it is watched', () => world.feeds.watchers === 1);

  for (const times of [1, 2, 3]) {
    mock.timers.tick(SILENCE_MS);
    await until('it is asked', () => asked === times);
    // Whoever answers this has been given the answer that was sent before.
    await promisify(session.ping.bind(session))();
  }
  mock.timers.tick(SILENCE_MS - 1);
  t.deepEqual([asked, world.feeds.watchers], [3, 1]);
  await proxy.set('black-hole');
  mock.timers.tick(1);
  mock.timers.tick(ANSWER_MS);
  await until('it is let go', () => world.feeds.watchers === 0);
});

/** As a client of gRPC does it, of which nobody can tell what it was asked. */
function watch(session: ReturnType<typeof connect>): void {
  const { path, requestSerialize } = services.scheduler['Watch']!;
  const request = requestSerialize({ plan: 'plan-1' });
  const head = Buffer.alloc(5);
  head.writeUInt32BE(request.length, 1);
  const call = session.request({
    [constants.HTTP2_HEADER_METHOD]: 'POST',
    [constants.HTTP2_HEADER_PATH]: path,
    [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
    [constants.HTTP2_HEADER_TE]: 'trailers',
  });
  call.on('error', () => undefined);
  call.resume();
  call.end(Buffer.concat([head, request]));
}
