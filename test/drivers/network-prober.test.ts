import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

import { networkProber } from '../../src/drivers/network-prober.ts';
import type { Verification } from '../../src/model/node-promise.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { until } from '../support/until.ts';
import { clock, temporaryDirectory } from './helpers.ts';

const prober = networkProber({ clock });

async function listening(t: ExecutionContext, server: Server): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  server.on('connection', socket => {
    sockets.push(socket);
    socket.on('error', () => undefined).resume();
    t.teardown(() => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, sockets };
}

function http(port: number, parts: Partial<Extract<Verification, { method: 'http' }>> = {}): Verification {
  return { method: 'http', host: '127.0.0.1', port, path: '/', contains: null, timeoutSeconds: 10, ...parts };
}

/** Says these bytes to whoever connects, and closes. */
function saying(text: string): Server {
  return createServer(socket => {
    socket.once('data', () => socket.end(text));
  });
}

const rows: { name: string; server: () => Server; contains?: string; verdict: string; evidence: RegExp }[] = [
  {
    name: 'a connection closed without a word',
    server: () => saying(''),
    verdict: 'unreachable',
    evidence: /closed the connection without an answer$/,
  },
  {
    name: 'an answer that is not HTTP',
    server: () => saying('220 mail ready\r\n'),
    verdict: 'refused',
    evidence: /is not HTTP$/,
  },
  {
    name: 'headers and no end of the body',
    server: () => createHttpServer((_, response) => void response.write('some')),
    verdict: 'good',
    evidence: /^HTTP 200/,
  },
  {
    name: 'the wanted text before the end of the body',
    server: () => createHttpServer((_, response) => void response.write('all OK')),
    contains: 'OK',
    verdict: 'good',
    evidence: /containing "OK"$/,
  },
  {
    name: 'the wanted text over two chunks',
    server: () =>
      createHttpServer((_, response) => {
        response.write('all O');
        setTimeout(() => response.end('K'), 20);
      }),
    contains: 'OK',
    verdict: 'good',
    evidence: /containing "OK"$/,
  },
  {
    name: 'a body that breaks off',
    server: () => saying('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort'),
    contains: 'OK',
    verdict: 'refused',
    evidence: /^HTTP 200 .* broke off$/,
  },
  {
    name: 'a flood without the wanted text',
    server: () =>
      createHttpServer((_, response) => {
        const more = (): void => {
          while (!response.destroyed && response.write('x'.repeat(65536)));
          response.once('drain', more);
        };
        more();
      }),
    contains: 'OK',
    verdict: 'refused',
    evidence: /without "OK" in the body$/,
  },
];

for (const { name, server, contains = null, verdict, evidence } of rows) {
  test(`${name} is ${verdict}`, async t => {
    const { port } = await listening(t, server());
    const result = await prober.probe(http(port, { contains }), { strict: true });
    t.is(result.verdict, verdict as typeof result.verdict);
    t.regex(result.evidence, evidence);
  });
}

test('an endless body without the wanted text is judged at the timeout', async t => {
  const { port } = await listening(
    t,
    createHttpServer((_, response) => void response.write('some')),
  );
  const result = await prober.probe(http(port, { contains: 'OK', timeoutSeconds: 2 }), { strict: true });
  t.is(result.verdict, 'refused');
  t.regex(result.evidence, /^HTTP 200 .* without "OK" in the body$/);
});

test('it asks as localhost, with GET, and keeps no connection', async t => {
  const seen: unknown[] = [];
  const answer: RequestListener = (request, response) => {
    seen.push({ method: request.method, url: request.url, host: request.headers.host });
    response.end('ok');
  };
  const { port, sockets } = await listening(t, createHttpServer({ keepAliveTimeout: 3600_000 }, answer));
  await prober.probe(http(port, { path: '/a b?c=é' }), { strict: true });
  await prober.probe(http(port), { strict: true });
  t.deepEqual(seen, [
    { method: 'GET', url: '/a%20b?c=%C3%A9', host: `localhost:${port}` },
    { method: 'GET', url: '/', host: `localhost:${port}` },
  ]);
  await until(
    'both connections are closed',
    () => sockets.length === 2 && sockets.every(({ closed }) => closed),
  );
});

test('connections are closed after a timeout and an abort too, and no timer stays', async t => {
  const fake = new FakeClock();
  const { port, sockets } = await listening(t, createServer());
  const asking = networkProber({ clock: fake }).probe(http(port, { timeoutSeconds: 2 }), { strict: true });
  await until('it connected', () => sockets.length === 1);
  await fake.advance(1999);
  t.is(fake.pending, 1);
  await fake.advance(1);
  t.regex((await asking).evidence, /within 2 s, though it accepted the connection$/);
  await prober.probe(http(port, { timeoutSeconds: 60 }), { strict: true, signal: AbortSignal.timeout(20) });
  await until('all are closed', () => sockets.every(({ closed }) => closed));
  t.is(fake.pending, 0);
});

/** Answers at SIGUSR2, and then makes a file. */
const ANSWERING = `
  const server = require('node:http').createServer((_, response) => {
    process.once('SIGUSR2', () => response.end('ok', () => require('node:fs').writeFileSync(process.argv[1], '')));
    process.stdout.write('asked');
  });
  server.listen(0, '127.0.0.1', () => process.stdout.write(String(server.address().port)));
`;

test('an answer that waits to be read when the time is over has come in time', async t => {
  const answered = join(temporaryDirectory(t), 'answered');
  const child = spawn(process.execPath, ['-e', ANSWERING, answered], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [port] = (await once(child.stdout, 'data')) as [Buffer];
  let over = (): void => undefined;
  const after: typeof clock.after = (_, callback) => {
    over = callback;
    return () => undefined;
  };
  const asking = networkProber({ clock: { ...clock, now: () => 0, after } }).probe(
    http(Number(String(port))),
    {
      strict: true,
    },
  );
  await once(child.stdout, 'data');
  // As a timer is: in the turn in which nothing has been read yet.
  setTimeout(() => {
    child.kill('SIGUSR2');
    while (!existsSync(answered)) continue;
    over();
  });
  t.is((await asking).verdict, 'good');
});

test('what can not even be asked is unreachable, not an error', async t => {
  for (const host of ['no-such-host.invalid', '256.1.1.1', 'not a host']) {
    const result = await prober.probe(http(80, { host, timeoutSeconds: 5 }), { strict: true });
    t.is(result.verdict, 'unreachable');
  }
  t.is((await prober.probe(http(99999), { strict: true })).verdict, 'unreachable');
  const tcp = { method: 'tcp', host: '127.0.0.1', port: 99999, timeoutSeconds: 1 } as const;
  t.is((await prober.probe(tcp, { strict: true })).verdict, 'unreachable');
});
