import test from 'ava';
import type { StepSpec } from '../../../src/model/plan.ts';
import type { Write } from '../../../src/ports/store.ts';
import {
  completed,
  failed,
  noop,
  PlanCluster,
  submission,
  type Behaviour,
} from '../../support/plan-cluster.ts';

for (const steps of [1, 40, 300]) {
  for (const nodes of [1, 3]) {
    test(`a plan of ${steps} steps is done by ${nodes} nodes, each step once`, async t => {
      const cluster = await PlanCluster.start(nodes);
      const plan = await cluster.submit(steps);
      const view = await cluster.ended(plan);
      t.is(view.state, 'COMPLETED');
      t.is(view.counts.COMPLETED, steps);
      t.is(cluster.asked.length, steps);
      await cluster.clock.advance(100);
      for (const { name, engine } of cluster.nodes) t.is(engine.figures().owned, 0, `by ${name}`);
    });
  }
}

test('what a node has done is no part of its share: nodes that need no time leave nothing to each other', async t => {
  const cluster = await PlanCluster.start(3);
  const beganMs = cluster.clock.now();
  await cluster.ended(await cluster.submit(2_000));
  t.true(cluster.clock.now() - beganMs < 100, 'no stagger was waited for');
});

test('where the store is slow, what one node is claiming the others do not claim in vain', async t => {
  const cluster = await PlanCluster.start(3);
  let inVain = 0;
  for (const { store } of cluster.nodes) {
    const commit = store.commit.bind(store);
    store.commit = async (compares, writes) => {
      await cluster.clock.sleep(150);
      const result = await commit(compares, writes);
      if (result.kind === 'refused' && writes.some(isClaim)) inVain += 1;
      return result;
    };
  }
  await cluster.ended(await cluster.submit(1_000));
  inVain = 0;
  await cluster.ended(await cluster.submit(1_000));
  t.is(inVain, 0);
});

function isClaim(write: Write): boolean {
  if (!('put' in write) || write.put !== 'steps') return false;
  const { owner, token } = write.value;
  return owner !== null && token === null;
}

test('however many plans come at once, a node works at no more than it may', async t => {
  const cluster = new PlanCluster();
  cluster.limits = { ...cluster.limits, atOnce: 16 };
  const { engine, store } = await cluster.add('node-1');
  let most = 0;
  cluster.behave = () => {
    most = Math.max(most, engine.figures().running);
    return { afterMs: 50, result: completed };
  };
  store.setReplyDelay(5);
  const plans = await cluster.whileTimePasses(
    Promise.all(Array.from({ length: 30 }, () => engine.plans.submit(submission(4)))),
  );
  for (const { plan } of plans) await cluster.ended(plan.plan);
  t.is(most, 16);
});

test('the end of a plan is written by one of those who see it, and no other tries', async t => {
  const cluster = await PlanCluster.start(1, () => ({ afterMs: 10, result: completed }));
  const plan = await cluster.submit(1_000);
  const { store } = cluster.node();
  const commit = store.commit.bind(store);
  let ends = 0;
  store.commit = async (compares, writes) => {
    if (writes.some(write => 'put' in write && write.put === 'plans')) ends += 1;
    await cluster.clock.sleep(3);
    return commit(compares, writes);
  };
  await cluster.ended(plan);
  await cluster.clock.advance(100);
  t.is(ends, 1);
});

test('nothing is started before the record that says so is in the store', async t => {
  const cluster = await PlanCluster.start(1, task => {
    const record = cluster.steps(task.plan)[task.index];
    t.is(record?.state, 'RUNNING');
    t.is(record?.attempt, task.attempt);
    return completed;
  });
  const plan = await cluster.submit(
    Array.from({ length: 40 }, (_, index) => noop(index > 0 ? { dependsOn: [index - 1] } : {})),
  );
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  t.is(cluster.asked.length, 40);
});

test('128 steps that need no time take three transactions at the most', async t => {
  const cluster = await PlanCluster.start();
  const before = cluster.node().engine.figures();
  await cluster.ended(await cluster.submit(1_000));
  const after = cluster.node().engine.figures();
  const chunks = 8;
  t.true(after.claims - before.claims + after.writes - before.writes <= 3 * chunks);
  t.is(after.ended - before.ended, 1_000);
});

test('what arrives while a transaction is under way goes with the next, and nothing of it is lost', async t => {
  const cluster = await PlanCluster.start(1, ({ index }) => ({ afterMs: 10 * index, result: completed }));
  cluster.node().store.setReplyDelay(35);
  const plan = await cluster.submit(30);
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  t.is(cluster.asked.length, 30);
  t.is(cluster.node().engine.figures().staleResults, 0);
});

test('a step is started after those it depends on, with what they gave', async t => {
  const cluster = await PlanCluster.start(3, ({ index }) => ({
    kind: 'completed',
    output: { value: `of ${index}` },
  }));
  const steps = Array.from({ length: 70 }, (_, index) =>
    noop(index < 68 ? {} : { dependsOn: index === 68 ? [0, 40] : [68] }),
  );
  await cluster.ended(await cluster.submit(steps));
  const inputs = new Map(cluster.asked.map(({ task }) => [task.index, [...task.inputs]]));
  t.deepEqual(inputs.get(68), [
    [0, { value: 'of 0' }],
    [40, { value: 'of 40' }],
  ]);
  t.deepEqual(inputs.get(69), [[68, { value: 'of 68' }]]);
});

test('what fails is tried again after its wait, and given up after its attempts', async t => {
  const cluster = await PlanCluster.start(1, ({ index, attempt }) =>
    index === 0 && attempt < 3 ? failed : index === 0 ? completed : failed,
  );
  const retry = { attempts: 3, firstWaitSeconds: 2, factor: 2, longestWaitSeconds: 60, jitter: 0 };
  const plan = await cluster.submit([noop({ retry }), noop({ retry })], { onFailure: 'continue' });
  const view = await cluster.ended(plan);
  t.is(view.state, 'FAILED');
  t.deepEqual(cluster.states(plan), ['COMPLETED', 'FAILED']);
  const [first, second, third] = cluster.asked.filter(({ task }) => task.index === 0).map(({ atMs }) => atMs);
  t.is(second! - first!, 2_000);
  t.is(third! - second!, 4_000);
  await cluster.clock.advance(500);
  t.is(cluster.events('plan-ended-badly').length, 1);
});

test('an attempt past its time is over, and what it still says is refused and counted', async t => {
  const cluster = await PlanCluster.start(1, ({ attempt }) => (attempt === 1 ? null : completed));
  const hanging: Behaviour = ({ attempt }) =>
    attempt === 1 ? { afterMs: 10_000, result: completed } : completed;
  cluster.behave = hanging;
  const plan = await cluster.submit([noop({ timeoutSeconds: 2 })]);
  const view = await cluster.ended(plan);
  t.is(view.state, 'COMPLETED');
  t.deepEqual(cluster.attempts(), ['0 1', '0 2']);
  t.true(cluster.asked[0]!.signal.aborted);
  t.is(cluster.steps(plan)[0]!.trouble?.failures, 1);
  await cluster.clock.advance(20_000);
  t.is(cluster.node().engine.figures().staleResults, 1);
});

test("Boltzmann's defect 5: a step that takes far longer than a lease is done once, by one node", async t => {
  const cluster = await PlanCluster.start(3, () => ({ afterMs: 150_000, result: completed }));
  const plan = await cluster.submit([noop({ timeoutSeconds: 300 })]);
  const view = await cluster.ended(plan, 200_000);
  t.is(view.state, 'COMPLETED');
  t.deepEqual(cluster.attempts(), ['0 1']);
});

test('what its owner left when it went is done by another, as another attempt with a higher token', async t => {
  const cluster = await PlanCluster.start(2, (_task, node) => (node === 'node-1' ? null : completed));
  const plan = await cluster.submit([noop(), noop({ dependsOn: [0] })]);
  await cluster.clock.advance(100);
  t.deepEqual(cluster.attempts(), ['0 1']);
  await cluster.node().crash();
  const view = await cluster.ended(plan);
  t.is(view.state, 'COMPLETED');
  t.deepEqual(cluster.attempts(), ['0 1', '0 2', '1 1']);
  t.true(BigInt(cluster.asked[1]!.task.token) > BigInt(cluster.asked[0]!.task.token));
  t.is(cluster.asked[0]!.task.idempotencyKey, cluster.asked[1]!.task.idempotencyKey);
});

const twice = { attempts: 2, firstWaitSeconds: 1, factor: 1, longestWaitSeconds: 1, jitter: 0 };

test('an agent that is told to end waits for what is short, and hands back what it stopped: no attempt is lost', async t => {
  const cluster = await PlanCluster.start(2, ({ index, attempt }, node) => {
    if (node === 'node-1') return { afterMs: index === 0 ? 2_000 : 600_000, result: completed };
    return index === 1 && attempt === 2 ? failed : completed;
  });
  const long = { retry: twice, timeoutSeconds: 900 };
  const plan = await cluster.submit([noop(), noop(long), noop(long), noop({ dependsOn: [0] })]);
  await cluster.clock.advance(100);
  const beganMs = cluster.clock.now();
  await cluster.whileTimePasses(cluster.node().handOver());
  const tookMs = cluster.clock.now() - beganMs;
  t.true(tookMs >= 5_000 && tookMs < 6_000, `it took ${tookMs} ms`);
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  t.deepEqual(cluster.attempts().sort(), ['0 1', '1 1', '1 2', '1 3', '2 1', '2 2', '3 1']);
  // The one failure was that of the other node.
  t.deepEqual(
    cluster.steps(plan).map(record => record?.trouble?.failures ?? 0),
    [0, 1, 0, 0],
  );
  t.deepEqual(cluster.events('step-given-up'), []);
});

test('nothing is started by an agent that is told to end, and with nothing running it waits for nothing', async t => {
  const cluster = await PlanCluster.start(1, () => ({ afterMs: 1_000, result: completed }));
  const plan = await cluster.submit(chainOf(3));
  await cluster.clock.advance(100);
  const ending = cluster.node().handOver();
  await cluster.whileTimePasses(ending);
  t.deepEqual(cluster.attempts(), ['0 1']);
  t.deepEqual(cluster.states(plan), ['COMPLETED', 'PENDING', 'PENDING']);
  t.is(cluster.chunks(plan)[0]?.owner, null);
  const next = await cluster.add('node-1');
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  const beganMs = cluster.clock.now();
  await cluster.whileTimePasses(next.handOver());
  t.true(cluster.clock.now() - beganMs < 100);
});

test('however often its agent is replaced, a step comes to its end', async t => {
  const cluster = await PlanCluster.start(1, ({ attempt }) => ({
    afterMs: attempt < 6 ? 600_000 : 10,
    result: completed,
  }));
  const plan = await cluster.submit([noop({ retry: twice, timeoutSeconds: 900 })]);
  for (let upgrade = 0; upgrade < 5; upgrade++) {
    await cluster.clock.advance(500);
    await cluster.whileTimePasses(cluster.node().handOver());
    await cluster.add('node-1');
  }
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  t.like(cluster.steps(plan)[0], { attempt: 6, cut: 5, trouble: undefined });
});

test('what may be tried only once is not done again after it was cut short', async t => {
  const cluster = await PlanCluster.start(2, () => null);
  cluster.behave = () => ({ afterMs: 600_000, result: completed });
  const plan = await cluster.submit([noop({ retry: { ...twice, attempts: 1 }, timeoutSeconds: 900 })]);
  await cluster.clock.advance(100);
  await cluster.whileTimePasses(cluster.node().handOver());
  t.is((await cluster.ended(plan)).state, 'FAILED');
  t.deepEqual(cluster.attempts(), ['0 1']);
  const [record] = cluster.steps(plan);
  t.is(record?.state, 'TIMED_OUT');
  t.regex(record?.trouble?.error ?? '', /the agent of node-1 ended: it may have done its work/);
});

test('what does not stop is tried again as after a crash', async t => {
  const cluster = await PlanCluster.start(1, ({ attempt }) => (attempt === 1 ? null : completed));
  const plan = await cluster.submit([noop({ retry: twice })]);
  await cluster.clock.advance(100);
  await cluster.whileTimePasses(cluster.node().handOver());
  await cluster.add('node-1');
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  t.like(cluster.steps(plan)[0], { attempt: 2, trouble: { failures: 1 } });
});

test('an undoing that is cut short is done again, and loses no attempt', async t => {
  const undo = { agent: 'noop', resource: 'undo', retry: twice, timeoutSeconds: 900 };
  const cluster = await PlanCluster.start(1, ({ kind, attempt }) => {
    if (kind === 'work') return { kind: 'failed', type: 'FATAL', error: 'no' };
    return attempt < 5 ? { afterMs: 600_000, result: completed } : completed;
  });
  const plan = await cluster.submit([noop({ compensate: undo })], { onFailure: 'compensate' });
  for (let upgrade = 0; upgrade < 3; upgrade++) {
    await cluster.clock.advance(500);
    await cluster.whileTimePasses(cluster.node().handOver());
    await cluster.add('node-1');
  }
  t.is((await cluster.ended(plan)).state, 'COMPENSATED');
  t.deepEqual(cluster.attempts(), ['0 1', '0 2 undo', '0 3 undo', '0 4 undo', '0 5 undo']);
});

function chainOf(length: number): StepSpec[] {
  return Array.from({ length }, (_, index) => noop(index > 0 ? { dependsOn: [index - 1] } : {}));
}

test('an owner whose session is gone writes nothing any more, and stops what it runs', async t => {
  const cluster = await PlanCluster.start(2, (_task, node) =>
    node === 'node-1' ? { afterMs: 30_000, result: completed } : completed,
  );
  const plan = await cluster.submit([noop()]);
  cluster.node().store.setLink('silent');
  await cluster.clock.advance(25_000);
  t.is(cluster.record(plan)?.settled?.state, 'COMPLETED');
  t.true(cluster.asked[0]!.signal.aborted);
  const [record] = cluster.steps(plan);
  cluster.node().store.setLink('up');
  await cluster.clock.advance(30_000);
  t.deepEqual(cluster.steps(plan)[0], record);
  t.true(cluster.node().engine.figures().running === 0);
});

for (const link of ['replies-lost', 'silent', 'refused'] as const) {
  test(`a link that is ${link} for a moment loses no step and does none twice in the store`, async t => {
    const cluster = await PlanCluster.start(1, () => ({ afterMs: 500, result: completed }));
    const submitted = await cluster.submit(
      Array.from({ length: 6 }, (_, index) => noop(index > 0 ? { dependsOn: [index - 1] } : {})),
    );
    for (let cut = 0; cut < 3; cut++) {
      await cluster.clock.advance(450);
      cluster.node().store.setLink(link);
      await cluster.clock.advance(300);
      cluster.node().store.setLink('up');
      await cluster.clock.advance(3_000);
    }
    const view = await cluster.ended(submitted);
    t.is(view.state, 'COMPLETED');
    t.is(view.counts.COMPLETED, 6);
  });
}

test('steps with one key run as many at once as its limit says, across plans and nodes', async t => {
  let running = 0;
  let most = 0;
  const cluster = await PlanCluster.start(3, () => ({ afterMs: 300, result: completed }));
  const behave = cluster.behave;
  cluster.behave = (task, node) => {
    running = cluster.asked.filter(({ atMs }) => atMs > cluster.clock.now() - 300).length;
    most = Math.max(most, running);
    return behave(task, node);
  };
  const keyed = noop({ concurrency: { key: 'the db', limit: 2 } });
  const plans = [
    await cluster.submit([keyed, keyed, keyed]),
    await cluster.submit([keyed, keyed, keyed], {}, 1),
    await cluster.submit([keyed], {}, 2),
  ];
  for (const plan of plans) t.is((await cluster.ended(plan)).state, 'COMPLETED');
  t.is(most, 2);
});

test('a key that its holder held when it died is free again', async t => {
  const keyed = noop({ concurrency: { key: 'k', limit: 1 } });
  const cluster = await PlanCluster.start(2, (_task, node) => (node === 'node-1' ? null : completed));
  const plan = await cluster.submit([keyed]);
  await cluster.clock.advance(50);
  const other = await cluster.submit([keyed], {}, 1);
  await cluster.clock.advance(2_000);
  t.is(cluster.asked.length, 1);
  await cluster.node().crash();
  t.is((await cluster.ended(plan)).state, 'COMPLETED');
  t.is((await cluster.ended(other)).state, 'COMPLETED');
});

test('cancelling tells what runs to stop, and names what did not', async t => {
  const cluster = await PlanCluster.start(1, ({ index, attempt }) => {
    if (index === 0) return null;
    if (index > 2 && attempt === 1) return failed;
    return { afterMs: 60_000, result: completed, ...(index === 1 ? { whenStopped: failed } : {}) };
  });
  const retry = { attempts: 3, firstWaitSeconds: 0.05, factor: 1, longestWaitSeconds: 60, jitter: 0 };
  const failing = [noop({ retry }), noop({ retry: { ...retry, firstWaitSeconds: 60 } })];
  const plan = await cluster.submit([noop(), noop(), noop({ dependsOn: [1] }), ...failing]);
  await cluster.clock.advance(100);
  t.deepEqual(cluster.states(plan), ['RUNNING', 'RUNNING', 'PENDING', 'RUNNING', 'RETRY_WAIT']);
  await cluster.whileTimePasses(cluster.node().engine.plans.cancel(plan, 'somebody'));
  const view = await cluster.ended(plan);
  t.is(view.state, 'CANCELLED');
  t.true(cluster.states(plan).every(state => state === 'CANCELLED'));
  t.deepEqual(
    cluster.asked.filter(({ signal }) => signal.aborted).map(({ task }) => task.index),
    [0, 1, 3],
  );
  // What failed before, and was stopped since or did not run, is nothing that anybody has to see to.
  t.deepEqual(view.troubles, [
    'step 0: it did not stop within 10 s of being asked: it may still run',
    'step 1: it did not work',
  ]);
});

const saga = (length: number): StepSpec[] =>
  Array.from({ length }, (_, index) =>
    noop({
      ...(index > 0 ? { dependsOn: [index - 1] } : {}),
      compensate: { agent: 'noop', resource: 'undo' },
      retry: { attempts: 1, firstWaitSeconds: 0, factor: 1, longestWaitSeconds: 0, jitter: 0 },
    }),
  );

for (let bad = 0; bad < 4; bad++) {
  test(`when step ${bad} of a saga fails, what was done is undone in reverse, also across the crash of a node`, async t => {
    let crashed = false;
    const cluster = await PlanCluster.start(2, ({ index, kind }, node) => {
      if (kind === 'undo') return node === 'node-1' && !crashed ? null : completed;
      return index === bad ? failed : completed;
    });
    const plan = await cluster.submit(saga(4), { onFailure: 'compensate' });
    await cluster.clock.advance(500);
    crashed = true;
    await cluster.node().crash();
    const view = await cluster.ended(plan);
    t.is(view.state, 'COMPENSATED');
    const undone = cluster.asked
      .filter(({ task, node }) => task.kind === 'undo' && node === 'node-2')
      .map(({ task }) => task.index);
    t.deepEqual(
      undone,
      Array.from({ length: bad + 1 }, (_, place) => bad - place),
    );
  });
}

test('what cannot be undone is an event, and the plan says so', async t => {
  const cluster = await PlanCluster.start(1, ({ kind, index }) => {
    if (kind === 'undo') return { kind: 'failed', type: 'FATAL', error: 'the door is locked' };
    return index === 1 ? failed : completed;
  });
  const plan = await cluster.submit(saga(2), { onFailure: 'compensate' });
  const view = await cluster.ended(plan);
  t.is(view.state, 'COMPENSATION_FAILED');
  await cluster.clock.advance(500);
  t.is(cluster.events('undoing-given-up').length, 2);
  t.regex(view.troubles.join(), /could not be undone: the door is locked/);
});

test('a result that could not be written before the session was lost is refused and counted', async t => {
  const cluster = await PlanCluster.start(2, () => ({ afterMs: 1_000, result: completed }));
  const plan = await cluster.submit(1);
  await cluster.clock.advanceUntil(() => cluster.asked.length === 1, 10_000);
  const owner = cluster.nodes.find(({ name }) => name === cluster.asked[0]!.node)!;
  owner.store.setLink('refused');
  const other = cluster.nodes.indexOf(owner) === 0 ? 1 : 0;
  await cluster.clock.advanceUntil(() => cluster.states(plan)[0] === 'COMPLETED', 60_000);
  t.deepEqual(cluster.attempts(), ['0 1', '0 2']);
  t.is(owner.engine.figures().staleResults, 1);
  t.is(cluster.node(other).engine.figures().staleResults, 0);
});

test('one key and body are one plan, another body is refused', async t => {
  const cluster = await PlanCluster.start(2);
  const request = { ...submission(1), idempotencyKey: 'order 7/a' };
  const first = await cluster.whileTimePasses(cluster.node(0).engine.plans.submit(request));
  const again = await cluster.whileTimePasses(cluster.node(1).engine.plans.submit(request));
  t.true(first.created);
  t.false(again.created);
  t.is(again.plan.plan, first.plan.plan);
  const other = { ...request, digest: 'sha256:other' };
  await t.throwsAsync(cluster.whileTimePasses(cluster.node(1).engine.plans.submit(other)), {
    message: /stands for another plan already/,
  });
  t.is(cluster.asked.length, 1);
});

test('a plan with anything wrong is refused whole, with all that is wrong', async t => {
  const cluster = await PlanCluster.start();
  const steps = [
    noop({ dependsOn: [1] }),
    noop({ dependsOn: [0] }),
    noop({ agent: 'No Name' }),
    noop({ timeoutSeconds: -1 }),
    noop({ arguments: { 'payload-from': '3.id' } }),
    noop({ dependsOn: [3], arguments: { 'payload-from': '3.id' } }),
  ];
  const error = await t.throwsAsync(cluster.node().engine.plans.submit(submission(steps)));
  const { problems } = (error as unknown as { details: { problems: { field: string }[] } }).details;
  t.deepEqual(problems.map(({ field }) => field).sort(), [
    'steps[0].dependsOn',
    'steps[2].agent',
    'steps[3].timeoutSeconds',
    'steps[4].arguments.payload-from',
  ]);
  t.deepEqual(cluster.etcd.contents('plans'), {});
  t.deepEqual(cluster.etcd.contents('steps'), {});
});

test('a retry by hand does again what failed, and what was skipped after it', async t => {
  let broken = true;
  const cluster = await PlanCluster.start(2, ({ index }) =>
    index === 1 && broken ? { kind: 'failed', type: 'FATAL', error: 'no' } : completed,
  );
  const plan = await cluster.submit(
    Array.from({ length: 40 }, (_, index) => noop(index === 39 ? { dependsOn: [1] } : {})),
  );
  t.is((await cluster.ended(plan)).state, 'FAILED');
  broken = false;
  await cluster.whileTimePasses(cluster.node().engine.plans.retry(plan, null));
  const view = await cluster.ended(plan);
  t.is(view.state, 'COMPLETED');
  t.is(view.counts.COMPLETED, 40);
});

test('a step is left to a node that has its agent, also when that one comes later', async t => {
  const cluster = await PlanCluster.start(1);
  const plan = await cluster.submit([noop(), noop({ agent: 'special' })]);
  await cluster.clock.advance(1_000);
  t.deepEqual(cluster.states(plan), ['COMPLETED', 'PENDING']);
  const { plans } = cluster.node(0).engine;
  t.deepEqual((await plans.plan(plan)).troubles, [
    'step 1 waits for the agent "special": node-1 does not have it, and no other node has begun the step',
  ]);
  await cluster.add('node-2', ['special']);
  const view = await cluster.ended(plan);
  t.is(view.state, 'COMPLETED');
  t.deepEqual((await plans.plan(plan)).troubles, []);
  t.deepEqual(
    cluster.asked.map(({ node }) => node),
    ['node-1', 'node-2'],
  );
});

test('forgetting a plan takes all of it out of the store', async t => {
  const cluster = await PlanCluster.start();
  const plan = await cluster.submit(200);
  await t.throwsAsync(cluster.node().engine.plans.forget('nothing'), { message: /there is no plan/ });
  await cluster.ended(plan);
  await cluster.whileTimePasses(cluster.node().engine.plans.forget(plan));
  for (const kind of ['plans', 'steps', 'definitions'] as const) t.deepEqual(cluster.etcd.contents(kind), {});
});

test('whoever watches a plan hears all of it, and its end', async t => {
  const cluster = await PlanCluster.start(2, () => ({ afterMs: 100, result: completed }));
  const plan = await cluster.submit(3);
  const states: string[] = [];
  const watching = (async () => {
    for await (const event of cluster.node(1).engine.plans.watch(plan, null, new AbortController().signal)) {
      states.push(event.kind === 'plan' ? event.plan.state : `${event.step.index} ${event.step.state}`);
    }
  })();
  await cluster.whileTimePasses(watching);
  t.is(states.at(-1), 'COMPLETED');
  for (const index of [0, 1, 2]) t.true(states.includes(`${index} COMPLETED`));
});
