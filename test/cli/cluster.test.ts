import test, { type ExecutionContext } from 'ava';
import { enrolmentRoutes } from '../../src/api/routes/enrolment.ts';
import type { ClusterInitOptions, ClusterJoinOptions, ClusterReport } from '../../src/cli/daemon.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { servedAdmin } from '../support/served-admin.ts';
import { answerOf, ran } from './captured-io.ts';

const report: ClusterReport = {
  node: 'node-1',
  cluster: 'prod',
  fingerprint: 'FINGERPRINT',
  configFile: '/etc/hop3/agent.yaml',
  certificate: {
    file: '/etc/hop3/tls/node.pem',
    endsAt: '2027-01-01T00:00:00Z',
    names: ['node-1', '10.0.0.1'],
  },
  made: ['the authority', 'a certificate'],
  kept: ['the file'],
  next: ['start the agent'],
};

/** Makes nothing, and remembers what it was asked for. */
function recording() {
  const asked: (ClusterInitOptions | ClusterJoinOptions)[] = [];
  const remember = (options: ClusterInitOptions | ClusterJoinOptions) => {
    asked.push(options);
    return Promise.resolve(report);
  };
  return { asked, daemon: { clusterInit: remember, clusterJoin: remember } };
}

test('cluster init says what was made, what was there, and what to do next', async t => {
  const { asked, daemon } = recording();
  const { exitCode, stdout } = await ran(
    [
      'cluster',
      'init',
      '--name',
      'node-1',
      '--address',
      '10.0.0.1',
      '--address',
      'one',
      '--etcd',
      'https://a:1,https://b:1',
    ],
    { daemon },
  );
  t.is(exitCode, 0);
  t.deepEqual(asked, [
    {
      configFile: '/etc/hop3/agent.yaml',
      name: 'node-1',
      cluster: null,
      addresses: ['10.0.0.1', 'one'],
      etcdEndpoints: ['https://a:1', 'https://b:1'],
      renew: false,
      etcdRootPassword: null,
    },
  ]);
  t.is(
    stdout,
    [
      'made  the authority',
      '      a certificate',
      'kept  the file',
      'node-1 speaks for node-1, 10.0.0.1 until 2027-01-01T00:00:00Z',
      "the authority's fingerprint is FINGERPRINT",
      'next  start the agent',
      '',
    ].join('\n'),
  );
});

test('cluster init --json answers the report', async t => {
  const { daemon } = recording();
  t.deepEqual(answerOf(await ran(['cluster', 'init', '--json'], { daemon })), report);
});

test("root's password comes from the environment or from whoever is there, and else is asked for in vain", async t => {
  const { asked, daemon } = recording();
  const line = ['cluster', 'init', '--etcd-users'];
  await ran(line, { daemon, env: { HOP3_AGENT_ETCD_ROOT_PASSWORD: 'from env' } });
  await ran(line, { daemon, canAsk: true, stdin: 'typed\n' });
  t.deepEqual(
    asked.map(({ etcdRootPassword }) => etcdRootPassword),
    ['from env', 'typed'],
  );
  const { exitCode, stderr } = await ran(line, { daemon });
  t.is(exitCode, 2);
  t.regex(stderr, /password of etcd's user root is needed\nhint: HOP3_AGENT_ETCD_ROOT_PASSWORD/);
});

test('cluster join hands over the address and the token, and wants one', async t => {
  const { asked, daemon } = recording();
  const line = ['cluster', 'join', 'https://10.0.0.1:7300', '--config', 'agent.yaml'];
  t.is((await ran([...line, '--token', 'T'], { daemon, cwd: '/here' })).exitCode, 0);
  t.like(asked[0], { url: 'https://10.0.0.1:7300', token: 'T', configFile: '/here/agent.yaml' });
  const { exitCode, stderr } = await ran(line, { daemon });
  t.is(exitCode, 2);
  t.regex(stderr, /a join token is needed/);
});

test('cluster without a second word shows what there is', async t => {
  const { exitCode, stdout, stderr } = await ran(['cluster']);
  t.is(exitCode, 2);
  t.regex(stdout + stderr, /init .*\n[^]*token .*\n[^]*join/);
});

test('the second word is completed too, and its options', async t => {
  const words = async (...typed: string[]) => (await ran(['__complete', ...typed])).stdout;
  t.regex(await words('clu'), /^none\ncluster\t/);
  t.regex(await words('cluster', ''), /\ninit\t[^]*\ntoken\t[^]*\njoin\t/);
  t.regex(await words('cluster', 'init', '--ren'), /\n--renew\t/);
  t.is(await words('cluster', 'init', '--config', 'x'), 'files\n');
});

async function withAuthority(t: ExecutionContext, admin: string) {
  const fake = FakeAdmin.seeded();
  const view = fake.node();
  fake.node = () => ({ ...view, admin });
  const enrolment = {
    authority: () => Promise.reject(new Error('not asked')),
    issueToken: ({ node, ttlSeconds }: { node: string | null; ttlSeconds: number }) =>
      Promise.resolve({ token: `TOKEN-${ttlSeconds}`, node, endsAt: 'THEN', fingerprint: 'FINGERPRINT' }),
    enrol: () => Promise.reject(new Error('not asked')),
  };
  const api = await servedAdmin(t, {
    admin: fake,
    extraRoutes: enrolmentRoutes(enrolment),
  });
  return { HOP3_AGENT_API: api.url };
}

test('cluster token prints the command for the other machine', async t => {
  const env = await withAuthority(t, 'https://10.0.0.1:7300');
  const { stdout, stderr } = await ran(['cluster', 'token'], { env });
  t.regex(
    stdout,
    /\n {2}hop3-agent cluster join https:\/\/10\.0\.0\.1:7300 --token TOKEN-900 --address ADDRESS\n/,
  );
  t.regex(stdout, /good once, until THEN; the authority's fingerprint is FINGERPRINT/);
  t.is(stderr, '');
  const bound = await ran(['cluster', 'token', '--node', 'node-2', '--ttl', '60'], { env });
  t.regex(bound.stdout, /^on node-2:\n\n.* --token TOKEN-60 --name node-2\n/);
});

test('cluster token warns when nobody could come with it', async t => {
  const env = await withAuthority(t, 'http://127.0.0.1:7300');
  t.regex((await ran(['cluster', 'token'], { env })).stderr, /no TLS here, so nobody can join/);
});
