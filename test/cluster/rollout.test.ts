import test from 'ava';
import type { InstanceView } from '../../src/model/views.ts';
import { ask, hop3, startCluster, type TestCluster } from '../support/cluster.ts';
import { until } from '../support/until.ts';

let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: 10 });
});
test.after.always(() => cluster.stop());

test.serial('another scale changes nothing that runs', async t => {
  await cluster.apply('blog', { scale: { web: 2 } });
  const before = await cluster.ready('blog', 2);
  await cluster.api.scale('blog', { web: 4 });
  const more = await cluster.ready('blog', 4);
  for (const instance of before) t.true(more.some(({ pid }) => pid === instance.pid));
  await cluster.api.scale('blog', { web: 2 });
  await until('the surplus is gone', async () => (await cluster.instances('blog')).length === 2);
  t.is((await cluster.api.app('blog')).release, 1);
});

test.serial(
  'a changed variable rolls through the instances, and each index is ready before the next goes',
  async t => {
    await cluster.apply('blog', { scale: { web: 3 }, env: { GREETING: 'new' } });
    const after = await cluster.ready('blog', 3, all => all.every(({ version }) => version === '2'));
    for (const instance of after) t.is((await ask(instance))['greeting'], 'new');
    const { items } = await cluster.api.events({ limit: 1000 });
    const moments = items
      .filter(({ kind }) => kind === 'instance-started' || kind === 'instance-ready')
      .filter(
        ({ subject, details }) =>
          subject.startsWith('blog/web/') && String(details['unit']).split('.')[3] === '2',
      )
      .map(({ kind, subject }) => `${subject} ${kind}`);
    const index = (text: string): number => moments.indexOf(text);
    t.true(index('blog/web/0 instance-ready') < index('blog/web/1 instance-started'), moments.join('\n'));
  },
);

test.serial(
  'a release that never becomes ready stops at the first instance, and all go on answering',
  async t => {
    const before = await cluster.ready('blog', 3);
    await cluster.apply('blog', {
      scale: { web: 3 },
      env: { GREETING: 'bad' },
      run: { start: 'echo cannot find the database >&2; exit 7' },
      restart: { max: 2 },
    });
    // What the instance says of it lasts no longer than that.
    const { reason } = await until('it is given up', async () => (await cluster.api.app('blog')).givenUp);
    t.regex(reason, /^blog\/web\/0: .* 2 failed starts [^]*cannot find the database/);
    for (const instance of before) t.is((await ask(instance))['pid'], instance.pid);
    const pids = (instances: InstanceView[]) => instances.map(({ instance, pid }) => `${instance} ${pid}`);
    t.deepEqual(pids(await cluster.ready('blog', 3)), pids(before));
    await cluster.apply('blog', { scale: { web: 3 }, env: { GREETING: 'good' } });
    await cluster.ready('blog', 3, all => all.every(({ version }) => version === '4'));
  },
);

test.serial('a restart gives every instance a new process, and the same release', async t => {
  const before = await cluster.ready('blog', 3);
  const { code } = await hop3(['restart', 'blog', '--wait'], cluster.nodes[0]!.url);
  t.is(code, 0);
  const after = await cluster.ready('blog', 3, all =>
    all.every(({ pid }) => !before.some(old => old.pid === pid)),
  );
  t.deepEqual([...new Set(after.map(({ release }) => release))], [4]);
});

test.serial('a crash loop is told from a slow start, and given up with the last lines of output', async t => {
  await cluster.apply('crasher', {
    run: { start: 'echo no such module: left-pad; exit 1' },
    restart: { max: 3 },
  });
  const failed = await until('it is given up', async () =>
    (await cluster.instances('crasher')).find(({ state }) => state === 'failed'),
  );
  t.regex(failed.trouble!, /left-pad/);
  await cluster.apply('slow', {
    run: { start: 'sleep 60', 'start-timeout': 1 },
    restart: { max: 2 },
  });
  const slow = await until('the slow one is given up', async () =>
    (await cluster.instances('slow')).find(({ state }) => state === 'failed'),
  );
  t.regex(slow.trouble!, /not ready|did not/i);
});
