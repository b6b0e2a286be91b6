import test from 'ava';
import type { EnvValue } from '../../../src/model/app-spec.ts';
import { SimCluster, webApp } from '../../support/sim-cluster.ts';

const literal = (value: string): EnvValue => ({ kind: 'literal', value });

/** Three nodes, and as many releases of `blog`, each with another variable and its own source. */
async function deployed(releases: number) {
  const cluster = new SimCluster();
  await cluster.start();
  for (let number = 1; number <= releases; number++) {
    const spec = webApp(2, { env: { A: literal(String(number)) } });
    await cluster.run(spec, { content: `source ${number}` });
    await cluster.until(() => cluster.copies('blog/web/0').every(({ unit }) => unit.release === number));
  }
  const admin = cluster.node('node-2').agent.admin;
  const rollback = (release: number | null) => cluster.whileTimePasses(admin.rollback('blog', release));
  const record = () => cluster.etcd.contents('apps')['blog']!;
  const value = () => cluster.node(cluster.owner('blog/web/0')!.node).driver.launches.at(-1)?.env['A'];
  return { cluster, admin, rollback, record, value };
}

test('the release before is run again, as it was built, and another deployment is a release of its own', async t => {
  const { cluster, rollback, record, value } = await deployed(2);
  const first = cluster.etcd.contents('releases')['blog/000001']!;
  const view = await rollback(null);
  t.like(view, { release: 1, generation: 3 });
  t.deepEqual(record().artifact, first.artifact);
  await cluster.until(() => cluster.settled('blog') && cluster.copies('blog/web/0').length === 1);
  t.is(value(), '1');
  t.deepEqual(
    cluster.events('app-rolled-back').map(({ message }) => message),
    ['"blog" goes back from release 2 to 1: an operator asked for it'],
  );
  await cluster.run(webApp(2, { env: { A: literal('3') } }), { content: 'source 3' });
  t.is(record().release, 3);
  t.is(cluster.etcd.contents('releases')['blog/000003']?.replaces, 1);
  await rollback(null);
  t.is(record().release, 1, 'what it took the place of, not the number below');
});

test('any kept release can be gone back to, and the list says which', async t => {
  const { cluster, admin, rollback, record, value } = await deployed(3);
  await rollback(1);
  t.is(record().release, 1);
  await cluster.until(() => cluster.settled('blog'));
  t.is(value(), '1');
  await rollback(3);
  t.is(record().release, 3);
  const { items } = await cluster.whileTimePasses(admin.releases('blog'));
  t.deepEqual(
    items.map(({ release, current, kept, replaces }) => ({ release, current, kept, replaces })),
    [
      { release: 3, current: true, kept: true, replaces: 2 },
      { release: 2, current: false, kept: true, replaces: 1 },
      { release: 1, current: false, kept: true, replaces: null },
    ],
  );
});

test('scale and host names stay as they are', async t => {
  const { cluster, admin, rollback, record } = await deployed(2);
  await cluster.whileTimePasses(admin.scale('blog', { web: 4 }));
  await rollback(null);
  t.is(record().spec.processes[0]?.scale, 4);
  t.deepEqual(cluster.etcd.contents('hostnames'), { 'blog.example.com': { v: 1, app: 'blog' } });
});

test('what cannot be gone back to is refused, with what can', async t => {
  const { cluster, rollback, record } = await deployed(2);
  await t.throwsAsync(rollback(7), { message: '"blog" has no release 7' });
  await t.throwsAsync(rollback(2), { message: 'release 2 of "blog" is what is wanted already' });
  for (const { artifacts } of cluster.nodes.values()) {
    await artifacts.collect({ digests: [record().artifact!.digest], releases: [] });
  }
  await cluster.advance(70_000);
  await t.throwsAsync(rollback(1), {
    message: 'what release 1 of "blog" runs is not kept any more: apply its manifest again',
  });
  t.is(record().release, 2);
  await t.throwsAsync(cluster.whileTimePasses(cluster.node('node-1').agent.admin.rollback('shop', null)), {
    message: 'there is no app "shop"',
  });
});

test('with nothing before it there is nothing to go back to', async t => {
  const { rollback } = await deployed(1);
  await t.throwsAsync(rollback(null), { message: '"blog" has no release before 1' });
});
