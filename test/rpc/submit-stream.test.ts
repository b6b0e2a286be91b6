import test from 'ava';
import { AdminError } from '../../src/ports/admin.ts';
import { until } from '../support/until.ts';
import { endOf, noopPlan, rpcWorld, type Message } from './helpers.ts';

test('many plans go in on one stream, and each is answered by its reference', async t => {
  const { client, plans } = await rpcWorld(t);
  const stream = client('scheduler').both('SubmitStream');
  const COUNT = 500;
  for (let n = 0; n < COUNT; n++)
    stream.write({ plan: noopPlan(1, { title: `t-${n}` }), clientRef: `r-${n}` });
  stream.end();
  const replies = new Map<unknown, Message>();
  for await (const reply of stream) replies.set((reply as Message)['clientRef'], reply as Message);
  t.is(replies.size, COUNT);
  t.is(plans.submissions.length, COUNT);
  for (let n = 0; n < COUNT; n++) {
    const { submitted } = replies.get(`r-${n}`) as { submitted: { plan: Message } };
    t.is(submitted.plan['title'], `t-${n}`);
  }
});

test('a plan that is refused ends nothing: the others go in', async t => {
  const { client, plans } = await rpcWorld(t);
  const stream = client('scheduler').both('SubmitStream');
  stream.write({ plan: noopPlan(), clientRef: 'good' });
  stream.write({
    plan: { steps: [{ task: { agent: 'http', resource: 'telex' } }] },
    clientRef: 'no address',
  });
  stream.write({ clientRef: 'no plan' });
  stream.write({ plan: noopPlan(1, { title: 'x'.repeat(201) }), clientRef: 'x'.repeat(201) });
  stream.write({ plan: noopPlan(), clientRef: 'good, too' });
  stream.end();
  const outcomes = new Map<unknown, unknown>();
  for await (const reply of stream) {
    const { clientRef, failure } = reply as {
      clientRef: string;
      failure?: { code: number; problems: Message[] };
    };
    outcomes.set(clientRef, failure ? [failure.code, failure.problems.map(({ field }) => field)] : 'in');
  }
  t.deepEqual(
    [...outcomes.values()],
    ['in', [3, ['plan.steps[0].task.resource']], [3, ['plan']], [3, ['plan.title', 'client_ref']], 'in'],
  );
  t.is(plans.submissions.length, 2);
});

test('a failure that is ours ends the stream', async t => {
  const { client, plans } = await rpcWorld(t);
  const stream = client('scheduler').both('SubmitStream');
  const end = endOf(stream);
  plans.fail('submit', new TypeError('x is not a function'));
  stream.write({ plan: noopPlan() });
  t.like(await end, { code: 'INTERNAL' });
});

test('only so many are being accepted at once: whoever sends faster waits', async t => {
  const open = new Map<string, () => void>();
  const { client, plans } = await rpcWorld(t);
  const submit = plans.submit.bind(plans);
  plans.submit = async submission => {
    await new Promise<void>(resolve => open.set(submission.spec.title ?? '', resolve));
    return submit(submission);
  };
  const stream = client('scheduler').both('SubmitStream');
  const replies: unknown[] = [];
  stream.on('data', ({ clientRef }: Message) => replies.push(clientRef));
  const COUNT = 100;
  for (let n = 0; n < COUNT; n++)
    stream.write({ plan: noopPlan(1, { title: `t-${n}` }), clientRef: `t-${n}` });
  stream.end();
  const end = endOf(stream);
  await until('sixteen are under way', () => open.size === 16);
  open.get('t-7')!();
  await until('one is done, and another has come', () => open.size === 17 && replies.length === 1);
  t.deepEqual(replies, ['t-7']);
  await until('all have come', () => {
    for (const begin of open.values()) begin();
    return replies.length === COUNT;
  });
  t.is((await end).code, 'OK');
});

test('whoever leaves in the middle has submitted what was accepted', async t => {
  const { client, plans, log } = await rpcWorld(t);
  const stream = client('scheduler').both('SubmitStream');
  const end = endOf(stream);
  stream.write({ plan: noopPlan() });
  await until('one is in', () => plans.submissions.length === 1);
  stream.cancel();
  t.is((await end).code, 'CANCELLED');
  plans.fail('submit', new AdminError('full', 'no room'));
  t.deepEqual(log.matching('failed'), []);
});
