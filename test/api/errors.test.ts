import test from 'ava';
import { AdminError } from '../../src/ports/admin.ts';
import { StoreError } from '../../src/ports/store.ts';
import { appSpec } from '../support/nouns.ts';
import { served, withJson } from './helpers.ts';

interface Body {
  type: string;
  title: string;
  status: number;
  detail: string;
  problems?: { field: string; message: string; line: number; column: number }[];
  id?: string;
  known?: string[];
}

const oversized = withJson({ specs: [], padding: 'x'.repeat(2000) });

const refusals: [name: string, path: string, init: RequestInit, status: number, detail: RegExp][] = [
  ['an unknown path', '/v1/nothing', {}, 404, /nothing at \/v1\/nothing/],
  [
    'a method that is not for this path',
    '/v1/nodes',
    { method: 'DELETE' },
    405,
    /DELETE is not for .*HEAD, GET is/,
  ],
  [
    'a body of another type',
    '/v1/apps',
    { method: 'PUT', body: 'a: 1' },
    415,
    /application\/json, not text\/plain/,
  ],
  [
    'JSON where YAML is due',
    '/v1/apps/manifest',
    { method: 'POST', ...withJson({}) },
    415,
    /application\/yaml/,
  ],
  ['no body', '/v1/apps', { method: 'PUT' }, 400, /a body is needed, of type application\/json/],
  ['a body over the limit', '/v1/apps', { method: 'PUT', ...oversized }, 413, /larger than this route takes/],
  [
    'text that is not JSON',
    '/v1/apps',
    { method: 'PUT', ...withJson({}), body: '{\n  "specs": [\n    oops]}' },
    400,
    /line 3, column 5/,
  ],
  [
    'JSON cut short',
    '/v1/apps',
    { method: 'PUT', ...withJson({}), body: '{"specs": [' },
    400,
    /line 1, column 12/,
  ],
  ['JSON that is no object', '/v1/apps', { method: 'PUT', ...withJson('x') }, 400, /only supports object/],
  ['an unknown query parameter', '/v1/instances?nod=n1', {}, 400, /nod: unknown parameter/],
  [
    'an unknown key of a body',
    '/v1/apps/blog/restart',
    { method: 'POST', ...withJson({ proces: 'web' }) },
    422,
    /proces: unknown key/,
  ],
  ['a limit that is no number', '/v1/events?limit=all', {}, 400, /limit: must be a whole number/],
  ['a limit too high', '/v1/events?limit=1001', {}, 400, /limit: must be at most 1000/],
  [
    'a broken Last-Event-ID',
    '/v1/events',
    { headers: { accept: 'text/event-stream', 'last-event-id': 'x' } },
    400,
    /x/,
  ],
  [
    'an upload that is no digest',
    '/v1/artifacts',
    upload('abc', { 'x-content-digest': 'md5:1' }),
    400,
    /md5:1/,
  ],
  ['an upload over the limit', '/v1/artifacts', upload('x'.repeat(5000)), 413, /larger than 4096 bytes/],
  ['an empty scale', '/v1/apps/blog/scale', { method: 'POST', ...withJson({}) }, 422, /name at least one/],
  ['a negative scale', '/v1/apps/blog/scale', { method: 'POST', ...withJson({ web: -1 }) }, 422, /web: /],
  ['a path with a broken escape', '/v1/apps/%E0%A4%A', {}, 404, /%E0%A4%A/],
];

for (const [name, path, init, status, detail] of refusals) {
  test(`${name} is answered with ${status}`, async t => {
    const { ask } = await served(t, { limits: { documentBytes: 1000, artifactBytes: 4096 } });
    const response = await ask(path, init);
    const body = (await response.json()) as Body;
    t.is(response.status, status);
    t.regex(response.headers.get('content-type') ?? '', /^application\/problem\+json/);
    t.is(body.status, status);
    t.regex(body.detail, detail);
    t.false(JSON.stringify(body).includes('node_modules'));
  });
}

test('an upload without a length is cut off at the limit', async t => {
  const { ask, admin } = await served(t, { limits: { artifactBytes: 4096 } });
  const before = await admin.artifacts();
  const body = new ReadableStream({
    pull(controller) {
      controller.enqueue(new Uint8Array(1024));
      if (++pulls === 8) controller.close();
    },
  });
  let pulls = 0;
  const init = { ...upload(''), body, duplex: 'half' as const };
  t.is((await ask('/v1/artifacts', init)).status, 413);
  t.deepEqual(await admin.artifacts(), before);
});

test('everything wrong with a body is listed, each with its field', async t => {
  const { ask } = await served(t);
  const [process] = appSpec().processes;
  const spec = { ...appSpec({ app: 'Bad Name' }), processes: [{ ...process, scale: -1, scael: 2 }] };
  const response = await ask('/v1/apps', { method: 'PUT', ...withJson({ specs: [spec] }) });
  const { problems = [], detail } = (await response.json()) as Body;
  t.is(response.status, 422);
  t.deepEqual(problems.map(problem => problem.field).sort(), [
    'specs[0].app',
    'specs[0].processes[0].scael',
    'specs[0].processes[0].scale',
  ]);
  t.regex(detail, /specs\[0\]\.app: must be .* \(and 2 more\)/);
});

test('everything wrong with a manifest is listed, each with its line', async t => {
  const { ask } = await served(t);
  const body =
    'metadata: {id: wiki, version: "1.0"}\nrun: {start: node server.js}\nscael: {web: 2}\nport: many\n';
  const response = await ask('/v1/apps/manifest', {
    method: 'POST',
    headers: { 'content-type': 'application/yaml' },
    body,
  });
  const { problems = [] } = (await response.json()) as Body;
  t.is(response.status, 422);
  t.deepEqual([...new Set(problems.map(problem => problem.line))].sort(), [3, 4]);
});

const kinds: [AdminError['kind'], number][] = [
  ['not-found', 404],
  ['conflict', 409],
  ['invalid', 422],
  ['unavailable', 503],
  ['refused', 403],
];
for (const [kind, status] of kinds) {
  test(`an AdminError "${kind}" becomes ${status} with its words and details`, async t => {
    const { ask, admin } = await served(t);
    admin.fail('nodes', new AdminError(kind, 'in words', { known: ['a'], status: 200 }));
    const response = await ask('/v1/nodes');
    const body = (await response.json()) as Body;
    t.is(response.status, status);
    t.is(body.status, status);
    t.is(body.detail, 'in words');
    t.deepEqual(body.known, ['a']);
    t.is(body.type, `urn:hop3-agent:${kind}`);
  });
}

test('a store that does not answer becomes 503', async t => {
  const { ask, admin } = await served(t);
  admin.fail('requests', new StoreError('deadline exceeded', { outcome: 'unknown', retryable: true }));
  t.is((await ask('/v1/requests')).status, 503);
});

test('an error of our own becomes 500 with an id that the log has, and tells nothing else', async t => {
  const { ask, admin, log, requests } = await served(t);
  admin.fail('nodes', new TypeError('secret internals'));
  const response = await ask('/v1/nodes');
  const text = await response.text();
  const { id } = JSON.parse(text) as Body;
  t.is(response.status, 500);
  t.notRegex(text, /secret|TypeError|\.ts/);
  const [line] = log.lines.filter(each => each.level === 'error');
  t.is(line?.fields['id'], id);
  t.is((line?.fields['error'] as Error).message, 'secret internals');
  t.deepEqual(
    requests.map(({ route, status }) => [route, status]),
    [['/v1/nodes', 500]],
  );
});

test('an agent that is not ready says why', async t => {
  const { ask, admin, client } = await served(t);
  admin.readiness = { ready: false, reason: 'the store has not been heard for 40 s' };
  const response = await ask('/readyz');
  t.is(response.status, 503);
  t.is(((await response.json()) as Body).detail, admin.readiness.reason);
  t.deepEqual(await client.ready(), admin.readiness);
});

test('requests are counted by route, with the status that was sent', async t => {
  const { ask, requests } = await served(t);
  await ask('/v1/apps/blog');
  await ask('/v1/apps/nosuch');
  await ask('/v1/nothing');
  t.deepEqual(
    requests.map(({ method, route, status }) => [method, route, status]),
    [
      ['GET', '/v1/apps/{app}', 200],
      ['GET', '/v1/apps/{app}', 404],
      ['GET', 'unmatched', 404],
    ],
  );
  t.true(requests.every(({ durationMs }) => durationMs >= 0));
});

function upload(body: string, headers: Record<string, string> = {}) {
  return { method: 'POST', headers: { 'content-type': 'application/gzip', ...headers }, body };
}
