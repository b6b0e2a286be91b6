import test from 'ava';
import { appView, instanceViews, nodeViews, subjectViews } from '../../src/agent/views.ts';
import type { InstanceState } from '../../src/model/node-promise.ts';
import type { InstanceView } from '../../src/model/views.ts';
import { assessment, runningPromise } from '../support/nouns.ts';
import { webApp } from '../support/sim-cluster.ts';
import { sessionRecord } from '../support/store-worlds.ts';
import { appRecord, member, ownerRecord } from './helpers.ts';

const PLACE = { host: '10.0.0.9', port: 4001 };

function instance(
  index: number,
  state: InstanceState | 'unplaced',
  parts: Partial<InstanceView> = {},
): InstanceView {
  return {
    instance: `blog/web/${index}`,
    app: 'blog',
    process: 'web',
    index,
    node: 'node-1',
    state,
    ready: state === 'running',
    release: 1,
    version: '1',
    endpoint: null,
    pid: null,
    token: '1',
    exclusive: false,
    mayStillRun: [],
    trouble: null,
    ...parts,
  };
}

for (const { title, instances, removing, types, message } of [
  {
    title: 'all is well',
    instances: [instance(0, 'running'), instance(1, 'running')],
    removing: false,
    types: ['Ready'],
    message: /all 2 instance\(s\) are ready/,
  },
  {
    title: 'one is late',
    instances: [instance(0, 'running'), instance(1, 'starting')],
    removing: false,
    types: ['Progressing'],
    message: /blog\/web\/1 starting/,
  },
  {
    title: 'one runs the release before',
    instances: [instance(0, 'running'), instance(1, 'running', { version: '0' })],
    removing: false,
    types: ['Progressing'],
    message: /blog\/web\/1 running/,
  },
  {
    title: 'one is given up',
    instances: [instance(0, 'running'), instance(1, 'failed')],
    removing: false,
    types: ['Degraded'],
    message: /given up: blog\/web\/1 failed/,
  },
  {
    title: 'one more than wanted is on its way out',
    instances: [instance(0, 'running'), instance(1, 'running'), instance(2, 'stopping')],
    removing: false,
    types: ['Ready'],
    message: /all 2/,
  },
  {
    title: 'it is being removed',
    instances: [instance(0, 'stopping')],
    removing: true,
    types: ['Removing'],
    message: /1 instance\(s\) are still to be stopped/,
  },
]) {
  test(`an app of which ${title} is ${types.join()}`, t => {
    const { conditions } = appView(appRecord(webApp(2), { removing }), instances);
    const standing = conditions.filter(({ status }) => status);
    t.deepEqual(
      standing.map(({ type }) => type),
      types,
    );
    t.regex(standing[0]!.message, message);
    t.is(conditions.find(({ type }) => type === 'Ready')?.status, types[0] === 'Ready');
  });
}

test('an instance is shown as its owner says, and as unknown to others while nobody has it', async t => {
  const { etcd, clock, world, keeper } = await member();
  const { incarnation } = keeper.current()!;
  etcd.put('apps', 'blog', appRecord(webApp(3)));
  etcd.put('owners', 'instance/blog/web/0', ownerRecord({ incarnation, mayStillRun: ['node-3'] }));
  etcd.put(
    'owners',
    'instance/blog/web/1',
    ownerRecord({ subject: 'instance/blog/web/1', incarnation: 'gone' }),
  );
  const promise = runningPromise({}, 'node-1');
  etcd.put('promises', 'node-1/running:blog/web/0', { v: 1, promise });
  etcd.put('promises', 'node-3/running:blog/web/0', { v: 1, promise: runningPromise({ pid: 1 }, 'node-3') });
  await clock.settle();
  const [first, second, third] = instanceViews(world);
  t.like(first, { node: 'node-1', state: 'running', pid: 4711, mayStillRun: ['node-3'] });
  t.like(second, { node: null, state: 'unplaced', trouble: 'the session of node-1 is gone' });
  t.like(third, { node: null, state: 'unplaced', trouble: 'nobody has taken it yet' });
  t.is(first?.token, String(etcd.revision - 3n));
});

for (const { title, endpoint, notFound, state } of [
  { title: 'nobody but its node can tell of it', endpoint: null, notFound: [], state: 'unknown' },
  {
    title: 'its observers do not find it',
    endpoint: PLACE,
    notFound: ['node-2', 'node-3'],
    state: 'unknown',
  },
  { title: 'its observers find it', endpoint: PLACE, notFound: [], state: 'running' },
]) {
  test(`an instance whose node is not heard any more, though its lease lives, is ${state} when ${title}`, async t => {
    const { etcd, clock, world } = await member();
    for (const name of ['node-2', 'node-3', 'node-9'])
      etcd.put('sessions', `${name}/first`, sessionRecord({ node: name, roles: ['apps'] }));
    etcd.put('apps', 'blog', appRecord(webApp(1)));
    etcd.put('owners', 'instance/blog/web/0', ownerRecord({ node: 'node-9' }));
    etcd.put('promises', 'node-9/running:blog/web/0', {
      v: 1,
      promise: runningPromise({ endpoint }, 'node-9'),
    });
    await clock.settle();
    t.like(instanceViews(world)[0], { state: 'running', ready: true });
    const say = (promise: string, assessor: string): void => {
      const parts = { promiser: 'node-9', promise, unreachable: true as const };
      const said = assessment(assessor, 'broken', parts);
      etcd.put('assessments', `node-9/${promise}/${assessor}`, { v: 1, assessment: said });
    };
    for (const assessor of ['node-1', 'node-2', 'node-3']) say('capacity', assessor);
    for (const assessor of notFound) say('running:blog/web/0', assessor);
    await clock.settle();
    const [view] = instanceViews(world);
    t.like(view, { node: 'node-9', state, ready: state === 'running' });
    if (state === 'unknown') t.regex(view?.trouble ?? '', /^node-9 is unreachable .*: running$/);
  });
}

test('what somebody still has though nobody wants it is shown, and an owner that says nothing is pending', async t => {
  const { etcd, clock, world, keeper } = await member();
  const { incarnation } = keeper.current()!;
  etcd.put('owners', 'instance/blog/web/0', ownerRecord({ incarnation }));
  etcd.put('owners', 'agent/nightly', ownerRecord({ subject: 'agent/nightly', incarnation }));
  await clock.settle();
  t.deepEqual(
    instanceViews(world).map(({ instance: id, state }) => [id, state]),
    [['blog/web/0', 'pending']],
  );
  t.deepEqual(
    subjectViews(world).map(({ subject, state }) => [subject, state]),
    [
      ['agent/nightly', 'Assigned'],
      ['instance/blog/web/0', 'Assigned'],
    ],
  );
});

for (const { title, silent, unreachable } of [
  { title: 'all of its observers hear it', silent: [], unreachable: false },
  { title: 'one of them does not hear it', silent: ['node-2'], unreachable: false },
  { title: 'most of them do not hear it', silent: ['node-2', 'node-3'], unreachable: true },
]) {
  test(`a node with a session of which ${title} is Active, and ${unreachable ? '' : 'not '}unreachable`, async t => {
    const { etcd, clock, world } = await member();
    for (const node of ['node-2', 'node-3', 'node-9'])
      etcd.put('sessions', `${node}/first`, sessionRecord({ node }));
    const evidence = 'no beat from node-9 for 4.2 s';
    for (const [index, assessor] of silent.entries()) {
      const at = `2026-01-01T00:00:0${index}.000Z`;
      const parts = { promiser: 'node-9', promise: 'capacity', evidence, at, unreachable: true as const };
      const said = assessment(assessor, 'broken', parts);
      etcd.put('assessments', `node-9/capacity/${assessor}`, { v: 1, assessment: said });
    }
    await clock.settle();
    const rows = nodeViews(world, { node: 'node-1', state: 'Active', remainingMs: 5 });
    t.like(
      rows.find(({ name }) => name === 'node-9'),
      {
        state: 'Active',
        unreachable,
        unheardBy: silent.map((node, index) => ({
          node,
          since: `2026-01-01T00:00:0${index}.000Z`,
          evidence,
        })),
      },
    );
    t.true(rows.every(row => row.name === 'node-9' || (!row.unreachable && row.unheardBy.length === 0)));
  });
}

test('a node’s row adds up what is placed there', async t => {
  const { etcd, clock, world, keeper } = await member();
  const { incarnation } = keeper.current()!;
  const limits = { memoryBytes: 100, cpu: 0.5, processes: null };
  etcd.put('apps', 'blog', appRecord(webApp(2, { limits })));
  for (const index of [0, 1]) {
    const subject = `instance/blog/web/${index}`;
    etcd.put('owners', subject, ownerRecord({ subject, incarnation }));
  }
  await clock.settle();
  t.like(nodeViews(world, { node: 'node-1', state: 'Active', remainingMs: 5 })[0], {
    instances: 2,
    reserved: { memoryBytes: 200, cpu: 1 },
    remainingMs: 5,
    state: 'Active',
  });
  t.like(nodeViews(world, { node: 'other', state: 'ConnectionLost', remainingMs: 5 })[0], {
    state: 'Active',
    remainingMs: null,
  });
});
