import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import type { InstanceView } from '../../src/model/views.ts';
import {
  hop3,
  isAlive,
  MAIN,
  startCluster,
  type Ended,
  type TestCluster,
  type TestNode,
} from '../support/cluster.ts';
import { until } from '../support/until.ts';

/** One cluster for the file; each test has an app of its own, and what it needs no network for. */
let cluster: TestCluster;
test.before(async () => {
  cluster = await startCluster({ nodes: 3, leaseTtlSeconds: 5 });
});
test.after.always(() => cluster.stop());

const run = promisify(execFile);

/** Answers `text`, and what it was started with. */
const serverSaying = (text: string) => `
const { createServer } = require('node:http');
const { PORT, BIND_ADDRESS } = process.env;
const facts = () => JSON.stringify({ text: ${JSON.stringify(text)}, pid: process.pid, env: process.env });
createServer((request, response) => response.end(facts())).listen(PORT, BIND_ADDRESS);
`;
const npmPackage = (scripts: Record<string, string>) => JSON.stringify({ name: 'app', scripts });

async function directoryOf(name: string, files: Record<string, string>): Promise<string> {
  const directory = join(cluster.directory, 'sources', name);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), content);
  }
  return directory;
}

/** As a person does it, and through any node. */
function told(args: string[], node: TestNode = cluster.nodes[0]!): Promise<Ended> {
  return hop3(args, node.url);
}

async function answerOf({ endpoint }: InstanceView): Promise<string> {
  const response = await fetch(`http://${endpoint!.host}:${endpoint!.port}/`);
  return response.text();
}

interface Facts {
  text: string;
  pid: number;
  env: Record<string, string>;
}

const factsOf = async (instance: InstanceView): Promise<Facts> =>
  JSON.parse(await answerOf(instance)) as Facts;

test.serial(
  'a directory with a package.json alone runs; deployed again unchanged, nothing restarts',
  async t => {
    const directory = await directoryOf('shop', {
      'package.json': npmPackage({ start: 'exec node index.js' }),
      'index.js': serverSaying('one'),
    });
    const deployed = await told(['deploy', directory, '--host', 'shop.example.com']);
    t.is(deployed.code, 0, deployed.stderr);
    t.regex(deployed.stdout, /^shop: ready, release 1, web 1\/1, at shop\.example\.com$/m);
    const [instance] = await cluster.ready('shop', 1);
    const before = await factsOf(instance!);
    t.like(before.env, { APP: 'shop', HOST_NAME: 'shop.example.com', PROC_TYPE: 'web', HOP3_RELEASE: '1' });
    await writeFile(join(before.env['DATA_DIR']!, 'notes'), 'kept');

    for (const node of cluster.nodes) {
      const again = await told(['deploy', directory, '--host', 'shop.example.com'], node);
      t.is(again.code, 0, again.stderr);
      t.regex(again.stderr, /as the manifest wants it already \(release 1\)/);
    }
    t.is((await factsOf((await cluster.ready('shop', 1))[0]!)).pid, before.pid);

    await writeFile(join(directory, 'index.js'), serverSaying('two'));
    t.is((await told(['deploy', directory, '--host', 'shop.example.com'])).code, 0);
    const after = await factsOf((await cluster.ready('shop', 1))[0]!);
    t.is(after.text, 'two');
    t.is(await readFile(join(after.env['DATA_DIR']!, 'notes'), 'utf8'), 'kept');
  },
);

test.serial('a failing build shows its last lines and exits 8, and the release before goes on', async t => {
  const [before] = await cluster.ready('shop', 1);
  const directory = await directoryOf('failing', {
    'hop3.yaml': 'metadata: {id: shop}\nrun: {start: node index.js}\nbuild: {build: ./make.sh}\n',
    'make.sh': 'for n in $(seq 30); do echo step $n; done; echo no such luck >&2; exit 3',
  });
  await run('chmod', ['+x', join(directory, 'make.sh')]);
  const { code, stderr } = await told(['deploy', directory]);
  t.is(code, 8);
  t.regex(stderr, /^error: shop: build failed: `\.\/make\.sh` failed with exit code 3$/m);
  const lastLines = stderr.slice(stderr.indexOf('error: shop'));
  t.regex(lastLines, /step 30\n.*no such luck|no such luck\n/);
  t.notRegex(lastLines, /step 1\n/);
  const [after] = await cluster.ready('shop', 1);
  t.is(after!.pid, before!.pid);
  t.is((await factsOf(after!)).text, 'two');
});

test.serial('a directory with nothing but public/ is served', async t => {
  const directory = await directoryOf('site', { 'public/index.html': '<h1>Hello</h1>' });
  const { code, stderr } = await told(['deploy', directory]);
  t.is(code, 0, stderr);
  t.is(await answerOf((await cluster.ready('site', 1))[0]!), '<h1>Hello</h1>');
});

test.serial(
  'a Procfile runs its web process, its worker and its scheduled command, after its hooks',
  async t => {
    const directory = await directoryOf('post', {
      Procfile:
        'web: node web.js\nmailer: node mailer.js\nbuild: echo made > made\nprerun: cat made\n' +
        'cron: @yearly cat made; echo "$GREETING from $APP on $HOP3_NODE"\n',
      ENV: 'GREETING=hello\n',
      'web.js': serverSaying('post'),
      'mailer.js': `console.log('mailer at work'); setInterval(() => undefined, 1000);`,
    });
    const { code, stdout, stderr } = await told(['deploy', directory, '--scale', 'mailer=2']);
    t.is(code, 0, stderr);
    t.regex(stdout, /web 1\/1, mailer 2\/2/);
    t.regex(stderr, /post \| \$ cat made\npost \| made$/m);
    const instances = await cluster.ready('post', 3);
    t.is((await factsOf(instances.find(({ process }) => process === 'web')!)).text, 'post');
    await until('the output of both workers can be read', async () => {
      const { stdout: output } = await told(['logs', 'post/mailer']);
      return output.match(/mailer at work/g)?.length === 2;
    });
    // On a node that may have to fetch the release first.
    await until('the supervisor has heard of the line', async () => {
      return (await told(['schedule', 'list'])).stdout.includes('app/post');
    });
    const tried = await told(['schedule', 'run', 'post/cron', '--wait', '--json'], cluster.nodes[2]);
    t.is(tried.code, 0, tried.stderr);
    const { plan } = JSON.parse(tried.stdout) as { plan: string };
    t.regex(
      (await told(['batch', 'output', plan, 'cron'])).stdout,
      /^made\nhello from post on node-[123]\n$/,
    );
    t.is((await told(['schedule', 'remove', 'post/cron'])).code, 6);
    t.is((await told(['remove', 'post', '--yes'])).code, 0);
    await until('nothing of it is scheduled any more', async () => {
      return (await told(['schedule', 'show', 'post/cron'])).code === 3;
    });
  },
);

test.serial('a git source names its own process, and a branch that moved is a new release', async t => {
  const repository = await directoryOf('repository', { 'server.js': serverSaying('first') });
  const git = (...args: string[]) =>
    run('git', ['-C', repository, '-c', 'user.name=A', '-c', 'user.email=a@example.com', ...args]);
  await git('init', '--quiet', '--initial-branch=main');
  const commit = async (message: string) => {
    await git('add', '.');
    await git('commit', '--quiet', '--message', message);
  };
  await commit('first');
  const manifest = join(cluster.directory, 'from-git.yaml');
  await writeFile(
    manifest,
    `metadata: {id: from-git}\nsource: {git: {url: "file://${repository}", ref: main}}\nscale: {web: 2}\n`,
  );
  const textsAfter = async (node: TestNode): Promise<{ texts: string[]; stderr: string }> => {
    const { code, stderr } = await told(['apply', '--wait', manifest], node);
    t.is(code, 0, stderr);
    const facts = await Promise.all((await cluster.ready('from-git', 2)).map(factsOf));
    return { texts: facts.map(({ text }) => text), stderr };
  };
  t.deepEqual((await textsAfter(cluster.nodes[0]!)).texts, ['first', 'first']);
  const same = await textsAfter(cluster.nodes[1]!);
  t.regex(same.stderr, /as the manifest wants it already \(release 1\)/);
  await writeFile(join(repository, 'server.js'), serverSaying('second'));
  await commit('second');
  t.deepEqual((await textsAfter(cluster.nodes[2]!)).texts, ['second', 'second']);
});

test.serial('an archive is taken only if it is the one the manifest means', async t => {
  const directory = await directoryOf('release-1.2', { 'index.html': 'from an archive' });
  const archive = join(cluster.directory, 'release.tar.gz');
  await run('tar', ['-czf', archive, '-C', dirname(directory), 'release-1.2']);
  const bytes = await readFile(archive);
  const server = createServer((_request, response) => response.end(bytes)).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await until('the archive can be had', () => server.listening);
  const { port } = server.address() as AddressInfo;
  const manifest = join(cluster.directory, 'from-archive.yaml');
  const apply = async (sha256: string) => {
    const source = `{archive: {url: "http://127.0.0.1:${port}/release.tar.gz", sha256: "${sha256}"}}`;
    await writeFile(manifest, `metadata: {id: from-archive}\nsource: ${source}\n`);
    return told(['apply', '--wait', manifest]);
  };
  const other = await apply('0'.repeat(64));
  t.is(other.code, 8);
  t.regex(other.stderr, /but the manifest expects sha256:0000/);
  const right = await apply(createHash('sha256').update(bytes).digest('hex'));
  t.is(right.code, 0, right.stderr);
  t.is(await answerOf((await cluster.ready('from-archive', 1))[0]!), 'from an archive');
});

test.serial('what cannot be run is refused or fails with a reason, and nothing is wanted of it', async t => {
  const repository = await directoryOf('notes', { README: 'nothing to run' });
  await run('git', ['-C', repository, 'init', '--quiet', '--initial-branch=main']);
  await run('git', ['-C', repository, 'add', '.']);
  const who = ['-c', 'user.name=A', '-c', 'user.email=a@example.com'];
  await run('git', ['-C', repository, ...who, 'commit', '--quiet', '--message', 'x']);
  const cases = [
    {
      source: `{git: {url: "file://${repository}"}}`,
      code: 8,
      message: /there is nothing to run: the manifest names no process/,
    },
    {
      source: `{git: {url: "file://${repository}", ref: gone}}`,
      code: 8,
      message: /cannot fetch gone of file:/,
    },
    {
      source: `{uploaded: "sha256:${'0'.repeat(64)}"}`,
      code: 1,
      message: /no node holds the source tree sha256:0000/,
    },
  ];
  for (const [index, { source, code, message }] of cases.entries()) {
    const manifest = join(cluster.directory, `bad-${index}.yaml`);
    await writeFile(manifest, `metadata: {id: bad-${index}}\nsource: ${source}\n`);
    const ended = await told(['apply', manifest]);
    t.is(ended.code, code, ended.stderr);
    t.regex(ended.stderr, message);
  }
  const { items } = await cluster.api.apps();
  t.deepEqual(
    items.filter(({ app }) => app.startsWith('bad-')),
    [],
  );
});

test.serial(
  'what no kept release needs goes from a node; what runs there stays, and can be gone back to',
  async t => {
    const manifest = 'metadata: {id: often}\nrun: {start: exec node server.js}\nsource: {path: .}\n';
    for (let release = 1; release <= 6; release++) {
      const text = String(release);
      const files = { 'hop3.yaml': manifest, 'server.js': serverSaying(text) };
      const directory = await directoryOf('often', files);
      const { code, stderr } = await told(['apply', join(directory, 'hop3.yaml')]);
      t.is(code, 0, stderr);
    }
    const [instance] = await cluster.ready('often', 1, all => all.every(({ release }) => release === 6));
    await until('it has settled', async () => (await cluster.api.app('often')).rollout === null);
    const node = cluster.node(instance!.node!);
    const releases = () => readdir(join(node.stateDir, 'apps/often/releases'));
    const digests = (await cluster.api.releases('often')).items.map(({ artifact }) => artifact!);
    const held = async () => {
      const own = (await cluster.api.artifacts()).items.filter(each => each.node === node.name);
      return digests.filter(digest => own.some(each => each.digest === digest));
    };

    // What was used until a moment ago is kept for a while: by the next agent, which knows of no such moment, it is not.
    const collected = async (): Promise<void> => {
      await node.end('SIGTERM');
      await node.start();
      await node.ready();
    };
    await collected();
    await until('only what is wanted is unpacked', async () => (await releases()).join() === '6');
    await until('none of its artifacts is older than the newest five', async () => {
      const own = await held();
      return own.includes(digests[0]!) && own.every(digest => digests.indexOf(digest) < 5);
    });
    const { items } = await cluster.api.releases('often');
    t.true(items.slice(0, 5).every(release => release.kept));
    t.is((await cluster.ready('often', 1))[0]!.pid, instance!.pid);
    t.is((await factsOf(instance!)).text, '6');

    const back = await told(['rollback', 'often', '3', '--wait']);
    t.is(back.code, 0, back.stderr);
    const [third] = await cluster.ready('often', 1);
    t.is((await factsOf(third!)).text, '3');

    const data = join(node.stateDir, 'apps/often/data');
    await writeFile(join(data, 'notes'), 'kept');
    t.is((await told(['remove', 'often', '--yes'])).code, 0);
    await until('it is forgotten', async () => (await told(['status', 'often'])).code === 3);
    await collected();
    await until('nothing of it is unpacked', async () => (await releases()).length === 0);
    await until('none of its artifacts is left', async () => (await held()).length === 0);
    t.is(await readFile(join(data, 'notes'), 'utf8'), 'kept');
  },
);

/** What a deployment is doing, as another node tells it. */
async function stepOf(
  app: string,
): Promise<{ plan: string; name: string | null; lockedBy: string | null } | null> {
  const { items } = await cluster.api.plans({ origin: `deploy ${app}`, states: ['RUNNING'] });
  const [plan] = items;
  const running = plan && (await cluster.api.stepsOf(plan.plan, { states: ['RUNNING'] })).items[0];
  return running ? { plan: plan.plan, name: running.name, lockedBy: running.lockedBy } : null;
}

const ended = (plan: string) =>
  until(`${plan} has ended`, async () => {
    const view = await cluster.api.planOf(plan);
    return view.endedAt === null ? null : view;
  });

test.serial('a deployment goes on when its node is killed while it builds, and when it rolls', async t => {
  const directory = await directoryOf('steady', {
    'server.js': serverSaying('one'),
    'build.sh': 'echo $$ > $MARKS/pid-$$; [ -e $MARKS/first ] || { touch $MARKS/first; sleep 30; }',
    'migrate.sh': 'echo ran >> $MARKS/migrated',
    'hop3.yaml': [
      'metadata: {id: steady}',
      'source: {path: .}',
      'build: {build: sh build.sh}',
      'run: {before-run: sh migrate.sh, start: exec node server.js}',
      `env: {MARKS: ${cluster.directory}}`,
    ].join('\n'),
  });
  const driver = cluster.node('node-3');
  const deploying = told(['deploy', directory], driver);
  const building = await until('it is being built', async () => {
    const step = await stepOf('steady');
    const begun = await readFile(join(cluster.directory, 'first')).then(
      () => true,
      () => false,
    );
    return step?.name === 'build' && begun ? step : null;
  });
  t.is(building.lockedBy, 'node-3');
  const pids = (await readdir(cluster.directory)).filter(name => name.startsWith('pid-'));
  await driver.end('SIGKILL');
  t.is((await deploying).code, 7, 'whoever asked can’t hear any more how it ends');
  await until('what it ran is gone with it', async () => !isAlive(Number(pids[0]!.slice(4))));
  t.is((await ended(building.plan)).state, 'COMPLETED');
  t.is((await factsOf((await cluster.ready('steady', 1))[0]!)).text, 'one');
  t.is(await readFile(join(cluster.directory, 'migrated'), 'utf8'), 'ran\n');

  await driver.start();
  await driver.ready();
  await writeFile(join(directory, 'server.js'), `setTimeout(() => { ${serverSaying('two')} }, 2000);`);
  const rolled = await told(['apply', join(directory, 'hop3.yaml')], driver);
  t.is(rolled.code, 0, rolled.stderr);
  const rolling = await until('it rolls', async () => {
    const step = await stepOf('steady');
    return step?.name === 'settle' ? step : null;
  });
  await driver.crash();
  t.is((await ended(rolling.plan)).state, 'COMPLETED');
  const [after] = await cluster.ready('steady', 1, all => all.every(({ release }) => release === 2));
  t.is((await factsOf(after!)).text, 'two');
  const again = await told(['deploy', directory], cluster.node('node-2'));
  t.regex(again.stderr, /as the manifest wants it already \(release 2\)/);
  await driver.start();
  await driver.ready();
});

test.serial('Ctrl-C while it is built ends the build and the deployment, and says so', async t => {
  const pidFile = join(cluster.directory, 'hasty-pid');
  const directory = await directoryOf('hasty', {
    'server.js': serverSaying('never'),
    'hop3.yaml': [
      'metadata: {id: hasty}',
      'source: {path: .}',
      `build: {build: "echo $$ > ${pidFile}; sleep 60"}`,
      'run: {start: exec node server.js}',
    ].join('\n'),
  });
  const env = { ...process.env, HOP3_AGENT_API: cluster.nodes[0]!.url, NO_COLOR: '1' };
  const child = spawn(process.execPath, [MAIN, 'deploy', directory], { env });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const pid = await until('it is being built', async () =>
    Number(await readFile(pidFile, 'utf8').catch(() => '')),
  );
  child.kill('SIGINT');
  const [code] = (await once(child, 'close')) as [number | null];
  t.is(code, 130, said);
  t.regex(said, /^hasty is cancelled, and what was wanted before stays wanted\n$/m);
  t.false(isAlive(pid));
  const [plan] = (await cluster.api.plans({ origin: 'deploy hasty' })).items;
  t.is(plan!.state, 'COMPENSATED');
  t.is((await told(['status', 'hasty'])).code, 3);
  const events = async () =>
    (await cluster.api.events({ subject: 'app/hasty' })).items.map(each => each.kind);
  await until('the ledger has it', async () => (await events()).includes('deploy-cancelled'));
  t.false((await events()).includes('deploy-failed'));
});

test.serial('an app survives the node that built it: its artifact comes from a peer', async t => {
  const directory = await directoryOf('lasting', {
    'package.json': npmPackage({ build: 'node build.js' }),
    'build.js': `require('node:fs').copyFileSync('source.js', 'server.js')`,
    'source.js': serverSaying('built once'),
    Procfile: 'web: node server.js\n',
  });
  const builder = cluster.node('node-3');
  const deployed = await told(['deploy', directory], builder);
  t.is(deployed.code, 0, deployed.stderr);
  const { artifact } = await cluster.api.app('lasting');
  const holders = async () =>
    (await cluster.api.artifacts()).items
      .filter(({ digest }) => digest === artifact)
      .map(({ node }) => node)
      .sort();
  await until('somebody else holds it, too', async () => (await holders()).some(node => node !== 'node-3'));
  await builder.crash();
  await cluster.ready('lasting', 1, all => all.every(({ node }) => node !== 'node-3'));
  t.is((await told(['scale', 'lasting', 'web=2', '--wait'])).code, 0);
  const instances = await cluster.ready('lasting', 2);
  t.deepEqual(instances.map(({ node }) => node).sort(), ['node-1', 'node-2']);
  for (const instance of instances) t.is((await factsOf(instance)).text, 'built once');
  await until(
    'both of those left hold it',
    async () => (await holders()).filter(node => node !== 'node-3').length === 2,
  );
});
