import test from 'ava';
import { setImmediate as macrotask } from 'node:timers/promises';
import { AdminError } from '../../src/ports/admin.ts';
import { until } from '../support/until.ts';
import { endOf, noopPlan, refusal, rpcWorld, type Message } from './helpers.ts';

interface Change {
  plan?: Message;
  step?: Message;
}

/** The state of each thing as the replies of a stream tell it, and from where to go on. */
class Picture {
  plan: unknown = null;
  readonly steps = new Map<unknown, unknown>();
  revision = '0';
  changes = 0;
  replies = 0;

  take(reply: Message): void {
    this.replies++;
    for (const { plan, step } of reply['changes'] as Change[]) {
      this.changes++;
      if (plan) this.plan = plan['state'];
      if (step) this.steps.set(step['index'], step['state']);
    }
    if (reply['revision'] !== '0') this.revision = String(reply['revision']);
  }
}

const completed = { kind: 'completed', output: null } as const;

test('a watch tells the plan as it is, then each change, and ends with it', async t => {
  const { client, plans, feeds } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan(2, { sequential: true }) });
  const stream = scheduler.stream('Watch', { plan: 'plan-1' });
  const picture = new Picture();
  const seen: string[] = [];
  stream.on('data', (reply: Message) => {
    picture.take(reply);
    seen.push([...picture.steps.values()].join(' '));
  });
  const end = endOf(stream);
  await until('the first picture is there', () => picture.steps.size === 2);
  t.is(feeds.watchers, 1);
  plans.begin('plan-1');
  await until('the first step runs', () => picture.steps.get(0) === 'STEP_STATE_RUNNING');
  plans.finish('plan-1', 0, completed);
  await until('the second step runs', () => picture.steps.get(1) === 'STEP_STATE_RUNNING');
  plans.finish('plan-1', 1, completed);
  t.is((await end).code, 'OK');
  t.is(picture.plan, 'PLAN_STATE_COMPLETED');
  t.is(seen.at(-1), 'STEP_STATE_COMPLETED STEP_STATE_COMPLETED');
  t.is(seen[0], 'STEP_STATE_PENDING STEP_STATE_PENDING');
  await until('nobody watches', () => feeds.watchers === 0 && plans.open === 0);
});

test('a plan that has ended is told once, and one that nobody knows is NOT_FOUND', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan() });
  plans.begin('plan-1');
  plans.finish('plan-1', 0, completed);
  const picture = new Picture();
  for (const reply of await scheduler.all('Watch', { plan: 'plan-1' })) picture.take(reply);
  t.deepEqual([picture.plan, picture.steps.get(0)], ['PLAN_STATE_COMPLETED', 'STEP_STATE_COMPLETED']);
  plans.fail('watch', new AdminError('not-found', 'there is no plan "plan-9"'));
  t.like(await refusal(scheduler.all('Watch', { plan: 'plan-9' })), { code: 'NOT_FOUND' });
});

test('a stream that broke goes on from where it was, without telling what is known', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  const COUNT = 300;
  await scheduler.call('Submit', { plan: noopPlan(COUNT) });
  const first = scheduler.stream('Watch', { plan: 'plan-1' });
  const picture = new Picture();
  first.on('error', () => undefined);
  first.on('data', (reply: Message) => picture.take(reply));
  plans.begin('plan-1');
  await until(
    'the first picture is complete',
    () => picture.revision !== '0' && picture.steps.size === COUNT,
  );
  first.cancel();
  for (let index = 0; index < 20; index++) plans.finish('plan-1', index, completed);
  const before = picture.changes;
  const second = scheduler.stream('Watch', { plan: 'plan-1', fromRevision: picture.revision });
  second.on('error', () => undefined);
  second.on('data', (reply: Message) => picture.take(reply));
  plans.finish('plan-1', 20, completed);
  await until('what was missed is told', () => picture.steps.get(20) === 'STEP_STATE_COMPLETED');
  t.deepEqual([...picture.steps.values()].filter(state => state === 'STEP_STATE_COMPLETED').length, 21);
  // The fake says of everything in its first picture that it is as of now; what changed is told, the plan included.
  t.true(picture.changes - before <= COUNT + 2);
  second.cancel();
});

test('a watch that breaks off says so, and can be resumed', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan() });
  const watch = plans.watch.bind(plans);
  plans.watch = async function* (id, after, signal) {
    for await (const event of watch(id, after, signal)) {
      yield event;
      if (event.kind === 'step') throw new AdminError('unavailable', 'the store is away');
    }
  };
  const end = await endOf(scheduler.stream('Watch', { plan: 'plan-1' }));
  t.deepEqual(end, { code: 'UNAVAILABLE', details: 'the store is away' });
  plans.watch = watch;
  const again = scheduler.stream('Watch', { plan: 'plan-1' });
  const picture = new Picture();
  again.on('error', () => undefined);
  again.on('data', (reply: Message) => picture.take(reply));
  await until('the picture is there', () => picture.steps.size === 1);
  again.cancel();
});

test('whoever reads slowly hears the last state of everything, not each change, and is sent no more than it takes', async t => {
  const { client, plans } = await rpcWorld(t);
  const scheduler = client('scheduler');
  const COUNT = 200;
  // So large that the windows of the connection hold few of them.
  const args = { filler: 'x'.repeat(2000) };
  const step = { task: { agent: 'noop', arguments: args, retry: { attempts: 100 } } };
  await scheduler.call('Submit', { plan: { steps: Array.from({ length: COUNT }, () => step) } });
  const stream = scheduler.stream('Watch', { plan: 'plan-1' });
  const picture = new Picture();
  plans.begin('plan-1');
  // Nothing is read: what the client does not take fills the windows of the connection, and then nothing.
  let events = 0;
  for (let round = 0; round < 40; round++) {
    for (let index = 0; index < COUNT; index++) {
      plans.finish('plan-1', index, { kind: 'failed', type: 'RETRYABLE', error: `round ${round}` });
      events++;
    }
    await macrotask();
  }
  for (let index = 0; index < COUNT; index++) plans.finish('plan-1', index, completed);
  stream.on('data', (reply: Message) => picture.take(reply));
  t.is((await endOf(stream)).code, 'OK');
  t.is(picture.plan, 'PLAN_STATE_COMPLETED');
  t.deepEqual(new Set(picture.steps.values()), new Set(['STEP_STATE_COMPLETED']));
  t.is(picture.steps.size, COUNT);
  t.true(picture.changes < events / 5, `${picture.changes} of ${events} events were told`);
});

test('all who watch one plan share one watch of it, which ends with the last of them', async t => {
  const { client, plans, feeds } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan() });
  const pictures = Array.from({ length: 50 }, () => new Picture());
  const streams = pictures.map(picture => {
    const stream = scheduler.stream('Watch', { plan: 'plan-1' });
    stream.on('error', () => undefined);
    stream.on('data', (reply: Message) => picture.take(reply));
    return stream;
  });
  await until('all have the picture', () => pictures.every(({ steps }) => steps.size === 1));
  t.is(plans.open, 1);
  plans.begin('plan-1');
  await until('all have heard', () => pictures.every(({ steps }) => steps.get(0) === 'STEP_STATE_RUNNING'));
  for (const stream of streams.slice(1)) stream.cancel();
  await until('one is left', () => feeds.watchers === 1);
  t.is(plans.open, 1);
  streams[0]!.cancel();
  await until('nobody watches', () => plans.open === 0);
});

test('a node that stops says so to whoever watches: the plan has not ended', async t => {
  const { client, server, feeds } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan() });
  const end = endOf(scheduler.stream('Watch', { plan: 'plan-1' }));
  await until('it watches', () => feeds.watchers === 1);
  await server.close();
  t.is((await end).code, 'UNAVAILABLE');
});

test('what can’t be told fails the watch, and nothing else', async t => {
  const { client, plans, log } = await rpcWorld(t);
  const scheduler = client('scheduler');
  await scheduler.call('Submit', { plan: noopPlan() });
  const watch = plans.watch.bind(plans);
  plans.watch = async function* (id, after, signal) {
    for await (const event of watch(id, after, signal)) {
      yield event.kind === 'step' ? event : { ...event, plan: { ...event.plan, counts: null as never } };
    }
  };
  t.is((await endOf(scheduler.stream('Watch', { plan: 'plan-1' }))).code, 'INTERNAL');
  t.is(log.matching('a call failed').length, 1);
});
