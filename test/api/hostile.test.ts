/** Requests that mean harm. What must hold is said by each; the agent answers on afterwards. */
import { connect } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { appSpec, processSpec } from '../support/nouns.ts';
import { rawRequest, served, withJson } from './helpers.ts';

const json = { 'content-type': 'application/json' };
const spec = JSON.stringify(appSpec({ app: 'shop' }));

const poisonous: { name: string; path: string; method: string; body: string; status: number }[] = [
  {
    name: 'a __proto__ among the variables',
    path: '/v1/apps',
    method: 'PUT',
    body: `{"specs": [${spec.replace('"env":{', '"env":{"__proto__":{"kind":"literal","value":"x"},')}], "ifGeneration": null}`,
    status: 400,
  },
  {
    name: 'a __proto__ among the labels, written with escapes',
    path: '/v1/apps',
    method: 'PUT',
    body: `{"specs": [${spec.replace('"requires":{', '"requires":{"__pr\\u006fto__":"x",')}], "ifGeneration": null}`,
    status: 400,
  },
  {
    name: 'a constructor with a prototype',
    path: '/v1/apps',
    method: 'PUT',
    body: '{"specs": [], "constructor": {"prototype": {"polluted": true}}}',
    status: 422,
  },
  {
    name: 'a scale of a process type that every object has',
    path: '/v1/apps/blog/scale',
    method: 'POST',
    body: '{"constructor": 2}',
    status: 422,
  },
  {
    name: 'lists in lists without end',
    path: '/v1/apps',
    method: 'PUT',
    body: `{"specs": ${'['.repeat(200_000)}${']'.repeat(200_000)}}`,
    status: 422,
  },
  {
    name: 'objects in objects without end',
    path: '/v1/apps/plan',
    method: 'POST',
    body: `{"specs": [${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}], "ifGeneration": null}`,
    status: 422,
  },
];

for (const { name, path, method, body, status } of poisonous) {
  test(`${name} is refused with ${status}, and poisons nothing`, async t => {
    const { ask } = await served(t);
    const response = await ask(path, { method, headers: json, body });
    t.is(response.status, status, await response.text());
    t.is(({} as { polluted?: boolean }).polluted, undefined);
    t.is(({} as { kind?: string }).kind, undefined);
    t.is((await ask('/v1/apps')).status, 200);
  });
}

const escaping: { name: string; wrong: object; field: RegExp }[] = [
  {
    name: 'a static directory above the app',
    wrong: { processes: [processSpec({ kind: 'static', command: '', directory: '../../../etc' })] },
    field: /processes\[0\]\.directory/,
  },
  {
    name: 'an absolute static directory',
    wrong: { processes: [processSpec({ kind: 'static', command: '', directory: '/etc' })] },
    field: /processes\[0\]\.directory/,
  },
  {
    name: 'a volume above the app',
    wrong: { volumes: [{ name: 'data', target: 'a/../..' }] },
    field: /volumes\[0\]\.target/,
  },
  {
    name: "a command for the proxy in a host name's place",
    wrong: { hostnames: ['a.example\nshow env'] },
    field: /hostnames\[0\]/,
  },
  {
    name: 'a header in the path of a health check',
    wrong: { healthcheck: { ...appSpec({}).healthcheck, path: '/ HTTP/1.1\r\nx: y' } },
    field: /healthcheck\.path/,
  },
  {
    name: 'a path of a health check that no request can carry',
    wrong: { healthcheck: { ...appSpec({}).healthcheck, path: '/\u20ac' } },
    field: /healthcheck\.path/,
  },
  {
    name: 'a process type that leads upwards',
    wrong: { processes: [processSpec({ type: '../..' })] },
    field: /processes\[0\]\.type/,
  },
  {
    name: 'a process type that every object has',
    wrong: { processes: [processSpec({ type: 'constructor' })] },
    field: /processes\[0\]\.type/,
  },
  { name: 'an app that leads upwards', wrong: { app: '../etc' }, field: /specs\[0\]\.app/ },
  {
    name: 'a command with a NUL',
    wrong: { processes: [processSpec({ command: 'a\0b' })] },
    field: /command/,
  },
];

for (const { name, wrong, field } of escaping) {
  test(`${name} is refused`, async t => {
    const { ask } = await served(t);
    const specs = [{ ...appSpec({ app: 'shop' }), ...wrong }];
    const response = await ask('/v1/apps', { method: 'PUT', ...withJson({ specs, ifGeneration: null }) });
    t.is(response.status, 422);
    t.regex(((await response.json()) as { detail: string }).detail, field);
  });
}

const upwards = [
  '/v1/logs/..%2f..%2fetc/passwd',
  '/v1/logs/../../etc/passwd',
  '/v1/explain/%2e%2e%2f%2e%2e',
  '/v1/apps/..%2fnodes',
  '/v1/artifacts/..%2f..%2fetc%2fpasswd/inspect',
  '/v1/logs/blog%0d%0ax-evil:%20yes',
  '/v1/logs/%00',
  '//evil.example/v1/apps',
];

test('paths that lead upwards, or out of the line, lead nowhere', async t => {
  const { api, ask } = await served(t);
  const { hostname: host, port } = new URL(api.url);
  for (const path of upwards) {
    const { status, headers } = await rawRequest({ host, port, path });
    t.true(status >= 400 && status < 500, `${status} for ${path}`);
    t.is(headers['x-evil'], undefined);
  }
  t.is((await ask('/healthz')).status, 200);
});

test('a query or a header larger than any client of ours sends is refused', async t => {
  const { api, ask } = await served(t);
  const { hostname: host, port } = new URL(api.url);
  t.is((await rawRequest({ host, port, path: `/v1/instances?app=${'x'.repeat(20_000)}` })).status, 431);
  const many = Array.from({ length: 1000 }, (_, index) => `app=${index}`).join('&');
  t.is((await ask(`/v1/instances?${many}`)).status, 400);
  t.is((await ask('/v1/instances?__proto__=x&constructor=y')).status, 400);
});

test('a client of whose body nothing more comes is cut off', async t => {
  const { api, ask } = await served(t, { limits: { stallMs: 200 } });
  const { hostname: host, port } = new URL(api.url);
  const head = `PUT /v1/apps HTTP/1.1\r\nhost: ${host}:${port}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n`;
  const ended = await new Promise(resolve => {
    const socket = connect({ host, port: Number(port) }, () => socket.write(`${head}{"specs"`));
    socket.on('error', () => undefined).on('close', () => resolve('closed'));
  });
  t.is(ended, 'closed');
  t.is((await ask('/healthz')).status, 200);
});

test('a socket whose path is too long is refused in words', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-hostile-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const socket = join(directory, 'x'.repeat(120));
  await t.throwsAsync(served(t, { socket }), { message: /at most 107 bytes; set admin\.socket/ });
});
