import test, { type ExecutionContext } from 'ava';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { noopAgent } from '../../src/drivers/step-noop.ts';
import { stepAgents } from '../../src/drivers/step-agents.ts';
import type { RpcOptions } from '../../src/rpc/server.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { stepTask } from '../support/step-task.ts';
import { until } from '../support/until.ts';
import { endOf, rpcWorld, type Message, type RpcClient } from './helpers.ts';

const HELLO = { name: 'w', agents: ['pdf'], slots: 2 };

/** A worker's end of the stream. */
class Work {
  readonly got: Message[] = [];
  /** Whether it answers pings. */
  awake = true;
  readonly end: ReturnType<typeof endOf>;
  readonly stream: ClientDuplexStream<Message, Message>;

  constructor(client: RpcClient, hello: Message | null = HELLO) {
    this.stream = client.both('Work');
    this.stream.on('data', (message: Message) => {
      this.got.push(message);
      if (message['ping'] && this.awake) this.stream.write({ heartbeat: {} });
    });
    this.end = endOf(this.stream);
    if (hello) this.stream.write({ hello });
  }

  next(kind: string): Promise<Message> {
    return until(`a ${kind} comes`, () => {
      const place = this.got.findIndex(message => kind in message);
      return place === -1 ? null : (this.got.splice(place, 1)[0]![kind] as Message);
    });
  }
}

const never = (): AbortSignal => new AbortController().signal;

async function worldWith(t: ExecutionContext, options: Partial<RpcOptions> = {}) {
  const verdicts: string[] = [];
  const world = await rpcWorld(t, { meter: { onResult: verdict => verdicts.push(verdict) }, ...options });
  return { ...world, verdicts, work: (hello?: Message | null) => new Work(world.client('work'), hello) };
}

test('a worker is offered under its names while it is connected, and does what it is assigned', async t => {
  const { roster, work, server, verdicts } = await worldWith(t);
  const worker = work({ ...HELLO, agents: ['pdf', 'ocr'] });
  t.like(await worker.next('welcome'), { node: 'node-1', silenceMs: '8000' });
  t.deepEqual(roster.names(), ['ocr', 'pdf']);
  t.is(roster.room('pdf'), 2);
  const result = roster.find('ocr')!.run(stepTask(), never());
  t.deepEqual([roster.room('ocr'), roster.room('pdf')], [1, 1]);
  const { attempt, agent } = await worker.next('assign');
  t.is(agent, 'ocr');
  const output = Buffer.from('{"pages":3}');
  worker.stream.write({ result: { attempt, completed: { output, mimeType: 'application/json' } } });
  t.deepEqual(await result, { kind: 'completed', output: { value: { pages: 3 } } });
  t.deepEqual(await worker.next('accepted'), { attempt });
  worker.stream.end();
  t.is((await worker.end).code, 'OK');
  await until('it is gone', () => server.workers() === 0);
  t.deepEqual([roster.names(), verdicts], [[], ['accepted']]);
});

test('of two workers with one name both are given work, the one with most room first', async t => {
  const { roster, work } = await worldWith(t);
  const [small, large] = [work({ ...HELLO, slots: 1 }), work({ ...HELLO, slots: 2 })];
  await small.next('welcome');
  await large.next('welcome');
  t.is(roster.room('pdf'), 3);
  const agent = roster.find('pdf')!;
  for (let index = 0; index < 3; index++) void agent.run(stepTask({ index }), never());
  await small.next('assign');
  await large.next('assign');
  await large.next('assign');
  t.is(roster.room('pdf'), 0);
});

test('a worker that dies fails what it did, at once', async t => {
  const { roster, work } = await worldWith(t);
  const worker = work();
  await worker.next('welcome');
  const result = roster.find('pdf')!.run(stepTask(), never());
  await worker.next('assign');
  worker.stream.cancel();
  t.like(await result, { kind: 'failed', type: 'RETRYABLE' });
  t.deepEqual(roster.names(), []);
});

test('one of which nothing is heard is given up, and its late result refused', async t => {
  const { roster, work, verdicts } = await worldWith(t, { times: { silenceMs: 1000 } });
  const worker = work();
  await worker.next('welcome');
  const agent = roster.find('pdf')!;
  const result = agent.run(stepTask(), never());
  const { attempt } = await worker.next('assign');
  worker.awake = false;
  t.like(await result, { kind: 'failed', type: 'RETRYABLE' });
  t.is(roster.room('pdf'), 0);
  worker.awake = true;
  worker.stream.write({ result: { attempt, completed: {} } });
  t.like(await worker.next('refused'), { attempt, reason: 'REASON_STALE' });
  t.deepEqual(verdicts, ['stale']);
  await until('it is given work again', () => roster.room('pdf') === 2);
});

test('a worker that answers pings is not given up, however long it works', async t => {
  const { roster, work } = await worldWith(t, { times: { silenceMs: 1200 } });
  const worker = work();
  await worker.next('welcome');
  const result = roster.find('pdf')!.run(stepTask(), never());
  const { attempt } = await worker.next('assign');
  for (let pings = 0; pings < 5; pings++) await worker.next('ping');
  worker.stream.write({ result: { attempt, completed: {} } });
  t.like(await result, { kind: 'completed' });
});

test('a worker whose stream broke goes on on another one, with the session it was given', async t => {
  const { roster, work, server } = await worldWith(t);
  const first = work({ ...HELLO, resumes: true });
  const { session } = await first.next('welcome');
  const result = roster.find('pdf')!.run(stepTask(), never());
  const { attempt } = await first.next('assign');
  first.stream.cancel();
  await first.end;
  const second = work({ ...HELLO, resumes: true, session, running: [attempt] });
  t.like(await second.next('welcome'), { session });
  second.stream.write({ result: { attempt, completed: {} } });
  t.like(await result, { kind: 'completed' });
  await second.next('accepted');
  t.is(server.workers(), 1);
});

test('whoever does not know the session is another worker, and is told to stop what it brings along', async t => {
  const { roster, work } = await worldWith(t);
  const first = work({ ...HELLO, resumes: true });
  await first.next('welcome');
  const result = roster.find('pdf')!.run(stepTask(), never());
  const { attempt } = await first.next('assign');
  const second = work({ ...HELLO, resumes: true, session: 'guessed', running: [attempt] });
  await second.next('welcome');
  t.like(await second.next('stop'), { attempt });
  second.stream.write({ result: { attempt, completed: {} } });
  t.like(await second.next('refused'), { attempt, reason: 'REASON_STALE' });
  first.stream.write({ result: { attempt, completed: {} } });
  t.like(await result, { kind: 'completed' });
});

test('a stream on which the worker went on elsewhere ends', async t => {
  const { work } = await worldWith(t);
  const first = work({ ...HELLO, resumes: true });
  const { session } = await first.next('welcome');
  const second = work({ ...HELLO, resumes: true, session });
  await second.next('welcome');
  t.is((await first.end).code, 'ABORTED');
});

test('whoever is to stop is told why', async t => {
  const { roster, work } = await worldWith(t);
  const worker = work();
  await worker.next('welcome');
  const stopping = new AbortController();
  const result = roster.find('pdf')!.run(stepTask(), stopping.signal);
  const { attempt } = await worker.next('assign');
  stopping.abort(new Error('ann cancelled the plan'));
  t.deepEqual(await worker.next('stop'), { attempt, reason: 'ann cancelled the plan' });
  worker.stream.write({ result: { attempt, stopped: {} } });
  t.deepEqual(await result, { kind: 'stopped' });
});

const wrong: [string, Message | null, Message | null, string][] = [
  ['no hello first', null, { heartbeat: {} }, 'FAILED_PRECONDITION'],
  ['two hellos', HELLO, { hello: HELLO }, 'FAILED_PRECONDITION'],
  ['no agents', { ...HELLO, agents: [] }, null, 'INVALID_ARGUMENT'],
  ['no slots', { ...HELLO, slots: 0 }, null, 'INVALID_ARGUMENT'],
  ['a name that is none', { ...HELLO, agents: ['PDF!'] }, null, 'INVALID_ARGUMENT'],
  ['a result of nothing', HELLO, { result: { completed: {} } }, 'INVALID_ARGUMENT'],
];
for (const [name, hello, then, code] of wrong) {
  test(`a worker that says what can't be is refused: ${name}`, async t => {
    const { work, server } = await worldWith(t);
    const worker = work(hello);
    if (then) worker.stream.write(then);
    t.is((await worker.end).code, code);
    await until('it is gone', () => server.workers() === 0);
  });
}

test('nobody takes a name that the node serves itself', async t => {
  const clock = systemClock();
  const blobs = new FakeBlobs(clock);
  const roster = stepAgents([noopAgent({ clock, blobs })], { blobs });
  const { work, server } = await worldWith(t, { roster });
  t.is((await work({ ...HELLO, agents: ['pdf', 'noop'] }).end).code, 'ALREADY_EXISTS');
  t.deepEqual([roster.names(), server.workers()], [['noop'], 0]);
});

test('a node that stops assigns nothing more, takes the results that still come, and sends workers away', async t => {
  const { roster, work, server } = await worldWith(t);
  const worker = work();
  await worker.next('welcome');
  const result = roster.find('pdf')!.run(stepTask(), never());
  const { attempt } = await worker.next('assign');
  server.drain();
  t.like(await worker.next('drain'), { remainingMs: '10000' });
  t.is(roster.room('pdf'), 0);
  t.is((await work().end).code, 'UNAVAILABLE');
  worker.stream.write({ result: { attempt, completed: {} } });
  t.like(await result, { kind: 'completed' });
  await server.close();
  t.is((await worker.end).code, 'UNAVAILABLE');
});

test('when the server closes, what workers do has failed', async t => {
  const { roster, work, server } = await worldWith(t);
  const worker = work({ ...HELLO, resumes: true });
  await worker.next('welcome');
  const result = roster.find('pdf')!.run(stepTask(), never());
  await worker.next('assign');
  await server.close();
  t.like(await result, { kind: 'failed', type: 'RETRYABLE' });
  t.like(await worker.end, { code: 'UNAVAILABLE' });
});
