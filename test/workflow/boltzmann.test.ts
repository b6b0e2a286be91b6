import test from 'ava';
import type { StepRecord } from '../../src/model/plan.ts';
import { acceptResult } from '../../src/workflow/attempts.ts';
import { checkPlan } from '../../src/workflow/check-plan.ts';
import { chunksOf } from '../../src/workflow/chunks.ts';
import { inClaimOrder } from '../../src/workflow/claim-order.ts';
import { nextMoves } from '../../src/workflow/next-moves.ts';
import { shapeOf } from '../../src/workflow/shape.ts';
import { planState, survey } from '../../src/workflow/survey.ts';
import { moment, outlook, plan, record, step } from './helpers.ts';
import { tickMs, World, type Behaviour, type WorldOptions } from './world.ts';

/** What Boltzmann, whose steps these are, gets wrong, by the numbers of the list that was made of it by reading. Of a node with a lease: 5, in plan-engine.test.ts. */
const completes: Behaviour = () => ({ afterMs: 50, result: { kind: 'completed', output: null } });

test('defect 2: a payload that is too long is refused, never cut', t => {
  const text = JSON.stringify({ text: 'x'.repeat(5_000) });
  const spec = plan([step({ payload: { mimeType: 'application/json', text } })]);
  t.deepEqual(
    checkPlan(spec).map(({ field }) => field),
    ['steps[0].payload'],
  );
  const short = plan([step({ payload: { mimeType: 'application/json', text: text.slice(0, 600) } })]);
  t.deepEqual(checkPlan(short), []);
});

test('defect 4: more nodes do more at once', t => {
  let [most, startedBy] = [0, new Set<string>()];
  const world = new World({
    ...options(plan(Array.from({ length: 200 }, () => step()))),
    slots: 5,
    onChange: (_, after, { records }) => {
      if (after.state === 'RUNNING') startedBy = startedBy.add(after.run.lockedBy);
      most = Math.max(most, records.filter(one => one?.state === 'RUNNING').length);
    },
  });
  world.run(world.nowMs + 60_000, () => undefined);
  t.is(world.settled, 'COMPLETED');
  t.is(startedBy.size, 3);
  t.is(most, 15);
});

test("defect 6: the result of a worker that was paused, and has lost its step, is refused and is not the step's", t => {
  let paused = false;
  const behave: Behaviour = (_, __, attempt) => ({
    afterMs: 50,
    result: { kind: 'completed', output: { value: attempt } },
  });
  const world = new World({ ...options(plan([step({ timeoutSeconds: 1 })])), behave });
  world.run(world.nowMs + 60_000, () => {
    const owner = world.nodes.find(({ attempts }) => attempts.length > 0);
    if (!paused && owner) paused = owner.frozen = true;
  });
  t.is(world.settled, 'COMPLETED');
  t.like(world.records[0], { attempt: 2, output: { value: 2 }, trouble: { failures: 1 } });
});

test('defect 7: first in is first out', t => {
  const chunk = (plan: string, createRevision: bigint) => ({ plan, createRevision, chunk: 0, priority: 5 });
  const order = inClaimOrder([chunk('third', 30n), chunk('first', 9n), chunk('second', 10n)]);
  t.deepEqual(
    order.map(one => one.plan),
    ['first', 'second', 'third'],
  );
  const started = nextMoves(outlook(plan([step(), step(), step()]), [], { slots: 2 })).moves;
  t.deepEqual(
    started.map(move => 'index' in move && move.index),
    [0, 1],
  );
});

test('defect 8: a node that dies at any moment loses no step', t => {
  for (let moment = 1; moment <= 25; moment++) {
    const world = new World({
      ...options(plan([step(), step(), step({ dependsOn: [0, 1] }), step({ dependsOn: [2] })])),
      chunks: 2,
    });
    const diesMs = world.nowMs + moment * tickMs;
    world.run(world.nowMs + 60_000, () => {
      const busy = world.nodes.find(({ attempts }) => attempts.length > 0) ?? world.nodes[0]!;
      if (world.nowMs === diesMs) world.kill(busy);
    });
    t.is(world.settled, 'COMPLETED', `at ${moment * tickMs} ms`);
  }
});

test('defect 9: each failure is recorded', t => {
  const behave: Behaviour = index => ({
    afterMs: 10,
    result: { kind: 'failed', type: 'FATAL', error: `no ${index}` },
  });
  const spec = plan([step(), step(), step()], { onFailure: 'continue' });
  const world = new World({ ...options(spec), behave });
  world.run(world.nowMs + 60_000, () => undefined);
  t.deepEqual(
    world.records.map(one => one?.trouble?.error),
    ['no 0', 'no 1', 'no 2'],
  );
});

test('defect 12: a step has a time by which it ends, and is tried again', t => {
  const { moves } = nextMoves(
    outlook(plan([step()]), [record(0, 'RUNNING')], { sinceMs: () => 100_000 - 60_000 }),
  );
  t.like(moves[0], { kind: 'time-out', record: { state: 'RETRY_WAIT' } });
});

test('defect 13: a plan and its steps have a state before anything has begun', t => {
  const shape = shapeOf(plan([step(), step()]));
  t.is(planState(shape, survey(shape, [undefined, undefined]), null), 'PENDING');
});

test('defect 14: a sequential plan whose node dies in step k goes on with step k', t => {
  for (const k of [0, 1, 2, 3]) {
    const begun: number[] = [];
    let dead = false;
    const world = new World({
      ...options(plan([step(), step(), step(), step()], { sequential: true })),
      onChange: (_, after) => after.state === 'RUNNING' && begun.push(after.index),
    });
    world.run(world.nowMs + 60_000, () => {
      const owner = world.nodes.find(({ attempts }) => attempts.some(({ index }) => index === k));
      if (!dead && owner) world.kill(owner);
      dead ||= owner !== undefined;
    });
    t.is(world.settled, 'COMPLETED');
    t.deepEqual(
      begun,
      [0, 1, 2, 3].flatMap(index => (index === k ? [k, k] : [index])),
    );
  }
});

test('defect 15: as many steps come out as went in', t => {
  const steps = chunksOf(513).flatMap(({ first, count }) =>
    Array.from({ length: count }, (_, n) => first + n),
  );
  t.deepEqual(
    steps,
    Array.from({ length: 513 }, (_, index) => index),
  );
});

test('defect 16: a plan that says nothing but what it must ends well, on a node with room for one step', t => {
  const world = new World({ ...options(plan(Array.from({ length: 40 }, () => step()))), slots: 1 });
  for (const node of world.nodes.slice(1)) world.kill(node);
  world.run(world.nowMs + 60_000, () => undefined);
  t.is(world.settled, 'COMPLETED');
});

test('defect 17: a failure without words is a failure', t => {
  const result = { kind: 'failed', type: 'RETRYABLE', error: '' } as const;
  const running: StepRecord = record(0, 'RUNNING');
  const answer = acceptResult(step(), running, '7', { attempt: 1, token: '7' }, result, 0, moment);
  t.like(answer, { accepted: true, record: { state: 'RETRY_WAIT' } });
});

function options(spec: WorldOptions['spec']): WorldOptions {
  return { spec, random: () => 0.5, behave: completes, slots: 4, onChange: () => undefined };
}
