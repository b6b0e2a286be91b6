import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import http from 'node:http';
import net from 'node:net';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { apiClient, ApiError, ApiUnreachable, type Placed } from '../../src/api/client.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';
import { served, take } from './helpers.ts';

test('every question has its answer', async t => {
  const { client } = await served(t);
  t.deepEqual(await client.ready(), { ready: true, reason: 'in step with the store' });
  t.is((await client.node()).name, 'n1');
  t.is((await client.nodeNamed('n2')).name, 'n2');
  t.deepEqual(
    (await client.apps()).items.map(app => app.app),
    ['blog'],
  );
  t.is((await client.instances({ process: 'web' })).items.length, 2);
  t.is((await client.instance('blog/web/1')).node, 'n2');
  t.is((await client.promises({ of: 'n1', kind: 'running' })).items.length, 1);
  t.is((await client.assessments({ promiser: 'n1' })).items[0]?.outcome, 'kept');
  t.is((await client.requests()).items[0]?.answer?.answer, 'accepted');
  t.is((await client.supervisor()).node, 'n2');
  t.is((await client.subjects({ owner: 'n1' })).items.length, 1);
  t.is((await client.explain('instance/blog/web/0')).about, 'instance/blog/web/0');
  t.is((await client.doctor()).checks.length, 2);
  t.regex(await client.metrics(), /hop3_up 1/);
});

test('a promise has its history, also once it is gone', async t => {
  const { client } = await served(t);
  const standing = await client.promise('n1', 'running:blog/web/0');
  t.is(standing.promise?.outcome, 'kept');
  t.is(standing.history.length, 1);
  const gone = await client.promise('n1', 'running:old/web/0');
  t.is(gone.promise, null);
  t.is(gone.history[0]?.kind, 'promise-withdrawn');
});

test('what it asks for is done', async t => {
  const { client, admin } = await served(t);
  t.is((await client.scale('blog', { web: 4 })).processes['web']?.scale, 4);
  await client.restart('blog', null);
  await client.restart('blog', 'web');
  await client.remove('blog');
  t.deepEqual((await client.apps()).items, []);
  t.is((await client.recover()).epoch, 1);
  await client.leave();
  t.true(admin.left);
});

test('scaling is told of no warnings by an agent that knows none', async t => {
  const { client, admin } = await served(t);
  admin.warnings = undefined as never;
  const { app, warnings } = await client.scale('blog', { web: 4 });
  t.deepEqual({ app, warnings }, { app: 'blog', warnings: [] });
});

test('logs come from the right instances, then as they are written', async t => {
  // So short that heartbeats come in between.
  const { client, admin } = await served(t, { limits: { heartbeatMs: 1 } });
  const old = await take(9, client.logs('blog/web'));
  t.deepEqual(
    old.map(line => line.text),
    ['listening on 4001', 'a warning'],
  );
  const following = take(3, withoutPlaces(client.followLogs('blog', { lines: 1 })));
  await until('the stream follows', () => admin.open === 1);
  admin.say({ instance: 'other/web/0', node: 'n1', stream: 'stdout', text: 'not this' });
  admin.say({ instance: 'blog/web/0', node: 'n1', stream: 'stdout', text: 'ünïcode ✓' });
  admin.say({ instance: 'blog/web/1', node: 'n2', stream: 'stderr', text: 'the last' });
  t.deepEqual(
    (await following).map(line => line.text),
    ['ready', 'ünïcode ✓', 'the last'],
  );
  await until('the stream is freed', () => admin.open === 0);
});

test('logs go on where they were, by id, cursor or header, and also when they were cut in silence', async t => {
  const { client, admin, ask } = await served(t);
  const [place] = await take(1, client.followLogs('blog', { lines: 0 }));
  t.is(place?.value, null);
  const line = { instance: 'blog/web/0', node: 'n1', stream: 'stdout' } as const;
  ['one', 'two', 'three'].forEach(text => admin.say({ ...line, text }));
  const [first] = await take(1, withoutPlaces(client.followLogs('blog', { lastId: place?.id ?? '' })));
  t.is(first?.text, 'one');

  const [one] = await take(1, client.logs('blog', { after: place?.id ?? '' }));
  const rest = await take(9, client.logs('blog', { after: one?.cursor ?? '' }));
  t.deepEqual(
    rest.map(({ text }) => text),
    ['two', 'three'],
  );
  const headers = { 'last-event-id': rest[0]?.cursor ?? '' };
  t.regex(await (await ask('/v1/logs/blog', { headers })).text(), /^\{[^\n]*"three"[^\n]*\}\n$/);
});

/** Without the items that only move the place. */
async function* withoutPlaces<T>(placed: AsyncIterable<Placed<T>>): AsyncGenerator<T> {
  for await (const { value } of placed) if (value !== null) yield value;
}

test('an artifact arrives whole, and is refused when it is not what it says', async t => {
  const { client } = await served(t);
  const parts = [Buffer.alloc(300_000, 1), Buffer.alloc(300_000, 2)];
  const digest = `sha256:${createHash('sha256').update(Buffer.concat(parts)).digest('hex')}`;
  t.deepEqual(await client.uploadArtifact(pieces(parts), { digest }), { digest, bytes: 600_000 });
  t.true((await client.artifacts()).items.some(held => held.digest === digest));
  t.true((await client.inspectArtifact(digest)).packageStart);
  const wrong = client.uploadArtifact(pieces([Buffer.from('x')]), { digest });
  t.is((await t.throwsAsync(wrong, { instanceOf: ApiError })).status, 422);
});

test('an upload over the limit is refused, not left hanging', async t => {
  const { client } = await served(t, { limits: { artifactBytes: 100_000 } });
  const endless = client.uploadArtifact(pieces(Array.from({ length: 500 }, () => Buffer.alloc(100_000))));
  t.is((await t.throwsAsync(endless, { instanceOf: ApiError })).status, 413);
});

test('a source that fails while it is uploaded is told as it is', async t => {
  const { client, admin } = await served(t);
  const before = await admin.artifacts();
  async function* failing() {
    yield Buffer.alloc(10);
    throw new Error('the disk is gone');
  }
  await t.throwsAsync(client.uploadArtifact(failing()), { message: 'the disk is gone' });
  t.deepEqual(await admin.artifacts(), before);
});

test('nobody there is ApiUnreachable, which names the place', async t => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const error = await t.throwsAsync(apiClient({ url }).nodes(), { instanceOf: ApiUnreachable });
  t.is(error.url, url);
  t.regex(error.message, /ECONNREFUSED/);
  const missing = apiClient({ url, socketPath: '/nonexistent/agent.sock' }).nodes();
  t.is((await t.throwsAsync(missing, { instanceOf: ApiUnreachable })).url, '/nonexistent/agent.sock');
});

test('a server that is no agent is told apart', async t => {
  const url = await server(t, (_request, response) => response.writeHead(502).end('<h1>Bad gateway</h1>'));
  const error = await t.throwsAsync(apiClient({ url }).nodes(), { instanceOf: ApiError });
  t.is(error.status, 502);
  t.regex(error.message, /HTTP 502: <h1>/);
});

test('an answer that breaks off is ApiUnreachable, in a stream too', async t => {
  const url = await server(t, (_request, response) => {
    response.writeHead(200).write('{"kind":"step"}\n{"ki');
    response.socket?.end();
  });
  await t.throwsAsync(apiClient({ url }).nodes(), { instanceOf: ApiUnreachable });
  const stream = apiClient({ url }).logs('blog')[Symbol.asyncIterator]();
  t.deepEqual((await stream.next()).value as unknown, { kind: 'step' });
  await t.throwsAsync(Promise.resolve(stream.next()), { instanceOf: ApiUnreachable });
});

test('a call that is aborted rejects with the reason, before, during and between', async t => {
  const url = await server(t, () => undefined);
  const client = apiClient({ url });
  await t.throwsAsync(client.nodes(AbortSignal.abort(new Error('enough'))), { message: 'enough' });
  const leaving = new AbortController();
  const waiting = client.nodes(leaving.signal);
  leaving.abort(new Error('too slow'));
  await t.throwsAsync(waiting, { message: 'too slow' });
});

test('loading the client loads no server and no schema library', async t => {
  await t.notThrowsAsync(loadingWithoutPackages('./src/api/client.ts'));
  await t.throwsAsync(loadingWithoutPackages('./src/api/server.ts'), { message: /loaded .*node_modules/ });
});

async function* pieces(parts: Buffer[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

async function server(t: ExecutionContext, handler: http.RequestListener): Promise<string> {
  const listening = http.createServer(handler);
  await new Promise<void>(resolve => listening.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    listening.closeAllConnections();
    listening.close();
  });
  return `http://127.0.0.1:${(listening.address() as net.AddressInfo).port}`;
}

/** Imports a file in a process where no npm package may be loaded. */
async function loadingWithoutPackages(file: string): Promise<void> {
  const hook = `export function load(url, context, next) {
    if (url.includes('/node_modules/')) throw new Error('loaded ' + url);
    return next(url, context);
  }`;
  const script = `import { register } from 'node:module';
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
    await import(${JSON.stringify(file)});`;
  await promisify(execFile)(process.execPath, ['--import=tsx', '--input-type=module', '-e', script]);
}
