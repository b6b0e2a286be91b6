/**
 * One suite for both: what an admin API in memory promises the tests of REST and of the command line, whole agents keep, on a fake
 * clock and an etcd in memory.
 */
import test, { type ExecutionContext } from 'ava';
import type { AppSpec } from '../../src/model/app-spec.ts';
import type { EventView } from '../../src/model/views.ts';
import { AdminError, type Admin } from '../../src/ports/admin.ts';
import { adminWorlds, applied, type AdminWorld } from '../support/admin-worlds.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { appSpec, processSpec } from '../support/nouns.ts';

function contract(name: string, promise: (t: ExecutionContext, world: AdminWorld) => Promise<void>): void {
  for (const [which, make] of Object.entries(adminWorlds)) {
    test(`${which}: ${name}`, async t => {
      const world = await make();
      t.teardown(() => world.close());
      await promise(t, world);
    });
  }
}

const source = { kind: 'uploaded' as const, digest: new FakeArtifacts(new Map()).hold('a source') };

/** Two of web, one mailer. */
function blog(parts: Partial<AppSpec> = {}): AppSpec {
  const processes = [processSpec({ scale: 2 }), processSpec({ type: 'mailer', routed: false })];
  return appSpec({ processes, source, ...parts });
}

async function running(world: AdminWorld, spec = blog()): Promise<void> {
  await applied(world, [spec]);
  await world.until(() => isReady(world.admin, spec.app));
}

function isReady(admin: Admin, app: string): boolean {
  return admin.app(app).conditions.some(({ type, status }) => type === 'Ready' && status);
}

async function refused(
  t: ExecutionContext,
  kind: AdminError['kind'],
  work: () => unknown,
): Promise<AdminError['details']> {
  const error = await t.throwsAsync(async () => work(), { instanceOf: AdminError });
  t.is(error.kind, kind, error.message);
  return error.details;
}

contract('what is deployed is shown, and where it runs', async (t, world) => {
  const { admin, nodes } = world;
  await running(world);
  const shown = admin.app('blog');
  t.like(shown, { app: 'blog', release: 1, generation: 1, rollout: null, givenUp: null });
  t.like(shown.processes, { web: { scale: 2, ready: 2, exclusive: false }, mailer: { scale: 1, ready: 1 } });
  t.deepEqual(
    admin.apps().items.map(({ app }) => app),
    ['blog'],
  );
  const names = (filter: Parameters<Admin['instances']>[0]): string[] =>
    admin
      .instances(filter)
      .items.map(({ instance }) => instance)
      .sort();
  t.deepEqual(names({}), ['blog/mailer/0', 'blog/web/0', 'blog/web/1']);
  t.deepEqual(names({ app: 'blog', process: 'web' }), ['blog/web/0', 'blog/web/1']);
  t.deepEqual(names({ app: 'nope' }), []);
  t.deepEqual(nodes.flatMap(node => names({ node })).sort(), names({}));
  for (const { node, ready, state, release, token, endpoint, process } of admin.instances({}).items) {
    t.true(node !== null && nodes.includes(node));
    t.like({ ready, state, release }, { ready: true, state: 'running', release: 1 });
    t.regex(token ?? '', /^\d+$/);
    t.is(endpoint !== null, process === 'web');
  }
});

contract('deploying tells what has come of it', async (t, world) => {
  const first = (await applied(world, [blog()])).at(-1);
  t.deepEqual(first, {
    kind: 'done',
    result: { kind: 'applied', apps: [{ app: 'blog', release: 1, generation: 1, change: 'create' }] },
  });
  const env = { A: { kind: 'literal' as const, value: '1' } };
  const second = (await applied(world, [blog({ env })])).at(-1);
  t.deepEqual(second, {
    kind: 'done',
    result: { kind: 'applied', apps: [{ app: 'blog', release: 2, generation: 2, change: 'update' }] },
  });
});

contract('of each app is told by which plan it is deployed, and when it is wanted', async (t, world) => {
  const told = await applied(world, [blog({ hostnames: [] }), blog({ app: 'shop', hostnames: [] })]);
  const begun = told.flatMap(progress => (progress.kind === 'begun' ? [progress] : []));
  const wanted = told.flatMap(progress => (progress.kind === 'wanted' ? [progress] : []));
  t.is(begun[0]?.app, 'blog');
  t.true(begun.every(({ plan }) => plan !== ''));
  t.deepEqual(wanted, [
    { kind: 'wanted', app: 'blog', release: 1, generation: 1, change: 'create' },
    { kind: 'wanted', app: 'shop', release: 1, generation: 1, change: 'create' },
  ]);
});

contract('a host name that another app holds is refused, and nothing of it is done', async (t, world) => {
  await running(world);
  const rival = blog({ app: 'shop' });
  const said = await applied(world, [rival]);
  const problems = (await world.admin.plan({ specs: [rival], ifGeneration: null })).problems;
  t.deepEqual(said, [{ kind: 'done', result: { kind: 'refused', problems } }]);
  t.like(problems[0], { field: 'domains.list', conflict: true });
  t.regex(problems[0]?.message ?? '', /is held by (app )?"blog"/);
  await refused(t, 'not-found', () => world.admin.app('shop'));
});

contract('who expects another generation is told so, and nothing is done', async (t, world) => {
  await running(world);
  const said = await applied(world, [blog({ title: 'another' })], 7);
  const last = said.at(-1);
  t.true(last?.kind === 'done' && last.result.kind === 'refused', JSON.stringify(last));
  t.is(world.admin.app('blog').generation, 1);
  const gone = (await applied(world, [blog({ app: 'shop', hostnames: [] })], 7)).at(-1);
  t.true(gone?.kind === 'done' && gone.result.kind === 'refused', JSON.stringify(gone));
  await refused(t, 'not-found', () => world.admin.app('shop'));
});

const acts: Record<string, (admin: Admin) => unknown> = {
  app: admin => admin.app('nope'),
  scale: admin => admin.scale('nope', { web: 1 }),
  restart: admin => admin.restart('nope', null),
  remove: admin => admin.remove('nope'),
  releases: admin => admin.releases('nope'),
  rollback: admin => admin.rollback('nope', null),
  promote: admin => admin.promote('nope'),
  drain: admin => admin.drain('nope', 'a test'),
  undrain: admin => admin.undrain('nope'),
  explain: admin => admin.explain('nope/web/0'),
  logs: async admin => {
    const lines = admin.logs('nope', { lines: 1, follow: false }, new AbortController().signal);
    for await (const line of lines) return line;
    return null;
  },
  inspectArtifact: admin => admin.inspectArtifact(`sha256:${'0'.repeat(64)}`),
};
for (const [act, ask] of Object.entries(acts)) {
  contract(`${act}: what nobody knows is not found`, async (t, { admin, during }) => {
    await during(refused(t, 'not-found', () => ask(admin)));
  });
}

contract('a scale is changed, of a process type that there is', async (t, world) => {
  const { admin, during } = world;
  await running(world);
  await during(admin.scale('blog', { web: 3 }));
  await world.until(() => admin.app('blog').processes['web']?.ready === 3);
  t.like(admin.app('blog').processes, { web: { scale: 3 }, mailer: { scale: 1 } });
  const details = await during(refused(t, 'not-found', () => admin.scale('blog', { wbe: 3 })));
  t.like(details, { known: ['web', 'mailer'], hint: 'did you mean "web"?' });
});

contract('a restart is of all, or of a process type that there is', async (t, world) => {
  const { admin, during } = world;
  await running(world);
  await t.notThrowsAsync(during(admin.restart('blog', null)));
  await t.notThrowsAsync(during(admin.restart('blog', 'mailer')));
  const details = await during(refused(t, 'not-found', () => admin.restart('blog', 'wbe')));
  t.like(details, { known: ['web', 'mailer'], hint: 'did you mean "web"?' });
});

contract('what was removed is gone', async (t, world) => {
  const { admin, during } = world;
  await running(world);
  await during(admin.remove('blog'));
  await world.until(() => admin.apps().items.length === 0);
  await refused(t, 'not-found', () => admin.app('blog'));
  t.deepEqual(admin.instances({}).items, []);
});

contract('a release is gone back from, if there was one before', async (t, world) => {
  const { admin, during } = world;
  await running(world);
  await during(refused(t, 'conflict', () => admin.rollback('blog', null)));
  const env = { A: { kind: 'literal' as const, value: '1' } };
  await applied(world, [blog({ env })]);
  await world.until(() => isReady(admin, 'blog') && admin.app('blog').rollout === null);
  t.like((await during(admin.releases('blog'))).items, [
    { app: 'blog', release: 2, replaces: 1, current: true },
    { app: 'blog', release: 1, replaces: null, current: false },
  ]);
  await during(refused(t, 'not-found', () => admin.rollback('blog', 9)));
  const back = await during(admin.rollback('blog', null));
  t.is(back.generation, 3);
  await world.until(() => admin.app('blog').release === 1);
});

contract('nothing is promoted that does not wait for it', async (t, world) => {
  await running(world);
  await world.during(refused(t, 'conflict', () => world.admin.promote('blog')));
});

contract('a node is emptied for as long as somebody wishes it', async (t, world) => {
  const { admin, during, nodes } = world;
  await running(world);
  const [node = ''] = nodes.slice(1);
  const seen = () => admin.nodes().items.find(({ name }) => name === node);
  await during(admin.drain(node, 'a new disk'));
  await world.until(() => seen()?.draining === true);
  t.is(seen()?.drain?.reason, 'a new disk');
  await during(admin.drain(node, 'asked again'));
  t.is(seen()?.drain?.reason, 'a new disk');
  await during(admin.undrain(node));
  await world.until(() => seen()?.draining === false);
  t.is(seen()?.drain, null);
});

contract('every node is shown, and who supervises', async (t, { admin, nodes }) => {
  t.deepEqual(
    admin.nodes().items.map(({ name, state }) => `${name} ${state}`),
    nodes.map(name => `${name} Active`),
  );
  const own = admin.node();
  t.true(nodes.includes(own.name) && own.remainingMs !== null);
  const { node, candidates } = admin.supervisor();
  t.true(node !== null && nodes.includes(node));
  t.deepEqual([...candidates].sort(), nodes);
});

contract(
  'promises and what was judged of them are shown, and asked for by what they say',
  async (t, world) => {
    const { admin, nodes } = world;
    await running(world);
    const kept = () => admin.promises({ kind: 'running', app: 'blog', outcome: 'kept' }).items;
    await world.until(() => kept().filter(({ name }) => name.includes('/web/')).length === 2);
    for (const { promiser, name, assessments, observers } of kept()) {
      t.true(nodes.includes(promiser));
      t.regex(name, /^running:blog\//);
      t.true(assessments.every(({ outcome, evidence }) => outcome === 'kept' && evidence !== ''));
      t.true(observers.length > 0 && !observers.includes(promiser));
    }
    const of = nodes.flatMap(node => admin.promises({ of: node, kind: 'running' }).items);
    t.is(of.length, 3);
    const judged = admin.assessments({}).items;
    t.true(judged.length > 0);
    const by = nodes.flatMap(assessor => admin.assessments({ assessor }).items);
    t.is(by.length, judged.length);
  },
);

contract('who owns what is shown, with its token', async (t, world) => {
  await running(world);
  const { admin } = world;
  const tokens = new Map(
    admin.instances({}).items.map(({ instance, token }) => [`instance/${instance}`, token]),
  );
  const owned = admin.subjects({}).items.filter(({ subject }) => subject.startsWith('instance/'));
  t.deepEqual(
    owned.map(({ subject, token, state }) => [subject, token, state]).sort(),
    [...tokens].map(([subject, token]) => [subject, token, 'Assigned']).sort(),
  );
});

contract('an instance is explained by its name, its subject and its promise', async (t, world) => {
  await running(world);
  const { admin } = world;
  const { node } = admin.instances({ process: 'web' }).items[0]!;
  for (const target of ['blog/web/0', 'instance/blog/web/0', `${node ?? ''}/running:blog/web/0`])
    t.true(admin.explain(target).summary !== '', target);
});

contract(
  'events are the newest that match, the oldest of them first, and those after a revision',
  async (t, world) => {
    const { admin, during } = world;
    await running(world);
    await during(admin.scale('blog', { web: 3 }));
    await world.until(() => isReady(admin, 'blog'));
    const ask = async (
      filter: { kind?: string; subject?: string },
      limit = 1000,
      after: string | null = null,
    ) => (await during(admin.events({ ...filter, limit, after }))).items;
    const all = await ask({});
    const revisions = all.map(({ revision }) => BigInt(revision));
    t.deepEqual(
      revisions,
      [...revisions].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)),
    );
    t.deepEqual(await ask({}, 1), all.slice(-1));
    t.true((await ask({ kind: 'app-applied', subject: 'app/blog' })).length >= 1);
    t.deepEqual(await ask({ subject: 'app/nope' }), []);
    const [first] = all;
    const later = all.filter(({ revision }) => BigInt(revision) > BigInt(first!.revision));
    t.deepEqual(await ask({}, 1000, first!.revision), later);
  },
);

contract('events are followed from after a revision, until nobody listens', async (t, world) => {
  const { admin, during } = world;
  await running(world);
  const known = (await during(admin.events({ limit: 1, after: null }))).items[0]!;
  const leaving = new AbortController();
  const heard: EventView[] = [];
  const following = (async () => {
    const filter = { after: known.revision, subject: 'app/shop' };
    for await (const event of admin.followEvents(filter, leaving.signal)) {
      heard.push(event);
      leaving.abort();
    }
  })();
  await running(world, blog({ app: 'shop', hostnames: ['shop.example.com'] }));
  await during(following);
  t.is(heard[0]?.subject, 'app/shop');
  t.true(BigInt(heard[0]?.revision ?? 0) > BigInt(known.revision));
});
