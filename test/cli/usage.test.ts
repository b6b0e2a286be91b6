import test from 'ava';
import fc from 'fast-check';
import { commandDefinitions, globalOptions } from '../../src/cli/surface.ts';
import { ran } from './captured-io.ts';

const mistakes: { argv: string[]; says: string; hint?: string }[] = [
  { argv: ['stauts'], says: "unknown command 'stauts'", hint: 'did you mean status?' },
  { argv: ['status', '--jsno'], says: "unknown option '--jsno'", hint: 'did you mean --json?' },
  { argv: ['remove'], says: "missing required argument 'app'" },
  { argv: ['nodes', 'extra'], says: 'too many arguments' },
  { argv: ['events', '--lines'], says: "option '--lines <count>' argument missing" },
  { argv: ['events', '--lines', 'many'], says: 'Expected a whole number from 1 to 1000' },
  { argv: ['events', '--lines', '1.5'], says: 'Expected a whole number from 1 to 1000' },
  { argv: ['events', '--since', 'yesterday'], says: '"yesterday" is not a revision' },
  {
    argv: ['batch', 'list', '--state', 'runing'],
    says: '"runing" is no state',
    hint: 'did you mean "running"?',
  },
  { argv: ['run', '--driver', 'docker'], says: 'Allowed choices are process, systemd' },
  { argv: ['run', '--label', 'zone'], says: 'Expected KEY=VALUE' },
  { argv: ['dev', '--kill', 'node-1', '--stop'], says: '--kill and --stop cannot be said together' },
  { argv: ['dev', '--stop', 'a.yaml'], says: '--stop takes no files' },
  { argv: ['scale', 'blog', 'web'], says: '"web" says no scale', hint: 'web=3' },
  { argv: ['scale', 'blog', 'web=1001'], says: '"web=1001" says no scale' },
  { argv: ['completion', 'tcsh'], says: 'there is no completion for "tcsh"', hint: 'bash, zsh or fish' },
  { argv: ['status', '--api', 'localhost:7300'], says: '"localhost:7300" is not the address of an agent' },
  { argv: ['status', '--api', 'unix:relative'], says: '"unix:relative" is not the address of an agent' },
];

for (const { argv, says, hint } of mistakes) {
  test(`usage: ${argv.join(' ')} is refused with exit code 2`, async t => {
    const { exitCode, stdout, stderr } = await ran(argv);
    t.is(exitCode, 2);
    t.is(stdout, '');
    t.regex(stderr, /^error: /);
    t.true(stderr.includes(says), stderr);
    t.regex(stderr, /^hint: /m);
    if (hint !== undefined) t.true(stderr.includes(hint), stderr);
  });
}

test('a usage error is told once', async t => {
  const { stderr } = await ran(['stauts']);
  t.is(stderr, "error: unknown command 'stauts'\nhint: did you mean status?\n");
});

test('with --json a usage error is one JSON object on stderr', async t => {
  const { exitCode, stderr, stdout } = await ran(['status', '--jsno', '--json']);
  t.is(exitCode, 2);
  t.is(stdout, '');
  t.deepEqual(JSON.parse(stderr), {
    error: {
      message: "unknown option '--jsno'",
      hint: 'did you mean --json?',
      exitCode: 2,
      problems: [],
      output: [],
    },
  });
});

test('without arguments the help is shown, and it counts as a mistake', async t => {
  const { exitCode, stdout } = await ran([]);
  t.is(exitCode, 2);
  t.regex(stdout, /^Usage: hop3-agent/);
});

test('--help names every command, the global options and the exit codes', async t => {
  const { exitCode, stdout } = await ran(['--help']);
  t.is(exitCode, 0);
  for (const { name } of commandDefinitions) t.regex(stdout, new RegExp(`^  ${name.split(' ')[0]} `, 'm'));
  for (const { flags } of globalOptions) t.true(stdout.includes(flags), flags);
  t.regex(stdout, /8 deploy failed/);
});

for (const definition of commandDefinitions) {
  test(`${definition.name} --help names its arguments and options and shows examples`, async t => {
    const { exitCode, stdout, stderr } = await ran([...definition.name.split(' '), '--help']);
    t.is(exitCode, 0);
    t.is(stderr, '');
    for (const { flags } of [...definition.options, ...globalOptions]) t.true(stdout.includes(flags), flags);
    for (const { syntax } of definition.arguments) t.true(stdout.includes(syntax), syntax);
    for (const [line] of definition.examples) t.true(stdout.includes(`hop3-agent ${line}`), line);
    t.true(definition.examples.length > 0);
  });
}

test('--version prints the version', async t => {
  t.deepEqual(await ran(['--version']), { exitCode: 0, stdout: '0.0.0-test\n', stderr: '' });
});

test('property: whatever is typed, the answer is an exit code, and never a stack', async t => {
  const word = fc.oneof(
    fc.constantFrom(...commandDefinitions.flatMap(({ name }) => name.split(' '))),
    fc.constantFrom(
      ...commandDefinitions.flatMap(({ options }) => options.map(({ flags }) => flags.split(' ')[0]!)),
    ),
    fc.constantFrom('--json', '--help', '--', '-', '=', '__complete', 'web=1', 'help', '--api', '--no-color'),
    // No paths: some commands write files.
    fc.string({ maxLength: 12 }).filter(text => !/[.\/]/.test(text)),
  );
  // Port 9 of loopback: nobody answers there.
  const env = { HOP3_AGENT_API: 'http://127.0.0.1:9' };
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 6 }), async argv => {
      const { exitCode, stderr } = await ran(argv, { env });
      t.true([0, 1, 2, 3, 4, 5, 6, 7, 8, 130].includes(exitCode));
      t.notRegex(stderr, /^\s+at .*[(:]\d+/m);
      if (exitCode !== 0 && argv.length > 0) t.not(stderr.trim(), '');
    }),
    { numRuns: 150 },
  );
});
