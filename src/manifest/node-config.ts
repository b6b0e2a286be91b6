import {
  defaultPlanLimits,
  isLoopback,
  type EtcdConfig,
  type NodeConfig,
  type ServerTlsFiles,
} from '../model/node-config.ts';
import type { Problem } from '../model/problem.ts';
import { findingsOf } from './issues.ts';
import { misspeltVariables, overridesFromEnv, overridesFromFlags } from './node-overrides.ts';
import type { NodeFlags, Override } from './node-overrides.ts';
import { hostAndPort, nodeManifest, portRange } from './node-schema.ts';
import type { NodeManifest } from './node-schema.ts';
import { whole } from './size.ts';
import { fieldOf, isTable, problemsOf, valueAt } from './tree.ts';
import type { Finding, Path, Table, Tree } from './tree.ts';
import { bytesOf } from './words.ts';
import { readYaml } from './yaml-tree.ts';

/** What the machine says where nobody else does. */
export interface NodeFacts {
  hostname: string;
  /** Absolute. */
  stateDir: string;
}

/**
 * One node's configuration: the file (null = none), overridden by `HOP3_AGENT_*`, overridden by flags (design 15).
 * Either a configuration or every problem, each with its place: file, line and column, or the variable's or flag's name.
 */
export function readNodeConfig(
  file: string | null,
  text: string | null,
  env: Readonly<Record<string, string | undefined>>,
  flags: NodeFlags,
  facts: NodeFacts,
): { config: NodeConfig | null; problems: Problem[] } {
  const fromFile = text === null ? noFile : readFile(file ?? '<input>', text);
  const overrides = [...overridesFromEnv(env), ...overridesFromFlags(flags)];
  const misspelt = misspeltVariables(env);
  const problems = [...fromFile.problems, ...misspelt, ...overrides.flatMap(overrideProblems)];
  // What is missing may be what could not be read.
  if (!fromFile.isWhole || misspelt.length > 0) return { config: null, problems };
  const data = overrides.reduce<Table>(overridden, isTable(fromFile.tree?.data) ? fromFile.tree.data : {});
  const wrong = new Set(findingsOf(nodeManifest, data).map(({ path }) => path[0]));
  const right = Object.fromEntries(Object.entries(data).filter(([section]) => !wrong.has(section)));
  const config = complete(nodeManifest.parse(right), facts);
  const contradictions = contradictionsIn(right, config).filter(({ path }) => !wrong.has(path[0]));
  problems.push(...contradictions.map(finding => placeFinding(finding, fromFile, overrides)));
  return problems.length > 0 ? { config: null, problems } : { config, problems };
}

interface FromFile {
  file: string;
  tree: Tree | null;
  /** Whether it could be read to its end, whatever it says. */
  isWhole: boolean;
  problems: Problem[];
}

const noFile: FromFile = { file: '<defaults>', tree: null, isWhole: true, problems: [] };

function readFile(file: string, text: string): FromFile {
  const { trees, problems } = readYaml(file, text);
  const [tree = null, second] = trees;
  const many = second === undefined ? [] : [whole(file, 'holds more than one document', 'keep the first')];
  const own = tree === null ? [] : problemsOf(file, tree, findingsOf(nodeManifest, tree.data));
  const unread = [...problems, ...many];
  return { file, tree, isWhole: unread.length === 0, problems: [...unread, ...own] };
}

function overrideProblems({ path, value, origin }: Override): Problem[] {
  return findingsOf(nodeManifest, withValue({}, path, value)).map(finding => ({
    ...whole(origin, finding.message, finding.hint),
    field: fieldOf(finding.path),
  }));
}

function overridden(data: Table, { path, value }: Override): Table {
  // Endpoints given outside the file mean: that etcd, not the one of its own.
  const base = fieldOf(path) === 'etcd.endpoints' ? withValue(data, ['etcd', 'managed'], undefined) : data;
  return withValue(base, path, value);
}

/** A copy with the value at the path; tables are merged, everything else is replaced; undefined removes. */
function withValue(data: Table, path: Path, value: unknown): Table {
  const [first, ...rest] = path;
  if (first === undefined) return data;
  const before = data[first];
  if (rest.length > 0) return { ...data, [first]: withValue(isTable(before) ? before : {}, rest, value) };
  if (value === undefined) return Object.fromEntries(Object.entries(data).filter(([key]) => key !== first));
  return { ...data, [first]: isTable(before) && isTable(value) ? { ...before, ...value } : value };
}

function complete(given: NodeManifest, facts: NodeFacts): NodeConfig {
  const stateDir = given['state-dir'] ?? facts.stateDir;
  const socket = given.admin?.socket ?? `${stateDir}/admin.sock`;
  return {
    name: given.name ?? nameFromHost(facts.hostname),
    cluster: given.cluster ?? 'default',
    labels: given.labels ?? {},
    roles: [...new Set(given.roles ?? (['apps', 'proxy'] as const))],
    stateDir,
    etcd: etcdConfig(given.etcd ?? {}),
    leaseTtlSeconds: given['lease-ttl'] ?? 10,
    admin: {
      ...requiredAddress(given.admin?.listen ?? '127.0.0.1:7300'),
      tls: serverTls(given.admin?.tls),
      socket: socket === false ? null : socket,
      tokens: given.admin?.tokens ?? [],
    },
    rpc: rpcConfig(given.rpc ?? {}),
    peer: { ...requiredAddress(given.peer?.listen ?? '127.0.0.1:7400'), tls: given.peer?.tls ?? null },
    ...(given.authority === undefined ? {} : { authority: given.authority }),
    driver: given.driver ?? 'process',
    plans: {
      commands: given.plans?.commands ?? 'apps',
      keep: given.plans?.keep ?? defaultPlanLimits.keep,
      keepDays: given.plans?.['keep-days'] ?? defaultPlanLimits.keepDays,
      open: given.plans?.open ?? defaultPlanLimits.open,
      atOnce: given.plans?.['at-once'] ?? defaultPlanLimits.atOnce,
    },
    proxy: {
      ...requiredAddress(given.proxy?.listen ?? '0.0.0.0:8080'),
      backends: given.proxy?.backends ?? 64,
      slots: given.proxy?.slots ?? 16,
    },
    capacity: {
      memoryBytes: given.limits?.memory === undefined ? null : bytesOf(given.limits.memory),
      cpu: given.limits?.cpu ?? null,
    },
    portRange: portRange(given['port-range'] ?? '') ?? [20_000, 29_999],
    probeIntervalSeconds: given['probe-interval'] ?? 5,
    logLevel: given['log-level'] ?? 'info',
  };
}

/** `Web-01.example.com` → `web-01`; empty when the host's name has nothing that a node's could be made of. */
function nameFromHost(hostname: string): string {
  const first = hostname.split('.')[0] ?? '';
  return first
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, '');
}

function etcdConfig(given: NonNullable<NodeManifest['etcd']>): EtcdConfig {
  if (given.endpoints === undefined) {
    const { 'client-port': clientPort = 7379, 'peer-port': peerPort = 7380 } = given.managed ?? {};
    return { kind: 'managed', clientPort, peerPort };
  }
  return {
    kind: 'endpoints',
    endpoints: given.endpoints.map(endpoint => endpoint.replace(/\/$/, '')),
    tls: given.tls ?? null,
    username: given.username ?? null,
    password: given.password ?? null,
  };
}

function rpcConfig({
  listen = '127.0.0.1:7500',
  tls,
  tokens = [],
}: NonNullable<NodeManifest['rpc']>): NodeConfig['rpc'] {
  return listen === false ? null : { ...requiredAddress(listen), tls: serverTls(tls), tokens };
}

function serverTls(given: NonNullable<NodeManifest['admin']>['tls']): ServerTlsFiles | null {
  if (given === undefined) return null;
  const { ca, cert, key } = given;
  return { cert, key, ...(ca === undefined ? {} : { ca }) };
}

function requiredAddress(text: string): { host: string; port: number } {
  const address = hostAndPort(text);
  if (address === null) throw new TypeError(`"${text}" passed the schema and is no HOST:PORT`);
  return address;
}

/** What each value on its own does not show. */
function contradictionsIn(data: Table, config: NodeConfig): Finding[] {
  return [...nameFindings(config), ...etcdFindings(data, config.etcd), ...listenFindings(config)];
}

function nameFindings(config: NodeConfig): Finding[] {
  if (config.name !== '') return [];
  return [finding(['name'], 'cannot be made from the name of the host', 'give the node one, as in node-1')];
}

function etcdFindings(data: Table, etcd: EtcdConfig): Finding[] {
  const says = (key: string) => valueAt(data, ['etcd', key]) !== undefined;
  if (etcd.kind === 'managed') {
    return ['tls', 'username', 'password']
      .filter(says)
      .map(key =>
        finding(['etcd', key], 'has no use without endpoints', 'an etcd of its own is on loopback only'),
      );
  }
  const findings: Finding[] = [];
  if (says('managed')) {
    findings.push(finding(['etcd', 'managed'], 'and endpoints cannot both be given', 'keep one of the two'));
  }
  if ((etcd.username === null) !== (etcd.password === null)) {
    findings.push(finding(['etcd'], 'has a username or a password without the other', 'give both or none'));
  }
  return [...findings, ...endpointFindings(etcd)];
}

/** Whoever can read or write what goes to etcd owns the cluster. */
function endpointFindings({ endpoints, tls }: EtcdConfig & { kind: 'endpoints' }): Finding[] {
  const place = ['etcd', 'endpoints'];
  const plain = endpoints.filter(endpoint => endpoint.startsWith('http:'));
  if (tls !== null && plain.length > 0) {
    return [finding(place, 'are not all https, but tls is given', 'https://HOST:2379')];
  }
  const exposed = plain.find(endpoint => !isLoopback(hostOf(endpoint)));
  if (exposed !== undefined) {
    const hint = 'https://HOST:2379 and etcd.tls, or an etcd on 127.0.0.1';
    return [finding(place, `${exposed} is asked over the network: it needs TLS`, hint)];
  }
  if (tls === null && plain.length < endpoints.length) {
    return [finding(place, 'are https, which needs etcd.tls', 'add etcd.tls with ca, cert and key')];
  }
  return [];
}

function hostOf(endpoint: string): string {
  return (URL.parse(endpoint)?.hostname ?? '').replace(/^\[|\]$/g, '');
}

function listenFindings({ admin, rpc, peer }: NodeConfig): Finding[] {
  const findings: Finding[] = [];
  for (const [name, listener] of Object.entries({ admin, rpc })) {
    if (listener === null) continue;
    const { host, tls, tokens } = listener;
    if (isLoopback(host) || (tls !== null && tokens.length > 0)) continue;
    const hint = `add ${name}.tls and ${name}.tokens, or listen on 127.0.0.1`;
    findings.push(
      finding([name, 'listen'], `${host} can be reached by others: it needs TLS and a token`, hint),
    );
  }
  if (!isLoopback(peer.host) && peer.tls === null) {
    findings.push(
      finding(
        ['peer', 'listen'],
        `${peer.host} can be reached by others: it needs TLS`,
        'hop3-agent cluster init or cluster join makes peer.tls; or listen on 127.0.0.1',
      ),
    );
  }
  return findings;
}

function finding(path: Path, message: string, hint: string): Finding {
  return { path, part: 'value', message, hint };
}

/** At whoever said it last: a flag, a variable, else the file. */
function placeFinding(found: Finding, { file, tree }: FromFile, overrides: Override[]): Problem {
  const field = fieldOf(found.path);
  const override = overrides.findLast(
    ({ path }) => fieldOf(path) === field || fieldOf(path).startsWith(`${field}.`),
  );
  if (override === undefined && tree !== null) {
    return problemsOf(file, tree, [found])[0] ?? whole(file, found.message, found.hint);
  }
  return { ...whole(override?.origin ?? file, found.message, found.hint), field };
}
