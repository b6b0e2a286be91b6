import test from 'ava';
import { readAppDirectory } from '../../src/manifest/read-app-directory.ts';
import { problemText } from '../../src/model/problem.ts';

const read = (files: Record<string, string>) =>
  readAppDirectory(files, { directoryName: '020-nodejs_Express' });

test('hop3.toml goes over Procfile, ENV under [env], and the rest is merged', t => {
  const { spec, problems } = read({
    'hop3.toml': '[run]\nstart = ["a", "b"]\nbefore-run = "migrate"\n[env]\nA = "toml"\nN = 1.50\nB = true\n',
    Procfile: 'wsgi: app:app\nworker: celery worker\nprerun: other\nprebuild: make\ncron: 0 1 * * * tidy\n',
    ENV: 'A=env\nC=env\nHOST_NAME=a.example b.example\n',
  });
  t.deepEqual(problems, []);
  t.deepEqual(
    spec?.processes.map(({ type, command }) => [type, command]),
    [
      ['web', 'a && b'],
      ['worker', 'celery worker'],
    ],
  );
  t.deepEqual(spec?.beforeRun, ['migrate']);
  t.deepEqual(spec?.build.beforeBuild, ['make']);
  t.deepEqual(spec?.crons, [
    {
      name: 'cron',
      command: 'tidy',
      schedule: {
        expression: '0 1 * * *',
        timeZone: 'UTC',
        overlap: 'forbid',
        catchUp: { kind: 'latest' },
      },
      timeoutSeconds: 3600,
      attempts: 1,
    },
  ]);
  const literal = (value: string) => ({ kind: 'literal' as const, value });
  t.deepEqual(spec?.env, { A: literal('toml'), N: literal('1.50'), B: literal('true'), C: literal('env') });
  t.deepEqual(spec?.hostnames, ['a.example', 'b.example']);
  t.is(spec?.app, 'app-020-nodejs-express');
});

const places: [string, Record<string, string>, string][] = [
  [
    'hop3/hop3.toml goes first',
    { 'hop3/hop3.toml': '[run]\nstart = "in"', 'hop3.toml': '[run]\nstart = "out"' },
    'in',
  ],
  ['a Procfile may be in hop3/', { 'hop3/Procfile': 'web: in' }, 'in'],
  ['the Procfile at the root goes first', { Procfile: 'web: out', 'hop3/Procfile': 'web: in' }, 'out'],
  [
    'hop3.yaml is our own format',
    { 'hop3.yaml': 'metadata: {id: one}\nrun: {start: own}', Procfile: 'web: x' },
    'own',
  ],
];
for (const [name, files, command] of places) {
  test(name, t => t.is(read(files).spec?.processes[0]?.command, command));
}

test('an id that Hop3 takes is made one that a cluster takes; another is refused with a proposal', t => {
  t.is(read({ 'hop3.toml': '[metadata]\nid = "My_App"' }).spec?.app, 'my-app');
  t.deepEqual(read({ 'hop3.toml': '[metadata]\nid = "Ärger!"' }).problems.map(problemText), [
    'hop3.toml:2:6: metadata.id: "Ärger!" is not an app name ' +
      '(3 to 63 lower-case letters, digits and hyphens, starting with a letter, as in "rger")',
  ]);
});

test('both main files are one too many', t => {
  const { spec, problems } = read({ 'hop3.yaml': 'metadata: {id: one}', 'hop3.toml': '' });
  t.is(spec, null);
  t.regex(problemText(problems[0]!), /says what the app is beside hop3\.toml/);
});

test('problems of every file are reported together', t => {
  const { problems } = read({ 'hop3.toml': '[rum]\n', Procfile: 'web\n', ENV: 'X\n' });
  t.deepEqual(
    problems.map(problem => problem.file),
    ['hop3.toml', 'Procfile', 'ENV'],
  );
});

const unsupported: [string, string][] = [
  ['env.IP', '[env]\nIP = {external_ip = true}'],
  ['volumes[0].type', '[[volumes]]\nname = "v"\ntarget = "t"\ntype = "tmpfs"\nsize = "1M"'],
  ['ports[0].source', '[[ports]]\nnumber = 25\nsource = "10.0.0.0/8"'],
  ['waf', '[waf]\nenabled = true'],
  ['admin', '[admin]\nusername = "a"\npassword = {generate = "password"}'],
  ['run.static', '[run.static]\n"/static" = "static"'],
  ['build.node-version', '[build]\nnode-version = "22"'],
  ['deploy.deployer', '[deploy]\ndeployer = "docker-compose"'],
];
for (const [field, text] of unsupported) {
  test(`${field} is read, and said not to be supported`, t => {
    const result = read({ 'hop3.toml': text });
    t.deepEqual(result.problems, []);
    t.deepEqual(
      result.unsupported.map(problem => problem.field),
      [field],
    );
    t.true(result.unsupported[0]!.line > 0);
  });
}

test('settings of a process that only the source will name are not lost', t => {
  t.like(read({ 'hop3.toml': '[run]\nstart-timeout = 240' }), { webSettings: { startTimeoutSeconds: 240 } });
});
