import test from 'ava';
import fc from 'fast-check';
import { readNodeConfig } from '../../src/manifest/node-config.ts';
import type { NodeFlags } from '../../src/manifest/node-overrides.ts';
import { problemText } from '../../src/model/problem.ts';

const facts = { hostname: 'Web-01.example.com', stateDir: '/var/lib/hop3-agent' };

function read(text: string | null, env: Record<string, string> = {}, flags: NodeFlags = {}) {
  return readNodeConfig(text === null ? null : 'agent.yaml', text, env, flags, facts);
}

function problemsWith(
  text: string | null,
  env: Record<string, string> = {},
  flags: NodeFlags = {},
): string[] {
  const { config, problems } = read(text, env, flags);
  if (config !== null) throw new Error('expected problems');
  return problems.map(problemText);
}

test('nothing said anywhere gives a node of its own on loopback', t => {
  t.deepEqual(read(null), {
    problems: [],
    config: {
      name: 'web-01',
      cluster: 'default',
      labels: {},
      roles: ['apps', 'proxy'],
      stateDir: '/var/lib/hop3-agent',
      etcd: { kind: 'managed', clientPort: 7379, peerPort: 7380 },
      leaseTtlSeconds: 10,
      admin: {
        host: '127.0.0.1',
        port: 7300,
        tls: null,
        socket: '/var/lib/hop3-agent/admin.sock',
        tokens: [],
      },
      rpc: { host: '127.0.0.1', port: 7500, tls: null, tokens: [] },
      peer: { host: '127.0.0.1', port: 7400, tls: null },
      driver: 'process',
      plans: { commands: 'apps', keep: 1000, keepDays: 7, open: 10_000, atOnce: 512 },
      proxy: { host: '0.0.0.0', port: 8080, backends: 64, slots: 16 },
      capacity: { memoryBytes: null, cpu: null },
      portRange: [20_000, 29_999],
      probeIntervalSeconds: 5,
      logLevel: 'info',
    },
  });
});

test('an empty file says nothing', t => {
  t.deepEqual(read('# nothing yet\n'), read(null));
});

test('every key of the file is read', t => {
  const { config, problems } = read(`
name: eu-1
cluster: shop
labels: {zone: eu}
roles: [apps]
state-dir: /srv/hop3
etcd:
  endpoints: [https://10.0.0.1:2379/, https://10.0.0.2:2379]
  tls: {ca: /pki/ca.pem, cert: /pki/etcd.pem, key: /pki/etcd.key}
  username: hop3
  password: secret
lease-ttl: 30
admin:
  listen: '[::]:7300'
  socket: false
  tls: {ca: /pki/ca.pem, cert: /pki/a.pem, key: /pki/a.key}
  tokens: [0123456789abcdef-secret]
rpc:
  listen: 10.0.0.5:7500
  tls: {cert: /pki/r.pem, key: /pki/r.key}
  tokens: [0123456789abcdef-workers]
peer:
  listen: 10.0.0.5:7400
  tls: {ca: /pki/ca.pem, cert: /pki/p.pem, key: /pki/p.key}
driver: systemd
plans: {commands: none, keep: 50, keep-days: 0.5, open: 20, at-once: 8}
proxy: {listen: 0.0.0.0:80, backends: 10, slots: 4}
limits: {memory: 2G, cpu: 1.5}
port-range: 4000-4999
probe-interval: 2.5
log-level: debug
`);
  t.deepEqual(problems, []);
  t.deepEqual(config, {
    name: 'eu-1',
    cluster: 'shop',
    labels: { zone: 'eu' },
    roles: ['apps'],
    stateDir: '/srv/hop3',
    etcd: {
      kind: 'endpoints',
      endpoints: ['https://10.0.0.1:2379', 'https://10.0.0.2:2379'],
      tls: { ca: '/pki/ca.pem', cert: '/pki/etcd.pem', key: '/pki/etcd.key' },
      username: 'hop3',
      password: 'secret',
    },
    leaseTtlSeconds: 30,
    admin: {
      host: '::',
      port: 7300,
      tls: { ca: '/pki/ca.pem', cert: '/pki/a.pem', key: '/pki/a.key' },
      socket: null,
      tokens: ['0123456789abcdef-secret'],
    },
    rpc: {
      host: '10.0.0.5',
      port: 7500,
      tls: { cert: '/pki/r.pem', key: '/pki/r.key' },
      tokens: ['0123456789abcdef-workers'],
    },
    peer: {
      host: '10.0.0.5',
      port: 7400,
      tls: { ca: '/pki/ca.pem', cert: '/pki/p.pem', key: '/pki/p.key' },
    },
    driver: 'systemd',
    plans: { commands: 'none', keep: 50, keepDays: 0.5, open: 20, atOnce: 8 },
    proxy: { host: '0.0.0.0', port: 80, backends: 10, slots: 4 },
    capacity: { memoryBytes: 2 * 1024 ** 3, cpu: 1.5 },
    portRange: [4000, 4999],
    probeIntervalSeconds: 2.5,
    logLevel: 'debug',
  });
});

test('the environment overrides the file, and flags override both', t => {
  const file = 'name: from-file\ncluster: from-file\nlease-ttl: 20\nlabels: {zone: eu, disk: ssd}\n';
  const env = {
    HOP3_AGENT_NAME: 'from-env',
    HOP3_AGENT_LEASE_TTL: '30',
    HOP3_AGENT_LABELS: 'zone=us, rack=2',
  };
  const { config } = read(file, env, { name: 'from-flag', labels: { rack: '3' } });
  t.is(config?.name, 'from-flag');
  t.is(config?.cluster, 'from-file');
  t.is(config?.leaseTtlSeconds, 30);
  t.deepEqual(config?.labels, { zone: 'us', disk: 'ssd', rack: '3' });
});

test('a variable that is set to nothing is not set', t => {
  t.is(read('name: eu-1', { HOP3_AGENT_NAME: '' }).config?.name, 'eu-1');
});

test('endpoints from outside the file replace the etcd of its own that the file asks for', t => {
  const { config } = read('etcd: {managed: {}}', {
    HOP3_AGENT_ETCD: 'http://localhost:2379,http://127.0.0.2:2379',
  });
  t.deepEqual(config?.etcd, {
    kind: 'endpoints',
    endpoints: ['http://localhost:2379', 'http://127.0.0.2:2379'],
    tls: null,
    username: null,
    password: null,
  });
});

interface Mistake {
  name: string;
  text?: string;
  env?: Record<string, string>;
  flags?: NodeFlags;
  says: RegExp;
}

const tls = '{ca: /a, cert: /b, key: /c}';
const mistakes: Mistake[] = [
  {
    name: 'an unknown key',
    text: 'nmae: x',
    says: /^agent\.yaml:1:1: nmae: unknown section \(did you mean "name"\?\)$/,
  },
  {
    name: 'an unknown key further in',
    text: 'proxy:\n  slotz: 3',
    says: /^agent\.yaml:2:3: proxy\.slotz: unknown key \(did you mean "slots"\?\)$/,
  },
  { name: 'a wrong type', text: 'lease-ttl: soon', says: /^agent\.yaml:1:12: lease-ttl: must be a .*"soon"/ },
  { name: 'a number out of bounds', text: 'lease-ttl: 1', says: /^agent\.yaml:1:12: .*must be at least 2/ },
  { name: 'a bad name', text: 'name: Eu_1', says: /"Eu_1" is not a name/ },
  { name: 'a bad label', text: 'labels: {"a b": x}', says: /"a b" is not a label name/ },
  {
    name: 'a bad address',
    text: 'admin: {listen: here}',
    says: /^agent\.yaml:1:17: admin\.listen: "here" is/,
  },
  { name: 'a port beyond the last', text: 'peer: {listen: "127.0.0.1:70000"}', says: /is not an address/ },
  { name: 'ports the wrong way round', text: 'port-range: 5000-4000', says: /is not a range of ports/ },
  { name: 'a relative state directory', text: 'state-dir: state', says: /"state" is not an absolute path/ },
  { name: 'two documents', text: 'name: a\n---\nname: b', says: /more than one document/ },
  { name: 'broken YAML', text: 'name: [a', says: /is not valid YAML/ },
  { name: 'a list for a file', text: '- name', says: /^agent\.yaml:1:1: must be a table/ },
  {
    name: 'a bad variable',
    env: { HOP3_AGENT_LEASE_TTL: 'soon' },
    says: /^HOP3_AGENT_LEASE_TTL: lease-ttl: must/,
  },
  {
    name: 'a misspelt variable',
    env: { HOP3_AGENT_LEASE_TLL: '3' },
    says: /did you mean HOP3_AGENT_LEASE_TTL\?/,
  },
  { name: 'a bad flag', flags: { etcdEndpoints: ['10.0.0.1'] }, says: /^--etcd: etcd\.endpoints\[0\]: / },
  {
    name: 'two ways to etcd',
    text: 'etcd: {endpoints: [http://a:1], managed: {}}',
    says: /etcd\.managed: and endpoints cannot both/,
  },
  { name: 'half a login', text: 'etcd: {endpoints: [http://a:1], username: x}', says: /without the other/ },
  {
    name: 'TLS for plain endpoints',
    text: `etcd: {endpoints: [http://a:1], tls: ${tls}}`,
    says: /are not all https/,
  },
  {
    name: 'etcd over the network without TLS',
    text: 'etcd:\n  endpoints:\n    - http://127.0.0.1:2379\n    - http://10.0.0.2:2379',
    says: /^agent\.yaml:3:5: etcd\.endpoints: http:\/\/10\.0\.0\.2:2379 is asked over the network: it needs TLS/,
  },
  {
    name: 'etcd over the network without TLS, by a flag',
    flags: { etcdEndpoints: ['http://[fd00::1]:2379'] },
    says: /^--etcd: etcd\.endpoints: .* it needs TLS/,
  },
  {
    name: 'https endpoints without the certificates for them',
    text: 'etcd: {endpoints: ["https://10.0.0.1:2379"]}',
    says: /etcd\.endpoints: are https, which needs etcd\.tls/,
  },
  {
    name: 'a login for an etcd of its own',
    text: 'etcd: {username: x, password: y}',
    says: /etcd\.username: has no use without endpoints/,
  },
  {
    name: 'the API open to others',
    text: 'admin:\n  listen: 0.0.0.0:7300',
    says: /^agent\.yaml:2:11: admin\.listen: 0\.0\.0\.0 can be reached by others: it needs TLS and a token/,
  },
  {
    name: 'the API open to others with TLS but no token',
    text: `admin: {listen: "10.0.0.1:7300", tls: ${tls}}`,
    says: /needs TLS and a token/,
  },
  { name: 'the API opened by a flag', flags: { admin: '0.0.0.0:7300' }, says: /^--admin: admin\.listen: / },
  {
    name: 'the peer address open without TLS',
    env: { HOP3_AGENT_PEER: '10.0.0.1:7400' },
    says: /^HOP3_AGENT_PEER: peer\.listen: .* needs TLS/,
  },
  { name: 'a short token', text: 'admin: {tokens: [short]}', says: /too short to be a secret/ },
];

for (const { name, text = null, env = {}, flags = {}, says } of mistakes) {
  test(`refused: ${name}`, t => {
    const problems = problemsWith(text, env, flags);
    t.true(
      problems.some(problem => says.test(problem)),
      problems.join('\n'),
    );
  });
}

test('a host whose name gives none needs a name', t => {
  const { config, problems } = readNodeConfig(null, null, {}, {}, { hostname: '___', stateDir: '/s' });
  t.is(config, null);
  t.regex(problemText(problems[0]!), /name: cannot be made from the name of the host \(give the node one/);
});

test('all problems are told at once, wherever they are', t => {
  const problems = problemsWith('nmae: x\nlease-ttl: 1', { HOP3_AGENT_CPU: 'many' }, { admin: 'here' });
  t.is(problems.length, 4);
});

test('what contradicts itself is told with the rest, but for a section that is wrong in itself', t => {
  const open = 'admin: {listen: "0.0.0.0:7300"}\nrpc: {listen: "0.0.0.0:7500", tokns: [x]}';
  const problems = problemsWith(`lease-ttl: 1\n${open}`, {}, { peer: '10.0.0.1:7400' });
  const told = problems.map(problem => /^(?:agent\.yaml:\d+:\d+|--peer): (\S+): /.exec(problem)?.[1]);
  t.deepEqual(told, ['lease-ttl', 'rpc.tokns', 'admin.listen', 'peer.listen'], problems.join('\n'));
  const unread = problemsWith(open, { HOP3_AGENT_ADMIN_TOKENZ: 'x' });
  t.true(
    unread.every(problem => !problem.includes('admin.listen')),
    'the token may be the variable that nobody knows',
  );
});

test("others' variables that share the prefix are left alone", t => {
  const env = { HOP3_AGENT_SOMETHING_ELSE_ENTIRELY: '1', HOP3_AGENT_API: 'x', HOP3_AGENT_TOKEN: 'y' };
  t.not(read(null, env).config, null);
});

test('property: any text is either a configuration or a list of problems', t => {
  const line = fc.oneof(
    fc.constantFrom(
      'name: a',
      'etcd:',
      '  endpoints: [http://a:1]',
      '  managed: {}',
      'labels: {a: b}',
      'admin: 3',
    ),
    fc.constantFrom('- x', '{', 'proxy: *a', '---'),
    fc.string({ maxLength: 20 }),
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), lines => {
      const { config, problems } = read(lines.join('\n'));
      t.is(config === null, problems.length > 0);
    }),
  );
});

test('gRPC can be left out, in the file or the environment', t => {
  t.is(read('rpc: {listen: false}').config?.rpc, null);
  t.is(read(null, { HOP3_AGENT_RPC: 'false' }).config?.rpc, null);
});
