import test from 'ava';
import { ran, recordingDaemon } from './captured-io.ts';

test('run hands over its flags, and only those that were given', async t => {
  const { asked, daemon } = recordingDaemon();
  await ran(['run'], { daemon });
  await ran(
    [
      ...['run', '--config', 'agent.yaml', '--name', 'eu-1', '--state-dir', 'state'],
      ...['--etcd', 'http://a:1,http://b:1', '--admin', '127.0.0.1:1', '--peer', '127.0.0.1:2'],
      ...['--label', 'zone=eu', '--label', 'disk=ssd', '--role', 'apps', '--role', 'proxy'],
      ...['--lease-ttl', '3', '--log-level', 'debug', '--driver', 'process', '--proxy-port', '80'],
    ],
    { daemon, cwd: '/srv' },
  );
  t.deepEqual(asked, [
    { configFile: null, flags: {} },
    {
      configFile: '/srv/agent.yaml',
      flags: {
        name: 'eu-1',
        stateDir: '/srv/state',
        etcdEndpoints: ['http://a:1', 'http://b:1'],
        admin: '127.0.0.1:1',
        peer: '127.0.0.1:2',
        labels: { zone: 'eu', disk: 'ssd' },
        roles: ['apps', 'proxy'],
        leaseTtlSeconds: 3,
        logLevel: 'debug',
        driver: 'process',
        proxyPort: 80,
      },
    },
  ]);
});

const start = {
  kind: 'start' as const,
  files: [],
  nodes: 3,
  proxyPort: 8080,
  apiPort: 7301,
  leaseTtlSeconds: null,
  logLevel: null,
  fresh: false,
};

const orders: { argv: string[]; asks: object }[] = [
  { argv: ['dev'], asks: { stateDir: '/srv/.hop3', order: start } },
  {
    argv: [
      'dev',
      'a.yaml',
      '/b.yaml',
      '--nodes',
      '5',
      '--lease-ttl',
      '3',
      '--fresh',
      '--state-dir',
      '/tmp/x',
    ],
    asks: {
      stateDir: '/tmp/x',
      order: { ...start, files: ['/srv/a.yaml', '/b.yaml'], nodes: 5, leaseTtlSeconds: 3, fresh: true },
    },
  },
  {
    argv: ['dev', '--proxy-port', '80', '--api-port', '9000', '--log-level', 'warn'],
    asks: { stateDir: '/srv/.hop3', order: { ...start, proxyPort: 80, apiPort: 9000, logLevel: 'warn' } },
  },
  {
    argv: ['dev', '--kill', 'node-2'],
    asks: { stateDir: '/srv/.hop3', order: { kind: 'kill-node', node: 'node-2' } },
  },
  {
    argv: ['dev', '--start', 'node-2'],
    asks: { stateDir: '/srv/.hop3', order: { kind: 'start-node', node: 'node-2' } },
  },
  { argv: ['dev', '--stop'], asks: { stateDir: '/srv/.hop3', order: { kind: 'stop' } } },
];

for (const { argv, asks } of orders) {
  test(argv.join(' '), async t => {
    const { asked, daemon } = recordingDaemon();
    const { exitCode } = await ran(argv, { daemon, cwd: '/srv' });
    t.is(exitCode, 0);
    t.deepEqual(asked as object[], [asks]);
  });
}

test("the daemon's exit code is the command's, and its failures are told like any other", async t => {
  t.is((await ran(['run'], { daemon: { run: () => Promise.resolve(1) } })).exitCode, 1);
  const failing = await ran(['run'], {
    daemon: { run: () => Promise.reject(new Error('the state directory is locked')) },
  });
  t.is(failing.exitCode, 1);
  t.regex(failing.stderr, /^error: the state directory is locked\n/);
  t.notRegex(failing.stderr, /^\s+at /m);
});

test('HOP3_AGENT_DEBUG=1 shows where an unexpected error came from', async t => {
  const { stderr } = await ran(['run'], {
    env: { HOP3_AGENT_DEBUG: '1' },
    daemon: { run: () => Promise.reject(new Error('odd')) },
  });
  t.regex(stderr, /^\s+at /m);
});
