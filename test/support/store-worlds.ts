import type { Kind, SessionRecord } from '../../src/model/records.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { systemRandom } from '../../src/platform/random.ts';
import type { Store } from '../../src/ports/store.ts';
import { openStore, type OpenStoreOptions } from '../../src/store/open-store.ts';
import type { Etcd } from './etcd.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeLog } from './fake-log.ts';
import { FakeEtcd } from './fake-store.ts';
import { until } from './until.ts';

/** What the contract suite needs of the world behind the store: a cluster of its own, and ways to act behind its back. */
export interface StoreWorld {
  log: FakeLog;
  client(name: string): Store;
  /** Waits, letting time pass where it has to be told to. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<void>;
  putText(kind: Kind, name: string, text: string): Promise<void>;
  delete(kind: Kind, name: string): Promise<void>;
  killLease(lease: string): Promise<void>;
  leaseIsAlive(lease: string): Promise<boolean>;
  close(): Promise<void>;
}

export function fakeWorld(): StoreWorld {
  const clock = new FakeClock();
  const log = new FakeLog();
  const etcd = new FakeEtcd(clock);
  const clients: Store[] = [];
  return {
    log,
    client(name) {
      const store = etcd.client(name, { log });
      clients.push(store);
      return store;
    },
    async until(what, condition) {
      for (let passedMs = 0; !(await condition()); passedMs += 10) {
        if (passedMs > 60_000) throw new Error(`a minute of fake time passed in vain until ${what}`);
        await clock.advance(10);
      }
    },
    async putText(kind, name, text) {
      etcd.putText(kind, name, text);
    },
    async delete(kind, name) {
      etcd.delete(kind, name);
    },
    async killLease(lease) {
      etcd.killLease(lease);
    },
    async leaseIsAlive(lease) {
      return etcd.liveLeases().includes(lease);
    },
    async close() {
      await Promise.all(clients.map(store => store.close()));
    },
  };
}

let clusters = 0;

export function etcdWorld(
  etcd: Etcd,
  settings: Partial<OpenStoreOptions> = {},
): StoreWorld & { cluster: string } {
  const cluster = `test-${++clusters}`;
  const log = new FakeLog();
  const clients: Store[] = [];
  const key = (kind: Kind, name: string) => `/hop3/${cluster}/${kind}/${name}`;
  return {
    log,
    cluster,
    client() {
      const parts = { clock: systemClock(), random: systemRandom(), log };
      const store = openStore({ endpoints: etcd.urls, cluster, ...parts, ...settings });
      clients.push(store);
      return store;
    },
    async until(what, condition) {
      await until(what, condition);
    },
    async putText(kind, name, text) {
      await etcd.ctl('put', key(kind, name), text);
    },
    async delete(kind, name) {
      await etcd.ctl('del', key(kind, name));
    },
    async killLease(lease) {
      await etcd.ctl('lease', 'revoke', BigInt(lease).toString(16));
    },
    async leaseIsAlive(lease) {
      return (await etcd.ctl('lease', 'list')).includes(BigInt(lease).toString(16));
    },
    async close() {
      await Promise.all(clients.map(store => store.close()));
    },
  };
}

export function sessionRecord(parts: Partial<SessionRecord> = {}): SessionRecord {
  return {
    v: 1,
    node: 'node-1',
    incarnation: 'first',
    ttlSeconds: 10,
    pid: 1,
    version: '0.1.0',
    startedAt: '2026-01-01T00:00:00.000Z',
    labels: {},
    roles: [],
    capacity: { memoryBytes: 1024 ** 3, cpu: 2 },
    platform: 'linux-x64-node20',
    peer: null,
    admin: 'http://127.0.0.1:7300',
    draining: false,
    ...parts,
  };
}
