import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { serveArtifacts } from '../../src/artifacts/serve-artifacts.ts';
import { ArtifactError } from '../../src/ports/artifacts.ts';
import type { PeerCredentials } from '../../src/ports/peers.ts';
import { Authority } from '../support/certificates.ts';
import { FakeArtifacts } from '../support/fake-artifacts.ts';
import { until } from '../support/until.ts';
import { artifactsIn, never, tarball, temporaryDirectory } from './helpers.ts';

const bytes = tarball([{ path: 'a', content: 'hello' }]);
const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function serve(t: ExecutionContext, listener: RequestListener, tls: PeerCredentials | null = null) {
  const server =
    tls === null
      ? createServer(listener)
      : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true }, listener);
  server.listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { node: `peer-${port}`, peer: { host: '127.0.0.1', port } };
}

const bad: { name: string; listener: RequestListener; why: RegExp; stallSeconds?: number }[] = [
  {
    name: 'has not got it',
    listener: (_request, response) => response.writeHead(404).end(),
    why: /HTTP 404/,
  },
  {
    name: 'sends other bytes',
    listener: (_request, response) => response.end('evil'),
    why: /expected sha256/,
  },
  {
    name: 'breaks off',
    listener: (_request, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('x', () => response.destroy());
    },
    why: /aborted/,
  },
  { name: 'never answers', listener: () => undefined, why: /no answer within 0\.2 s/, stallSeconds: 0.2 },
  {
    name: 'stalls midway',
    listener: (_request, response) => void response.write('x'),
    why: /nothing came for 2 s/,
    stallSeconds: 2,
  },
  {
    name: 'sends without end',
    listener: (_request, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(4096))) continue;
      };
      response.on('drain', more);
      more();
    },
    why: /larger than the limit/,
  },
];

for (const { name, listener, why, stallSeconds = 15 } of bad) {
  test(`a peer that ${name} is passed over, and nothing of it is kept`, async t => {
    const maxBytes = 100_000;
    const { artifacts } = await artifactsIn(t, { limits: { stallSeconds, maxBytes } });
    const wrong = await serve(t, listener);
    await t.throwsAsync(artifacts.fetch(digest, [wrong], never), { instanceOf: ArtifactError, message: why });
    t.deepEqual(await artifacts.list(), []);
    const right = await serve(t, (_request, response) => response.end(bytes));
    const { artifacts: patient } = await artifactsIn(t, { limits: { stallSeconds: 5, maxBytes } });
    await patient.fetch(digest, [wrong, right], never);
    t.true(await patient.has(digest));
  });
}

test('fetches of the same artifact at once ask the peer once', async t => {
  const { artifacts } = await artifactsIn(t);
  let asked = 0;
  const peer = await serve(t, (_request, response) => {
    asked += 1;
    setTimeout(() => response.end(bytes), 50);
  });
  await Promise.all([1, 2, 3, 4].map(() => artifacts.fetch(digest, [peer], never)));
  t.is(asked, 1);
});

test('one who gives up does not end the fetch for the others; when all have, the connection is closed', async t => {
  const { artifacts } = await artifactsIn(t);
  let answer: () => void = () => undefined;
  let gone = 0;
  const asked: (() => void)[] = [];
  const peer = await serve(t, (request, response) => {
    request.once('close', () => (gone += 1));
    answer = () => response.end(bytes);
    asked.splice(0).forEach(resolve => resolve());
  });
  const first = new AbortController();
  const second = new AbortController();
  const wasAsked = new Promise<void>(resolve => asked.push(resolve));
  const impatient = artifacts.fetch(digest, [peer], first.signal);
  const patient = artifacts.fetch(digest, [peer], second.signal);
  await wasAsked;
  first.abort(new Error('enough'));
  await t.throwsAsync(impatient, { message: 'enough' });
  answer();
  await patient;
  t.true(await artifacts.has(digest));

  await artifacts.collect({ digests: [], releases: [] });
  const goneBefore = gone;
  const third = new AbortController();
  const askedAgain = new Promise<void>(resolve => asked.push(resolve));
  const alone = artifacts.fetch(digest, [peer], third.signal);
  await askedAgain;
  third.abort(new Error('me too'));
  await t.throwsAsync(alone, { message: 'me too' });
  await until('it is told', () => gone > goneBefore);
  t.is(gone, goneBefore + 1);
});

test('peers are answered for what is here, and for nothing else', async t => {
  const held = new FakeArtifacts();
  const mine = held.hold('content');
  const { peer } = await serve(t, serveArtifacts(held));
  const ask = (path: string, method = 'GET') => fetch(`http://${peer.host}:${peer.port}${path}`, { method });

  const found = await ask(`/artifacts/${mine}`);
  t.is(found.status, 200);
  t.deepEqual(Buffer.from(await found.arrayBuffer()), Buffer.from(held.stored.get(mine)!));
  t.is((await ask(`/artifacts/${encodeURIComponent(mine)}`)).status, 200);

  const head = await ask(`/artifacts/${mine}`, 'HEAD');
  t.is(head.headers.get('content-length'), String(held.stored.get(mine)!.length));
  t.is(await head.text(), '');

  for (const [path, method] of [
    [`/artifacts/sha256:${'0'.repeat(64)}`, 'GET'],
    ['/artifacts/', 'GET'],
    ['/artifacts/%zz', 'GET'],
    ['/artifacts/..%2f..%2fetc%2fpasswd', 'GET'],
    [`/artifacts/${mine}`, 'DELETE'],
    [`/artifacts/${mine}/more`, 'GET'],
    ['/', 'GET'],
  ] as const) {
    t.is((await ask(path, method)).status, 404, `${method} ${path}`);
  }
});

test('over mutual TLS an artifact is had only with a certificate of the same authority', async t => {
  const authority = await Authority.make(await temporaryDirectory(t));
  const { cert, key } = await authority.issue('node');
  const text = (file: string) => readFile(file, 'utf8');
  const tls = { ca: await text(authority.ca), cert: await text(cert), key: await text(key) };
  const held = new FakeArtifacts();
  held.stored.set(digest, bytes);
  const peer = await serve(t, serveArtifacts(held), tls);

  const { artifacts: trusted } = await artifactsIn(t, { peerTls: tls });
  await trusted.fetch(digest, [peer], never);
  t.true(await trusted.has(digest));
  const { artifacts: plain } = await artifactsIn(t);
  await t.throwsAsync(plain.fetch(digest, [peer], never), { message: /hang up|reset/i });
});
