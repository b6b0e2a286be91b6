import test from 'ava';
import type { EventView } from '../../src/model/views.ts';
import { AdminError, type Admin } from '../../src/ports/admin.ts';
import { processSpec } from '../support/nouns.ts';
import { SimCluster, webApp } from '../support/sim-cluster.ts';

async function running(scale = 3) {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(scale));
  await cluster.advance(10_000);
  return { cluster, admin: cluster.node('node-1').agent.admin };
}

function refusal(t: { throws: (work: () => unknown) => unknown }, work: () => unknown): AdminError {
  const error = t.throws(work);
  if (!(error instanceof AdminError)) throw new Error('not an AdminError');
  return error;
}

test('every node gives the same answers about the cluster', async t => {
  const { cluster } = await running();
  const answers = [...cluster.nodes.values()].map(({ agent: { admin } }) => ({
    apps: admin.apps().items,
    instances: admin.instances({}).items,
    promises: admin.promises({}).items,
    subjects: admin.subjects({}).items,
    supervisor: admin.supervisor(),
    nodes: admin.nodes().items.map(node => ({ ...node, remainingMs: null })),
  }));
  t.deepEqual(answers[1], answers[0]);
  t.deepEqual(answers[2], answers[0]);
});

test('a node knows its own deadline, and no other node’s', async t => {
  const { admin } = await running();
  const nodes = admin.nodes().items;
  t.deepEqual(
    nodes.map(({ name, state, remainingMs }) => [name, state, remainingMs !== null]),
    [
      ['node-1', 'Active', true],
      ['node-2', 'Active', false],
      ['node-3', 'Active', false],
    ],
  );
  t.true(admin.node().remainingMs! > 5000 && admin.node().remainingMs! <= 7500);
  t.is(
    nodes.reduce((sum, node) => sum + node.instances, 0),
    3,
  );
  t.true(nodes.every(node => node.reserved.memoryBytes > 0));
});

test('a node that is not in the cluster yet says so of itself, and is not ready', async t => {
  const cluster = new SimCluster(['node-1']);
  const node = cluster.node('node-1');
  await node.start('refused');
  t.like(node.agent.admin.node(), { name: 'node-1', state: 'Inactive', remainingMs: null, instances: 0 });
  t.like(node.agent.admin.ready(), { ready: false });
  await cluster.whileTimePasses(node.stop());
});

test('an app says how many of its instances are ready, and what stands in the way', async t => {
  const { cluster, admin } = await running();
  t.like(admin.app('blog'), {
    app: 'blog',
    release: 1,
    generation: 1,
    processes: { web: { scale: 3, ready: 3 } },
  });
  cluster.behaviour = () => ({ readyAfterMs: 1e9 });
  await admin.scale('blog', { web: 4 });
  await cluster.advance(1000);
  const { processes, conditions } = admin.app('blog');
  t.deepEqual(processes['web'], { scale: 4, ready: 3, exclusive: false });
  t.true(conditions.some(({ message }) => message.includes('blog/web/3 starting')));
});

test('instances are listed in natural order, and can be asked for by app, node and process', async t => {
  const { cluster, admin } = await running(11);
  const all = admin.instances({}).items;
  t.deepEqual(
    all.map(({ index }) => index),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  t.true(all.every(({ token, node, ready }) => token !== null && node !== null && ready));
  const here = admin.instances({ node: 'node-2' }).items;
  t.true(here.length > 0 && here.every(({ node }) => node === 'node-2'));
  t.deepEqual(admin.instances({ app: 'shop' }).items, []);
  t.deepEqual(admin.instances({ process: 'mailer' }).items, []);
  t.is(admin.instances({ app: 'blog', process: 'web' }).items.length, 11);
  t.truthy(cluster);
});

test('an instance nobody has is unplaced, and says why', async t => {
  const { admin, cluster } = await running();
  await cluster.apply(
    webApp(1, { app: 'far', hostnames: [], placement: { requires: { zone: 'mars' }, spread: null } }),
  );
  await cluster.advance(1000);
  t.like(admin.instances({ app: 'far' }).items[0], {
    state: 'unplaced',
    node: null,
    token: null,
    trouble: `no node can take it: ${['node-1', 'node-2', 'node-3']
      .map(node => `${node} has no label zone, required is "mars"`)
      .join('; ')}`,
  });
});

test('promises can be asked for by promiser, outcome, kind and app', async t => {
  const { admin } = await running();
  t.is(admin.promises({ kind: 'running' }).items.length, 3);
  t.true(admin.promises({ of: 'node-2' }).items.every(({ promiser }) => promiser === 'node-2'));
  t.true(admin.promises({ app: 'blog' }).items.length > 3);
  t.deepEqual(admin.promises({ outcome: 'broken' }).items, []);
  const [promise] = admin.promises({ kind: 'running', outcome: 'kept' }).items;
  t.is(promise?.assessments.length, 2);
  t.is(promise?.observers.length, 2);
  t.is(
    admin
      .assessments({ promiser: 'node-2', assessor: 'node-3' })
      .items.every(({ assessor }) => assessor === 'node-3'),
    true,
  );
});

test('subjects are told in the words of the machine', async t => {
  const { cluster, admin } = await running(1);
  const owner = cluster.owner('blog/web/0')!.node;
  t.like(admin.subjects({}).items[0], { subject: 'instance/blog/web/0', state: 'Assigned', owner });
  t.is(admin.subjects({ owner: 'nobody' }).items.length, 0);
  await admin.scale('blog', { web: 0 });
  await cluster.until(() => cluster.owner('blog/web/0')?.released !== null);
  await cluster.advance(100);
  t.like(admin.subjects({}).items[0], { state: 'Unassigned', owner: null, token: null });
});

for (const { title, work, kind, message } of [
  {
    title: 'an app that is not there',
    work: (admin: Admin) => admin.scale('shop', { web: 1 }),
    kind: 'not-found',
    message: /there is no app "shop"/,
  },
  {
    title: 'a process type that is not there',
    work: (admin: Admin) => admin.scale('blog', { mailer: 1 }),
    kind: 'not-found',
    message: /"blog" has no process type "mailer"; it has web/,
  },
  {
    title: 'a restart of a process type that is not there',
    work: (admin: Admin) => admin.restart('blog', 'mailer'),
    kind: 'not-found',
    message: /no process type "mailer"/,
  },
  {
    title: 'removing what is not there',
    work: (admin: Admin) => admin.remove('shop'),
    kind: 'not-found',
    message: /there is no app "shop"/,
  },
] as const) {
  test(`${title} is refused in words, and changes nothing`, async t => {
    const { cluster, admin } = await running(1);
    const { revision } = cluster.etcd;
    const error = await t.throwsAsync<AdminError>(work(admin), { instanceOf: AdminError, message });
    t.is(error.kind, kind);
    t.is(cluster.etcd.revision, revision);
  });
}

test('an app that is asked for by a wrong name is refused with the names there are', async t => {
  const { admin } = await running(1);
  const error = refusal(t, () => admin.app('blgo'));
  t.like(error, { kind: 'not-found', details: { known: ['blog'] } });
});

test('two changes at once are both made', async t => {
  const { cluster, admin } = await running(1);
  const other = cluster.node('node-2').agent.admin;
  await Promise.all([
    admin.scale('blog', { web: 2 }),
    other.restart('blog', null),
    admin.restart('blog', 'web'),
  ]);
  const record = cluster.etcd.contents('apps')['blog']!;
  t.like(record, { generation: 4, restarts: { web: 2 } });
  t.is(record.spec.processes[0]?.scale, 2);
});

test('who changes an app and looks at once sees the change, though watches lag behind what is written', async t => {
  const { cluster, admin } = await running(1);
  await cluster.run(webApp(1, { env: { A: { kind: 'literal', value: '2' } } }));
  cluster.etcd.eventsLagMs = 300;
  const after = async (change: Promise<unknown>) => {
    await cluster.whileTimePasses(change);
    return admin.app('blog');
  };
  t.is((await after(admin.scale('blog', { web: 2 }))).processes['web']?.scale, 2);
  const { generation } = admin.app('blog');
  t.is((await after(admin.restart('blog', null))).generation, generation + 1);
  t.is((await after(admin.rollback('blog', null))).release, 1);
  t.true((await after(admin.remove('blog'))).conditions.some(({ type }) => type === 'Removing'));
});

test('a change is answered though no watch tells of it', async t => {
  const { cluster, admin } = await running(1);
  cluster.etcd.losesEvents = true;
  t.is((await cluster.whileTimePasses(admin.scale('blog', { web: 2 }), 10_000)).generation, 2);
});

test('what is changed by others all the time is given up, and says so', async t => {
  const { cluster, admin } = await running(1);
  const { store } = cluster.node('node-1');
  const get = store.get.bind(store);
  store.get = async (kind, name) => {
    const entry = await get(kind, name);
    if (kind === 'apps') cluster.etcd.put('apps', 'blog', cluster.etcd.contents('apps')['blog']!);
    return entry;
  };
  const error = await t.throwsAsync<AdminError>(admin.scale('blog', { web: 2 }), { instanceOf: AdminError });
  t.is(error.kind, 'conflict');
  t.is(cluster.etcd.contents('apps')['blog']?.spec.processes[0]?.scale, 1);
});

test('without a store changes are unavailable; what is known is still told, for a while as ready', async t => {
  const { cluster, admin } = await running();
  for (const node of cluster.nodes.values()) node.store.setLink('refused');
  const error = await t.throwsAsync<AdminError>(admin.scale('blog', { web: 1 }), { instanceOf: AdminError });
  t.is(error.kind, 'unavailable');
  await t.throwsAsync(admin.requests(), { instanceOf: AdminError });
  await t.throwsAsync(admin.events({ limit: 1, after: null }), { instanceOf: AdminError });
  t.is(admin.instances({}).items.length, 3);
  t.true(admin.ready().ready);
  await cluster.advance(40_000);
  t.false(admin.ready().ready);
  t.regex(admin.ready().reason, /not been heard for \d+ s/);
});

async function told(cluster: SimCluster): Promise<EventView[]> {
  const { items } = await cluster.node('node-1').agent.admin.events({ limit: 1000, after: null });
  return items;
}

test('events come oldest first, at most so many, of a kind, a subject, a node or an instance', async t => {
  const { cluster, admin } = await running(3);
  const all = await told(cluster);
  const order = all.map(({ revision }) => BigInt(revision));
  t.true(order.every((revision, index) => index === 0 || order[index - 1]! <= revision));
  const newest = await admin.events({ limit: 3, after: null });
  t.deepEqual(newest.items, all.slice(-3));
  t.deepEqual((await admin.events({ limit: 0, after: null })).items, []);
  const ready = await admin.events({ limit: 100, after: null, kind: 'instance-ready' });
  t.is(ready.items.length, 3);
  const { items } = await admin.events({ limit: 100, after: null, node: 'node-2', kind: 'session-opened' });
  t.is(items.length, 1);
  const one = await admin.events({ limit: 100, after: null, instance: 'blog/web/1' });
  t.true(one.items.length > 3);
  t.true(one.items.every(({ subject }) => subject.includes('blog/web/1')));
});

test('events of an instance are not those of one whose name ends alike', async t => {
  const { cluster, admin } = await running(1);
  await cluster.run(webApp(1, { app: 'my-blog', hostnames: [] }));
  await cluster.advance(1000);
  const { items } = await admin.events({ limit: 1000, after: null, instance: 'blog/web/0' });
  t.true(items.length > 0);
  t.deepEqual(
    items.filter(({ subject }) => subject.includes('my-blog')),
    [],
  );
});

test('after a revision there is only what came later', async t => {
  const { cluster, admin } = await running(1);
  const { revision } = await admin.events({ limit: 1, after: null });
  await admin.scale('blog', { web: 2 });
  await cluster.advance(3000);
  const { items } = await admin.events({ limit: 1000, after: revision });
  t.true(items.some(({ kind }) => kind === 'app-scaled'));
  t.true(items.every(event => BigInt(event.revision) > BigInt(revision)));
});

test('who follows hears each event once, from where they were, until they go; also over a lost connection', async t => {
  const { cluster, admin } = await running(1);
  const { revision } = await admin.events({ limit: 1, after: null });
  const abort = new AbortController();
  const heard: EventView[] = [];
  const following = (async () => {
    for await (const event of admin.followEvents({ after: revision }, abort.signal)) heard.push(event);
  })();
  await admin.scale('blog', { web: 2 });
  await cluster.advance(3000);
  const { store } = cluster.node('node-1');
  store.setLink('refused');
  await cluster.advance(1000);
  await cluster.node('node-2').agent.admin.scale('blog', { web: 3 });
  await cluster.advance(500);
  store.setLink('up');
  await cluster.advance(10_000);
  abort.abort();
  await following;
  const { items } = await admin.events({ limit: 1000, after: revision });
  t.deepEqual(heard, items);
  t.is(heard.filter(({ kind }) => kind === 'app-scaled').length, 2);
});

test('an event that is written again is no other event', async t => {
  const { cluster, admin } = await running(1);
  const { revision } = await admin.events({ limit: 1, after: null });
  const abort = new AbortController();
  const heard: EventView[] = [];
  const following = (async () => {
    for await (const event of admin.followEvents({ after: revision }, abort.signal)) heard.push(event);
  })();
  await cluster.advance(100);
  const event = { ...cluster.events()[0]!, message: 'once' };
  cluster.etcd.put('events', 'again', event);
  await cluster.advance(100);
  const { items } = await admin.events({ limit: 1, after: null });
  cluster.etcd.put('events', 'again', event);
  await cluster.advance(100);
  abort.abort();
  await following;
  t.is(heard.filter(({ message }) => message === 'once').length, 1);
  t.deepEqual((await admin.events({ limit: 1, after: null })).items, items);
});

test('explaining an instance says who owns it, with which token, and how all nodes rank', async t => {
  const { cluster, admin } = await running(1);
  const owner = cluster.owner('blog/web/0')!.node;
  for (const target of ['blog/web/0', 'instance/blog/web/0']) {
    const { summary, lines, ranking } = admin.explain(target);
    t.is(summary, `blog/web/0 is running on ${owner}`);
    t.true(lines.some(line => new RegExp(`owned by ${owner} with token \\d+`).test(line)));
    t.is(ranking?.candidates.length, 3);
    t.is(ranking?.candidates[0]?.node, owner);
  }
});

test('explaining a promise says who judges it how, and on what evidence', async t => {
  const { cluster, admin } = await running(1);
  const owner = cluster.owner('blog/web/0')!.node;
  const { summary, lines, ranking } = admin.explain(`${owner}/running:blog/web/0`);
  t.is(summary, `running:blog/web/0 of ${owner} is kept`);
  t.is(lines.filter(line => line.includes('says kept: HTTP 200')).length, 2);
  t.is(ranking, null);
});

test('explaining what is not wanted any more says so, and what is not known is not found', async t => {
  const { cluster, admin } = await running(1);
  cluster.behaviour = () => ({ ignoresTerm: true });
  await cluster.run(webApp(1, { app: 'slow', hostnames: [] }));
  await admin.remove('slow');
  await cluster.advance(3000);
  const { lines, ranking } = admin.explain('slow/web/0');
  t.true(lines.includes('not wanted: app "slow" is being removed'));
  t.is(ranking, null);
  const neither = /^"[^"]+" is neither an instance/;
  const unknown: [target: string, message: RegExp, hint?: string][] = [
    ['nothing', neither],
    ['node-1/running:blog/web/9', neither],
    ['blgo/web/0', /^there is no app "blgo"$/, 'did you mean "blog"?'],
    ['instance/nope/web/0', /^there is no app "nope"$/, 'known here: blog'],
    ['blog/wbe/0', /^"blog" has no process type "wbe"; it has web$/, 'did you mean "web"?'],
    ['blog/web/7', /^"web" of "blog" is scaled to 1$/],
  ];
  for (const [target, message, hint] of unknown) {
    const { kind, message: said, details } = refusal(t, () => admin.explain(target));
    t.is(kind, 'not-found', target);
    t.regex(said, message);
    t.is(details['hint'], hint, target);
  }
});

test('artifacts are those here, and those the others promise to hold', async t => {
  const { cluster, admin } = await running(3);
  const { digest } = cluster.etcd.contents('apps')['blog']!.artifact!;
  const held = (await admin.artifacts()).filter(artifact => artifact.digest === digest);
  t.deepEqual(held.map(({ node }) => node).sort(), ['node-1', 'node-2', 'node-3']);
});

test('requests are listed with their answers, and the supervisor is named', async t => {
  const { cluster, admin } = await running(1);
  t.deepEqual((await admin.requests()).items, []);
  t.is(admin.supervisor().node, 'node-1');
  t.deepEqual(admin.supervisor().candidates.sort(), ['node-1', 'node-2', 'node-3']);
  t.deepEqual(admin.supervisor().brake, { active: false, reason: null });
  t.truthy(cluster);
});

test('a plan says what would change, and changes nothing', async t => {
  const { cluster, admin } = await running(1);
  const { revision } = cluster.etcd;
  const { source } = cluster.etcd.contents('apps')['blog']!.spec;
  const spec = { ...webApp(1), source, processes: [processSpec({ scale: 5 })] };
  const { plans } = await admin.plan({ specs: [spec], ifGeneration: null });
  t.deepEqual(plans, [
    {
      app: 'blog',
      change: 'update',
      impact: 'in-place',
      differences: [{ field: 'processes.web.scale', from: '1', to: '5', impact: 'in-place' }],
    },
  ]);
  t.is(cluster.etcd.revision, revision);
});

test('a node that went without letting go of what it had is shown as lost until it is back', async t => {
  const cluster = new SimCluster();
  await cluster.start();
  await cluster.run(webApp(3));
  const states = (): Record<string, string> =>
    Object.fromEntries(
      cluster
        .node('node-1')
        .agent.admin.nodes()
        .items.map(({ name, state }) => [name, state]),
    );
  await cluster.node('node-3').crash();
  await cluster.until(() => states()['node-3'] === 'ConnectionLost');
  t.deepEqual(states(), { 'node-1': 'Active', 'node-2': 'Active', 'node-3': 'ConnectionLost' });
  await cluster.node('node-3').start();
  await cluster.until(() => states()['node-3'] === 'Active');
  await cluster.whileTimePasses(cluster.node('node-2').leave());
  await cluster.advance(20_000);
  t.deepEqual(states(), { 'node-1': 'Active', 'node-3': 'Active' }, 'who left owes nothing');
  await cluster.stop();
});
