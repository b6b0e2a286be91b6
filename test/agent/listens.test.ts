import test from 'ava';
import { listensOf } from '../../src/agent/listens.ts';
import type { NodeConfig } from '../../src/model/node-config.ts';

const tls = null;
const config: Pick<NodeConfig, 'admin' | 'rpc' | 'peer' | 'proxy' | 'roles' | 'etcd'> = {
  admin: { host: '127.0.0.1', port: 7300, tls, socket: null, tokens: [] },
  rpc: { host: '127.0.0.1', port: 7500, tls, tokens: [] },
  peer: { host: '10.0.0.1', port: 7400, tls },
  proxy: { host: '0.0.0.0', port: 8080, backends: 1, slots: 1 },
  roles: ['apps', 'proxy'],
  etcd: { kind: 'managed', clientPort: 7379, peerPort: 7380 },
};
const elsewhere = (...endpoints: string[]): NodeConfig['etcd'] => ({
  kind: 'endpoints',
  endpoints,
  tls,
  username: null,
  password: null,
});

const rows: Record<string, { parts: Partial<typeof config>; ports: string }> = {
  'a whole node listens for its agent, its proxy and its etcd': {
    parts: {},
    ports: '7300 7379 7380 7400 7500 8080',
  },
  'a node without a proxy leaves its port to others': {
    parts: { roles: ['apps'] },
    ports: '7300 7379 7380 7400 7500',
  },
  'what serves no gRPC does not listen for it': { parts: { rpc: null }, ports: '7300 7379 7380 7400 8080' },
  'an etcd on the same host is named as well': {
    parts: { etcd: elsewhere('http://127.0.0.1:2379', 'http://[::1]:2479') },
    ports: '2379 2479 7300 7400 7500 8080',
  },
  'an etcd elsewhere takes no port of this host': {
    parts: { etcd: elsewhere('https://etcd.example.com:2379', 'https://10.0.0.9:2379') },
    ports: '7300 7400 7500 8080',
  },
};
for (const [title, { parts, ports }] of Object.entries(rows)) {
  test(title, t => {
    const listens = listensOf({ ...config, ...parts });
    t.deepEqual(
      Object.keys(listens).sort(),
      ports.split(' ').map(port => `${port}/tcp`),
    );
    t.true(Object.values(listens).every(what => what.startsWith('its ')));
  });
}
