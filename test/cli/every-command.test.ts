import test, { type ExecutionContext } from 'ava';
import { agentRoutes } from '../../src/api/routes/agents.ts';
import { enrolmentRoutes } from '../../src/api/routes/enrolment.ts';
import { planRoutes } from '../../src/api/routes/plans.ts';
import { scheduleRoutes } from '../../src/api/routes/schedules.ts';
import type { ClusterReport } from '../../src/cli/daemon.ts';
import { INTERRUPTED } from '../../src/cli/io.ts';
import { commandDefinitions, commandGroups } from '../../src/cli/surface.ts';
import { FakeAdmin } from '../support/fake-admin.ts';
import { FakeNamedAgents } from '../support/fake-named-agents.ts';
import { FakePlans } from '../support/fake-plans.ts';
import { servedAdmin } from '../support/served-admin.ts';
import { type Circumstances, ran, type Ran } from './captured-io.ts';
import { directoryWith } from './temporary-directory.ts';
import { eachChange } from '../support/plan-feeds.ts';

/** What every command of the surface is held to. A command that is new needs a row here. */
interface Row {
  /** A line that it answers with 0. */
  good: string;
  /** Of stdout with `--json`: one document (the default), one object a line, or nothing. */
  json?: 'lines' | 'nothing';
  /** What has to be there first. */
  before?: string[];
  /** Answered without an agent. */
  alone?: true;
  /** With a name that nobody knows, and what it may have meant. */
  typo?: [line: string, meant: string];
  /** A line that goes on until Ctrl-C, or for as long as nothing gets ready. */
  waits?: string;
}

const rows: Record<string, Row> = {
  run: { good: 'run', alone: true, json: 'nothing' },
  dev: { good: 'dev', alone: true, json: 'nothing' },
  init: { good: 'init site', alone: true },
  validate: { good: 'validate shop.yaml', alone: true },
  plan: { good: 'plan shop.yaml' },
  apply: { good: 'apply shop.yaml', waits: 'apply shop.yaml --wait' },
  deploy: { good: 'deploy shop --app shop', waits: 'deploy shop --app shop' },
  remove: { good: 'remove blog --yes', typo: ['remove blgo --yes', 'blog'] },
  'batch submit': { good: 'batch submit plan.yaml', waits: 'batch submit plan.yaml --wait' },
  'batch list': { good: 'batch list' },
  'batch status': {
    good: 'batch status plan-1',
    typo: ['batch status paln-1', 'plan-1'],
    waits: 'batch status plan-1 --watch',
  },
  'batch cancel': { good: 'batch cancel plan-1', typo: ['batch cancel plna-1', 'plan-1'] },
  'batch retry': { good: 'batch retry plan-3', typo: ['batch retry paln-3', 'plan-3'] },
  'batch output': { good: 'batch output plan-2 0', typo: ['batch output paln-2 0', 'plan-2'] },
  'batch remove': { good: 'batch remove plan-2', typo: ['batch remove paln-2', 'plan-2'] },
  'schedule list': { good: 'schedule list' },
  'schedule show': { good: 'schedule show nightly', typo: ['schedule show nightl', 'nightly'] },
  'schedule pause': { good: 'schedule pause nightly', typo: ['schedule pause nihgtly', 'nightly'] },
  'schedule resume': { good: 'schedule resume nightly', typo: ['schedule resume nightyl', 'nightly'] },
  'schedule run': {
    good: 'schedule run nightly',
    typo: ['schedule run nightyl', 'nightly'],
    waits: 'schedule run nightly --wait',
  },
  'schedule remove': { good: 'schedule remove nightly', typo: ['schedule remove nightli', 'nightly'] },
  status: { good: 'status', typo: ['status blogg', 'blog'] },
  nodes: { good: 'nodes' },
  promises: { good: 'promises', waits: 'promises --watch' },
  explain: { good: 'explain blog/web/0', typo: ['explain bolg/web/0', 'blog/web/0'] },
  events: { good: 'events', waits: 'events --follow' },
  logs: {
    good: 'logs blog',
    json: 'lines',
    typo: ['logs blog/wbe', 'blog/web'],
    waits: 'logs blog --follow',
  },
  top: { good: 'top --once', waits: 'top' },
  agents: { good: 'agents' },
  scale: {
    good: 'scale blog web=3',
    typo: ['scale blo web=3', 'blog'],
    waits: 'scale blog web=3 --wait',
  },
  restart: { good: 'restart blog', typo: ['restart bolg', 'blog'], waits: 'restart blog --wait' },
  promote: { good: 'promote blog', typo: ['promote boog', 'blog'], waits: 'promote blog --wait' },
  rollback: {
    good: 'rollback blog',
    before: ['restart blog', 'deploy shop --app blog'],
    typo: ['rollback blug', 'blog'],
    waits: 'rollback blog --wait',
  },
  drain: { good: 'drain n1', typo: ['drain n11', 'n1'], waits: 'drain n1 --wait' },
  undrain: { good: 'undrain n1', typo: ['undrain n22', 'n2'] },
  rebalance: { good: 'rebalance', waits: 'rebalance --apply --wait' },
  own: { good: 'own nightly -- true', json: 'lines', waits: 'own nightly --wait -- true' },
  release: { good: 'release taken', waits: 'release taken' },
  'cluster init': { good: 'cluster init --name n1 --address 10.0.0.1', alone: true },
  'cluster token': { good: 'cluster token' },
  'cluster recover': { good: 'cluster recover --restored' },
  'cluster join': { good: 'cluster join https://10.0.0.1:7300 --token T --name n2', alone: true },
  doctor: { good: 'doctor' },
  completion: { good: 'completion bash', alone: true },
};

/** Port 9 of loopback: nobody answers there. */
const NOBODY = { HOP3_AGENT_API: 'http://127.0.0.1:9' };
const ESCAPE = /\u001b/;

test('there is a row for each command, and for nothing else', t => {
  t.deepEqual(Object.keys(rows).sort(), commandDefinitions.map(({ name }) => name).sort());
});

test('a command that names what the cluster knows has a row for a name it does not know', t => {
  const byName = commandDefinitions.filter(definition =>
    definition.arguments.some(
      ({ completes }) => typeof completes === 'string' && !['files', 'directories'].includes(completes),
    ),
  );
  // Whose names are made by asking for them.
  const others = byName.filter(({ name }) => !['own', 'release'].includes(name));
  t.deepEqual(
    others.filter(({ name }) => rows[name]?.typo === undefined).map(({ name }) => name),
    [],
  );
});

for (const [name, { good, json = 'document', before = [], alone = false, typo, waits }] of Object.entries(
  rows,
)) {
  test.serial(`${name}: with --json stdout is JSON and nothing else, stderr is empty`, async t => {
    const run = await inCluster(t);
    for (const line of before) await run(line);
    const { exitCode, stdout, stderr } = await run(good, { json: true });
    t.is(exitCode, 0, stderr);
    t.is(stderr, '');
    t.notRegex(stdout, ESCAPE);
    if (json === 'document') t.is(typeof JSON.parse(stdout), 'object');
    if (json === 'lines')
      for (const text of stdout.trim().split('\n')) t.is(typeof JSON.parse(text), 'object');
    if (json === 'nothing') t.is(stdout, '');
  });

  test.serial(`${name}: where no terminal is, nothing is coloured`, async t => {
    const run = await inCluster(t);
    for (const line of before) await run(line);
    const { stdout, stderr } = await run(good);
    t.notRegex(stdout + stderr, ESCAPE);
  });

  test.serial(
    `${name}: a word too many, or an option there is not, is a usage error, as JSON too`,
    async t => {
      for (const line of [`${name} --no-such-option`, `${name} --no-such-option --json`]) {
        const { exitCode, stdout, stderr } = await ran(line.split(' '), { env: NOBODY });
        t.is(exitCode, 2);
        t.is(stdout, '');
        if (line.endsWith('--json')) t.is(failureIn(stderr).exitCode, 2);
        else t.regex(stderr, /^error: unknown option '--no-such-option'\nhint: .+\n$/);
      }
    },
  );

  if (!alone) {
    test.serial(`${name}: with no agent in reach it says so with exit code 7, as JSON too`, async t => {
      const run = await inCluster(t);
      const { exitCode, stdout, stderr } = await run(good, { env: NOBODY });
      t.is(exitCode, 7);
      t.is(stdout, '');
      t.regex(stderr, /^error: no answer from the agent at http:\/\/127\.0\.0\.1:9: .+\nhint: .+\n$/m);
      const told = await run(good, { env: NOBODY, json: true });
      t.is(told.exitCode, 7);
      t.is(told.stdout, '');
      t.is(failureIn(told.stderr).exitCode, 7);
    });
  }

  if (typo !== undefined) {
    test.serial(`${name}: a name nobody knows is exit code 3, with the one that was meant`, async t => {
      const run = await inCluster(t);
      const [line, meant] = typo;
      const { exitCode, stdout, stderr } = await run(line);
      t.is(exitCode, 3, stderr);
      t.is(stdout, '');
      t.regex(stderr, new RegExp(`^hint: did you mean "${meant}"\\?$`, 'm'));
    });
  }

  if (waits !== undefined) {
    test.serial(`${name}: Ctrl-C ends its waiting with exit code 130 and no complaint`, async t => {
      const run = await inCluster(t);
      for (const line of before) await run(line);
      run.nothingEnds();
      const ending = new AbortController();
      const interrupt = () => ending.abort(INTERRUPTED);
      run.plans.whenWatched = interrupt;
      const { exitCode, stderr } = await run(waits, {
        signal: ending.signal,
        onSleep: interrupt,
        onStdout: interrupt,
      });
      t.is(exitCode, 130, stderr);
      t.notRegex(stderr, /^error/m);
    });
  }
}

for (const group of Object.keys(commandGroups)) {
  test.serial(`${group} without a second word is a usage error, as JSON too`, async t => {
    t.is((await ran([group])).exitCode, 2);
    const { exitCode, stdout, stderr } = await ran([group, '--json']);
    t.is(exitCode, 2);
    t.is(stdout, '');
    t.like(failureIn(stderr), { hint: `hop3-agent ${group} --help shows what can be asked` });
  });
}

test('help of a command is the same as its --help, of a nameless one a usage error', async t => {
  for (const { name } of commandDefinitions) {
    const words = name.split(' ');
    t.deepEqual(await ran(['help', ...words]), await ran([...words, '--help']));
  }
  const { exitCode, stderr } = await ran(['help', 'stauts']);
  t.is(exitCode, 2);
  t.is(stderr, "error: unknown command 'stauts'\nhint: did you mean status?\n");
});

test('what is not an agent is told apart: a web page, its error page, and an answer that is no JSON', async t => {
  const pages: [status: number, type: string, body: string][] = [
    [200, 'text/html', '<h1>It works!</h1>'],
    [404, 'text/html', '<h1>Not found</h1>'],
    [200, 'text/plain', 'hello'],
  ];
  for (const [status, type, body] of pages) {
    const { createServer } = await import('node:http');
    const server = createServer((_request, response) =>
      response.writeHead(status, { 'content-type': type }).end(body),
    ).listen(0, '127.0.0.1');
    t.teardown(() => server.close());
    await new Promise(resolve => server.once('listening', resolve));
    const env = { HOP3_AGENT_API: `http://127.0.0.1:${(server.address() as { port: number }).port}` };
    const { exitCode, stderr } = await ran(['nodes'], { env });
    t.is(exitCode, 7, stderr);
    t.regex(stderr, /^hint: is an agent running there\?/m);
    if (status === 200 && type === 'text/html') t.is((await ran(['logs', 'blog'], { env })).exitCode, 7);
  }
});

interface Failure {
  message: string;
  hint: string | null;
  exitCode: number;
}

/** The error that is all of stderr. */
function failureIn(stderr: string): Failure {
  return (JSON.parse(stderr) as { error: Failure }).error;
}

const report: ClusterReport = {
  node: 'n1',
  cluster: 'prod',
  fingerprint: 'FINGERPRINT',
  configFile: '/etc/hop3/agent.yaml',
  certificate: { file: '/etc/hop3/tls/node.pem', endsAt: '2027-01-01T00:00:00Z', names: ['n1'] },
  made: [],
  kept: [],
  next: [],
};
const daemon = {
  run: () => Promise.resolve(0),
  dev: () => Promise.resolve(0),
  clusterInit: () => Promise.resolve(report),
  clusterJoin: () => Promise.resolve(report),
};

const plan =
  'kind: Plan\ntitle: Report\nsteps:\n  - {name: fetch, agent: http, resource: "https://example.com"}\n';
const files = {
  'shop.yaml': 'metadata: {id: shop}\nsource: {path: shop}\nrun: {start: node a.js}\n',
  'shop/a.js': '',
  'shop/Procfile': 'web: node a.js\n',
  'site/index.html': '',
  'plan.yaml': plan,
  'nightly.yaml': `${plan}schedule: {name: nightly, cron: "@daily"}\n`,
};

/**
 * Runs command lines against the real admin API over fakes: the app `blog`, a plan that runs, one that has completed and one
 * that has failed, a schedule, a name that is taken.
 */
async function inCluster(t: ExecutionContext) {
  const admin = FakeAdmin.seeded();
  const agents = new FakeNamedAgents();
  const plans = new FakePlans();
  const cwd = await directoryWith(t, files);
  const enrolment = {
    authority: () => Promise.reject(new Error('not asked')),
    issueToken: () =>
      Promise.resolve({ token: 'TOKEN', node: null, endsAt: 'THEN', fingerprint: 'FINGERPRINT' }),
    enrol: () => Promise.reject(new Error('not asked')),
  };
  const { admin: listens, ...view } = FakeAdmin.seeded().node();
  admin.node = () => ({ ...view, admin: listens.replace('http:', 'https:') });
  const api = await servedAdmin(t, {
    admin,
    extraRoutes: [
      ...agentRoutes(agents, admin),
      ...planRoutes(plans, eachChange(plans)),
      ...scheduleRoutes(plans),
      ...enrolmentRoutes(enrolment),
    ],
  });
  const run = (
    line: string,
    { json = false, ...circumstances }: Circumstances & { json?: boolean } = {},
  ): Promise<Ran> => {
    const [first = '', ...rest] = line.split(' ');
    const argv = [first, ...(json ? ['--json'] : []), ...rest];
    const env = { HOP3_AGENT_API: api.url, ...circumstances.env };
    return ran(argv, { cwd, daemon, ...circumstances, env });
  };
  for (let count = 0; count < 3; count++) await run('batch submit plan.yaml');
  plans.begin('plan-2');
  plans.finish('plan-2', 0, { kind: 'completed', output: null }, Buffer.from('three rows\n'));
  plans.begin('plan-3');
  plans.finish('plan-3', 0, { kind: 'failed', type: 'FATAL', error: 'no such host' });
  await run('apply nightly.yaml');
  await agents.request('taken', {
    holder: 'somebody',
    wait: false,
    token: null,
    waitSeconds: 0,
    ttlSeconds: 10,
  });
  agents.script = [
    { kind: 'started', node: 'n1', holder: 'command:1', token: '7' },
    { kind: 'ended', code: 0, signal: null, reason: null, released: true },
  ];
  return Object.assign(run, {
    plans,
    /** Nothing gets ready, or is released, or has its turn. */
    nothingEnds() {
      const instances = admin.instances.bind(admin);
      admin.instances = filter => {
        const { items, ...listing } = instances(filter);
        return { ...listing, items: items.map(instance => ({ ...instance, ready: false })) };
      };
      const { token, owner } = agents.agent('taken');
      agents.recall = async () => ({ owner: owner ?? '', holder: 'somebody', token: token ?? '' });
      agents.script = [{ kind: 'waiting', reason: 'somebody has it', ahead: 1 }];
    },
  });
}
