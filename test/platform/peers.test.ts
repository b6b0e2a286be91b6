import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { httpPeers, listenForPeers, readPeerCredentials } from '../../src/platform/peers.ts';
import type { Driver, OutputLine, OutputOptions } from '../../src/ports/driver.ts';
import type { PeerCredentials } from '../../src/ports/peers.ts';
import { Authority } from '../support/certificates.ts';
import { until } from '../support/until.ts';

let directory = '';
let authority: Authority;
let stranger: PeerCredentials;

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hop3-peers-'));
  authority = await Authority.make(directory);
  const elsewhere = await mkdtemp(join(directory, 'other-'));
  const other = await Authority.make(elsewhere);
  // Trusts our authority, but was not signed by it.
  stranger = await readPeerCredentials({ ...(await other.issue('stranger')), ca: authority.ca });
});

test.after.always(() => rm(directory, { recursive: true, force: true }));

async function credentials(name: string, options?: { addresses: string }): Promise<PeerCredentials> {
  return readPeerCredentials({ ...(await authority.issue(name, options)), ca: authority.ca });
}

/** What was asked of the driver, and what it says. */
class TalkingDriver implements Pick<Driver, 'output'> {
  readonly asked: { instance: string; options: OutputOptions }[] = [];
  readonly lines: OutputLine[] = [
    { unit: 'u1', stream: 'stdout', text: 'hello\n\u2028wörld', cursor: 'a.1' },
  ];

  async *output(instance: string, options: OutputOptions): AsyncGenerator<OutputLine> {
    this.asked.push({ instance, options });
    options.onStart?.('a.0');
    yield* this.lines;
    if (options.follow) await new Promise(resolve => options.signal.addEventListener('abort', resolve));
  }
}

async function listening(t: ExecutionContext, tls: PeerCredentials | null) {
  const driver = new TalkingDriver();
  const listener = await listenForPeers({
    host: '127.0.0.1',
    port: 0,
    tls,
    driver,
    artifacts: (request, response) => response.writeHead(404).end(`no ${request.url}`),
  });
  t.teardown(() => listener.close());
  return { driver, peer: { host: listener.host, port: listener.port } };
}

const quick = (): Omit<OutputOptions, 'onStart'> => ({
  lines: 5,
  follow: false,
  signal: AbortSignal.timeout(60_000),
});

async function all(lines: AsyncIterable<OutputLine>): Promise<OutputLine[]> {
  const taken: OutputLine[] = [];
  for await (const line of lines) taken.push(line);
  return taken;
}

test('output comes over mutual TLS from a peer whose certificate the same authority signed', async t => {
  const { driver, peer } = await listening(t, await credentials('node-1'));
  const peers = httpPeers({ tls: await credentials('node-2') });
  const starts: string[] = [];
  const options = { ...quick(), after: 'x~1', onStart: (cursor: string) => starts.push(cursor) };
  t.deepEqual(await all(peers.output(peer, 'blog/web/0', options)), driver.lines);
  t.deepEqual(starts, ['a.0']);
  t.is(driver.asked[0]?.instance, 'blog/web/0');
  t.like(driver.asked[0]?.options, { lines: 5, follow: false, after: 'x~1' });
});

const refused: { name: string; tls: () => PeerCredentials | null | Promise<PeerCredentials>; why: RegExp }[] =
  [
    { name: 'in plain HTTP', tls: () => null, why: /hang up|reset/i },
    { name: 'with a certificate of another authority', tls: () => stranger, why: /alert|reset|hang up/i },
  ];

for (const { name, tls, why } of refused) {
  test(`whoever asks ${name} is refused`, async t => {
    const { driver, peer } = await listening(t, await credentials(`served-${name.length}`));
    const peers = httpPeers({ tls: await tls() });
    await t.throwsAsync(all(peers.output(peer, 'blog/web/0', quick())), { message: why });
    t.deepEqual(driver.asked, []);
  });
}

test('whoever asks without a certificate is refused', async t => {
  const { driver, peer } = await listening(t, await credentials('strict'));
  const { ca } = await credentials('only-its-ca');
  const asked = new Promise((resolve, reject) => {
    https.get({ ...peer, ca, path: '/output/blog%2Fweb%2F0', agent: false }, resolve).on('error', reject);
  });
  await t.throwsAsync(asked, { message: /alert|reset|hang up/i });
  t.deepEqual(driver.asked, []);
});

test('a peer that shows a certificate of another authority, or of another address, is not believed', async t => {
  const peers = httpPeers({ tls: await credentials('asking') });
  const false_ = await listening(t, stranger);
  await t.throwsAsync(all(peers.output(false_.peer, 'blog/web/0', quick())), { message: /certificate/ });
  const elsewhere = await listening(t, await credentials('elsewhere', { addresses: 'IP:192.0.2.1' }));
  const error = await t.throwsAsync(all(peers.output(elsewhere.peer, 'blog/web/0', quick())));
  t.regex(error.message, /127\.0\.0\.1 is not in the cert's list/);
});

test('certificates that are missing or no certificates are named', async t => {
  const missing = { ca: authority.ca, cert: '/nowhere/node.crt', key: '/nowhere/node.key' };
  await t.throwsAsync(readPeerCredentials(missing), { message: /peer\.tls\.cert: .*\/nowhere\/node\.crt/ });
  const nonsense = { ca: 'no', cert: 'certificate', key: 'at all' };
  await t.throwsAsync(listening(t, nonsense), { message: /certificate can't be used/ });
});

const nonsense = [
  '//',
  '/output/%zz',
  '/output/%2e%2e%2fweb%2f0',
  '/output/..%2f..%2f0',
  '/output/blog%2f..%2f0',
  '/output/blog%2fweb',
  '/output/blog%2fweb%2f0?lines=many',
  '/output/blog%2fweb%2f0?lines=-1',
  '/output/blog%2fweb%2f0?lines=1e9',
];

test('what names no instance is not for the driver, and harms nobody', async t => {
  const { driver, peer } = await listening(t, null);
  for (const path of nonsense) t.is(await statusOf({ ...peer, path }), 404, path);
  t.is(await statusOf({ ...peer, path: '/output/blog%2fweb%2f0', method: 'POST' }), 404);
  t.deepEqual(driver.asked, []);
  t.is(await statusOf({ ...peer, path: '/output/blog%2fweb%2f0' }), 200);
});

test('without TLS only loopback names are answered, so that no web page can ask under a name of its own', async t => {
  const { peer } = await listening(t, null);
  const path = '/output/blog%2fweb%2f0';
  t.is(await statusOf({ ...peer, path, headers: { host: 'evil.example:80' } }), 403);
  t.is(await statusOf({ ...peer, path, headers: { host: 'localhost:80' } }), 200);
});

test('who follows and leaves ends the reading', async t => {
  const { driver, peer } = await listening(t, null);
  const leaving = new AbortController();
  const options = { lines: 0, follow: true, signal: leaving.signal };
  const reading = all(httpPeers({ tls: null }).output(peer, 'blog/web/0', options));
  await until('the driver is asked', () => driver.asked.length === 1);
  leaving.abort();
  await t.throwsAsync(reading);
  await until('the driver hears of it', () => driver.asked[0]?.options.signal.aborted === true);
  t.true(driver.asked[0]?.options.signal.aborted);
});

function statusOf(options: http.RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    http
      .request({ ...options, agent: false }, response => {
        response.resume();
        resolve(response.statusCode ?? 0);
      })
      .on('error', reject)
      .end();
  });
}
