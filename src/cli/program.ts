import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { apiTarget, commandContext } from './context.ts';
import { EXIT, usageFailure } from './failure.ts';
import { Invocation } from './invocation.ts';
import type { CliIo } from './io.ts';
import { Output } from './output.ts';
import { reportFailure } from './report.ts';
import { commandDefinitions, commandGroups, globalOptions } from './surface.ts';
import type { CommandDefinition, OptionDefinition, ValueKind } from './surface.ts';

/**
 * Reads the arguments (without the program's name), does what they say and resolves to the exit code. Never
 * rejects: what goes wrong is told on stderr.
 */
export async function runCli(argv: string[], io: CliIo): Promise<number> {
  const form = { json: asksForJson(argv), color: !argv.includes('--no-color') };
  const out = new Output(io, form);
  let exitCode: number = EXIT.ok;
  const program = buildProgram(io, form, async (definition, command, words) => {
    const options: Record<string, unknown> = command.optsWithGlobals();
    const call = new Invocation(words, options);
    const target = apiTarget({ api: call.text('api'), token: call.text('token') }, io.env);
    const context = commandContext(io, out, target);
    const run = await definition.load();
    exitCode = await run(context, call).catch(async (error: unknown) => {
      const { withKnownNames } = await import('./known-names.ts');
      throw await withKnownNames(error, definition, words, context);
    });
  });
  try {
    if (argv.length === 0) {
      program.outputHelp();
      return EXIT.usage;
    }
    if (argv[0] === '__complete') {
      const { complete } = await import('./completion/complete.ts');
      await complete(io, argv.slice(1));
      return EXIT.ok;
    }
    await program.parseAsync(helpAsOption(argv, program), { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return await usageExit(error, argv, out);
    return await reportFailure(error, out);
  }
}

/** Known before parsing, because even a usage error is told in the form that was asked for. */
function asksForJson(argv: string[]): boolean {
  const end = argv.indexOf('--');
  return argv.slice(0, end < 0 ? undefined : end).includes('--json');
}

/** `help COMMAND` is `COMMAND --help`, also for commands of two words. */
function helpAsOption(argv: string[], program: Command): string[] {
  const [first, about, ...rest] = argv;
  if (first !== 'help' || about === undefined || about.startsWith('-')) return argv;
  const isKnown = program.commands.some(command => command.name() === about);
  return isKnown ? [about, ...rest, '--help'] : [about];
}

type Perform = (definition: CommandDefinition, command: Command, words: string[]) => Promise<void>;

function buildProgram(io: CliIo, { json }: { json: boolean }, perform: Perform): Command {
  const program = new Command('hop3-agent')
    .description(
      'Keeps web applications running on a fleet of servers by making, keeping and checking promises.',
    )
    .version(io.version, '--version', 'print the version')
    .helpOption('--help', 'show this, or the help of a command')
    .addHelpCommand(helpCommand())
    .configureHelp({ showGlobalOptions: true, helpWidth: helpWidth(io) })
    .configureOutput({
      writeOut: text => io.stdout.write(text),
      // The help that is shown when no command was named.
      writeErr: text => (json ? undefined : io.stderr.write(text)),
      // Usage errors are told by `usageExit`, in the same form as all others.
      outputError: () => undefined,
    })
    .exitOverride()
    .addHelpText('after', PROGRAM_HELP);
  for (const option of globalOptions) program.addOption(commanderOption(option));
  for (const definition of commandDefinitions) addCommand(program, definition, perform);
  return program;
}

function helpCommand(): Command {
  return new Command('help')
    .argument('[command]')
    .description('the same as COMMAND --help')
    .helpOption(false)
    .helpGroup('Help:');
}

function helpWidth(io: CliIo): number {
  return Math.min(Math.max(io.stdout.columns ?? 100, 60), 120);
}

function addCommand(program: Command, definition: CommandDefinition, perform: Perform): void {
  const [first = '', second] = definition.name.split(' ');
  const command = (second === undefined ? program : groupCommand(program, first))
    .command(second ?? first)
    .summary(definition.summary)
    .description(sentence(definition.summary))
    .helpGroup(second === undefined ? `${definition.group}:` : 'Commands:')
    .addHelpText('after', examplesText(definition));
  for (const argument of definition.arguments) command.argument(argument.syntax, argument.about);
  for (const option of definition.options) command.addOption(commanderOption(option));
  command.action(async () => perform(definition, command, command.args));
}

/** What commands of two words hang on; without the second it shows them. */
function groupCommand(program: Command, name: string): Command {
  const there = program.commands.find(command => command.name() === name);
  if (there !== undefined) return there;
  const { group, summary } = commandGroups[name] ?? { group: 'Help', summary: name };
  return program
    .command(name)
    .summary(summary)
    .description(sentence(summary))
    .helpGroup(`${group}:`)
    .helpCommand(false);
}

function sentence(summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`;
}

function examplesText(definition: CommandDefinition): string {
  const notes = definition.notes === undefined ? '' : `\n${definition.notes}\n`;
  const lines = definition.examples.map(([line, about]) => `  hop3-agent ${line}\n      ${about}`);
  return `${notes}\nExamples:\n${lines.join('\n')}\n`;
}

const PROGRAM_HELP = `
Exit codes:
  0 ok   1 failed   2 usage   3 not found   4 not authenticated   5 not allowed   6 conflict
  7 cannot reach the agent or the cluster   8 deploy failed   130 interrupted

With --json an error is one JSON object on stderr:
  {"error": {"message", "hint", "exitCode", "problems": [{"file", "line", "column", "field", "message", "hint"}], "output": []}}

Examples:
  hop3-agent dev manifests/*.yaml
      a whole cluster on this machine
  hop3-agent deploy ./guestbook --host guestbook.localhost
      put an app on it
  hop3-agent status guestbook
      where it runs
`;

function commanderOption(definition: OptionDefinition): Option {
  const option = new Option(definition.flags, definition.about);
  if (definition.fallback !== undefined) option.default(definition.fallback);
  switch (definition.value?.kind) {
    case 'choice':
      return option.choices(definition.value.choices);
    case 'number': {
      const kind = definition.value;
      return option.argParser(text => readNumber(text, kind));
    }
    case 'list':
      return option.argParser((text, before: string[] | undefined) => [...(before ?? []), text]);
    case 'pairs':
      return option.argParser((text, before: string[] | undefined) => [...(before ?? []), readPair(text)]);
    case 'text':
    case undefined:
      return option;
  }
}

function readNumber(text: string, kind: ValueKind & { kind: 'number' }): number {
  const value = /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (value >= kind.min && value <= kind.max && (!kind.whole || Number.isInteger(value))) return value;
  throw new InvalidArgumentError(
    `Expected a ${kind.whole ? 'whole ' : ''}number from ${kind.min} to ${kind.max}.`,
  );
}

function readPair(text: string): string {
  if (text.indexOf('=') < 1) throw new InvalidArgumentError('Expected KEY=VALUE.');
  return text;
}

/** `--help` and `--version` also end in a CommanderError, with exit code 0. */
async function usageExit(error: CommanderError, argv: string[], out: Output): Promise<number> {
  if (error.exitCode === 0) return EXIT.ok;
  if (error.code === 'commander.help' && !out.json) return EXIT.usage;
  const line = error.code === 'commander.help' ? 'no command was named' : error.message;
  const [first = '', ...rest] = line.replace(/^error: /, '').split('\n');
  const suggestion = /^\(Did you mean (.*)\?\)$/.exec(rest.join(' '))?.[1];
  const hint =
    suggestion === undefined
      ? `${['hop3-agent', ...commandIn(argv)].join(' ')} --help shows what can be asked`
      : `did you mean ${suggestion}?`;
  return await reportFailure(usageFailure(first, hint), out);
}

/** The words that name the command, as far as they do. */
function commandIn(argv: string[]): string[] {
  const [first = '', second = ''] = argv.filter(word => !word.startsWith('-'));
  const names = commandDefinitions.map(({ name }) => name);
  if (names.includes(`${first} ${second}`)) return [first, second];
  return names.includes(first) || first in commandGroups ? [first] : [];
}
