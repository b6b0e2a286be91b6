import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { ApiError, ApiUnreachable, apiClient } from '../../src/api/client.ts';
import { startAdminApi } from '../../src/api/server.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { Authority } from '../support/certificates.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakeLog } from '../support/fake-log.ts';
import { rawRequest, served, withJson } from './helpers.ts';

const tokens = ['first-token', 'second-token'];

const answersTo: [name: string, headers: Record<string, string>, status: number][] = [
  ['no token', {}, 401],
  ['a wrong token', { authorization: 'Bearer nonsense' }, 401],
  ['an empty token', { authorization: 'Bearer ' }, 401],
  ['another scheme', { authorization: `Basic ${tokens[0] ?? ''}` }, 401],
  ['the first token', { authorization: 'Bearer first-token' }, 200],
  ['the second token', { authorization: 'bearer second-token' }, 200],
];
for (const [name, headers, status] of answersTo) {
  test(`where tokens are configured, ${name} gets ${status}`, async t => {
    const { ask } = await served(t, { tokens });
    const response = await ask('/v1/nodes', { headers });
    t.is(response.status, status);
    t.is(response.headers.get('www-authenticate'), status === 401 ? 'Bearer' : null);
  });
}

test('liveness needs no token, everything else does', async t => {
  const { ask } = await served(t, { tokens });
  t.is((await ask('/healthz')).status, 200);
  for (const path of ['/', '/readyz', '/metrics', '/openapi.json', '/v1/nothing']) {
    t.is((await ask(path)).status, 401, path);
  }
});

const exposures: [name: string, tls: boolean, tokens: string[], message: RegExp][] = [
  ['nothing', false, [], /0\.0\.0\.0 without TLS and a token/],
  ['a token only', false, tokens, /without TLS: /],
  ['TLS only', true, [], /without a token: /],
];
for (const [name, tls, given, message] of exposures) {
  test(`with ${name} it refuses to listen beyond loopback`, async t => {
    const files = { ca: '/none', cert: '/none', key: '/none' };
    await t.throwsAsync(
      served(t, { listen: { host: '0.0.0.0', port: 0, tls: tls ? files : null }, tokens: given }),
      { message },
    );
  });
}

test('with TLS and a token it listens beyond loopback, and is asked by any name', async t => {
  const authority = await Authority.make(await temporary(t));
  const tls = { ca: authority.ca, ...(await authority.issue('node-1')) };
  const { api } = await served(t, { listen: { host: '0.0.0.0', port: 0, tls }, tokens });
  t.regex(api.url, /^https:/);
  const url = `https://localhost:${new URL(api.url).port}`;
  const ca = await readFile(authority.ca, 'utf8');
  t.is((await apiClient({ url, ca, token: 'first-token' }).nodes()).items.length, 3);
  t.is((await t.throwsAsync(apiClient({ url, ca }).nodes(), { instanceOf: ApiError })).status, 401);
  const distrusted = apiClient({ url, token: 'first-token' }).nodes();
  await t.throwsAsync(distrusted, { instanceOf: ApiUnreachable, message: /certificate/ });
});

test('a certificate that is not there is said in words', async t => {
  const tls = { ca: '/none', cert: '/none/cert.pem', key: '/none' };
  const listen = { host: '127.0.0.1', port: 0, tls };
  await t.throwsAsync(served(t, { listen }), { message: /\/none/ });
});

test('a request that names no host gets 403 on loopback', async t => {
  const { api } = await served(t);
  const socket = net.connect(Number(new URL(api.url).port), '127.0.0.1');
  socket.setEncoding('utf8').write('GET /v1/nodes HTTP/1.0\r\n\r\n');
  let text = '';
  for await (const chunk of socket as AsyncIterable<string>) text += chunk;
  t.regex(text, /^HTTP\/1\.1 403 /);
});

const hosts: [host: string, status: number][] = [
  ['127.0.0.1', 200],
  ['localhost:7300', 200],
  ['[::1]:7300', 200],
  ['rebound.example.com', 403],
  ['127.0.0.1.example.com', 403],
  ['localhost.', 403],
];
for (const [host, status] of hosts) {
  test(`a request for host "${host}" on loopback gets ${status}`, async t => {
    const { api } = await served(t);
    const response = await rawRequest({ port: new URL(api.url).port, path: '/v1/nodes', headers: { host } });
    t.is(response.status, status);
  });
}

const origins: [method: string, origin: string, status: number][] = [
  ['POST', 'http://evil.example.com', 403],
  ['POST', 'null', 403],
  ['POST', 'http://127.0.0.1:1', 403],
  ['POST', 'own', 200],
  ['GET', 'http://evil.example.com', 200],
];
for (const [method, origin, status] of origins) {
  test(`a ${method} from origin ${origin} gets ${status}, and no leave to read it`, async t => {
    const { ask, api } = await served(t);
    const body = method === 'POST' ? withJson({ web: 1 }) : {};
    const path = method === 'POST' ? '/v1/apps/blog/scale' : '/v1/apps/blog';
    const headers = { 'content-type': 'application/json', origin: origin === 'own' ? api.url : origin };
    const response = await ask(path, { ...body, method, headers });
    t.is(response.status, status);
    t.is(response.headers.get('access-control-allow-origin'), null);
  });
}

test('answers carry headers that keep browsers from guessing and leaking', async t => {
  const { ask } = await served(t);
  for (const path of ['/', '/v1/nodes', '/v1/nothing']) {
    const { headers } = await ask(path);
    t.is(headers.get('x-content-type-options'), 'nosniff');
    t.is(headers.get('referrer-policy'), 'no-referrer');
    t.regex(headers.get('content-security-policy') ?? '', /default-src 'self'/);
  }
});

test('the unix socket needs no token and lets the group in, nobody else', async t => {
  const socket = path.join(await temporary(t), 'agent.sock');
  await served(t, { tokens, socket });
  t.is((await stat(socket)).mode & 0o777, 0o660);
  const client = apiClient({ url: 'http://localhost', socketPath: socket });
  t.is((await client.nodes()).items.length, 3);
  t.is(client.where, socket);
});

test('a socket file left behind is replaced, one in use is not', async t => {
  const socket = path.join(await temporary(t), 'agent.sock');
  await writeFile(socket, 'left behind');
  await served(t, { socket });
  t.is((await apiClient({ url: 'http://localhost', socketPath: socket }).nodes()).items.length, 3);
  await t.throwsAsync(served(t, { socket }), { message: /another process answers there/ });
});

test('a port in use is said in words', async t => {
  const { api } = await served(t);
  const listen = { host: '127.0.0.1', port: Number(new URL(api.url).port), tls: null };
  await t.throwsAsync(served(t, { listen }), {
    message: /admin API can't listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
  });
});

test('closing ends idle connections and streams within about a second', async t => {
  const admin = FakeAdmin.seeded();
  const clock = systemClock();
  const api = await startAdminApi({
    admin,
    listen: { host: '127.0.0.1', port: 0, tls: null },
    socket: null,
    tokens: [],
    log: new FakeLog(),
    clock,
  });
  await (await fetch(`${api.url}/v1/nodes`)).text();
  const silent = net.connect(Number(new URL(api.url).port), '127.0.0.1');
  const gone = new Promise(resolve => silent.on('close', resolve));
  silent.on('error', () => undefined);
  const stream = await fetch(`${api.url}/v1/events`, { headers: { accept: 'text/event-stream' } });
  const startedMs = clock.now();
  await api.close();
  t.true(clock.now() - startedMs < 5000);
  t.regex(await stream.text(), /^retry: 1000/);
  t.is(admin.open, 0);
  await gone;
  await t.throwsAsync(fetch(`${api.url}/v1/nodes`));
});

test('the client says who it could not authenticate as', async t => {
  const { api } = await served(t, { tokens });
  const error = await t.throwsAsync(apiClient({ url: api.url, token: 'wrong' }).nodes(), {
    instanceOf: ApiError,
  });
  t.is(error.status, 401);
  t.is((await apiClient({ url: api.url, token: 'second-token' }).nodes()).items.length, 3);
});

async function temporary(t: ExecutionContext): Promise<string> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'hop3-api-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}
