import test from 'ava';
import { readManifest, readManifests } from '../../src/manifest/read-manifest.ts';
import { problemText } from '../../src/model/problem.ts';

const problemsIn = (text: string) => readManifest('app.yaml', text).problems.map(problemText);
const minimal = 'metadata: {id: blog}\nrun: {start: ./blog}\n';

const wrong: [string, string, string[]][] = [
  ['nothing at all', '', ['app.yaml: is empty (an app needs at least metadata: {id: NAME})']],
  [
    'nothing between marks',
    '---\n# later\n---\n',
    ['app.yaml: is empty (an app needs at least metadata: {id: NAME})'],
  ],
  ['a written nothing', 'null\n', ['app.yaml:1:1: has no value (give it one, or remove the key)']],
  [
    'two processes of one name',
    'metadata: {id: blog}\nrun:\n  start: x\n  workers:\n    web: y\n',
    [
      'app.yaml:5:10: run.workers.web: there is a "web" already (keep one of the two; run.start is the process "web")',
    ],
  ],
  [
    'lists in lists without end',
    `${minimal}env: {A: b}\nscale:\n  - ${'['.repeat(200)}`,
    ['app.yaml:5:103: is nested deeper than 100 levels (a manifest needs no more than six)'],
  ],
  ['only a comment', '# later\n', ['app.yaml: is empty (an app needs at least metadata: {id: NAME})']],
  ['a list', '- a\n', ['app.yaml:1:1: must be a table of keys and values, not a list']],
  [
    'a tab',
    'metadata:\n\tid: blog\n',
    ['app.yaml:2:1: is not valid YAML: tabs are not allowed as indentation (indent with spaces)'],
  ],
  ['a missing section', 'run: {start: x}\n', ['app.yaml:1:1: metadata: is missing']],
  [
    'a missing key',
    'metadata:\n  title: Blog\n',
    [
      'app.yaml:2:3: metadata.id: is missing (3 to 63 lower-case letters, digits and hyphens, starting with a letter)',
    ],
  ],
  [
    'a mistyped section',
    `${minimal}helthcheck: {}\n`,
    ['app.yaml:3:1: helthcheck: unknown section (did you mean "healthcheck"?)'],
  ],
  [
    'a key under no section',
    `${minimal}workers: {a: b}\n`,
    ['app.yaml:3:1: workers: unknown section (did you mean "run.workers"?)'],
  ],
  [
    'an underscore for a hyphen',
    'metadata: {id: blog}\nrun:\n  start: x\n  start_timeout: 3\n',
    ['app.yaml:4:3: run.start_timeout: unknown key (did you mean "start-timeout"?)'],
  ],
  [
    'a number for text',
    'metadata: {id: blog, version: 1.10}\n',
    ['app.yaml:1:31: metadata.version: must be text, not 1.1 (the version, in quotes, as in "1.4")'],
  ],
  [
    'a unit in a number of seconds',
    `${minimal}healthcheck: {interval: 5s}\n`,
    ['app.yaml:3:25: healthcheck.interval: must be a number, not "5s" (seconds, as a number such as 30)'],
  ],
  [
    'an unknown unit of memory',
    `${minimal}limits: {memory: 256MB}\n`,
    [
      'app.yaml:3:18: limits.memory: "256MB" is not an amount of memory (bytes, or a number with K, M or G, as in 256M)',
    ],
  ],
  [
    'an empty value',
    'metadata: {id: blog}\nrun:\n',
    ['app.yaml:2:5: run: has no value (give it one, or remove the key)'],
  ],
  [
    'a key that is no text',
    `${minimal}env: {1: one}\n`,
    ['app.yaml:3:7: env.1: is a key that is not text (put it in quotes: "1")'],
  ],
  [
    'a key given twice',
    `${minimal}run: {start: y}\n`,
    ['app.yaml:3:1: run: is given twice (keep one of the two)'],
  ],
  [
    'a plan',
    'kind: Plan\nsteps: []\n',
    ['app.yaml:1:7: kind: is a plan, which is no app (hop3-agent batch submit FILE submits it)'],
  ],
  [
    'another kind',
    'kind: Ap\n',
    ['app.yaml:1:7: kind: "Ap" is not a kind of document (did you mean "App"?)'],
  ],
  [
    'a host name in two places',
    `${minimal}domains: {list: [a.example]}\nenv: {HOST_NAME: a.example}\n`,
    ['app.yaml:4:7: env.HOST_NAME: is given beside domains (keep the names in domains.list)'],
  ],
  [
    'a site and a command',
    'metadata: {id: blog}\nbuild: {static-dir: public}\nrun: {start: x}\n',
    [
      'app.yaml:2:21: build.static-dir: is given beside run.start ' +
        '(keep static-dir for a site without a process, or start for an app that serves its own files)',
    ],
  ],
  [
    'an unresolved alias',
    `${minimal}env: *nothing\n`,
    ['app.yaml:1:1: is not valid YAML: unresolved alias (the anchor must be set before the alias): nothing'],
  ],
];
for (const [name, text, expected] of wrong) {
  test(`${name} is refused with its place`, t => t.deepEqual(problemsIn(text), expected));
}

const ports: [string, string, string[]][] = [
  ['a port of a process that is there', 'ports: [{number: 25, process: mailer}]', []],
  ['a port for HTTP', 'ports: [{number: 9090, http: true, process: web}, {number: 25, http: false}]', []],
  [
    'a port of a process that is not there',
    'ports: [{number: 25, process: mialer}]',
    ['ports[0].process: there is no process "mialer"'],
  ],
  ['HTTP over UDP', 'ports: [{number: 25, protocol: udp, http: true}]', ['ports[0].http: is not for udp']],
  [
    'HTTP of a worker',
    'ports: [{number: 25, process: mailer, http: true}]',
    ['ports[0].http: means nothing for "mailer"'],
  ],
  [
    'two ports for HTTP',
    'ports: [{number: 25, http: true}, {number: 26, http: true}]',
    ['ports[1].http: ports[0] is the PORT of web'],
  ],
  [
    'one port twice',
    'ports: [{number: 25}, {number: 25, process: mailer}]',
    ['ports[1].number: port 25/tcp is listed twice'],
  ],
];
for (const [name, text, expected] of ports) {
  test(`${name} is ${expected.length === 0 ? 'accepted' : 'refused'}`, t => {
    const head = 'metadata: {id: app}\nrun: {start: a, workers: {mailer: b}}\n';
    const { problems } = readManifest('a.yaml', `${head}${text}\n`);
    t.deepEqual(
      problems.map(({ field, message }) => `${field}: ${message}`),
      expected,
    );
  });
}

const exclusives: [string, string, string][] = [
  [
    'fixed ports make all of an app exclusive, as Hop3 has no word for it',
    'ports: [{number: 25}]',
    'web mailer',
  ],
  ['unless it says which of it is', 'ports: [{number: 25}]\nexclusive: [mailer]', 'mailer'],
  ['or that nothing is', 'ports: [{number: 25}]\nexclusive: []', ''],
  ['data leave no choice', 'volumes: [{name: a, target: a}]\nexclusive: []', 'web mailer'],
];
for (const [name, text, expected] of exclusives) {
  test(`exclusive: ${name}`, t => {
    const head = 'metadata: {id: app}\nrun: {start: a, workers: {mailer: b}}\n';
    const [app] = readManifest('a.yaml', `${head}${text}\n`).apps;
    const found = app!.spec.processes.filter(({ exclusive }) => exclusive).map(({ type }) => type);
    t.is(found.join(' '), expected);
  });
}

test('all problems of all documents are reported at once', t => {
  const text = [
    'metadata: {id: one}',
    'run: {strat: a}',
    'scale: {web: -1}',
    'ports: [{number: 80}, {number: 81}, {number: 81}]',
    '---',
    'metadata: {id: two}',
    'run: {start: b}',
    'domains: {list: [bad_name, same.example]}',
    'depends-on: [three]',
    '---',
    'metadata: {id: three}',
    'run: {start: c}',
    'domains: {list: [SAME.example]}',
    'depends-on: [two]',
  ].join('\n');
  t.deepEqual(
    readManifest('a.yaml', text).problems.map(({ line, field }) => `${line} ${field}`),
    [
      '2 run.strat',
      '3 scale.web',
      '4 ports[0].number',
      '4 ports[2].number',
      '8 domains.list[0]',
      '13 domains.list[0]',
      '14 depends-on[0]',
    ],
  );
});

test('the same across files, naming the other file', t => {
  const one = {
    file: 'one.yaml',
    text: 'metadata: {id: one}\nrun: {start: a}\ndomains: {list: [x.example]}\n',
  };
  const two = {
    file: 'two.yaml',
    text: 'metadata: {id: two}\nrun: {start: a}\ndomains: {list: [x.example]}\n',
  };
  t.deepEqual(readManifests([one, two]).problems.map(problemText), [
    'two.yaml:3:18: domains.list[0]: host name "x.example" also belongs to app "one" in one.yaml:1',
  ]);
  t.deepEqual(
    readManifests([one, { ...one, file: 'copy.yaml' }]).problems.map(problem => problem.field),
    ['metadata.id', 'domains.list[0]'],
  );
});

test('a long circle and a chain into it are one problem', t => {
  const link = (from: number, to: number) =>
    `metadata: {id: app-${from}}\nrun: {start: x}\ndepends-on: [app-${to}]\n`;
  const circle = Array.from({ length: 200 }, (_, i) => link(i, i === 199 ? 100 : i + 1));
  const { problems } = readManifest('c.yaml', circle.join('---\n'));
  t.is(problems.length, 1);
  t.regex(problems[0]?.message ?? '', /app-100 → app-101 .* → app-199 → app-100$/);
});

test('anchors, aliases and merge keys mean what they repeat, and problems point at it', t => {
  const text = [
    'metadata: {id: one}',
    'run: &run {start: ./x, start-timeout: 7}',
    'env: {A: &a "1", B: *a}',
    'healthcheck: &health {path: /up}',
    '---',
    'metadata: {id: two}',
    'run:',
    '  <<: &base {start: ./y, workers: {w: z}, stop_timeout: 3}',
    '  start: ./own',
  ].join('\n');
  const { apps, problems } = readManifest('a.yaml', text);
  t.deepEqual(apps[0]?.spec.env, { A: { kind: 'literal', value: '1' }, B: { kind: 'literal', value: '1' } });
  t.is(apps[0]?.spec.processes[0]?.startTimeoutSeconds, 7);
  t.deepEqual(problems.map(problemText), [
    'a.yaml:8:43: run.stop_timeout: unknown key (did you mean "stop-timeout"?)',
  ]);
});

test('defaults are those of the design', t => {
  const { apps, problems } = readManifest('app.yaml', minimal);
  t.deepEqual(problems, []);
  const spec = apps[0]!.spec;
  t.deepEqual(spec.processes, [
    {
      type: 'web',
      kind: 'command',
      command: './blog',
      directory: '',
      routed: true,
      scale: 1,
      exclusive: false,
      startTimeoutSeconds: 60,
      stopTimeoutSeconds: 10,
    },
  ]);
  t.deepEqual(spec.healthcheck, {
    path: null,
    contains: null,
    intervalSeconds: 5,
    timeoutSeconds: 2,
    failureThreshold: 3,
  });
  t.deepEqual(spec.restart, { policy: 'on-failure', max: 5 });
  t.deepEqual(spec.deploy, {
    strategy: 'rolling',
    maxSurge: 1,
    maxUnavailable: 0,
    healthyDeadlineSeconds: 120,
  });
});

test('marks with nothing between them are no documents', t => {
  const { apps, problems } = readManifest('app.yaml', `---\n# blog\n---\n${minimal}---\n`);
  t.deepEqual(
    apps.map(({ spec }) => spec.app),
    ['blog'],
  );
  t.deepEqual(problems, []);
});

test('values of env are kept as they are written', t => {
  const text = `${minimal}env: {A: 1.10, B: 007, C: True, D: "", E: 12345678901234567890}\n`;
  const env = readManifest('app.yaml', text).apps[0]!.spec.env;
  t.deepEqual(
    Object.values(env).map(value => value.kind === 'literal' && value.value),
    ['1.10', '007', 'True', '', '12345678901234567890'],
  );
});

test('what must not run twice is exclusive and stops sooner', t => {
  const text = `${minimal}volumes: [{name: data, target: data}]\n`;
  const [process] = readManifest('app.yaml', text).apps[0]!.spec.processes;
  t.true(process?.exclusive);
  t.is(process?.stopTimeoutSeconds, 2);
});

const bombs: [string, string, RegExp][] = [
  [
    'a bomb of aliases',
    [
      'a: &a [x,x,x,x,x,x,x,x,x]',
      ...Array.from('bcdefghij', (name, i) => {
        const last = String.fromCharCode(97 + i);
        return `${name}: &${name} [${Array.from({ length: 9 }, () => `*${last}`).join(',')}]`;
      }),
    ].join('\n'),
    /its aliases multiply beyond measure/,
  ],
  ['a deep list in brackets', '['.repeat(300_000), /is nested deeper than 100 levels/],
  ['a deep list of dashes', `${'- '.repeat(100_000)}a`, /is nested deeper than 100 levels/],
  ['deep explicit keys', '? '.repeat(100_000), /is nested deeper than 100 levels/],
  ['more than 1 MiB', `# ${'x'.repeat(1024 * 1024)}\n${minimal}`, /is larger than 1 MiB/],
  ['more than 1 MiB in few characters', `# ${'ü'.repeat(600_000)}\n${minimal}`, /is larger than 1 MiB/],
];
for (const [name, text, expected] of bombs) {
  test(`${name} is met with a clear message`, t => {
    const problems = problemsIn(text);
    t.is(problems.length, 1);
    t.regex(problems[0] ?? '', expected);
  });
}

test('an alias that holds itself is no trouble', t => {
  t.deepEqual(
    readManifest('a.yaml', `${minimal}env: &e {A: *e}\n`).problems.map(problem => problem.field),
    ['env.A'],
  );
  t.deepEqual(readManifest('a.yaml', '&e {<<: *e}\n').apps, []);
});

test('a manifest of nearly 1 MiB is read', t => {
  const lines = Array.from({ length: 30_000 }, (_, i) => `  VARIABLE_${i}: value of ${i}`);
  const { apps, problems } = readManifest('a.yaml', `${minimal}env:\n${lines.join('\n')}\n`);
  t.deepEqual(problems, []);
  t.is(Object.keys(apps[0]!.spec.env).length, 30_000);
});

test('thousands of problems are all reported', t => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `key${i}: ${i}`);
  t.is(problemsIn(`${minimal}${lines.join('\n')}\n`).length, 20_000);
});
