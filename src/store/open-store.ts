import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Random } from '../ports/random.ts';
import type { Store } from '../ports/store.ts';
import { checkEndpoints, readTls, type TlsPaths } from './credentials.ts';
import { Endpoints } from './endpoints.ts';
import { EtcdStore } from './etcd-store.ts';
import { EtcdWire } from './etcd-wire.ts';
import { Member } from './member.ts';

export interface OpenStoreOptions {
  /** As in `http://127.0.0.1:2379`. One is tried after the other, beginning anywhere. */
  endpoints: string[];
  cluster: string;
  /** Paths of PEM files; needed for `https://` endpoints. With etcd's authentication on, the certificate's common name is the user. */
  tls?: TlsPaths | null;
  username?: string;
  password?: string;
  clock: Clock;
  log: Log;
  random: Random;
}

/** Connects to nothing yet: the first request does. @throws RangeError or Error when a setting cannot work */
export function openStore(options: OpenStoreOptions): Store {
  const { endpoints: urls, cluster, clock, log, random } = options;
  const tls = options.tls ?? null;
  checkEndpoints(urls, tls !== null);
  const password = toPassword(options.username, options.password);
  const credentials = tls && readTls(tls);
  const members = urls.map(url => new Member(url, { credentials, password, log }));
  const endpoints = new Endpoints(members, { clock, random, log });
  const wire = new EtcdWire(endpoints, { clock, random, log });
  return new EtcdStore({ wire, clock, random, log, cluster });
}

function toPassword(username: string | undefined, password: string | undefined) {
  if (username === undefined && password === undefined) return null;
  if (!username || !password) throw new RangeError('etcd username and password must be set together');
  return { username, password };
}
