import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import { apiClient, type ApiClient } from '../../src/api/client.ts';
import type { TlsFiles } from '../../src/model/node-config.ts';
import type { InstanceView } from '../../src/model/views.ts';
import { Authority } from '../support/certificates.ts';
import { until } from '../support/until.ts';
import { Host, makeNetwork, type HostOptions } from './host.ts';

export const CLUSTER = 'hosts';
/** What gRPC asks for beyond loopback. */
export const RPC_TOKEN = 'a-token-of-the-test';
const NETWORK = '10.87.0';
const ROOT = join(import.meta.dirname, '../..');
const STATE = '/var/lib/hop3-agent';
/** An agent that does not answer for so long is asked anew. */
export const ASKED_MS = 5000;
/** Of the sessions of installed agents, which is the default. */
export const TTL_MS = 10_000;
/** Two leases, and what a loaded machine adds. */
export const TAKEN_WITHIN_MS = 4 * TTL_MS;

/** How much of a scenario is tried. */
export interface Form {
  quick: boolean;
  /** How often each way to fail is tried, where it is counted what comes of it. */
  cycles: number;
}

/** A host with an agent, a member of etcd and a proxy. */
export interface Node {
  host: Host;
  api: ApiClient;
}

/** Three servers of one cluster, set up as an operator would. */
export interface Fleet {
  nodes: [Node, Node, Node];
  /** Certificates of somebody who watches from outside. */
  outside: TlsFiles;
  /** Of the release that was installed first; it can be installed again from it, on every host. */
  release: string;
  /** A release that differs in nothing but its digest, and what is changed. Gives its directory, the same on every host. */
  otherRelease(name: string | number, change?: (directory: string) => Promise<void>): Promise<string>;
  /** Another host, on which nothing is set up. */
  newHost(number: string, more?: HostOptions['binds']): Promise<Host>;
}

export async function bootFleet(options: {
  tree: string;
  release: string;
  directory: string;
}): Promise<Fleet> {
  const { tree, release, directory } = options;
  await makeNetwork(`${NETWORK}.1`);
  const authority = await authorityIn(join(directory, 'authority'));
  const releases = join(directory, 'releases');
  await cp(release, join(releases, '0'), { recursive: true });
  const newHost: Fleet['newHost'] = async (number, more = []) => {
    const binds = [{ from: releases, to: '/releases' }, ...more];
    const host = new Host({ name: `hop3-${number}`, address: addressOf(number), tree, directory, binds });
    await host.make();
    await layOutApp(host);
    return host;
  };
  const made = ['1', '2', '3'].map(async number => {
    const host = await newHost(number);
    await settle(host, authority);
    await host.start();
    return nodeOn(host);
  });
  const nodes = (await Promise.all(made)) as Fleet['nodes'];
  return {
    nodes,
    outside: { ca: authority.ca, ...(await authority.issue(`outside.${CLUSTER}`)) },
    release: '/releases/0',
    async otherRelease(name, change) {
      const other = join(releases, String(name));
      await cp(release, other, { recursive: true });
      await writeFile(join(other, 'build'), `${name}\n`);
      await change?.(other);
      return `/releases/${name}`;
    },
    newHost,
  };
}

/** A host with an agent, asked over the agent's socket. */
export function nodeOn(host: Host): Node {
  const socketPath = join(host.root, STATE, 'admin.sock');
  return { host, api: apiClient({ url: 'http://127.0.0.1:7300', socketPath }) };
}

/** Where the nodes' members of etcd are asked. */
export function etcdEndpoints({ nodes }: Pick<Fleet, 'nodes'>): string[] {
  return nodes.map(({ host }) => `https://${host.address}:2379`);
}

export async function installEverywhere({ nodes, release }: Fleet): Promise<void> {
  await Promise.all(
    nodes.map(({ host }) => host.must(['node', `${release}/install.js`], { timeoutMs: 180_000 })),
  );
  await Promise.all(nodes.map(node => isReady(node)));
  await until('every node sees all of them', async () => {
    const items = (await nodes[0].api.nodes(AbortSignal.timeout(ASKED_MS)).catch(() => null))?.items ?? [];
    return items.filter(({ state }) => state === 'Active').length === nodes.length;
  });
}

export async function isReady({ host, api }: Node, limitMs = 60_000): Promise<void> {
  const ready = async (): Promise<boolean> => {
    const health = await api.ready(AbortSignal.timeout(ASKED_MS)).catch(() => null);
    return health?.ready === true;
  };
  await until(`the agent of ${host.name} is ready`, ready, limitMs);
}

/** What the app's proxy on a host answers; null = nothing, or an error. */
export function askProxy({ host }: Node, hostname: string): Promise<Record<string, unknown> | null> {
  return new Promise(resolve => {
    const asking = http.get(
      { host: host.address, port: 8080, path: '/', headers: { host: hostname }, timeout: 4000, agent: false },
      response => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('error', () => resolve(null));
        response.on('end', () =>
          resolve(response.statusCode === 200 ? (JSON.parse(text) as Record<string, unknown>) : null),
        );
      },
    );
    asking.on('timeout', () => asking.destroy());
    asking.on('error', () => resolve(null));
  });
}

/** Its instances, by the view of one node, once so many of them are ready. */
export async function readyInstances(
  { host, api }: Node,
  app: string,
  count: number,
  limitMs = 60_000,
): Promise<InstanceView[]> {
  let seen: InstanceView[] = [];
  const ready = async (): Promise<InstanceView[] | null> => {
    seen = (await api.instances({ app }, AbortSignal.timeout(ASKED_MS)).catch(() => null))?.items ?? [];
    const found = seen.filter(instance => instance.ready);
    return found.length === count ? found : null;
  };
  return until(`${host.name} sees ${count} ready instances of ${app}`, ready, limitMs).catch(
    (error: unknown) => {
      const short = seen.map(
        each => `${each.instance} ${each.node ?? '-'} ${each.state} ${each.trouble ?? ''}`,
      );
      throw new Error(`${(error as Error).message}: ${short.join('; ')}`, { cause: error });
    },
  );
}

/** The process of its agent, as systemd on the host knows it. */
export async function agentPid({ host }: Node): Promise<number> {
  const said = await host.must(['systemctl', 'show', '--value', '-p', 'MainPID', 'hop3-agent']);
  return Number(said.trim());
}

/** Its journal of the last seconds, for who wants to know why. */
export async function journalOf({ host }: Node, seconds: number): Promise<string> {
  if (!host.isRunning) return host.console();
  const { stdout } = await host.run([
    'journalctl',
    `--since=-${seconds}s`,
    '--no-pager',
    '-o',
    'short-precise',
  ]);
  return stdout;
}

/** What an operator writes before installing: certificates, the members of etcd, the agent's configuration. */
async function settle(host: Host, authority: Authority): Promise<void> {
  const addresses = `DNS:${host.name}.${CLUSTER},DNS:localhost,IP:${host.address},IP:127.0.0.1`;
  const issued = await authority.issue(`${host.name}.${CLUSTER}`, { addresses });
  const tls = { ca: '/etc/hop3/ca.pem', cert: '/etc/hop3/node.pem', key: '/etc/hop3/node.key' };
  const files = { [tls.ca]: authority.ca, [tls.cert]: issued.cert, [tls.key]: issued.key };
  for (const [path, from] of Object.entries(files)) await host.write(path, await readFile(from, 'utf8'));
  const own = `https://${host.address}`;
  const everybody = ['1', '2', '3'].map(number => ({
    name: `hop3-${number}`,
    url: `https://${addressOf(number)}`,
  }));
  const etcd = {
    ETCD_NAME: host.name,
    ETCD_LISTEN_CLIENT_URLS: `${own}:2379,https://127.0.0.1:2379`,
    ETCD_ADVERTISE_CLIENT_URLS: `${own}:2379`,
    ETCD_LISTEN_PEER_URLS: `${own}:2380`,
    ETCD_INITIAL_ADVERTISE_PEER_URLS: `${own}:2380`,
    ETCD_INITIAL_CLUSTER: everybody.map(({ name, url }) => `${name}=${url}:2380`).join(','),
    ...Object.fromEntries(
      ['ETCD', 'ETCD_PEER'].flatMap(prefix => [
        [`${prefix}_TRUSTED_CA_FILE`, tls.ca],
        [`${prefix}_CERT_FILE`, tls.cert],
        [`${prefix}_KEY_FILE`, tls.key],
        [`${prefix}_CLIENT_CERT_AUTH`, 'true'],
      ]),
    ),
  };
  await host.write(
    '/etc/hop3/etcd.env',
    Object.entries(etcd)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
  const agent = {
    name: host.name,
    cluster: CLUSTER,
    driver: 'systemd',
    etcd: { endpoints: everybody.map(({ url }) => `${url}:2379`), tls },
    peer: { listen: `${host.address}:7400`, tls },
    rpc: { listen: `${host.address}:7500`, tls, tokens: [RPC_TOKEN] },
  };
  await host.write('/etc/hop3/agent.yaml', `${JSON.stringify(agent, null, 2)}\n`, 0o600);
}

/** An app, as somebody has it in a directory. */
async function layOutApp(host: Host): Promise<void> {
  await mkdir(join(host.root, 'srv/app'), { recursive: true });
  await cp(join(ROOT, 'test/fixtures/app/server.cjs'), join(host.root, 'srv/app/server.cjs'));
  await host.write('/srv/app/Procfile', 'web: exec node server.cjs\n');
}

async function authorityIn(directory: string): Promise<Authority> {
  await mkdir(directory, { recursive: true });
  return Authority.make(directory);
}

function addressOf(number: string): string {
  return `${NETWORK}.1${number}`;
}
