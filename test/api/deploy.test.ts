import test from 'ava';
import { ApiError } from '../../src/api/client.ts';
import type { DeployProgress } from '../../src/model/views.ts';
import { appSpec } from '../support/nouns.ts';
import { until } from '../support/until.ts';
import { served, take, withJson } from './helpers.ts';

const guestbook = appSpec({ app: 'guestbook', hostnames: ['g.example.com'] });
const steps: DeployProgress[] = [
  { kind: 'step', app: 'guestbook', step: 'build', message: 'npm ci' },
  { kind: 'output', app: 'guestbook', step: 'build', text: 'added 1 package' },
];
const failure: DeployProgress = {
  kind: 'failed',
  app: 'guestbook',
  step: 'build',
  message: 'npm ci ended with 1',
  output: ['no such package'],
};

test('applying tells each step as it happens, and at last what was applied', async t => {
  const { client, admin } = await served(t);
  admin.script = steps;
  const told = await take(9, client.apply({ specs: [guestbook], ifGeneration: null }));
  const app = { app: 'guestbook', release: 1, generation: 1, change: 'create' as const };
  t.deepEqual(told, [
    { kind: 'begun', app: 'guestbook', plan: 'plan-guestbook' },
    ...steps,
    { kind: 'wanted', ...app },
    { kind: 'done', result: { kind: 'applied', apps: [app] } },
  ]);
  t.is((await client.app('guestbook')).generation, 1);
});

test('whoever asks for JSON waits for the end', async t => {
  const { ask, admin } = await served(t);
  admin.script = steps;
  const response = await ask('/v1/apps', { method: 'PUT', ...withJson({ specs: [guestbook] }) });
  t.is(response.status, 200);
  t.deepEqual(await response.json(), {
    kind: 'applied',
    apps: [{ app: 'guestbook', release: 1, generation: 1, change: 'create' }],
  });
});

test('a failed deployment is 422 with the step and its output', async t => {
  const { ask, admin } = await served(t);
  admin.script = [...steps, failure];
  const response = await ask('/v1/apps', { method: 'PUT', ...withJson({ specs: [guestbook] }) });
  const body = (await response.json()) as { type: string; detail: string; failures: unknown };
  t.is(response.status, 422);
  t.is(body.type, 'urn:hop3-agent:deploy-failed');
  t.is(body.detail, 'guestbook: build failed: npm ci ended with 1');
  t.deepEqual(body.failures, [failure]);
});

test('what the cluster refuses is listed, and told in the stream as well', async t => {
  const { ask, client } = await served(t);
  const clash = appSpec({ app: 'other', hostnames: ['blog.example.com'] });
  const response = await ask('/v1/apps', { method: 'PUT', ...withJson({ specs: [clash] }) });
  const body = (await response.json()) as { detail: string; problems: { message: string }[] };
  t.is(response.status, 422);
  t.regex(body.detail, /nothing was changed: is held by "blog"/);
  const told = await take(1, client.apply({ specs: [clash], ifGeneration: null }));
  t.like(told[0], { kind: 'done', result: { kind: 'refused', problems: body.problems } });
});

test('a spec somebody else has changed meanwhile is refused, for both kinds of client', async t => {
  const { ask, client } = await served(t);
  const stale = { specs: [appSpec()], ifGeneration: 7 };
  const response = await ask('/v1/apps', { method: 'PUT', ...withJson(stale) });
  t.is(response.status, 422);
  const { problems } = (await response.json()) as { problems: { field: string }[] };
  t.is(problems[0]?.field, 'metadata.id');
  t.like((await take(1, client.apply(stale)))[0], { kind: 'done', result: { kind: 'refused', problems } });
});

test('a manifest is applied as it is written', async t => {
  const { client } = await served(t);
  const told = await take(
    9,
    client.applyManifest('metadata: {id: wiki, version: "1"}\nrun: {start: node server.js}\n'),
  );
  t.like(told.at(-1), { kind: 'done', result: { kind: 'applied' } });
  t.deepEqual(Object.keys((await client.app('wiki')).processes), ['web']);
  const error = await t.throwsAsync(take(1, client.applyManifest('metadata: [')), { instanceOf: ApiError });
  t.is(error.status, 422);
  t.true((error.problem.problems?.[0]?.line ?? 0) > 0);
});

test('a client that leaves during a deployment cancels it', async t => {
  const { client, admin } = await served(t);
  admin.script = Array.from({ length: 100_000 }, () => ({
    kind: 'output',
    app: 'a',
    step: 'build',
    text: 'x'.repeat(100),
  }));
  await take(1, client.apply({ specs: [guestbook], ifGeneration: null }));
  await until('the deployment has stopped', () => admin.open === 0);
  const error = await t.throwsAsync(client.app('guestbook'), { instanceOf: ApiError });
  t.is(error.status, 404);
});

test('a deployment that breaks off in the middle says so instead of ending quietly', async t => {
  const { client, admin, log } = await served(t);
  admin.apply = async function* () {
    yield* steps;
    throw new TypeError('secret');
  };
  const told: DeployProgress[] = [];
  const error = await t.throwsAsync(
    async () => {
      for await (const step of client.apply({ specs: [guestbook], ifGeneration: null })) told.push(step);
    },
    { instanceOf: ApiError },
  );
  t.deepEqual(told, steps);
  t.is(error.status, 500);
  t.notRegex(error.message, /secret/);
  t.is(log.lines.filter(line => line.level === 'error').length, 1);
});
