import test from 'ava';
import { readAppDirectory } from '../../src/manifest/read-app-directory.ts';
import { readManifest } from '../../src/manifest/read-manifest.ts';
import { problemText } from '../../src/model/problem.ts';

const inProcfile = (line: string) =>
  readAppDirectory({ Procfile: `web: x\n${line}\n` }, { directoryName: 'blog' });
const inYaml = (crons: string, more = '') =>
  readManifest('hop3.yaml', `metadata: {id: blog}\nrun: {start: x}\n${more}crons:\n${crons}`);

for (const [line, expression, command] of [
  ['cron: */5 * * * * python batch.py', '*/5 * * * *', 'python batch.py'],
  ['cron1: 0  4\t* * 7 tidy --all  "a b"', '0 4 * * 7', 'tidy --all  "a b"'],
  ['cron: 30 4 * * mon-fri report', '30 4 * * mon-fri', 'report'],
  ['cron: @daily report', '@daily', 'report'],
  ['cron: 0 */24 * * * once', '0 */24 * * *', 'once'],
  ['cron: 0 1,24 * * * late', '0 1,0 * * *', 'late'],
  ['cron: 0 20-24/2 * * * late', '0 20-23/2,0 * * *', 'late'],
  ['cron: 0 5-24/4 * * * late', '0 5-23/4 * * *', 'late'],
] as const) {
  test(`a Procfile may say ${line}`, t => {
    const { spec, problems } = inProcfile(line);
    t.deepEqual(problems, []);
    t.like(spec?.crons[0], { name: line.split(':')[0], command, schedule: { expression, timeZone: 'UTC' } });
  });
}

for (const [line, problem] of [
  [
    'cron: * * * * x',
    'is not a schedule and a command (five fields and a command, as in "*/5 * * * * python batch.py")',
  ],
  [
    'cron: @daily',
    'is not a schedule and a command (five fields and a command, as in "*/5 * * * * python batch.py")',
  ],
  [
    'cron: 60 * * * * x',
    'the minute "60" is not from 0 to 59 (0 to 59; * or lists, ranges and steps of them, as in "1,10-20/2")',
  ],
  [
    'cron: 0 25 * * * x',
    'the hour "25" is not from 0 to 23 (0 to 23; * or lists, ranges and steps of them, as in "1,10-20/2")',
  ],
  ['cron: 0 0 31 2 * x', 'never comes: none of its months has such a day (another day, or month)'],
] as const) {
  test(`a Procfile must not say ${line}`, t => {
    t.deepEqual(inProcfile(line).problems.map(problemText), [`Procfile:2:1: cron: ${problem}`]);
  });
}

test('a worker of a hop3.toml whose name is cron is a scheduled command, where the app has its time', t => {
  const toml = '[run]\nstart = "x"\n[run.workers]\ncron2 = "0 4 * * * tidy"\n[env]\nTZ = "Europe/Berlin"\n';
  const { spec } = readAppDirectory({ 'hop3.toml': toml }, { directoryName: 'blog' });
  t.like(spec?.crons, [{ name: 'cron2', command: 'tidy', schedule: { timeZone: 'Europe/Berlin' } }]);
  t.deepEqual(
    spec?.processes.map(({ type }) => type),
    ['web'],
  );
});

test('a time zone of the app that none knows is a problem only where something goes by it', t => {
  const toml = '[env]\nTZ = "CET-1"\n[run]\nstart = "x"\n';
  t.deepEqual(readAppDirectory({ 'hop3.toml': toml }, { directoryName: 'blog' }).problems, []);
  const { problems } = readAppDirectory(
    { 'hop3.toml': toml, Procfile: 'cron: @daily x' },
    { directoryName: 'blog' },
  );
  t.deepEqual(problems.map(problemText), [
    'hop3.toml:2:6: env.TZ: "CET-1" is no time zone that scheduled commands could go by (an IANA name, as in Europe/Berlin)',
  ]);
});

test('a manifest says all of it', t => {
  const { apps, problems } = inYaml(
    '  nightly:\n    schedule: 30 2 * * *\n    command: report\n    time-zone: Europe/Berlin\n' +
      '    overlap: replace\n    catch-up: {all: 3}\n    timeout: 60\n    attempts: 2\n',
  );
  t.deepEqual(problems, []);
  t.deepEqual(apps[0]?.spec.crons, [
    {
      name: 'nightly',
      command: 'report',
      schedule: {
        expression: '30 2 * * *',
        timeZone: 'Europe/Berlin',
        overlap: 'replace',
        catchUp: { kind: 'all', atMost: 3 },
      },
      timeoutSeconds: 60,
      attempts: 2,
    },
  ]);
});

test('everything that is wrong with the scheduled commands of a manifest is said at once, where it stands', t => {
  const { problems } = inYaml(
    '  Nightly: {schedule: "@daily", command: x}\n' +
      '  cron: {schedule: "@daily", command: x}\n' +
      '  a:\n    schedule: 0 25 * * *\n    command: " "\n    time-zone: Mars\n    overlap: forbit\n    catch-up: {all: 0}\n    timeout: 0\n    every: day\n',
    'scale: {cron: 2}\n',
  );
  t.deepEqual(problems.map(problemText), [
    'hop3.yaml:5:3: crons.Nightly: "Nightly" is not the name of a scheduled command (up to 63 lower-case letters, digits, hyphens and underscores, starting with a letter)',
    'hop3.yaml:8:15: crons.a.schedule: the hour "25" is not from 0 to 23 (five fields, as in "30 4 * * mon-fri", or @daily)',
    'hop3.yaml:9:14: crons.a.command: is an empty command (a command line, run by /bin/sh)',
    'hop3.yaml:10:16: crons.a.time-zone: there is no time zone "Mars" (an IANA name, as in Europe/Berlin)',
    'hop3.yaml:11:14: crons.a.overlap: must be one of allow, forbid, replace, not "forbit" (did you mean "forbid"?)',
    'hop3.yaml:12:21: crons.a.catch-up.all: must be at least 1, not 0',
    'hop3.yaml:13:14: crons.a.timeout: must be more than 0, not 0 (seconds, as a number such as 30)',
    'hop3.yaml:14:5: crons.a.every: unknown key (known here: schedule, command, time-zone, overlap, catch-up, timeout, attempts)',
    'hop3.yaml:3:9: scale.cron: there is no process "cron" (known here: web)',
  ]);
});

test('the line of a worker and an entry of the same name are one too many', t => {
  const text =
    'metadata: {id: blog}\nrun:\n  start: x\n  workers: {cron: "@daily x"}\ncrons:\n  cron: {schedule: "@daily", command: x}\n';
  t.deepEqual(readManifest('hop3.yaml', text).problems.map(problemText), [
    'hop3.yaml:6:3: crons.cron: is given in run.workers, too (keep one of the two)',
  ]);
});
