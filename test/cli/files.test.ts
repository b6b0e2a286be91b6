import { chmod, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { Doctor } from '../../src/model/views.ts';
import { answerOf, ran } from './captured-io.ts';
import { cluster } from './cluster-for-tests.ts';
import { directoryWith } from './temporary-directory.ts';

const guestbook = `metadata: {id: guestbook}
source: {path: ./guestbook}
run:
  start: node server.js
  workers: {mailer: node mailer.js}
scale: {web: 3}
`;

test('validate names the apps of sound manifests', async t => {
  const cwd = await directoryWith(t, { 'a.yaml': guestbook, 'guestbook/server.js': '' });
  t.deepEqual(await ran(['validate', 'a.yaml'], { cwd }), {
    exitCode: 0,
    stdout: 'a.yaml: guestbook (web×3, mailer×1)\n',
    stderr: '',
  });
});

test('validate shows all problems of all files, each with its line and a caret', async t => {
  const cwd = await directoryWith(t, {
    'a.yaml': 'metadata: {id: shop}\nrun: {start: node a.js}\nscael: {web: 2}\ndomains: {list: [no name]}\n',
    'b.yaml': 'metadata: {id: [1]}\n',
  });
  const { exitCode, stdout, stderr } = await ran(['validate', 'a.yaml', 'b.yaml'], { cwd });
  t.is(exitCode, 1);
  t.is(stdout, '');
  const [unknown, name, third] = stderr.split(/^(?=[ab]\.yaml)/m);
  t.is(
    unknown,
    'a.yaml:3:1: error: scael: unknown section\n  scael: {web: 2}\n  ^\n  hint: did you mean "scale"?\n',
  );
  t.regex(name!, /^a\.yaml:4:18: error: .*\n {2}domains: \{list: \[no name\]\}\n {19}\^\n/);
  t.regex(third!, /^b\.yaml:1:16: error: metadata\.id: /);
  t.regex(stderr, /^\d problems$/m);
});

test('validate tells of a file that cannot be read beside the problems of the others', async t => {
  const cwd = await directoryWith(t, {
    'b.yaml': 'metadata: {id: [1]}\n',
    'c.yaml': 'metadata: {id: shop}\n',
  });
  const { exitCode, stderr } = await ran(['validate', 'a.yaml', 'b.yaml', 'c.yaml'], { cwd });
  t.is(exitCode, 1);
  t.regex(stderr, /^a\.yaml: error: .*a\.yaml: there is no such file or directory\nb\.yaml:1:16: error: /);
  const alone = await ran(['validate', 'a.yaml', 'd.yaml'], { cwd });
  t.is(alone.exitCode, 3);
  t.regex(alone.stderr, /^error: .*a\.yaml: there is no such file or directory$/m);
});

test('validate --json gives the specs and the problems on stdout, and exits 1 when there are any', async t => {
  const cwd = await directoryWith(t, { 'a.yaml': guestbook, 'guestbook/x': '', 'b.yaml': 'metdata: {}\n' });
  const good = await ran(['validate', 'a.yaml', '--json'], { cwd });
  t.is(good.exitCode, 0);
  t.like(JSON.parse(good.stdout), { apps: [{ app: 'guestbook' }], problems: [], refusals: [] });
  const bad = await ran(['validate', 'b.yaml', '--json'], { cwd });
  t.is(bad.exitCode, 1);
  t.is(bad.stderr, '');
  t.like(JSON.parse(bad.stdout).problems[0], { file: 'b.yaml', line: 1, column: 1 });
});

test('validate reads a manifest from stdin', async t => {
  const { exitCode, stdout } = await ran(['validate', '-'], {
    cwd: await directoryWith(t),
    stdin: 'metadata: {id: blog}\nrun: {start: node a.js}\n',
  });
  t.is(exitCode, 0);
  t.is(stdout, '<stdin>: blog (web×1)\n');
});

test('validate reads a directory, and a hop3.toml for the directory it is in', async t => {
  const cwd = await directoryWith(t, {
    'shop/hop3.toml': '[metadata]\nid = "shop"\n[run]\nstart = "node shop.js"\n',
    'shop/Procfile': 'mailer: node mailer.js\n',
    'site/index.html': 'hello',
  });
  const { exitCode, stdout } = await ran(['validate', 'shop/hop3.toml', 'site'], { cwd });
  t.is(exitCode, 0);
  t.is(stdout, 'shop: shop (web×1, mailer×1)\nsite: site (web×1)\n');
});

test('every place that Hop3 has for an app file is looked at', async t => {
  const toml = '[metadata]\nid = "shop"\n[run]\nstart = "node shop.js"\n';
  const cwd = await directoryWith(t, {
    'one/src/hop3/hop3.toml': toml,
    'one/hop3/Procfile': 'mailer: node mailer.js\n',
    'two/src/hop3.toml': toml.replace('shop', 'two'),
    'two/hop3/ENV': 'COLOUR=blue\n',
    'three/hop3/hop3.yaml': 'metadata: {id: three}\nrun: {start: x}\n',
  });
  const named = ['one/src/hop3/hop3.toml', 'two', 'three'];
  const { exitCode, stdout } = await ran(['validate', ...named], { cwd });
  t.is(exitCode, 0);
  t.is(stdout, 'one: shop (web×1, mailer×1)\ntwo: two (web×1)\nthree: three (web×1)\n');
  const two = await ran(['validate', 'two', '--json'], { cwd });
  t.deepEqual(JSON.parse(two.stdout).apps[0].env, { COLOUR: { kind: 'literal', value: 'blue' } });
});

test('a process that only the source names is scaled as the manifest says, here or where it is fetched', async t => {
  const cwd = await directoryWith(t, {
    'here.yaml': 'metadata: {id: here}\nsource: {path: ./site}\nscale: {web: 3}\n',
    'there.yaml':
      'metadata: {id: there}\nsource: {git: {url: "https://example.com/x.git"}}\nscale: {web: 3}\n',
    'site/index.html': '',
  });
  const { exitCode, stdout } = await ran(['validate', 'here.yaml', 'there.yaml', '--json'], { cwd });
  t.is(exitCode, 0);
  const { apps, refusals } = JSON.parse(stdout);
  t.deepEqual(refusals, []);
  t.like(apps[0].processes[0], { type: 'web', kind: 'static', scale: 3 });
  t.deepEqual(apps[1].processes, []);
  t.like(apps[1].webSettings, { scale: 3, startTimeoutSeconds: 60 });
});

test('validate tells problems in a directory under the path that leads to them', async t => {
  const cwd = await directoryWith(t, { 'shop/hop3.toml': '[metadata]\nid = "shop"\n[rnu]\nstart = "x"\n' });
  const { stderr } = await ran(['validate', 'shop'], { cwd });
  t.regex(stderr, /^shop\/hop3\.toml:3:2: error: .*\n {2}\[rnu\]\n {3}\^$/m);
});

test('validate finds what two files have in common that they must not', async t => {
  const cwd = await directoryWith(t, { 'a.yaml': guestbook, 'b.yaml': guestbook, 'guestbook/x': '' });
  const { exitCode, stderr } = await ran(['validate', 'a.yaml', 'b.yaml'], { cwd });
  t.is(exitCode, 1);
  t.regex(stderr, /^b\.yaml:1:.*app "guestbook" is also in a\.yaml:1/m);
});

test('validate warns of what is right and yet will be refused', async t => {
  const cwd = await directoryWith(t, { 'empty/README': 'nothing to run' });
  const { exitCode, stderr } = await ran(['validate', 'empty'], { cwd });
  t.is(exitCode, 0);
  t.regex(stderr, /^warning: .*nothing to run.*refused/m);
});

test('a source directory that is not there is a problem of its manifest', async t => {
  const cwd = await directoryWith(t, { 'a.yaml': guestbook });
  const { exitCode, stderr } = await ran(['validate', 'a.yaml'], { cwd });
  t.is(exitCode, 1);
  t.regex(stderr, /^a\.yaml:2:16: error: source\.path: .*guestbook is not a directory/m);
});

test('who is told of problems is told, too, that the cluster could not be asked for more', async t => {
  const good = 'metadata: {id: shop}\nrun: {start: x}\nsource: {path: .}\n';
  const cwd = await directoryWith(t, { 'a.yaml': 'metadata: {id: blog}\nrun: {strat: x}\n', 'b.yaml': good });
  const { exitCode, stderr } = await ran(['plan', 'a.yaml', 'b.yaml', '--api', 'http://127.0.0.1:9'], {
    cwd,
  });
  t.is(exitCode, 1);
  t.regex(stderr, /^error: nothing was changed/m);
  t.regex(stderr, /^hint: there may be more: .* could not be asked \(.*127\.0\.0\.1:9.*\)$/m);
});

test('apply and plan check before they ask anybody', async t => {
  const cwd = await directoryWith(t, { 'a.yaml': 'metadata: {id: blog}\nrun: {strat: x}\n' });
  for (const command of ['apply', 'plan']) {
    const { exitCode, stderr } = await ran([command, 'a.yaml', '--api', 'http://127.0.0.1:9'], { cwd });
    t.is(exitCode, 1);
    t.regex(stderr, /did you mean "start"\?/);
    t.regex(stderr, /^error: nothing was changed: \d problems? to solve first$/m);
    t.notRegex(stderr, /there may be more/, 'there is nothing to ask about');
  }
});

test('a file that is not there exits 3 and names it', async t => {
  const cwd = await directoryWith(t);
  const { exitCode, stderr } = await ran(['validate', 'nope.yaml'], { cwd });
  t.is(exitCode, 3);
  t.is(stderr, `error: ${join(cwd, 'nope.yaml')}: there is no such file or directory\n`);
});

test('a long line is shown around the place of its problem, and control characters are not obeyed', async t => {
  const name = `x\u001b[31m${'y'.repeat(300)}`;
  const cwd = await directoryWith(t, {
    'a.yaml': `{metadata: {id: blog, title: "${name}", nmae: x}, run: {start: x}}\n`,
  });
  const { stderr } = await ran(['validate', 'a.yaml'], { cwd });
  t.false(stderr.includes('\u001b'));
  const [, line, caret] = /error: .*\n(.*)\n( *\^)$/m.exec(stderr) ?? [];
  t.true(line!.length <= 102);
  t.is(line!.slice(caret!.length - 1, caret!.length + 3), 'nmae');
});

test('what keeps an app whose files are right from running is told with its place', async t => {
  const text =
    'metadata: {id: blog}\nsource: {path: blog}\nrun: {start: ./blog}\n' +
    'volumes:\n  - {name: a, target: a}\n' +
    'addons:\n  - {type: postgres}\n---\n' +
    'metadata: {id: shop}\nrun: {start: ./shop}\nsource:\n  path: nowhere\n';
  const cwd = await directoryWith(t, { 'a.yaml': text, 'blog/blog': '' });
  const { stderr } = await ran(['plan', 'a.yaml'], { cwd });
  t.deepEqual(
    stderr.split('\n').flatMap(line => /^a\.yaml:(\S+) error: (\S+):/.exec(line)?.slice(1).join(' ') ?? []),
    ['5:3: volumes', '7:5: addons[0]', '12:9: source.path'],
  );
});

test('init writes a manifest that validates and says the same', async t => {
  const cwd = await directoryWith(t, {
    'shop/Procfile': 'web: node shop.js\nmailer: node mailer.js\n',
    'shop/ENV': 'COLOUR=blue\n',
  });
  const { exitCode, stdout } = await ran(['init', 'shop'], { cwd });
  t.is(exitCode, 0);
  t.regex(
    stdout,
    /^shop\/hop3\.yaml: app?.*shop \(web×1, mailer×1\); hop3-agent apply shop\/hop3\.yaml runs it\n$|^shop\/hop3\.yaml: shop \(web×1, mailer×1\)/,
  );
  const again = await ran(['validate', 'shop/hop3.yaml', '--json'], { cwd });
  t.is(again.exitCode, 0, again.stdout);
  t.like(JSON.parse(again.stdout).apps[0], {
    app: 'shop',
    source: { kind: 'path', path: '.' },
    processes: [
      { type: 'web', command: 'node shop.js' },
      { type: 'mailer', command: 'node mailer.js' },
    ],
    env: { COLOUR: { kind: 'literal', value: 'blue' } },
  });
});

test('init names what it finds in a directory that says nothing', async t => {
  const cwd = await directoryWith(t, { 'package.json': '{"scripts": {"start": "node ."}}' });
  const { stdout } = await ran(['init', '--output', '-'], { cwd });
  t.regex(stdout, /start: npm start/);
});

test('init leaves a directory with hop3.toml deployable: it writes beside it under the name of the app', async t => {
  const cwd = await directoryWith(t, {
    'hop3.toml': '[metadata]\nid = "shop"\n[run]\nstart = "node shop.js"\n',
  });
  t.is((await ran(['init'], { cwd })).exitCode, 0);
  t.regex(await readFile(join(cwd, 'shop.yaml'), 'utf8'), /id: shop/);
  t.is((await ran(['validate', '.'], { cwd })).exitCode, 0);
});

for (const command of ['init', 'validate', 'deploy']) {
  test(`${command} finds nothing where nothing is`, async t => {
    const { exitCode, stderr } = await ran([command, 'nowhere'], { cwd: await directoryWith(t, {}) });
    t.is(exitCode, 3);
    t.regex(stderr, /nowhere: there is no such file or directory$/m);
  });
}

test('init replaces nothing unless told to', async t => {
  const cwd = await directoryWith(t, { 'hop3.yaml': 'mine', 'index.html': '' });
  const refused = await ran(['init'], { cwd });
  t.is(refused.exitCode, 6);
  t.regex(refused.stderr, /hop3\.yaml is there already/);
  t.is(await readFile(join(cwd, 'hop3.yaml'), 'utf8'), 'mine');
  t.is((await ran(['init', '--output', 'hop3.yaml'], { cwd })).exitCode, 6);
  t.is((await ran(['init', '--force'], { cwd })).exitCode, 0);
  t.regex(await readFile(join(cwd, 'hop3.yaml'), 'utf8'), /static-dir/);
});

test('init that would replace nothing is not refused beside a manifest, and says that it is not from that', async t => {
  const cwd = await directoryWith(t, { 'site/hop3.yaml': 'mine', 'site/index.html': '' });
  for (const output of ['-', 'other.yaml']) {
    const { exitCode, stdout, stderr } = await ran(['init', 'site', '--output', output], { cwd });
    t.is(exitCode, 0, stderr);
    t.is(stderr, 'site/hop3.yaml is there already: this is from the other files, as if it was not\n');
    t.regex(output === '-' ? stdout : await readFile(join(cwd, output), 'utf8'), /static-dir/);
  }
  t.is(await readFile(join(cwd, 'site/hop3.yaml'), 'utf8'), 'mine');
});

test('doctor checks the machine, and an agent only if there is one', async t => {
  const cwd = await directoryWith(t, {
    etcd: '#!/bin/sh\necho etcd Version: 3.6.9\n',
    haproxy: '#!/bin/sh\nexit 1\n',
  });
  await Promise.all(['etcd', 'haproxy'].map(name => chmod(join(cwd, name), 0o755)));
  const env = { HOP3_AGENT_STATE_DIR: cwd, PATH: cwd };
  const answered = await ran(['doctor', '--json'], { cwd, env });
  t.is(answered.exitCode, 1);
  const { checks } = answerOf<Doctor>(answered);
  t.deepEqual(
    checks.slice(0, 4).map(({ name, status }) => `${name} ${status}`),
    ['node ok', 'etcd ok', 'haproxy fail', 'state directory ok'],
  );
  t.regex(checks[1]!.message, /^3\.6\.9 /);
});

test('doctor names the known defects of the etcd on this machine, unless an agent tells of the one it uses', async t => {
  const cwd = await directoryWith(t, { etcd: '#!/bin/sh\necho etcd Version: 3.4.23\n' });
  await chmod(join(cwd, 'etcd'), 0o755);
  const env = { HOP3_AGENT_STATE_DIR: cwd, PATH: cwd };
  const etcdDefects = (version: string) =>
    Promise.resolve([`etcd ${version}: stale reads (fixed in 3.4.42)`]);
  const { stdout } = await ran(['doctor'], { cwd, env, daemon: { etcdDefects } });
  t.regex(stdout, /^warn {2}etcd version +etcd 3\.4\.23: stale reads \(fixed in 3\.4\.42\)$/m);

  const { ran: ranOnCluster } = await cluster(t);
  const asked = await ranOnCluster(['doctor'], { cwd, env, daemon: { etcdDefects } });
  t.notRegex(asked.stdout, /stale reads/);
});

test('doctor fails with 7 only when an agent was asked for', async t => {
  const { exitCode, stderr } = await ran(['doctor', '--api', 'http://127.0.0.1:9']);
  t.is(exitCode, 7);
  t.regex(stderr, /^error: no answer from the agent at http:\/\/127\.0\.0\.1:9/);
});

test('doctor says what is missing and what to do about it', async t => {
  const directory = await directoryWith(t, { file: '' });
  const env = { PATH: directory, HOP3_AGENT_STATE_DIR: join(directory, 'file/state') };
  const { exitCode, stdout } = await ran(['doctor'], { env });
  t.is(exitCode, 1);
  t.regex(stdout, /^warn {2}etcd +not found on PATH\n +hint: apt-get install etcd-server/m);
  t.regex(stdout, /^fail {2}state directory +.*file\/state .* not writable\n +hint: HOP3_AGENT_STATE_DIR/m);
});
