import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type ApiClient, apiClient } from '../../src/api/client.ts';
import { authorityFiles, nodeFiles } from '../../src/authority/authority-files.ts';
import { makeAuthority, makeRequest, signRequest } from '../../src/authority/certificates.ts';
import type { IssuedToken } from '../../src/ports/enrolment.ts';
import { hop3, ROOT, TestNode } from '../support/cluster.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { appPorts, freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

/**
 * Three agents on addresses of their own, enrolled by `cluster init` and `cluster join` as an operator would, over an etcd
 * that wants certificates and holds each node to its own keys; then an app on them.
 */

const NAMES = ['node-1', 'node-2', 'node-3'];
const addressOf = (name: string): string => `127.0.0.1${name.slice('node-'.length)}`;

let directory = '';
let etcd: Etcd | null = null;
const nodes: TestNode[] = [];
const peerPorts: Record<string, number> = {};
let first: ApiClient;
let socket = '';

const configOf = (name: string) => join(directory, name, 'agent.yaml');

test.before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'hop3-enrolled-'));
  for (const [index, name] of NAMES.entries()) {
    const stateDir = join(directory, name);
    await mkdir(stateDir);
    const adminPort = await freePort();
    peerPorts[name] = await freePort();
    const [firstPort, lastPort] = await appPorts(index);
    const config = {
      'state-dir': stateDir,
      roles: ['apps'],
      'lease-ttl': 4,
      'probe-interval': 1,
      rpc: { listen: false },
      peer: { listen: `${addressOf(name)}:${peerPorts[name]}` },
      // The first enrols others; theirs are asked on loopback.
      admin: { listen: `${index === 0 ? addressOf(name) : '127.0.0.1'}:${adminPort}` },
      'port-range': `${firstPort}-${lastPort}`,
    };
    await writeFile(configOf(name), JSON.stringify(config));
    nodes.push(new TestNode(name, stateDir, adminPort));
  }
  socket = join(directory, 'node-1', 'admin.sock');
  first = apiClient({ url: 'http://localhost', socketPath: socket });
});

test.after.always(async () => {
  for (const node of nodes) await node.end('SIGINT').catch(() => node.end('SIGKILL'));
  for (const node of nodes) await node.stopApps();
  await etcd?.stop();
  await rm(directory, { recursive: true, force: true });
});

test.serial(
  'cluster init makes an authority, and once etcd runs with it, gives the node its user',
  async t => {
    const config = configOf('node-1');
    const addresses = ['--address', addressOf('node-1'), '--address', '127.0.0.1'];
    const made = await hop3([
      ...['cluster', 'init', '--config', config, '--name', 'node-1', '--cluster', 'prod', ...addresses],
    ]);
    t.is(made.code, 0, made.stderr);
    t.regex(made.stdout, /made {2}the authority of cluster prod/);
    etcd = await startEtcd({ tls: nodeFiles(join(directory, 'node-1/tls')) });
    process.env['HOP3_AGENT_ETCD_ROOT_PASSWORD'] = 'known to root alone';
    const completed = await hop3([
      ...['cluster', 'init', '--config', config, ...addresses, '--etcd', etcd.urls.join(','), '--etcd-users'],
    ]);
    t.is(completed.code, 0, completed.stderr);
    t.regex(completed.stdout, /etcd user node-1\.prod/);
    t.regex(completed.stdout, /etcd's authentication, with root/);
    await nodes[0]!.start();
    await until('node-1 is ready', ready(first));
    t.false((await readFile(config, 'utf8')).includes('known to root alone'));
  },
);

test.serial('cluster join enrols the others, each with a token of its own, used once', async t => {
  const { url } = await admin();
  const tokenFor = async () => {
    const { stdout } = await hop3(['cluster', 'token', '--json'], `unix:${socket}`);
    return (JSON.parse(stdout) as IssuedToken).token;
  };
  const join_ = (name: string, token: string) =>
    hop3([
      ...[
        'cluster',
        'join',
        url,
        '--token',
        token,
        '--config',
        configOf(name),
        '--name',
        name,
        '--etcd-users',
      ],
    ]);
  const token = await tokenFor();
  const joined = await join_('node-2', token);
  t.is(joined.code, 0, joined.stderr);
  const twice = await join_('node-3', token);
  t.is(twice.code, 5);
  t.regex(twice.stderr, /the token was used already, by node-2/);
  t.is((await join_('node-3', await tokenFor())).code, 0);
  const impostor = await join_('node-1', await tokenFor());
  t.is(impostor.code, 6);
  t.regex(impostor.stderr, /node-1 is a node of this cluster already|node-1 is reached under/);
  for (const node of nodes.slice(1)) await node.start();
  for (const node of nodes.slice(1)) await node.ready();
  await until('all three are seen', async () => (await first.nodes()).items.length === 3);
  t.deepEqual(
    (await first.nodes()).items.map(({ name, peer }) => [name, peer?.host]),
    NAMES.map(name => [name, addressOf(name)]),
  );
});

test.serial('a token is shown to no agent with another authority', async t => {
  const impostor = await makeAuthority('prod', new Date());
  const identity = { node: 'node-1', cluster: 'prod', addresses: ['127.0.0.1'] };
  const { key, request } = await makeRequest(identity);
  const cert = await signRequest(impostor, { request, identity, now: new Date() });
  const bodies: string[] = [];
  const server = https.createServer({ cert, key }, (asking, response) => {
    bodies.push(asking.url ?? '');
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ cluster: 'prod', certificate: impostor.certificate, fingerprint: 'x' }));
  });
  const port = await freePort();
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { token } = await first.joinToken({ ttlSeconds: 60, node: null });
  const tried = await hop3([
    ...['cluster', 'join', `https://127.0.0.1:${port}`, '--token', token],
    ...['--config', join(directory, 'node-4.yaml'), '--name', 'node-4', '--address', '127.0.0.14'],
  ]);
  t.is(tried.code, 5);
  t.regex(tried.stderr, /has another authority than the token is for/);
  t.deepEqual(bodies, ['/v1/authority']);
});

test.serial('an app runs on all three; its artifact and its output go from node to node', async t => {
  const deployed = await hop3(
    [
      ...['deploy', join(ROOT, 'manifests/guestbook'), '--app', 'blog', '--scale', 'web=3'],
      ...['--timeout', '120'],
    ],
    `unix:${socket}`,
  );
  t.is(deployed.code, 0, deployed.stderr);
  const { items } = await first.instances({ app: 'blog' });
  t.deepEqual(items.map(({ node }) => node).sort(), NAMES);
  for (const { endpoint } of items) {
    const { status } = await fetch(`http://${endpoint?.host}:${endpoint?.port}/`);
    t.is(status, 200);
  }
  // Asked of one node, the others' lines come through their peer listeners.
  const seen = new Set<string>();
  for await (const { node } of nodes[1]!.api.logs('blog', { lines: 5 })) seen.add(node);
  t.deepEqual([...seen].sort(), NAMES);
  await until('each is judged by both others', async () => {
    const { items: promises } = await first.promises({ kind: 'running', app: 'blog' });
    return promises.length === 3 && promises.every(({ outcome }) => outcome === 'kept');
  });
});

test.serial('who has no certificate, or one of another authority, gets nothing from any of them', async t => {
  const stranger = await makeAuthority('prod', new Date());
  const identity = { node: 'node-2', cluster: 'prod', addresses: ['127.0.0.12'] };
  const { key, request } = await makeRequest(identity);
  const cert = await signRequest(stranger, { request, identity, now: new Date() });
  const ca = await readFile(authorityFiles(join(directory, 'node-1/authority')).certificate, 'utf8');
  for (const name of NAMES) {
    const where = { host: addressOf(name), port: peerPorts[name] };
    await t.throwsAsync(fetch(`http://${where.host}:${where.port}/beats`), undefined, `${name}: plain`);
    await t.throwsAsync(asked({ ...where, ca }), { message: /certificate required|hang up|reset/ }, name);
    await t.throwsAsync(asked({ ...where, ca, cert, key }), { message: /alert|hang up|reset/ }, name);
  }
});

test.serial('nobody was refused what it needed, and doctor finds the certificates good', async t => {
  for (const node of nodes) {
    const output = await readFile(join(node.stateDir, 'agent.log'), 'utf8');
    t.notRegex(output, /permission denied|DeprecationWarning/, node.name);
  }
  const { checks } = await first.doctor();
  const found = checks.filter(({ name }) => name === 'certificate');
  t.deepEqual(
    found.map(({ status }) => status),
    ['ok', 'ok'],
    'the node and the authority',
  );
});

test.serial('a node gets a new certificate with a token of its own, and goes on with it', async t => {
  const { url } = await admin();
  const file = nodeFiles(join(directory, 'node-2/tls')).cert;
  const before = await readFile(file, 'utf8');
  const { stdout } = await hop3(['cluster', 'token', '--node', 'node-2', '--json'], `unix:${socket}`);
  const { token } = JSON.parse(stdout) as IssuedToken;
  const renewed = await hop3(['cluster', 'join', url, '--token', token, '--config', configOf('node-2')]);
  t.is(renewed.code, 0, renewed.stderr);
  t.not(await readFile(file, 'utf8'), before);
  const pidsBefore = (await first.instances({ app: 'blog' })).items.map(({ pid }) => pid);
  await nodes[1]!.end('SIGTERM');
  await nodes[1]!.start();
  await nodes[1]!.ready();
  await until('it tells of its instance again', async () => {
    const { items } = await first.instances({ app: 'blog', node: 'node-2' });
    return items.some(({ state }) => state === 'running');
  });
  t.deepEqual(
    (await first.instances({ app: 'blog' })).items.map(({ pid }) => pid),
    pidsBefore,
    'nothing restarted',
  );
});

function ready(api: ApiClient): () => Promise<boolean> {
  return () =>
    api.ready().then(
      answer => answer.ready,
      () => false,
    );
}

async function admin(): Promise<{ url: string }> {
  return { url: (await first.node()).admin };
}

function asked(options: https.RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = https.get({ ...options, path: '/beats', agent: false }, response => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    request.on('error', reject);
  });
}
