/** What the command line says of a deployment that it does not hear to the end: by Ctrl-C, or because the agent is lost. */
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { planRoutes } from '../../src/api/routes/plans.ts';
import { INTERRUPTED } from '../../src/cli/io.ts';
import type { AppliedApp, DeployProgress } from '../../src/model/views.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { servedAdmin } from '../support/served-admin.ts';
import { ran, type Ran } from './captured-io.ts';
import { eachChange } from '../support/plan-feeds.ts';

const three = ['blog', 'shop', 'news']
  .map(app => `metadata: {id: ${app}}\nsource: {git: {url: "https://example.com/x", ref: main}}\n`)
  .join('---\n');
const wanted = (app: string): DeployProgress & AppliedApp => ({
  ...{ kind: 'wanted', app, release: 3, generation: 4, change: 'update' },
});
const shopFailed: DeployProgress = {
  ...{ kind: 'failed', app: 'shop', step: 'build', message: 'no luck', output: [] },
};

/** Interrupts `apply` of three apps at that word, while the second is under way. */
async function interrupted(
  t: ExecutionContext,
  word: string,
  { ends = 'at once' }: { ends?: 'at once' | 'before' | 'later' } = {},
): Promise<Ran & { plans: FakePlans }> {
  const plans = new FakePlans();
  const steps = [{ agent: 'noop', resource: 'shop' }];
  const spec = { title: null, steps, priority: 0, sequential: true, onFailure: 'stop' as const };
  const { plan } = await plans.submit({
    spec: { ...spec, completeBySeconds: null },
    ...{ idempotencyKey: null, digest: 'x', origin: 'rest' },
  });
  const admin = FakeAdmin.seeded();
  admin.apply = async function* (_request, signal) {
    yield wanted('blog');
    yield { kind: 'begun', app: 'shop', plan: plan.plan };
    yield { kind: 'step', app: 'shop', step: 'build', message: 'building' };
    if (!signal.aborted) await once(signal, 'abort');
  };
  const api = await servedAdmin(t, {
    admin,
    extraRoutes: planRoutes(plans, eachChange(plans)),
  });
  const ending = new AbortController();
  const result = await ran(['apply', '-'], {
    stdin: three,
    env: { HOP3_AGENT_API: api.url, USER: 'ann' },
    signal: ending.signal,
    onStderr: soFar => {
      if (!soFar.includes(word) || ending.signal.aborted) return;
      if (ends !== 'at once') plans.begin(plan.plan);
      if (ends === 'before') plans.finish(plan.plan, 0, { kind: 'completed', output: null });
      ending.abort(INTERRUPTED);
    },
  });
  return { ...result, plans };
}

test('Ctrl-C ends what is under way, and says of each app what has become of it', async t => {
  const { exitCode, stderr, plans } = await interrupted(t, 'building');
  t.is(exitCode, 130);
  t.regex(
    stderr,
    /^blog is applied \(release 3\), shop is cancelled, and what was wanted before stays wanted, news is not begun$/m,
  );
  t.is((await plans.plan('plan-1')).state, 'CANCELLED');
  t.is((await plans.plan('plan-1')).cancel?.by, 'ann, with Ctrl-C');
  t.notRegex(stderr, /^error/m);
});

test('Ctrl-C that comes too late is told so', async t => {
  const { exitCode, stderr } = await interrupted(t, 'building', { ends: 'before' });
  t.is(exitCode, 130);
  t.regex(stderr, /, shop was deployed already, news is not begun$/m);
});

test('Ctrl-C at what takes long to end says how to watch it', async t => {
  const { stderr } = await interrupted(t, 'building', { ends: 'later' });
  t.regex(stderr, /, shop is being cancelled, as plan plan-1: hop3-agent batch status plan-1 shows it,/m);
});

/** `apply` of three apps, answered with these lines by an agent that is killed then. */
async function brokenOff(t: ExecutionContext, lines: DeployProgress[], args: string[] = []): Promise<Ran> {
  const server = http.createServer((request, response) => {
    request.resume();
    if (request.url === '/v1/apps/plan') {
      response.setHeader('content-type', 'application/json');
      return response.end('{"plans": [], "problems": []}');
    }
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    const text = lines.map(line => `${JSON.stringify(line)}\n`).join('');
    return response.write(text, () => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  return ran(['apply', '-', '--api', `http://127.0.0.1:${port}`, ...args], { stdin: three });
}

test('an agent that is lost on the way: which apps are applied, which plan goes on, what is not begun', async t => {
  const lines = [wanted('blog'), { kind: 'begun' as const, app: 'shop', plan: '4711' }];
  const { exitCode, stderr } = await brokenOff(t, lines);
  t.is(exitCode, 7);
  t.regex(
    stderr,
    /^error: no answer from .*; blog is applied \(release 3\), shop goes on, as plan 4711, news is not begun$/m,
  );
  t.regex(stderr, /^hint: ask another node with --api URL: hop3-agent batch status 4711 --watch shows /m);
  const { error } = JSON.parse((await brokenOff(t, lines, ['--json'])).stderr) as {
    error: { message: string; exitCode: number };
  };
  t.is(error.exitCode, 7);
  t.regex(error.message, /shop goes on, as plan 4711/);
});

test('an agent that is lost between two apps has none under way', async t => {
  const { exitCode, stderr } = await brokenOff(t, [wanted('blog')]);
  t.is(exitCode, 7);
  t.regex(stderr, /; blog is applied \(release 3\), shop and news are not begun$/m);
  t.regex(stderr, /^hint: ask another node with --api URL: applying again goes on with what is left$/m);
});

test('an app that fails says what has become of those before it, and of those after', async t => {
  const { exitCode, stderr } = await brokenOff(t, [wanted('blog'), shopFailed]);
  t.is(exitCode, 8);
  t.regex(
    stderr,
    /^error: shop: build failed: no luck; blog is applied \(release 3\), news is not begun\nhint: apply them again /m,
  );
});
