import test from 'ava';
import fc from 'fast-check';
import { readEnvFile } from '../../src/manifest/env-file.ts';
import { readProcfile } from '../../src/manifest/procfile.ts';
import { readAppDirectory } from '../../src/manifest/read-app-directory.ts';
import { readManifest, readManifests } from '../../src/manifest/read-manifest.ts';
import { checkSubmission } from '../../src/workflow/check-submission.ts';
import { checkCron } from '../../src/workflow/cron.ts';

/** Text out of what the formats are made of gets further into a reader than random characters do. */
const pieces = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        'metadata',
        'run',
        'env',
        'ports',
        'volumes',
        'contexts',
        'waf',
        'build',
        'id',
        'start',
        'workers',
        'list',
        'number',
        'computed',
        'generate',
        'domains',
        'scale',
        'source',
        'admin',
        'test',
        'kind',
        'Plan',
        'steps',
        'depends-on',
        'schedule',
        '__proto__',
        'constructor',
      ),
      fc.constantFrom(
        ': ',
        ' = ',
        '\n',
        '\n  ',
        '\n- ',
        '{',
        '}',
        '[',
        ']',
        '[[',
        ']]',
        ', ',
        '"',
        "'",
        '"""',
        '|',
        '&a ',
        '*a',
        '<<',
        '---\n',
        '#',
        '.',
        '?',
        '!',
        '%',
        '\t',
        '\r',
        '\0',
        '\uFEFF',
        '\uD800',
        '${',
        '$A',
        '=',
        ':',
        '/',
        '\\',
      ),
      fc.constantFrom(
        '1',
        '1.5',
        'true',
        'null',
        '~',
        '2020-01-01',
        '0x1f',
        'inf',
        'nan',
        '*/5 * * * * x',
        '1e999',
      ),
      fc.string({ unit: 'binary', maxLength: 8 }),
    ),
    { maxLength: 40 },
  )
  .map(parts => parts.join(''));
const anyText = fc.oneof(pieces, fc.string({ unit: 'binary', maxLength: 200 }));

const checks = { plan: checkSubmission, schedule: checkCron };
const isSound = (problems: { line: number; column: number; message: string }[]) =>
  problems.every(({ line, column, message }) => line >= 0 && column >= 0 && message !== '');

test('no text makes a reader throw: it gives specs, or problems with places', t => {
  fc.assert(
    fc.property(anyText, text => {
      const { apps, problems } = readManifest('any.yaml', text);
      return isSound(problems) && (apps.length > 0 || problems.length > 0);
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.constantFrom('', 'kind: Plan\n', 'kind: Plan\nsteps:\n  - '), anyText, (head, text) => {
      const { apps, plans, problems } = readManifests([{ file: 'any.yaml', text: head + text }], checks);
      return isSound(problems) && apps.length + plans.length + problems.length > 0;
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(anyText, fc.string(), (text, directoryName) => {
      const { spec, problems } = readAppDirectory({ 'hop3.toml': text }, { directoryName });
      return isSound(problems) && (spec === null) === problems.length > 0;
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(anyText, anyText, anyText, (Procfile, ENV, yaml) => {
      const { problems } = readAppDirectory({ Procfile, ENV, 'hop3.yaml': yaml }, { directoryName: 'x' });
      return isSound(problems);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test('a name made of any directory name is an app name', t => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), directoryName => {
      const { spec } = readAppDirectory({}, { directoryName });
      return /^[a-z][a-z0-9-]{1,61}[a-z0-9]$/.test(spec?.app ?? '');
    }),
  );
  t.pass();
});

const hostile: [string, () => unknown][] = [
  [
    'deep TOML lists',
    () => readAppDirectory({ 'hop3.toml': `a = ${'['.repeat(300_000)}` }, { directoryName: 'x' }),
  ],
  [
    'deep TOML tables',
    () => readAppDirectory({ 'hop3.toml': `a = ${'{b='.repeat(200_000)}` }, { directoryName: 'x' }),
  ],
  [
    'a long dotted key',
    () => readAppDirectory({ 'hop3.toml': `a${'.a'.repeat(400_000)} = 1` }, { directoryName: 'x' }),
  ],
  [
    'a long quoted key',
    () => readAppDirectory({ 'hop3.toml': `"a"${'."a"'.repeat(200_000)} = 1` }, { directoryName: 'x' }),
  ],
  ['a bomb of variables', () => readEnvFile('ENV', `A=xxxxxxxxxx\n${'A=$A$A$A$A$A$A$A$A\n'.repeat(40)}`)],
  ['a huge Procfile', () => readProcfile('Procfile', 'x'.repeat(2 ** 21))],
];
for (const [name, read] of hostile) {
  test(`${name}: a problem, not the end of the process`, t => {
    const { problems } = read() as { problems: unknown[] };
    t.not(problems.length, 0);
  });
}
