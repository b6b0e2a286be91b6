import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { httpPool } from '../../src/drivers/http-exchange.ts';
import { stepAgents } from '../../src/drivers/step-agents.ts';
import { httpAgent } from '../../src/drivers/step-http.ts';
import type { StepOutput, StepResult } from '../../src/model/plan.ts';
import type { StepTask } from '../../src/ports/step-agents.ts';
import { realClock, temporaryDirectory } from '../artifacts/helpers.ts';
import { Authority } from '../support/certificates.ts';
import { FakeBlobs } from '../support/fake-blobs.ts';
import { stepTask } from '../support/step-task.ts';

const never = new AbortController().signal;

interface Seen {
  method: string;
  url: string;
  /** As they came, spelling included. */
  raw: string[];
  headers: IncomingMessage['headers'];
  body: Buffer;
}

type Answer = (response: ServerResponse, seen: Seen, count: number) => void;

/** A server that says what it was asked, and an agent, both for real. */
async function world(t: ExecutionContext, answer: Answer = response => response.end('done')) {
  const seen: Seen[] = [];
  let connections = 0;
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
      const { method = '', url = '', rawHeaders, headers } = request;
      const one = { method, url, raw: rawHeaders, headers, body: Buffer.concat(chunks) };
      seen.push(one);
      answer(response, one, seen.length);
    })().catch(() => response.destroy());
  });
  server.on('connection', () => (connections += 1));
  server.listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  const pool = httpPool();
  t.teardown(async () => {
    await pool.close();
    server.closeAllConnections();
    server.close();
  });
  const blobs = new FakeBlobs(realClock);
  const roster = stepAgents([httpAgent({ pool, blobs, clock: realClock })], { blobs });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const run = (
    path: string,
    given: Record<string, string> = {},
    parts: Partial<StepTask> = {},
    signal = never,
  ): Promise<StepResult> =>
    roster.find('http')!.run(
      stepTask({
        ...parts,
        work: { agent: 'http', resource: path.startsWith('http') ? path : base + path, arguments: given },
      }),
      signal,
    );
  return { seen, run, base, blobs, server, roster, connections: () => connections };
}

const json = (text: string) => ({ mimeType: 'application/json', bytes: Buffer.from(text) });

test('the payload is sent byte for byte, with its type, and the answer is the output', async t => {
  const { run, seen } = await world(t, response => {
    response.writeHead(201, { 'Content-Type': 'application/json' }).end('{"id": 42}');
  });
  const text = '{ "spaces":   "and order", "a": 1, "a": 2, "é": 1.0 }';
  const result = await run('/orders?x=1', {}, { payload: json(text) });
  t.deepEqual(result, { kind: 'completed', output: { value: { id: 42 } } });
  t.like(seen[0], { method: 'POST', url: '/orders?x=1' });
  t.is(seen[0]?.body.toString(), text);
  t.is(seen[0]?.headers['content-type'], 'application/json');
  t.is(seen[0]?.headers['content-length'], String(Buffer.byteLength(text)));
});

test('each attempt says whose word counts, which effect it is, and how long is left', async t => {
  const { run, seen } = await world(t);
  const given = { token: '4711', idempotencyKey: 'plan-9/3', plan: 'plan-9', index: 3, attempt: 2 };
  await run('/', {}, { ...given, remainingMs: 5000 });
  const { headers } = seen[0]!;
  t.is(headers['fencing-token'], '4711');
  t.is(headers['idempotency-key'], 'plan-9/3');
  t.deepEqual([headers['hop3-plan'], headers['hop3-step'], headers['hop3-attempt']], ['plan-9', '3', '2']);
  const remainingMs = Number(headers['hop3-remaining-ms']);
  t.true(remainingMs > 0 && remainingMs <= 5000, `${remainingMs}`);
});

test('headers keep their names, whichever way they are given', async t => {
  const { run, seen } = await world(t);
  await run('/', {
    'header.ETag': '1',
    'headers.accept': '2',
    'headers.headers': '3',
    'header.s': '4',
    'headers.h.e.a.d': '5',
  });
  const pairs = Object.fromEntries(
    seen[0]!.raw.flatMap((name, at, all) => (at % 2 ? [] : [[name, all[at + 1]]])),
  );
  t.like(pairs, { ETag: '1', accept: '2', headers: '3', s: '4', 'h.e.a.d': '5' });
});

const methods: { name: string; given: Record<string, string>; payload: boolean; method: string }[] = [
  { name: 'with a payload', given: {}, payload: true, method: 'POST' },
  { name: 'without one', given: {}, payload: false, method: 'GET' },
  { name: 'as it is told', given: { method: 'put' }, payload: true, method: 'PUT' },
  { name: "in Boltzmann's words", given: { 'http.method': 'PATCH' }, payload: true, method: 'PATCH' },
  { name: 'though it is unusual', given: { method: 'DELETE' }, payload: true, method: 'DELETE' },
];
for (const { name, given, payload, method } of methods) {
  test(`the method ${name} is ${method}`, async t => {
    const { run, seen } = await world(t);
    await run('/', given, { payload: payload ? json('{}') : null });
    t.is(seen[0]?.method, method);
    t.is(seen[0]?.body.toString(), payload ? '{}' : '');
  });
}

test('ten megabytes come back as they went, from many at once, each its own', async t => {
  const { run, blobs } = await world(t, (response, { body, headers }) => {
    response.writeHead(200, { 'Content-Type': headers['content-type'] }).end(body);
  });
  const payloads = Array.from({ length: 6 }, (_, number) => ({
    mimeType: 'application/octet-stream',
    bytes: Buffer.alloc(10 * 1024 * 1024, `payload ${number} of many; `),
  }));
  const results = await Promise.all(payloads.map(payload => run('/echo', {}, { payload })));
  for (const [index, result] of results.entries()) {
    const output = result.kind === 'completed' ? result.output : null;
    if (output === null || !('digest' in output)) return t.fail(JSON.stringify(result));
    t.true(payloads[index]!.bytes.equals(await blobs.get(output.digest, never)), `payload ${index}`);
  }
  t.is(blobs.held.size, 6);
});

test('many small ones at once come back each to its own step', async t => {
  const { run } = await world(t, (response, { body }) => response.end(body));
  const texts = Array.from({ length: 200 }, (_, number) => `payload ${number}`);
  const results = await Promise.all(texts.map(text => run('/', {}, { payload: json(text) })));
  t.deepEqual(
    results,
    texts.map(value => ({ kind: 'completed', output: { value } })),
  );
});

test('connections are kept from one request to the next', async t => {
  const { run, connections } = await world(t);
  for (let count = 0; count < 5; count++) await run('/');
  t.is(connections(), 1);
});

test('a kept connection that the server has closed meanwhile costs no attempt', async t => {
  const { run, server, seen } = await world(t, (response, _seen, count) => {
    // The second request on a connection finds it closed.
    if (count === 2) response.socket?.resetAndDestroy();
    else response.end(`answer ${count}`);
  });
  t.deepEqual(await run('/'), { kind: 'completed', output: { value: 'answer 1' } });
  t.deepEqual(await run('/'), { kind: 'completed', output: { value: 'answer 3' } });
  t.is(seen.length, 3);
  t.truthy(server.listening);
});

test('a status of failure is a failure, with what the server said', async t => {
  const { run } = await world(t, (response, { url }) => {
    response.writeHead(Number(url.slice(1))).end('because\u001b[2J of\nthis');
  });
  t.deepEqual(await run('/500'), {
    kind: 'failed',
    type: 'RETRYABLE',
    error: 'HTTP 500 Internal Server Error: because [2J of this',
  });
  t.deepEqual(await run('/404'), {
    kind: 'failed',
    type: 'FATAL',
    error: 'HTTP 404 Not Found: because [2J of this',
  });
  t.like(await run('/404', { 'expect-status': '404' }), { kind: 'completed' });
  t.like(await run('/404', { 'retry-status': '4xx' }), { kind: 'failed', type: 'RETRYABLE' });
});

test('a place that does not answer, or breaks off, is tried again', async t => {
  const { run } = await world(t, (response, { url }) => {
    if (url === '/half') {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('half', () => response.destroy());
    } else response.destroy();
  });
  const closed = createServer().listen(0, '127.0.0.1');
  await new Promise(resolve => closed.once('listening', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise(resolve => closed.close(resolve));
  for (const [address, why] of [
    [`http://127.0.0.1:${port}/`, /ECONNREFUSED/],
    [`http://localhost:${port}/`, /ECONNREFUSED/],
    ['http://no-such-host.invalid/', /ENOTFOUND|EAI_AGAIN/],
    ['/', /hang up|ECONNRESET/],
    ['/half', /aborted/],
  ] as const) {
    const result = await run(address);
    t.like(result, { kind: 'failed', type: 'RETRYABLE' }, address);
    t.regex(result.kind === 'failed' ? result.error : '', why, address);
  }
});

test('a server that names a time is asked again then, within the same attempt', async t => {
  const { run, seen } = await world(t, (response, _seen, count) => {
    if (count === 1) response.writeHead(429, { 'Retry-After': '0' }).end();
    else response.end('done');
  });
  const result = await run('/', {}, { payload: json('{"a":1}') });
  t.deepEqual(result, { kind: 'completed', output: { value: 'done' } });
  t.deepEqual(
    seen.map(({ headers, body }) => [headers['hop3-attempt'], headers['idempotency-key'], body.toString()]),
    [
      ['1', 'plan-1/0', '{"a":1}'],
      ['1', 'plan-1/0', '{"a":1}'],
    ],
  );
});

test('it is not waited for longer than there is time; whoever waits can be told to stop', async t => {
  const { run, seen } = await world(t, (response, { url }) => {
    const after = url === '/date' ? new Date(Date.now() + 3_600_000).toUTCString() : '30';
    response.writeHead(503, { 'Retry-After': after }).end();
  });
  const late = await run('/', {}, { remainingMs: 20_000 });
  t.deepEqual(late, {
    kind: 'failed',
    type: 'RETRYABLE',
    error: 'HTTP 503 Service Unavailable: asks to wait for 30 s, longer than there is time',
  });
  t.regex(JSON.stringify(await run('/date')), /asks to wait for 3(600|599|598) s/);
  const stopping = new AbortController();
  const run3 = run('/', {}, {}, stopping.signal);
  while (seen.length < 3) await realClock.sleep(5);
  stopping.abort(new Error('cancelled'));
  const result = await run3;
  // Told before the answer was there, it can't know what became of the request.
  t.true(result.kind === 'stopped' || (result.kind === 'failed' && result.error === unanswered));
});

const unanswered = 'cancelled: no answer had come, and what was asked for may still be done';
test('at its time, or when it is told to, it lets go of the request', async t => {
  const gone = new Set<string>();
  const { run, seen } = await world(t, (response, { url }) => {
    response.on('close', () => gone.add(url));
    if (url === '/slow-body') response.writeHead(200).write('begun');
  });
  for (const path of ['/', '/slow-body']) {
    const late = await run(path, {}, { remainingMs: 100 });
    t.deepEqual(late, { kind: 'failed', type: 'RETRYABLE', error: 'no answer within its time' }, path);
  }
  const stopping = new AbortController();
  const told = run('/told', {}, {}, stopping.signal);
  while (!seen.some(({ url }) => url === '/told')) await realClock.sleep(5);
  stopping.abort(new Error('cancelled'));
  t.deepEqual(await told, { kind: 'failed', type: 'RETRYABLE', error: unanswered });
  while (!gone.has('/told')) await realClock.sleep(5);
});

const redirects: {
  name: string;
  method: string;
  status: number;
  given?: Record<string, string>;
  /** What the second address was asked with; null = it was not asked. */
  second: string | null;
  error?: RegExp;
}[] = [
  { name: 'GET follows', method: 'GET', status: 302, second: 'GET ' },
  {
    name: 'GET does not follow when told',
    method: 'GET',
    status: 302,
    given: { redirects: '0' },
    second: null,
  },
  {
    name: 'POST does not follow',
    method: 'POST',
    status: 307,
    second: null,
    error: /HTTP 307.*not followed/,
  },
  {
    name: 'POST follows 307 with its body when told',
    method: 'POST',
    status: 307,
    given: { redirects: '1' },
    second: 'POST {}',
  },
  {
    name: 'POST fetches where 303 says the result is',
    method: 'POST',
    status: 303,
    given: { redirects: '1' },
    second: 'GET ',
  },
  {
    name: 'POST never becomes a GET by 301',
    method: 'POST',
    status: 301,
    given: { redirects: '1' },
    second: null,
    error: /use that address/,
  },
];
for (const { name, method, status, given = {}, second, error = /./ } of redirects) {
  test(`of redirects: ${name}`, async t => {
    const { run, seen } = await world(t, (response, { url }) => {
      if (url === '/') response.writeHead(status, { Location: '/second' }).end();
      else response.end('done');
    });
    const result = await run('/', { method, ...given }, { payload: method === 'POST' ? json('{}') : null });
    t.is(seen[1] === undefined ? null : `${seen[1].method} ${seen[1].body.toString()}`, second);
    t.is(result.kind, second === null ? 'failed' : 'completed');
    if (result.kind === 'failed') {
      t.is(result.type, 'FATAL');
      t.regex(result.error, error);
    }
  });
}

test('a circle of redirects ends; secrets stay with the server they are for', async t => {
  const other = await world(t);
  const { run, seen } = await world(t, (response, { url }) => {
    response.writeHead(302, { Location: url === '/away' ? `${other.base}/there` : url }).end();
  });
  const round = await run('/round');
  t.like(round, { kind: 'failed', type: 'FATAL' });
  t.is(seen.length, 6);
  await run('/away', { 'header.Authorization': 'Bearer x', 'header.X-Kind': 'y' });
  t.is(seen[6]?.headers.authorization, 'Bearer x');
  t.is(other.seen[0]?.headers.authorization, undefined);
  t.is(other.seen[0]?.headers['x-kind'], 'y');
});

test('an answer that is too long is no output; one can do without it', async t => {
  const { run } = await world(t, response => response.end(Buffer.alloc(16 * 1024 * 1024 + 1)));
  const result = await run('/');
  t.like(result, { kind: 'failed', type: 'FATAL' });
  t.regex(result.kind === 'failed' ? result.error : '', /longer than 16 MiB/);
  t.deepEqual(await run('/', { output: 'none' }), { kind: 'completed', output: null });
});

test('over TLS the server must be who it says it is', async t => {
  const { cert, key } = await (await Authority.make(await temporaryDirectory(t))).issue('somebody');
  const tls = { cert: await readFile(cert), key: await readFile(key) };
  const server = createTlsServer(tls, (_request, response) => response.end('done'));
  server.listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  t.teardown(() => server.close());
  const { run } = await world(t);
  const result = await run(`https://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  t.like(result, { kind: 'failed', type: 'RETRYABLE' });
  t.regex(result.kind === 'failed' ? result.error : '', /certificate/);
});

test('what a step before gave can be the payload, a part of the address, or a header', async t => {
  const { run, seen, blobs } = await world(t);
  const long = Buffer.from(JSON.stringify({ id: 'a/b?c', pad: 'x'.repeat(9000) }));
  const inputs = new Map<number, StepOutput>([
    [0, { value: { order: { id: 7, to: 'é & ö/..' } } }],
    [1, { value: 'just text' }],
    [2, await blobs.put(long)],
  ]);
  await run('/orders/{{0.order.id}}?to={{ 0.order.to }}', { 'header.X-Said': '{{1}}!' }, { inputs });
  t.is(seen[0]?.url, '/orders/7?to=%C3%A9%20%26%20%C3%B6%2F..');
  t.is(seen[0]?.headers['x-said'], 'just text!');
  await run('/', { 'payload-from': '0.order' }, { inputs });
  t.is(seen[1]?.body.toString(), '{"id":7,"to":"é & ö/.."}');
  t.like(seen[1], { method: 'POST' });
  t.is(seen[1]?.headers['content-type'], 'application/json');
  await run('/{{2.id}}', { 'payload-from': '2' }, { inputs });
  t.is(seen[2]?.url, '/a%2Fb%3Fc');
  t.true(seen[2]?.body.equals(long));
  await run('/', { 'payload-from': '1', method: 'PUT' }, { inputs });
  t.is(seen[3]?.headers['content-type'], 'text/plain; charset=utf-8');
});

const inputs = new Map([
  [0, { value: { dots: '..', none: '', lines: 'a\r\nX-Evil: b', long: Number.MAX_SAFE_INTEGER + 1 } }],
  [1, { value: 'text' }],
]);
const unusable: { name: string; path?: string; given?: Record<string, string>; error: RegExp }[] = [
  { name: 'nothing', path: '/{{7}}', error: /step 7 gave nothing/ },
  { name: 'nothing there', path: '/{{0.a.b}}', error: /nothing at a\.b/ },
  { name: 'what every object has', path: '/{{0.constructor}}', error: /nothing at constructor/ },
  { name: 'text where JSON is wanted', given: { 'payload-from': '1.a' }, error: /not JSON/ },
  { name: 'a way up', path: '/{{0.dots}}', error: /can't be a part/ },
  { name: 'an empty part', path: '/orders/{{0.none}}', error: /can't be a part/ },
  { name: 'another header', given: { 'header.X': '{{0.lines}}' }, error: /header X/ },
  { name: 'a number that was rounded', path: '/{{0.long}}', error: /too long/ },
];
for (const { name, path = '/', given = {}, error } of unusable) {
  test(`a step before that gave ${name} fails this one, and nobody is asked`, async t => {
    const { run, seen } = await world(t);
    const result = await run(path, given, { inputs });
    t.like(result, { kind: 'failed', type: 'FATAL' });
    t.regex(result.kind === 'failed' ? result.error : '', error);
    t.is(seen.length, 0);
  });
}

test('what makes no sense is told before, all of it', async t => {
  const { roster } = await world(t);
  const check = (resource: string, given: Record<string, string>, outputs?: number[]) =>
    roster
      .find('http')!
      .check(
        { agent: 'http', resource, arguments: given, payload: { mimeType: 'a/b', text: '' } },
        outputs && new Set(outputs),
      )
      .map(({ field, message }) => `${field}: ${message}`);
  t.deepEqual(check('https://example.org/{{1.id}}', { 'header.X': '{{ 0 }}', redirects: '3' }), []);
  t.deepEqual(
    check('ftp://example.org', {
      method: 'CONNECT',
      'http.method': 'GET',
      'expect-status': 'good',
      accept: 'x',
      'header.Fencing-Token': '9',
      'headers.a b': 'x',
      'header.X': '{{x}}',
      'payload-from': 'first',
    }),
    [
      'arguments.payload-from: "first" names no output',
      'arguments.method: "CONNECT" makes no sense here',
      'arguments.expect-status: "good" makes no sense here',
      'arguments.accept: the agent "http" has no such argument',
      'arguments.http.method: is given as method, too',
      'arguments.header.Fencing-Token: is set by the agent itself',
      'arguments.headers.a b: is no header that can be sent',
      'arguments.header.X: "{{x}}" names no output',
      'resource: "ftp://example.org" is not an address',
    ],
  );
  t.deepEqual(check('http://a/{{1.id}}/{{2}}', { 'header.X': '{{3}}' }, [1]), [
    'arguments.header.X: "3" is an output of step 3, on which the step does not depend',
    'resource: "2" is an output of step 2, on which the step does not depend',
  ]);
  t.deepEqual(check('http://{{0.host}}/', { 'payload-from': '0' }), [
    'arguments.payload-from: the step has a payload of its own',
    'resource: whom to ask is up to the plan alone, not to what a step gave',
  ]);
});
