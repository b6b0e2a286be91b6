import test from 'ava';
import { ReleasePlaces } from '../../src/agent/app-places.ts';
import { Supplies } from '../../src/agent/supplies.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { appSpec } from '../support/nouns.ts';
import { appRecord, member } from './helpers.ts';

const { signal } = new AbortController();

async function placed(userOf?: (app: string, own: string[], release: number) => Promise<string>) {
  const one = await member();
  const artifacts = new FakeArtifacts();
  const digest = artifacts.hold('blog');
  const supplies = new Supplies({ ...one, artifacts });
  const places = new ReleasePlaces({
    ...one,
    platform: 'linux-x64-node20',
    user: 'agent',
    artifacts,
    supplies,
    ...(userOf ? { userOf } : {}),
  });
  const wanted = async (parts: Parameters<typeof appRecord>[1]): Promise<void> => {
    const spec = appSpec({ app: 'blog', env: { A: { kind: 'literal', value: '1' } } });
    one.etcd.put(
      'apps',
      'blog',
      appRecord(spec, { artifact: { digest, bytes: 1, platform: null }, ...parts }),
    );
    await one.clock.settle();
  };
  return { places, wanted };
}

test('a command of an app runs in the release that is wanted, which stays until it has left', async t => {
  const { places, wanted } = await placed();
  await wanted({ release: 3 });
  const place = await places.enter('blog', signal);
  t.regex(place.directory, /blog\/releases\/3/);
  t.like(place.env, { APP: 'blog', A: '1', USER: 'agent' });
  t.is(place.user, null);
  await wanted({ release: 4 });
  t.deepEqual(places.inUse(), [{ app: 'blog', release: 3 }]);
  place.leave();
  t.deepEqual(places.inUse(), []);
});

test('where apps have users of their own, it runs as the one of its app', async t => {
  const { places, wanted } = await placed((app, own, release) =>
    Promise.resolve(`${app} of ${own.length} at ${release}`),
  );
  await wanted({ release: 3 });
  const { user, env } = await places.enter('blog', signal);
  t.is(user, 'blog of 2 at 3');
  t.is(env['USER'], 'blog of 2 at 3');
});

test('an app that is not there, is going, or is not built yet has no place', async t => {
  const { places, wanted } = await placed();
  await t.throwsAsync(places.enter('blog', signal), { message: 'there is no app "blog"' });
  await wanted({ artifact: null });
  await t.throwsAsync(places.enter('blog', signal), { message: /no artifact/ });
  await wanted({ removing: true });
  await t.throwsAsync(places.enter('blog', signal), { message: 'there is no app "blog"' });
  await wanted({ artifact: { digest: 'sha256:nowhere', bytes: 1, platform: null } });
  await t.throwsAsync(places.enter('blog', signal));
  t.deepEqual(places.inUse(), []);
});
