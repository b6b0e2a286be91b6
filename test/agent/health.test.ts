import test from 'ava';
import { HealthChecks, type Watched } from '../../src/agent/health.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeProber, type Reply } from '../support/fake-prober.ts';
import { appSpec, unit } from '../support/nouns.ts';

const NAME = unit().unit;

function checking(reply: () => Reply) {
  const clock = new FakeClock();
  const prober = new FakeProber({ clock, otherwise: reply });
  const told: { atMs: number; good: boolean }[] = [];
  const beganMs = clock.now();
  const checks = new HealthChecks({
    clock,
    prober,
    tell: (_unit, { good }) => told.push({ atMs: clock.now() - beganMs, good }),
  });
  const watched = (parts: Partial<Watched['healthcheck']> = {}): Map<string, Watched> =>
    new Map([[NAME, { unit: unit(), healthcheck: { ...appSpec().healthcheck, ...parts } }]]);
  return { clock, prober, told, checks, watched };
}

test('a starting copy is asked at once and often, then less often, and at its own pace once it answers', async t => {
  let up = false;
  const { clock, told, checks, watched } = checking(() =>
    up ? { kind: 'http', status: 200 } : { kind: 'refuses' },
  );
  checks.watch(watched(), () => !up);
  await clock.advance(100);
  t.true(told.length >= 5, `${told.length} in 100 ms`);
  await clock.advance(9900);
  const early = told.length;
  await clock.advance(10_000);
  t.is(told.length - early, 20, 'every 500 ms at last');
  up = true;
  await clock.advance(500);
  const ready = told.length;
  await clock.advance(20_000);
  t.is(told.length - ready, 4, 'every 5 s');
  checks.stop();
  t.is(clock.pending, 0);
});

for (const { title, path, status, good } of [
  { title: 'any answer will do without a path of its own', path: null, status: 500, good: true },
  { title: 'only a good answer will do at a path of its own', path: '/health', status: 500, good: false },
  { title: 'a good answer is good', path: '/health', status: 204, good: true },
]) {
  test(title, async t => {
    const { clock, told, checks, watched, prober } = checking(() => ({ kind: 'http', status }));
    checks.watch(watched({ path }), () => false);
    await clock.advance(10);
    t.deepEqual(told, [{ atMs: 0, good }]);
    t.like(prober.asked[0], { method: 'http', path: path ?? '/', timeoutSeconds: 2 });
    checks.stop();
  });
}

test('watching the same again changes nothing; what is not watched any more is not asked any more', async t => {
  const { clock, told, checks, watched } = checking(() => ({ kind: 'http', status: 200 }));
  checks.watch(watched(), () => false);
  await clock.advance(1000);
  checks.watch(watched(), () => false);
  await clock.advance(10_000);
  t.is(told.length, 3);
  checks.watch(new Map(), () => false);
  await clock.advance(10_000);
  t.is(told.length, 3);
  t.is(clock.pending, 0);
});

test('a health check that changes under a running copy is asked as it is now', async t => {
  const { clock, prober, checks, watched } = checking(() => ({ kind: 'http', status: 200 }));
  checks.watch(watched(), () => false);
  await clock.advance(1000);
  checks.watch(watched({ path: '/alive', intervalSeconds: 1 }), () => false);
  await clock.advance(5000);
  const paths = prober.asked.map(question => (question.method === 'http' ? question.path : ''));
  t.deepEqual(paths, ['/health', ...Array.from({ length: 6 }, () => '/alive')]);
  checks.stop();
});

test('nothing is told of a copy after it was let go, though it had been asked', async t => {
  const { clock, told, checks, watched } = checking(() => ({ kind: 'hangs' }));
  checks.watch(watched(), () => true);
  await clock.advance(1000);
  checks.stop();
  await clock.advance(10_000);
  t.deepEqual(told, []);
});

test('a copy without an endpoint is well as long as it lives, and is not asked', async t => {
  const { clock, prober, checks } = checking(() => ({ kind: 'refuses' }));
  const worker: Watched = { unit: unit({ endpoint: null }), healthcheck: appSpec().healthcheck };
  checks.watch(new Map([[NAME, worker]]), () => true);
  await clock.advance(1000);
  t.like(await checks.once(worker), { good: true });
  t.deepEqual(prober.asked, []);
});

test('asking once says how it is now', async t => {
  let status = 200;
  const { checks, watched } = checking(() => ({ kind: 'http', status }));
  t.like(await checks.once(watched().get(NAME)!), { good: true });
  status = 500;
  t.like(await checks.once(watched().get(NAME)!), { good: false });
  t.like(await checks.once(watched({ path: null }).get(NAME)!), { good: true });
});
