import test from 'ava';
import { execFile } from 'node:child_process';
import { join } from 'node:path';

const rows: {
  name: string;
  file: string;
  args: string[];
  code: number;
  says: RegExp;
  script: string;
  /** An option that the help tells of. */
  of: RegExp;
}[] = [
  {
    name: 'what is none of the choices',
    ...{ script: 'bench', file: 'bench/run.ts', args: ['--only', 'everything'], code: 2 },
    says: /^error: option '--only <part>' argument 'everything' is invalid\. Allowed choices are starts, .*\n\n/,
    of: /^ {2}--quick +takes fewer samples$/m,
  },
  {
    name: 'what is no number',
    ...{ script: 'test:faults', file: 'faults/run.ts', args: ['--cycles', 'many'], code: 2 },
    says: /^error: option '--cycles <number>' argument 'many' is invalid\. It takes a whole number from 1 on\.\n\n/,
    of: /^ {2}--only <part> +tries those /m,
  },
  {
    name: 'a value that is missing',
    ...{ script: 'test:hosts', file: 'hosts/run.ts', args: ['--quick', '--only'], code: 2 },
    says: /^error: option '--only <text>' argument missing\n\n/,
    of: /^ {2}--cycles <number> +how often /m,
  },
  {
    name: 'what would choose nothing',
    ...{
      script: 'test:hosts',
      file: 'hosts/run.ts',
      args: ['--only', 'nowhere', '--only', 'never?'],
      code: 2,
    },
    says: /^error: option '--only <text>': nothing has "nowhere" or "never\?" in its name\n\n/,
    of: /^ {2}--cycles <number> +how often /m,
  },
  {
    name: 'an option that there is not',
    ...{ script: 'test:sim', file: 'sim/main.ts', args: ['--minuets', '5'], code: 2 },
    says: /^error: unknown option '--minuets'\n\(Did you mean --minutes\?\)\n\n/,
    of: /^ {2}--minutes <minutes> +tries as many /m,
  },
  {
    name: 'no time at all',
    ...{ script: 'test:sim', file: 'sim/main.ts', args: ['--minutes', '0'], code: 2 },
    says: /^error: option '--minutes <minutes>' argument '0' is invalid\. It takes a number above 0\.\n\n/,
    of: /^ {2}--seed <seed> +tries only this one/m,
  },
  {
    name: 'what no name holds',
    ...{ script: 'test:mutants', file: 'mutants.ts', args: ['rule 0'], code: 2 },
    says: /^error: no mutant has "rule 0" in its name\n\n/,
    of: /^ {2}part +tries those with this in their names/m,
  },
  {
    name: 'a folder that is not one',
    ...{ script: 'test:corpus', file: 'corpus.ts', args: ['src'], code: 2 },
    says: /^error: there is no src\/expected\.tsv\n\n/,
    of: /^ {2}directory +a folder with an expected\.tsv/m,
  },
  {
    name: 'asked for help',
    ...{ script: 'test:corpus', file: 'corpus.ts', args: ['--help'], code: 0 },
    says: /^/,
    of: /^ {2}directory +a folder with an expected\.tsv/m,
  },
];

for (const { name, script, file, args, code, says, of } of rows) {
  test(`npm run ${script} tells of its options in words: ${name}`, async t => {
    const { code: ended, stdout, stderr } = await run(file, args);
    const [told, other] = code === 0 ? [stdout, stderr] : [stderr, stdout];
    t.is(ended, code);
    t.is(other, '');
    t.regex(told, says);
    t.regex(told, new RegExp(`^Usage: npm run ${script} -- \\[options\\]`, 'm'));
    t.regex(told, of);
  });
}

function run(file: string, args: string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const command = ['--import=tsx', join(import.meta.dirname, file), ...args];
  return new Promise(resolve => {
    const root = join(import.meta.dirname, '..');
    execFile(process.execPath, command, { cwd: root }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
}
