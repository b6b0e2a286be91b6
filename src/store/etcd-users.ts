import type { CallOptions } from '@grpc/grpc-js';
import type { Kind } from '../model/records.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import { StoreError } from '../ports/store.ts';
import { checkEndpoints, readTls, type TlsPaths } from './credentials.ts';
import { toStoreError } from './from-etcd.ts';
import { Keyspace, prefixEnd } from './keys.ts';
import { Member } from './member.ts';

/** Below these, a node writes only what starts with its own name. */
const OWN_KINDS: Kind[] = ['answers', 'ports', 'promises', 'sessions', 'waiters'];
/** Below this, only nodes that hold the authority write: whoever can, can let others in. */
const AUTHORITY_KIND: Kind = 'enrolments';
const CALL_MS = 5_000;

export interface EtcdUsersOptions {
  endpoints: string[];
  tls: TlsPaths;
  cluster: string;
  node: string;
  /** The common name of a node's certificate, which etcd takes for its user. */
  userOf: (node: string) => string;
  holdsAuthority: boolean;
  /** Whether etcd's authentication may be turned on when it is off. */
  mayEnable: boolean;
  rootPassword: string;
  clock: Clock;
  log: Log;
}

/** A part of the keys, and what may be done there. `end` is not part of it. */
export interface Permission {
  start: Buffer;
  end: Buffer;
  write: boolean;
}

/**
 * What one node may do: read its cluster's keys, and write them except what is another node's alone. Etcd knows ranges of
 * keys only, so where the node stands last in a key (assessments, refusals), or nodes share keys (owners, apps, events,
 * …), any node may write; there the transactions' own conditions are all that holds.
 */
export function permissionsOf(cluster: string, node: string, holdsAuthority: boolean): Permission[] {
  const keys = new Keyspace(cluster);
  const root = keys.root;
  const confined = [...OWN_KINDS, ...(holdsAuthority ? [] : [AUTHORITY_KIND])].sort();
  const between: Permission[] = [];
  let start: Buffer = Buffer.from(root);
  for (const kind of confined) {
    between.push({ start, end: Buffer.from(keys.prefix(kind)), write: true });
    start = prefixEnd(keys.prefix(kind));
  }
  between.push({ start, end: prefixEnd(root), write: true });
  const own = OWN_KINDS.map(kind => {
    const prefix = keys.prefix(kind, `${node}/`);
    return { start: Buffer.from(prefix), end: prefixEnd(prefix), write: true };
  });
  return [{ start: Buffer.from(root), end: prefixEnd(root), write: false }, ...between, ...own];
}

/**
 * Gives the node a user without a password (its certificate speaks for it) and a role. When etcd's authentication is off it
 * is turned on, with `root` and that password, after every node that has a session got its user too; so nobody is
 * locked out. Done twice it changes nothing. Sentences about what was done. @throws StoreError
 */
export async function setUpEtcdUsers(options: EtcdUsersOptions): Promise<string[]> {
  const { endpoints, tls, cluster, node, rootPassword, log } = options;
  checkEndpoints(endpoints, true);
  const [url = ''] = endpoints;
  const member = new Member(url, {
    credentials: readTls(tls),
    password: { username: 'root', password: rootPassword },
    log,
  });
  const call = async <T>(what: string, send: (callOptions: CallOptions) => Promise<T>): Promise<T> => {
    try {
      return await send(await member.callOptions(CALL_MS));
    } catch (error) {
      throw toStoreError(error, what, url);
    }
  };
  try {
    const enabled = await call('log in as root', () => member.authenticationEnabled());
    if (!enabled && !options.mayEnable) {
      throw refusal(
        "etcd's authentication is off: turn it on where the authority is, with cluster init --etcd-users",
      );
    }
    const nodes = enabled ? [node] : await nodesWithSession(member, call, cluster, node);
    for (const each of nodes) await confine(member, call, options, each);
    const done = nodes.map(
      each => `etcd user ${options.userOf(each)}, with a role that may write only what is ${each}'s`,
    );
    if (enabled) return done;
    // One of earlier may have another password, or none and want none, and could not be asked for it any more.
    await call('take away the user root of earlier', callOptions =>
      unlessGone(member.client.auth.userDelete({ name: 'root' }, callOptions)),
    );
    await call('add the user root', callOptions =>
      member.client.auth.userAdd({ name: 'root', password: rootPassword }, callOptions),
    );
    await call('make root the root', callOptions =>
      unlessThere(member.client.auth.userGrantRole({ user: 'root', role: 'root' }, callOptions)),
    );
    await call('turn on authentication', callOptions => member.client.auth.authEnable(callOptions));
    return [...done, "etcd's authentication, with root and the password given; the password is kept nowhere"];
  } finally {
    member.close();
  }
}

type Call = <T>(what: string, send: (callOptions: CallOptions) => Promise<T>) => Promise<T>;

async function confine(member: Member, call: Call, options: EtcdUsersOptions, node: string): Promise<void> {
  const { auth } = member.client;
  const { cluster, userOf } = options;
  const user = userOf(node);
  const holdsAuthority = node === options.node && options.holdsAuthority;
  await call(`add the role ${user}`, callOptions => unlessThere(auth.roleAdd({ name: user }, callOptions)));
  for (const { start, end, write } of permissionsOf(cluster, node, holdsAuthority)) {
    const permType = write ? 'Readwrite' : 'Read';
    await call(`let ${user} ${write ? 'write' : 'read'}`, callOptions =>
      auth.roleGrantPermission({ name: user, perm: { permType, key: start, range_end: end } }, callOptions),
    );
  }
  await call(`add the user ${user}`, callOptions =>
    unlessThere(auth.userAdd({ name: user, options: { no_password: true } }, callOptions)),
  );
  await call(`give ${user} its role`, callOptions =>
    unlessThere(auth.userGrantRole({ user, role: user }, callOptions)),
  );
}

async function nodesWithSession(
  member: Member,
  call: Call,
  cluster: string,
  node: string,
): Promise<string[]> {
  const keys = new Keyspace(cluster);
  const prefix = keys.prefix('sessions');
  const { kvs } = await call('list the sessions', callOptions =>
    member.client.kv.range(
      { key: Buffer.from(prefix), range_end: prefixEnd(prefix), keys_only: true },
      callOptions,
    ),
  );
  const names = kvs.map(({ key }) => keys.nameOf('sessions', key.toString()).split('/')[0] ?? node);
  return [...new Set([node, ...names])];
}

/** What exists already is as good as made. */
async function unlessThere(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (error instanceof Error && /already exists|already granted/.test(error.message)) return;
    throw error;
  });
}

async function unlessGone(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (error instanceof Error && /user name not found/.test(error.message)) return;
    throw error;
  });
}

function refusal(message: string): StoreError {
  return new StoreError(message, { outcome: 'refused', retryable: false });
}
