import { setImmediate as settled } from 'node:timers/promises';
import test from 'ava';
import { stepAgents } from '../../src/drivers/step-agents.ts';
import type { StepOutput, StepResult } from '../../src/model/plan.ts';
import type { StepAgent } from '../../src/ports/step-agents.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { stepTask } from '../support/step-task.ts';

function rosterOf(own: StepAgent[]) {
  return stepAgents(own, { blobs: new FakeBlobs(new FakeClock()) });
}

const never = new AbortController().signal;
const done: StepResult = { kind: 'completed', output: null };

/** An agent whose attempts end when they are told to. */
function heldAgent(name: string, slots = 1) {
  const running: (() => void)[] = [];
  let ended = 0;
  const agent: StepAgent = {
    name,
    check: () => [],
    run: () =>
      new Promise<StepResult>(resolve =>
        running.push(() => {
          ended += 1;
          resolve(done);
        }),
      ),
  };
  return { agent, running, room: () => slots - running.length + ended };
}

test('own agents are found by their names and take as much as the node', t => {
  const roster = rosterOf([heldAgent('noop').agent, heldAgent('http').agent]);
  t.deepEqual(roster.names(), ['http', 'noop']);
  t.is(roster.find('noop')?.name, 'noop');
  t.is(roster.room('noop'), Infinity);
  t.is(roster.find('pdf'), null);
  t.is(roster.room('pdf'), 0);
});

test('one that comes is found, and gone when it goes; the listener hears of both', t => {
  const roster = rosterOf([]);
  let heard = 0;
  const stop = roster.onChange(() => (heard += 1));
  const { agent, room } = heldAgent('pdf', 2);
  const offer = roster.add(agent, room);
  t.deepEqual([heard, roster.names(), roster.room('pdf')], [1, ['pdf'], 2]);
  offer?.changed();
  t.is(heard, 2);
  offer?.withdraw();
  offer?.withdraw();
  t.deepEqual([heard, roster.names(), roster.find('pdf')], [3, [], null]);
  stop();
  roster.add(agent, room);
  t.is(heard, 3);
});

test('nobody takes a name that the node serves itself', t => {
  const roster = rosterOf([heldAgent('http').agent]);
  t.is(
    roster.add(heldAgent('http').agent, () => 1),
    null,
  );
  t.is(roster.room('http'), Infinity);
});

test('nobody may offer an agent whose name is reserved, and it is not there to be found', t => {
  const roster = stepAgents([], { blobs: new FakeBlobs(new FakeClock()), reserved: ['deploy'] });
  t.is(
    roster.add(heldAgent('deploy').agent, () => 1),
    null,
  );
  t.is(roster.find('deploy'), null);
  t.deepEqual(roster.names(), []);
});

test('of several with one name the one with most room takes the attempt', async t => {
  const roster = rosterOf([]);
  const small = heldAgent('pdf', 1);
  const large = heldAgent('pdf', 3);
  roster.add(small.agent, small.room);
  roster.add(large.agent, large.room);
  const agent = roster.find('pdf')!;
  const runs = Array.from({ length: 4 }, () => agent.run(stepTask(), never));
  t.deepEqual([small.running.length, large.running.length, roster.room('pdf')], [1, 3, 0]);
  t.deepEqual(await agent.run(stepTask(), never), {
    kind: 'failed',
    type: 'RETRYABLE',
    error: 'every agent "pdf" of this node is busy',
  });
  small.running[0]!();
  t.is(roster.room('pdf'), 1);
  for (const end of large.running) end();
  t.deepEqual(await Promise.all(runs), [done, done, done, done]);
});

test('what an agent has begun goes on when it leaves, and the next attempt fails for now', async t => {
  const roster = rosterOf([]);
  const { agent, running, room } = heldAgent('pdf');
  const offer = roster.add(agent, room);
  const found = roster.find('pdf')!;
  const run = found.run(stepTask(), never);
  offer?.withdraw();
  const next = await found.run(stepTask(), never);
  t.like(next, { kind: 'failed', type: 'RETRYABLE' });
  running[0]!();
  t.deepEqual(await run, done);
});

test('an agent that breaks has failed for now, however it breaks', async t => {
  const broken: [string, StepAgent['run']][] = [
    ['rejects', () => Promise.reject(new Error('broken pipe'))],
    [
      'throws',
      () => {
        throw new Error('broken pipe');
      },
    ],
  ];
  for (const [name, run] of broken) {
    const roster = rosterOf([]);
    roster.add({ name: 'pdf', check: () => [], run }, () => 1);
    const result = await roster.find('pdf')!.run(stepTask(), never);
    t.deepEqual(result, { kind: 'failed', type: 'RETRYABLE', error: 'broken pipe' }, name);
  }
});

test('what waits for its payload has its place in the room already', async t => {
  const blobs = new FakeBlobs(new FakeClock());
  const roster = stepAgents([], { blobs });
  const { agent, running, room } = heldAgent('pdf', 2);
  roster.add(agent, room);
  const inputs = new Map<number, StepOutput>([[3, await blobs.put(Buffer.alloc(9000))]]);
  const work = { agent: 'pdf', resource: '', arguments: { 'payload-from': '3' } };
  const run = roster.find('pdf')!.run(stepTask({ work, inputs }), never);
  t.deepEqual([running.length, roster.room('pdf')], [0, 1]);
  await settled();
  t.deepEqual([running.length, roster.room('pdf')], [1, 1]);
  running[0]!();
  t.deepEqual(await run, done);
});
