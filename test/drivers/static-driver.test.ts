import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { Agent, request, type IncomingHttpHeaders } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';

import { parseRange } from '../../src/drivers/http-range.ts';
import { staticDriver } from '../../src/drivers/static-driver.ts';
import { DriverError, type Driver, type Launch } from '../../src/ports/driver.ts';
import { FakeLog } from '../support/fake-log.ts';
import { freePort } from '../support/free-port.ts';
import { processSpec } from '../support/nouns.ts';
import { clock, launch, linesOf, temporaryDirectory, textsOf, unitOf } from './helpers.ts';

const MODIFIED = new Date('2026-01-02T03:04:05.000Z');
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz';

/** A site with everything that could go wrong in it, and a secret beside it. */
function site(t: ExecutionContext): { stateDir: string; directory: string } {
  const stateDir = temporaryDirectory(t);
  const directory = join(stateDir, 'site');
  const write = (name: string, text: string): void => {
    mkdirSync(join(directory, name, '..'), { recursive: true });
    writeFileSync(join(directory, name), text);
    utimesSync(join(directory, name), MODIFIED, MODIFIED);
  };
  write('index.html', '<h1>home</h1>');
  write('alphabet.txt', ALPHABET);
  write('empty.txt', '');
  write('sub/index.html', 'sub');
  write('bare/page.html', 'page');
  write('déjà vu.html', 'accents');
  write('app.js', 'export {}');
  write('data.bin', 'bytes');
  write('.env', 'SECRET');
  write('.git/config', 'SECRET');
  write('.well-known/security.txt', 'contact');
  writeFileSync(join(stateDir, 'secret.txt'), 'SECRET');
  mkdirSync(join(stateDir, 'site-twin'));
  writeFileSync(join(stateDir, 'site-twin', 'secret.txt'), 'SECRET');
  symlinkSync('../secret.txt', join(directory, 'out'));
  symlinkSync('..', join(directory, 'up'));
  symlinkSync('../site-twin', join(directory, 'twin'));
  symlinkSync('.env', join(directory, 'renamed'));
  symlinkSync('alphabet.txt', join(directory, 'inside.txt'));
  symlinkSync('loop', join(directory, 'loop'));
  execFileSync('mkfifo', [join(directory, 'pipe')]);
  return { stateDir, directory };
}

async function driverIn(t: ExecutionContext, stateDir: string): Promise<Driver> {
  const driver = await staticDriver({ stateDir, clock, log: new FakeLog() });
  t.teardown(() => driver.close());
  return driver;
}

async function launchOf(directory: string, parts: Partial<Launch> = {}): Promise<Launch> {
  const endpoint = { host: '127.0.0.1', port: await freePort() };
  const process = processSpec({ kind: 'static', command: '', directory: '.' });
  return launch({ process, directory, endpoint, ...parts });
}

async function served(
  t: ExecutionContext,
): Promise<{ driver: Driver; port: number; launched: Launch; stateDir: string }> {
  const { stateDir, directory } = site(t);
  const driver = await driverIn(t, stateDir);
  const launched = await launchOf(directory);
  await driver.start(launched);
  return { driver, port: launched.endpoint!.port, launched, stateDir };
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Sends the target as it is: no client of ours cleans it up. */
function ask(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, agent: false, ...options }, response => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => (body += text));
      response.once('end', () => resolve({ status: response.statusCode!, headers: response.headers, body }));
    });
    asked.once('error', reject).end();
  });
}

const answers: { path: string; status: number; body?: string; type?: string; location?: string }[] = [
  { path: '/', status: 200, body: '<h1>home</h1>', type: 'text/html; charset=utf-8' },
  { path: '/index.html?v=1', status: 200, body: '<h1>home</h1>' },
  { path: '/alphabet.txt', status: 200, body: ALPHABET, type: 'text/plain; charset=utf-8' },
  { path: '/app.js', status: 200, type: 'text/javascript; charset=utf-8' },
  { path: '/data.bin', status: 200, type: 'application/octet-stream' },
  { path: '/empty.txt', status: 200, body: '' },
  { path: '/d%C3%A9j%C3%A0%20vu.html', status: 200, body: 'accents' },
  { path: '/inside.txt', status: 200, body: ALPHABET },
  { path: '/.well-known/security.txt', status: 200, body: 'contact' },
  { path: '/sub/', status: 200, body: 'sub' },
  { path: '/sub', status: 301, location: '/sub/' },
  { path: '/sub?a=b', status: 301, location: '/sub/?a=b' },
  { path: '//sub', status: 301, location: '/sub/' },
  { path: '/alphabet.txt/', status: 404 },
  { path: '/bare/', status: 404 },
  { path: '/nothing', status: 404 },
  { path: '/.env', status: 404 },
  { path: '/.git/config', status: 404 },
  { path: '/renamed', status: 404 },
  { path: '/out', status: 404 },
  { path: '/up/secret.txt', status: 404 },
  { path: '/twin/secret.txt', status: 404 },
  { path: '/loop', status: 404 },
  { path: '/pipe', status: 404 },
  { path: '/../secret.txt', status: 404 },
  { path: '/sub/../../secret.txt', status: 404 },
  { path: '/%2e%2e/secret.txt', status: 404 },
  { path: '/sub/%2e%2e/%2e%2e/secret.txt', status: 404 },
  { path: '/..%2fsecret.txt', status: 400 },
  { path: '/%2Fetc%2Fpasswd', status: 400 },
  { path: '/%00', status: 400 },
  { path: '/%zz', status: 400 },
  { path: `/${'x'.repeat(5000)}`, status: 404 },
];

for (const { path, status, body, type, location } of answers) {
  test(`GET ${path.slice(0, 40)} is answered with ${status}`, async t => {
    const { port } = await served(t);
    const answer = await ask(port, path);
    t.is(answer.status, status);
    if (body !== undefined) t.is(answer.body, body);
    if (type !== undefined) t.is(answer.headers['content-type'], type);
    t.is(answer.headers.location, location);
    t.false(answer.body.includes('SECRET'));
    t.is(answer.headers['x-content-type-options'], 'nosniff');
    const head = await ask(port, path, { method: 'HEAD' });
    t.is(head.status, status);
    t.is(head.body, '');
    t.is(head.headers['content-length'], answer.headers['content-length']);
  });
}

test('no path leads out of the site', async t => {
  const { port } = await served(t);
  const part = fc.constantFrom(
    '..',
    '.',
    '%2e%2e',
    '%2E.',
    '..%2f',
    '%2f',
    '\\',
    '..\\',
    '%5c',
    '',
    'sub',
    'up',
    'twin',
    'out',
    'site',
    'site-twin',
    'secret.txt',
    '.env',
    '.git',
    'config',
    '%00',
    'inside.txt',
    '~',
    '%c0%ae%c0%ae',
  );
  await fc.assert(
    fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 6 }), async parts => {
      const answer = await ask(port, `/${parts.join('/')}`);
      t.false(answer.body.includes('SECRET'));
      t.true([200, 301, 400, 404].includes(answer.status));
      // A redirect stays on this host.
      t.notRegex(answer.headers.location ?? '/', /^(\/\/|[^/]|\/\\)/);
    }),
    { numRuns: 150 },
  );
});

test('a site with a 404.html shows it, with the status that tells the truth', async t => {
  const { directory, stateDir } = site(t);
  writeFileSync(join(directory, '404.html'), 'lost?');
  const driver = await driverIn(t, stateDir);
  const launched = await launchOf(directory);
  await driver.start(launched);
  const { port } = launched.endpoint!;
  t.like(await ask(port, '/nothing'), { status: 404, body: 'lost?' });
  t.like(await ask(port, '/.env'), { status: 404, body: 'lost?' });
  t.like(await ask(port, '/404.html'), { status: 200, body: 'lost?' });
});

test('other methods are refused, naming those that are not', async t => {
  const { port } = await served(t);
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    const answer = await ask(port, '/', { method });
    t.is(answer.status, 405);
    t.is(answer.headers.allow, 'GET, HEAD');
  }
});

test('what has not changed is not sent again', async t => {
  const { port } = await served(t);
  const { headers } = await ask(port, '/alphabet.txt');
  const tag = headers.etag!;
  t.is(headers['last-modified'], MODIFIED.toUTCString());
  const rows: { name: string; headers: Record<string, string>; status: number }[] = [
    { name: 'the same tag', headers: { 'If-None-Match': tag }, status: 304 },
    { name: 'one of several, weak', headers: { 'If-None-Match': `"other", W/${tag}` }, status: 304 },
    { name: 'any tag', headers: { 'If-None-Match': '*' }, status: 304 },
    { name: 'another tag', headers: { 'If-None-Match': '"other"' }, status: 200 },
    { name: 'the same time', headers: { 'If-Modified-Since': MODIFIED.toUTCString() }, status: 304 },
    {
      name: 'an earlier time',
      headers: { 'If-Modified-Since': 'Thu, 01 Jan 2026 00:00:00 GMT' },
      status: 200,
    },
    { name: 'no time', headers: { 'If-Modified-Since': 'yesterday' }, status: 200 },
    {
      name: 'another tag counts more than the same time',
      headers: { 'If-None-Match': '"other"', 'If-Modified-Since': MODIFIED.toUTCString() },
      status: 200,
    },
  ];
  for (const { name, headers: sent, status } of rows) {
    const answer = await ask(port, '/alphabet.txt', { headers: sent });
    t.is(answer.status, status, name);
    t.is(answer.headers.etag, tag, name);
    if (status === 304) t.is(answer.body, '', name);
  }
});

test('another release is another entity, though size and time of the file are the same', async t => {
  const { directory, stateDir } = site(t);
  const driver = await driverIn(t, stateDir);
  const one = await launchOf(directory, { unit: 'one', version: '1' });
  const two = await launchOf(directory, { unit: 'two', version: '2' });
  await driver.start(one);
  await driver.start(two);
  const before = await ask(one.endpoint!.port, '/');
  const after = await ask(two.endpoint!.port, '/', { headers: { 'If-None-Match': before.headers.etag! } });
  t.is(after.status, 200);
});

const ranges: { range: string; status: number; body?: string; contentRange?: string; ifRange?: string }[] = [
  { range: 'bytes=0-4', status: 206, body: 'abcde', contentRange: 'bytes 0-4/26' },
  { range: 'bytes=20-', status: 206, body: 'uvwxyz', contentRange: 'bytes 20-25/26' },
  { range: 'bytes=-3', status: 206, body: 'xyz', contentRange: 'bytes 23-25/26' },
  { range: 'bytes=24-99', status: 206, body: 'yz', contentRange: 'bytes 24-25/26' },
  { range: 'bytes=26-', status: 416, contentRange: 'bytes */26' },
  { range: 'bytes=-0', status: 416, contentRange: 'bytes */26' },
  { range: 'bytes=5-2', status: 200, body: ALPHABET },
  { range: 'bytes=0-1,4-5', status: 200, body: ALPHABET },
  { range: 'lines=0-1', status: 200, body: ALPHABET },
  { range: 'bytes=0-4', ifRange: MODIFIED.toUTCString(), status: 206, body: 'abcde' },
  { range: 'bytes=0-4', ifRange: '"other"', status: 200, body: ALPHABET },
];

for (const { range, status, body, contentRange, ifRange } of ranges) {
  test(`range ${range}${ifRange === undefined ? '' : ` if ${ifRange}`} is answered with ${status}`, async t => {
    const { port } = await served(t);
    const headers = { Range: range, ...(ifRange === undefined ? {} : { 'If-Range': ifRange }) };
    const answer = await ask(port, '/alphabet.txt', { headers });
    t.is(answer.status, status);
    if (body !== undefined) t.is(answer.body, body);
    if (contentRange !== undefined) t.is(answer.headers['content-range'], contentRange);
  });
}

test('a range is never outside the file', t => {
  fc.assert(
    fc.property(fc.nat(100), fc.option(fc.nat(200)), fc.option(fc.nat(200)), (size, first, last) => {
      const range = parseRange(`bytes=${first ?? ''}-${last ?? ''}`, size);
      if (typeof range === 'string') return;
      t.true(range.start >= 0 && range.start <= range.end && range.end < size);
    }),
  );
});

test('a taken endpoint is refused, to be tried again; a missing directory for good', async t => {
  const { directory, stateDir } = site(t);
  const driver = await driverIn(t, stateDir);
  const taken = createServer().listen(0, '127.0.0.1');
  t.teardown(() => taken.close());
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  const rows = [
    { parts: { endpoint: { host: '127.0.0.1', port } }, retryable: true, message: /EADDRINUSE/ },
    { parts: { directory: join(stateDir, 'no') }, retryable: false, message: /no is not a directory/ },
    { parts: { endpoint: null }, retryable: false, message: /needs an endpoint/ },
  ];
  for (const { parts, retryable, message } of rows) {
    const error = await t.throwsAsync(driver.start(await launchOf(directory, parts)), {
      instanceOf: DriverError,
    });
    t.is(error.retryable, retryable);
    t.regex(error.message, message);
  }
  t.deepEqual(await driver.observe(), []);
});

test('a file instead of a directory is refused', async t => {
  const { directory, stateDir } = site(t);
  const driver = await driverIn(t, stateDir);
  const wanted = await launchOf(join(directory, 'index.html'));
  await t.throwsAsync(driver.start(wanted), { instanceOf: DriverError, message: /is not a directory/ });
});

test('on stop the answer under way is finished, kept connections end, and nobody new gets in', async t => {
  const { driver, port, launched } = await served(t);
  const size = 20 * 2 ** 20;
  writeFileSync(join(launched.directory, 'large.bin'), '');
  truncateSync(join(launched.directory, 'large.bin'), size);
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const kept = connect(port, '127.0.0.1');
  kept.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(kept, 'data');

  const asked = request({ host: '127.0.0.1', port, path: '/large.bin', agent });
  asked.end();
  const [response] = await once(asked, 'response');
  const closed = once(kept, 'close');
  const stopping = driver.stop(launched.unit, 30);
  await closed;
  await t.throwsAsync(ask(port, '/'), { code: 'ECONNREFUSED' });
  let received = 0;
  for await (const chunk of response) received += (chunk as Buffer).length;
  t.is(received, size);
  await stopping;
  t.like((await unitOf(driver, launched.unit))?.exit, { code: 0, signal: null, requested: true });
});

test('who does not read is cut off when the grace is over', async t => {
  const { driver, port, launched } = await served(t);
  writeFileSync(join(launched.directory, 'large.bin'), '');
  truncateSync(join(launched.directory, 'large.bin'), 200 * 2 ** 20);
  const lazy = connect(port, '127.0.0.1');
  t.teardown(() => lazy.destroy());
  lazy.on('error', () => undefined);
  lazy.write('GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(lazy, 'readable');
  await t.notThrowsAsync(driver.stop(launched.unit, 0.1));
});

test('a driver made anew serves again at the same endpoint, and what was stopped stays so', async t => {
  const { directory, stateDir } = site(t);
  const before = await driverIn(t, stateDir);
  const one = await launchOf(directory, { unit: 'one' });
  const two = await launchOf(directory, { unit: 'two' });
  await before.start(one);
  await before.start(two);
  await before.stop('two', 1);
  await before.close();
  await t.throwsAsync(ask(one.endpoint!.port, '/'));
  await driverIn(t, stateDir);
  t.is((await ask(one.endpoint!.port, '/')).status, 200);
  await t.throwsAsync(ask(two.endpoint!.port, '/'), { code: 'ECONNREFUSED' });
});

test('a unit that can not be served again has ended, and says why', async t => {
  const { directory, stateDir } = site(t);
  const before = await driverIn(t, stateDir);
  const wanted = await launchOf(directory);
  await before.start(wanted);
  await before.close();
  const squatter = createServer().listen(wanted.endpoint!.port, '127.0.0.1');
  t.teardown(() => squatter.close());
  await once(squatter, 'listening');
  const driver = await driverIn(t, stateDir);
  const exit = (await unitOf(driver, wanted.unit))?.exit;
  t.like(exit, { code: null, signal: null, requested: false });
  t.regex(exit!.lastOutput.join(), /EADDRINUSE/);
});

test('each request is a line of output', async t => {
  const { driver, port, launched } = await served(t);
  await ask(port, '/');
  await ask(port, '/nothing');
  const lines = await linesOf(driver, launched.instance);
  t.deepEqual(textsOf(lines), ['GET / 200', 'GET /nothing 404']);
  t.is(lines[0]!.unit, launched.unit);
});
