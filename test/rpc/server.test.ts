import test from 'ava';
import { credentials, status } from '@grpc/grpc-js';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:http2';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CallInfo } from '../../src/rpc/calls.ts';
import { methodOf, services } from '../../src/rpc/descriptors.ts';
import { Authority } from '../support/certificates.ts';
import { until } from '../support/until.ts';
import { client, endOf, noopPlan, refusal, rpcWorld, type Message } from './helpers.ts';

const TOKEN = 'a-secret-of-32-characters-or-so';

for (const [name, tokens, missing] of [
  ['TLS', [TOKEN], 'TLS'],
  ['TLS and a token', [], 'TLS and a token'],
] as const) {
  test(`without ${name} it does not listen where others can reach it`, async t => {
    const listen = { host: '0.0.0.0', port: 0, tls: null };
    const { message } = await t.throwsAsync(rpcWorld(t, { listen, tokens }));
    t.true(
      message.startsWith(`gRPC will not listen on 0.0.0.0 without ${missing}: set rpc.tls and rpc.tokens`),
    );
  });
}

test('a port that is taken is named', async t => {
  const other = createServer().listen(0, '127.0.0.1');
  t.teardown(() => other.close());
  await once(other, 'listening');
  const { port } = other.address() as { port: number };
  const error = await t.throwsAsync(rpcWorld(t, { listen: { host: '127.0.0.1', port, tls: null } }));
  t.regex(error.message, new RegExp(`can't listen on 127.0.0.1:${port}: .*EADDRINUSE`));
});

test('with tokens only who shows one may ask, for anything but health', async t => {
  const world = await rpcWorld(t, { tokens: [TOKEN, `${TOKEN}-2`] });
  const list = (token: string | null) => {
    const scheduler = world.client('scheduler');
    if (token !== null) scheduler.withToken(token);
    return scheduler.call('ListPlans');
  };
  t.like(await refusal(list(null)), { code: 'UNAUTHENTICATED' });
  t.like(await refusal(list('another-secret-of-32-characters')), {
    code: 'UNAUTHENTICATED',
    details: 'the bearer token is not known here',
  });
  t.like(await list(TOKEN), { plans: [] });
  t.like(await list(`${TOKEN}-2`), { plans: [] });
  t.like(await endOf(world.client('work').both('Work')), { code: 'UNAUTHENTICATED' });
  t.like(await endOf(world.client('reflection').both('ServerReflectionInfo')), { code: 'UNAUTHENTICATED' });
  t.like(await world.client('health').call('Check'), { status: 'SERVING' });
});

test('with TLS it proves who it is, and speaks to nobody without', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-rpc-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const authority = await Authority.make(directory);
  const tls = await authority.issue('node-1');
  const { server } = await rpcWorld(t, { listen: { host: '127.0.0.1', port: 0, tls } });
  const trusting = credentials.createSsl(await readFile(authority.ca));
  t.like(await client(t, server.address, 'health', trusting).call('Check'), { status: 'SERVING' });
  t.like(await refusal(client(t, server.address, 'health', credentials.createSsl()).call('Check')), {
    code: 'UNAVAILABLE',
  });
  t.like(await refusal(client(t, server.address, 'health').call('Check')), { code: 'UNAVAILABLE' });
});

test('health is that of the node, as a whole and by service, and a watch of it hears of changes', async t => {
  const node = { ready: true };
  const world = await rpcWorld(t, { ready: () => node.ready });
  const health = world.client('health');
  const work = { service: 'hop3.agent.v1.Work' };
  t.like(await health.call('Check', work), { status: 'SERVING' });
  t.like(await refusal(health.call('Check', { service: 'telex' })), { code: 'NOT_FOUND' });
  const heard: unknown[] = [];
  const stream = health.stream('Watch', work);
  const end = endOf(stream);
  stream.on('data', ({ status }: Message) => heard.push(status));
  await until('the first is heard', () => heard.length === 1);
  node.ready = false;
  await until('the change is heard', () => heard.length === 2);
  t.like(await health.call('Check'), { status: 'NOT_SERVING' });
  t.deepEqual(heard, ['SERVING', 'NOT_SERVING']);
  await world.server.close();
  t.is((await end).code, 'UNAVAILABLE');
});

test('reflection gives the file that defines a name, and says when there is none', async t => {
  const stream = (await rpcWorld(t)).client('reflection').both('ServerReflectionInfo');
  const asked = [
    { fileContainingSymbol: 'hop3.agent.v1.Assign.Kind' },
    { fileContainingSymbol: 'hop3.agent.v1.Scheduler.Submit' },
    { fileByFilename: 'hop3_agent_v1.proto' },
    { fileContainingSymbol: 'hop3.agent.v2.Scheduler' },
    { fileByFilename: '/etc/passwd' },
  ];
  for (const request of asked) stream.write(request);
  stream.end();
  const found: unknown[] = [];
  for await (const reply of stream) {
    const { fileDescriptorResponse: file, errorResponse: error } = reply as {
      fileDescriptorResponse?: { fileDescriptorProto: Buffer[] };
      errorResponse?: { errorCode: number };
    };
    found.push(file ? file.fileDescriptorProto[0]!.includes('hop3.agent.v1') : error?.errorCode);
  }
  t.deepEqual(found, [true, true, true, 5, 5]);
});

test('a call that is held up is over when the time is that its client has given it', async t => {
  const calls: CallInfo[] = [];
  const world = await rpcWorld(t, { meter: { onCall: info => calls.push(info) } });
  let fail: (error: Error) => void = () => undefined;
  world.plans.submit = () => new Promise<never>((_resolve, reject) => (fail = reject));
  const session = connect(`http://${world.server.address}`);
  t.teardown(() => session.close());
  // Unlike a client of gRPC it has no deadline of its own: that is the server's to keep.
  const stream = session.request({
    ':method': 'POST',
    ':path': '/hop3.agent.v1.Scheduler/Submit',
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': '300m',
  });
  const message = methodOf(services.scheduler, 'Submit').requestSerialize({ plan: noopPlan() });
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]));
  const [headers] = (await once(stream, 'response')) as [Record<string, unknown>];
  t.is(headers['grpc-status'], String(status.DEADLINE_EXCEEDED));
  await until('it is counted', () => calls.length === 1);
  t.like(calls[0], { method: '/hop3.agent.v1.Scheduler/Submit', code: 'CANCELLED' });
  t.true(calls[0]!.durationMs >= 290, `${calls[0]!.durationMs} ms`);
  fail(new Error('a mistake of ours, too late for anybody to hear'));
  await until('it is in the log', () => world.log.lines.some(({ level }) => level === 'error'));
  t.is(calls.length, 1);
});

test('calls are counted by what they were and how they ended', async t => {
  const calls: string[] = [];
  const world = await rpcWorld(t, {
    meter: { onCall: ({ method, code }) => calls.push(`${method} ${code}`) },
  });
  const scheduler = world.client('scheduler');
  await scheduler.call('ListPlans');
  await refusal(scheduler.call('GetPlan', { plan: 'plan-9' }));
  const stream = scheduler.stream('Watch', { plan: 'plan-9' });
  await endOf(stream);
  await until('all are counted', () => calls.length === 3);
  t.deepEqual(calls, [
    '/hop3.agent.v1.Scheduler/ListPlans OK',
    '/hop3.agent.v1.Scheduler/GetPlan NOT_FOUND',
    '/hop3.agent.v1.Scheduler/Watch NOT_FOUND',
  ]);
});

const inDays = (days: number) => ({ deadline: Date.now() + days * 86_400_000 });

test('a deadline of 24 days is one like any other', async t => {
  const world = await rpcWorld(t);
  const scheduler = world.client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan() }, inDays(24));
  const watching = scheduler.stream('Watch', { plan: 'plan-1' }, inDays(24));
  const end = endOf(watching);
  await until('it is watched', () => world.feeds.watchers === 1);
  watching.cancel();
  t.is((await end).code, 'CANCELLED');
});

for (const days of [25, 30, 49]) {
  test(`a deadline of ${days} days is refused in words, and is not one that is over`, async t => {
    const world = await rpcWorld(t);
    const scheduler = world.client('scheduler');
    t.like(await refusal(scheduler.call('Submit', { plan: noopPlan() }, inDays(days))), tooFar);
    t.like(await endOf(scheduler.stream('Watch', { plan: 'plan-1' }, inDays(days))), tooFar);
    t.deepEqual(world.plans.submissions, []);
  });
}

const tooFar = {
  code: 'INVALID_ARGUMENT',
  details: 'the deadline is too far away: give one of at most 24 days, or none',
};
