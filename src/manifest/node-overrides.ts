import type { Problem } from '../model/problem.ts';
import { nearest } from './nearest.ts';
import { whole } from './size.ts';
import type { Path } from './tree.ts';

/** What flags say over the configuration file and the environment; what was not given is absent. */
export interface NodeFlags {
  name?: string;
  /** Absolute. */
  stateDir?: string;
  etcdEndpoints?: string[];
  /** `HOST:PORT` */
  admin?: string;
  /** `HOST:PORT` */
  rpc?: string;
  /** `HOST:PORT` */
  peer?: string;
  labels?: Record<string, string>;
  roles?: string[];
  leaseTtlSeconds?: number;
  logLevel?: string;
  driver?: string;
  proxyPort?: number;
}

/** One value given outside the file, and what to call the place it came from. */
export interface Override {
  path: Path;
  value: unknown;
  origin: string;
}

/** Where a flag's value goes, under the name a person typed. */
const flagPlaces: Record<keyof NodeFlags, { path: Path; origin: string }> = {
  name: { path: ['name'], origin: '--name' },
  stateDir: { path: ['state-dir'], origin: '--state-dir' },
  etcdEndpoints: { path: ['etcd', 'endpoints'], origin: '--etcd' },
  admin: { path: ['admin', 'listen'], origin: '--admin' },
  rpc: { path: ['rpc', 'listen'], origin: '--rpc' },
  peer: { path: ['peer', 'listen'], origin: '--peer' },
  labels: { path: ['labels'], origin: '--label' },
  roles: { path: ['roles'], origin: '--role' },
  leaseTtlSeconds: { path: ['lease-ttl'], origin: '--lease-ttl' },
  logLevel: { path: ['log-level'], origin: '--log-level' },
  driver: { path: ['driver'], origin: '--driver' },
  proxyPort: { path: ['proxy', 'listen'], origin: '--proxy-port' },
};

export function overridesFromFlags(flags: NodeFlags): Override[] {
  return (Object.keys(flagPlaces) as (keyof NodeFlags)[]).flatMap(key => {
    const value =
      key === 'proxyPort' && flags.proxyPort !== undefined ? everywhere(flags.proxyPort) : flags[key];
    return value === undefined ? [] : [{ ...flagPlaces[key], value }];
  });
}

type Reader = (text: string) => unknown;
const text: Reader = value => value;
const number: Reader = value => (/^\d+(\.\d+)?$/.test(value) ? Number(value) : value);
const list: Reader = value => value.split(',').map(part => part.trim());
const pairs: Reader = value => {
  const parts = value.split(',').map(part => part.trim());
  if (!parts.every(part => part.indexOf('=') > 0)) return value;
  return Object.fromEntries(
    parts.map(part => [part.slice(0, part.indexOf('=')), part.slice(part.indexOf('=') + 1)]),
  );
};
const proxyPort: Reader = value => (/^\d+$/.test(value) ? everywhere(Number(value)) : value);

function everywhere(port: number): string {
  return `0.0.0.0:${port}`;
}

const PREFIX = 'HOP3_AGENT_';

const variables: Record<string, { path: Path; read: Reader }> = {
  NAME: { path: ['name'], read: text },
  CLUSTER: { path: ['cluster'], read: text },
  LABELS: { path: ['labels'], read: pairs },
  ROLES: { path: ['roles'], read: list },
  STATE_DIR: { path: ['state-dir'], read: text },
  ETCD: { path: ['etcd', 'endpoints'], read: list },
  ETCD_USERNAME: { path: ['etcd', 'username'], read: text },
  ETCD_PASSWORD: { path: ['etcd', 'password'], read: text },
  LEASE_TTL: { path: ['lease-ttl'], read: number },
  ADMIN: { path: ['admin', 'listen'], read: text },
  ADMIN_SOCKET: { path: ['admin', 'socket'], read: text },
  ADMIN_TOKENS: { path: ['admin', 'tokens'], read: list },
  RPC: { path: ['rpc', 'listen'], read: value => (value === 'false' ? false : value) },
  RPC_TOKENS: { path: ['rpc', 'tokens'], read: list },
  PEER: { path: ['peer', 'listen'], read: text },
  DRIVER: { path: ['driver'], read: text },
  PLANS_COMMANDS: { path: ['plans', 'commands'], read: text },
  PLANS_KEEP: { path: ['plans', 'keep'], read: number },
  PLANS_KEEP_DAYS: { path: ['plans', 'keep-days'], read: number },
  PLANS_OPEN: { path: ['plans', 'open'], read: number },
  PLANS_AT_ONCE: { path: ['plans', 'at-once'], read: number },
  PROXY_PORT: { path: ['proxy', 'listen'], read: proxyPort },
  PROXY_BACKENDS: { path: ['proxy', 'backends'], read: number },
  PROXY_SLOTS: { path: ['proxy', 'slots'], read: number },
  MEMORY: { path: ['limits', 'memory'], read: text },
  CPU: { path: ['limits', 'cpu'], read: number },
  PORT_RANGE: { path: ['port-range'], read: text },
  PROBE_INTERVAL: { path: ['probe-interval'], read: number },
  LOG_LEVEL: { path: ['log-level'], read: text },
};

/** An empty variable counts as not set. */
export function overridesFromEnv(env: Readonly<Record<string, string | undefined>>): Override[] {
  return Object.entries(variables).flatMap(([name, { path, read }]) => {
    const origin = PREFIX + name;
    const value = env[origin];
    return value === undefined || value === '' ? [] : [{ path, value: read(value), origin }];
  });
}

/** Read by the command line or by tests, not part of a node's configuration. */
const others = ['API', 'TOKEN', 'DEBUG', 'ETCD_ROOT_PASSWORD'];

/** Variables that look like ours misspelt. Others that share the prefix may be somebody else's, and are left alone. */
export function misspeltVariables(env: Readonly<Record<string, string | undefined>>): Problem[] {
  const known = Object.keys(variables);
  return Object.keys(env)
    .filter(name => name.startsWith(PREFIX))
    .map(name => name.slice(PREFIX.length))
    .filter(name => !known.includes(name) && !others.includes(name))
    .flatMap(name => {
      const close = nearest(name, known);
      return close === null
        ? []
        : [whole(PREFIX + name, 'unknown variable', `did you mean ${PREFIX}${close}?`)];
    });
}
