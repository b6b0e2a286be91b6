import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { fetchFromPeers } from '../../src/artifacts/peer-fetch.ts';
import {
  type AuthorityPair,
  makeAuthority,
  makeRequest,
  signRequest,
} from '../../src/authority/certificates.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { httpPeers, listenForPeers } from '../../src/platform/peers.ts';
import type { PeerCredentials } from '../../src/ports/peers.ts';
import { until } from '../support/until.ts';

/** What the certificates of `cluster init` and `cluster join` let through between two agents, over real sockets. */

const HOST = '127.0.0.1';
const YEAR_MS = 366 * 86_400_000;
let ours: AuthorityPair;
let other: AuthorityPair;

test.before(async () => {
  const longAgo = new Date(Date.now() - 3 * YEAR_MS);
  ours = await makeAuthority('prod', longAgo);
  other = await makeAuthority('prod', longAgo);
});

async function credentials(
  node: string,
  options: { authority?: AuthorityPair; trusts?: AuthorityPair; at?: Date; address?: string } = {},
): Promise<PeerCredentials> {
  const { authority = ours, trusts = ours, at = new Date(), address = HOST } = options;
  const { key, request } = await makeRequest({ node, cluster: 'prod' });
  const identity = { node, cluster: 'prod', addresses: [address] };
  return {
    ca: trusts.certificate,
    cert: await signRequest(authority, { request, identity, now: at }),
    key,
  };
}

const ended = () => new Date(Date.now() - 2 * YEAR_MS);

/** An agent's listener, and what it was asked for. */
async function listening(t: ExecutionContext, tls: PeerCredentials | null, members = ['node-1', 'node-2']) {
  const asked: string[] = [];
  const listener = await listenForPeers({
    host: HOST,
    port: 0,
    tls,
    isMember: names => names.some(name => members.includes(name.replace(/\.prod$/, ''))),
    driver: {
      async *output(instance) {
        asked.push(instance);
        yield { unit: 'u', stream: 'stdout' as const, text: 'secret', cursor: 'c' };
      },
    },
    artifacts: (request, response) => {
      asked.push(request.url ?? '');
      response.end('bytes');
    },
  });
  t.teardown(() => listener.close());
  return { asked, peer: { host: listener.host, port: listener.port } };
}

/** Everything one agent asks another for; what came of it. */
async function askAll(peer: { host: string; port: number }, tls: PeerCredentials | null) {
  const peers = httpPeers({ tls });
  const lines: string[] = [];
  let error = '';
  try {
    const options = { lines: 1, follow: false, signal: AbortSignal.timeout(60_000) };
    for await (const { text } of peers.output(peer, 'blog/web/0', options)) lines.push(text);
  } catch (thrown) {
    error = (thrown as Error).message;
  }
  let beats = 0;
  const heard = new AbortController();
  const listeningToBeats = peers.beats(
    peer,
    () => {
      beats++;
      heard.abort();
    },
    AbortSignal.any([heard.signal, AbortSignal.timeout(60_000)]),
  );
  await listeningToBeats;
  const put = async (body: AsyncIterable<Uint8Array>) => {
    for await (const chunk of body) lines.push(Buffer.from(chunk).toString());
  };
  const room = { store: { put } as never, clock: systemClock(), stallSeconds: 5, tls };
  await fetchFromPeers('sha256:0', [{ node: 'n', peer }], room, AbortSignal.timeout(60_000)).catch(() => {});
  return { lines, beats, error };
}

test('two nodes of one cluster talk', async t => {
  const { asked, peer } = await listening(t, await credentials('node-1'));
  const { lines, beats } = await askAll(peer, await credentials('node-2'));
  t.deepEqual(lines, ['secret', 'bytes']);
  t.is(beats, 1);
  t.deepEqual(asked, ['blog/web/0', '/artifacts/sha256:0']);
});

const strangers: { name: string; shows: () => Promise<PeerCredentials | null>; why: RegExp }[] = [
  { name: 'speaks without TLS', shows: () => Promise.resolve(null), why: /hang up|reset/i },
  {
    name: 'shows no certificate',
    shows: async () => ({ ca: ours.certificate }) as unknown as PeerCredentials,
    why: /certificate required|reset|hang up/i,
  },
  {
    name: 'shows a certificate of another authority, under the name of a member',
    shows: () => credentials('node-2', { authority: other }),
    why: /alert|reset|hang up/i,
  },
  {
    name: 'shows a certificate that has ended',
    shows: () => credentials('node-2', { at: ended() }),
    why: /alert|reset|hang up/i,
  },
  {
    name: 'shows a good certificate under a name that is no member',
    shows: () => credentials('etcd-1'),
    why: /HTTP 403/,
  },
];
for (const { name, shows, why } of strangers) {
  test(`who ${name} gets nothing: no output, no beat, no artifact`, async t => {
    const { asked, peer } = await listening(t, await credentials('node-1'));
    const { lines, beats, error } = await askAll(peer, await shows());
    t.regex(error, why);
    t.deepEqual(lines, []);
    t.is(beats, 0);
    t.deepEqual(asked, [], 'what is behind the listener never hears of it');
  });
}

const impostors: { name: string; shows: () => Promise<PeerCredentials>; why: RegExp }[] = [
  {
    name: 'of another authority',
    shows: () => credentials('node-1', { authority: other, trusts: ours }),
    why: /signature|self.signed|unable to (get|verify)/i,
  },
  { name: 'that has ended', shows: () => credentials('node-1', { at: ended() }), why: /expired/ },
  {
    name: 'for another address',
    shows: () => credentials('node-1', { address: '10.0.0.9' }),
    why: /altnames/i,
  },
];
for (const { name, shows, why } of impostors) {
  test(`a listener whose certificate is one ${name} is not asked`, async t => {
    const { asked, peer } = await listening(t, await shows());
    const { lines, beats, error } = await askAll(peer, await credentials('node-2'));
    t.regex(error, why);
    t.deepEqual(lines, []);
    t.is(beats, 0);
    t.deepEqual(asked, []);
  });
}

test('a listener that asks for no certificate of ours learns of no request either, when it is not of our authority', async t => {
  const { cert, key } = await credentials('node-1', { authority: other });
  let requests = 0;
  const server = https.createServer({ cert, key }, (_request, response) => {
    requests++;
    response.end();
  });
  await new Promise<void>(resolve => server.listen(0, HOST, resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  await askAll({ host: HOST, port }, await credentials('node-2'));
  t.is(requests, 0);
});

test('without TLS of its own a node asks nobody beyond loopback', async t => {
  let connections = 0;
  const server = http.createServer().on('connection', () => connections++);
  await new Promise<void>(resolve => server.listen(0, '0.0.0.0', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  // 0.0.0.0 is this machine, and no loopback address: who connects is seen.
  const { error } = await askAll({ host: '0.0.0.0', port }, null);
  t.regex(error, /is asked over the network: it needs TLS/);
  t.is(connections, 0);
});

test('a node that leaves the members is refused from then on', async t => {
  const members = ['node-1', 'node-2'];
  const { peer } = await listening(t, await credentials('node-1'), members);
  const tls = await credentials('node-2');
  t.deepEqual((await askAll(peer, tls)).lines, ['secret', 'bytes']);
  members.pop();
  await until('it is refused', async () => (await askAll(peer, tls)).error.includes('403'));
  t.deepEqual((await askAll(peer, tls)).lines, []);
});
