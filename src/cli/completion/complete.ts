import type { CliIo } from '../io.ts';
import { commandDefinitions, commandGroups, globalOptions } from '../surface.ts';
import type { CommandDefinition, Completes, OptionDefinition } from '../surface.ts';
import { liveWords } from './live-words.ts';

interface Suggestion {
  value: string;
  about: string;
}

/**
 * The hidden `__complete`: given the words up to the cursor (the last one is being typed, perhaps empty), writes a
 * first line `none`, `files` or `directories`, saying what else the shell may offer, then one `value` or
 * `value<TAB>about` a line. Never fails and never takes longer than the API's short timeout: a shell is waiting.
 */
export async function complete(io: CliIo, words: string[]): Promise<void> {
  const place = placeOf(words);
  const { suggestions, also } = await suggest(place, io, words);
  const typed = words.at(-1) ?? '';
  const lines = suggestions
    .filter(suggestion => suggestion.value.startsWith(typed))
    .map(({ value, about }) => (about === '' ? value : `${value}\t${about}`));
  io.stdout.write([also, ...lines].join('\n') + '\n');
}

type Place =
  /** `after`: the first word of a command of two. */
  | { kind: 'command'; after: string | null }
  | { kind: 'option'; command: CommandDefinition | null }
  | { kind: 'value'; completes: Completes | undefined };

function placeOf(words: string[]): Place {
  const typed = words.at(-1) ?? '';
  let command: CommandDefinition | null = null;
  let group: string | null = null;
  let position = 0;
  let awaited: OptionDefinition | null = null;
  for (const word of words.slice(0, -1)) {
    if (awaited !== null) {
      awaited = null;
    } else if (word.startsWith('-')) {
      const option = optionsOf(command).find(known => flagOf(known) === word);
      awaited = option?.value ? option : null;
    } else if (command === null && group === null && word in commandGroups) {
      group = word;
    } else if (command === null) {
      const name = group === null ? word : `${group} ${word}`;
      command = commandDefinitions.find(known => known.name === name) ?? null;
      if (command === null) return { kind: 'value', completes: [] };
    } else {
      position++;
    }
  }
  if (awaited !== null) return { kind: 'value', completes: valuesOf(awaited) };
  if (typed.startsWith('-')) return { kind: 'option', command };
  if (command === null) return { kind: 'command', after: group };
  return { kind: 'value', completes: argumentAt(command, position) };
}

function argumentAt(command: CommandDefinition, position: number): Completes | undefined {
  const last = command.arguments.at(-1);
  const beyond = last?.syntax.includes('...') ? last.completes : [];
  return position < command.arguments.length ? command.arguments[position]?.completes : beyond;
}

function valuesOf(option: OptionDefinition): Completes | undefined {
  return option.value?.kind === 'choice' ? option.value.choices : option.completes;
}

function optionsOf(command: CommandDefinition | null): OptionDefinition[] {
  return [...(command?.options ?? []), ...globalOptions];
}

function flagOf(option: OptionDefinition): string {
  return option.flags.split(' ')[0] ?? option.flags;
}

interface Suggestions {
  suggestions: Suggestion[];
  also: 'none' | 'files' | 'directories';
}

async function suggest(place: Place, io: CliIo, words: string[]): Promise<Suggestions> {
  switch (place.kind) {
    case 'command':
      return only(commandWords(place.after));
    case 'option':
      return only(
        [...optionsOf(place.command), { flags: '--help', about: 'show help' }].map(option => ({
          value: flagOf(option),
          about: option.about,
        })),
      );
    case 'value':
      return suggestValues(place.completes, io, words);
  }
}

function commandWords(after: string | null): Suggestion[] {
  if (after !== null) {
    return commandDefinitions
      .filter(({ name }) => name.startsWith(`${after} `))
      .map(({ name, summary }) => ({ value: name.slice(after.length + 1), about: summary }));
  }
  return [
    ...commandDefinitions.filter(({ name }) => !name.includes(' ')),
    ...Object.entries(commandGroups).map(([name, { summary }]) => ({ name, summary })),
  ].map(({ name, summary }) => ({ value: name, about: summary }));
}

async function suggestValues(
  completes: Completes | undefined,
  io: CliIo,
  words: string[],
): Promise<Suggestions> {
  if (completes === undefined) return only([]);
  if (completes === 'files' || completes === 'directories') return { suggestions: [], also: completes };
  if (Array.isArray(completes)) return only(completes.map(value => ({ value, about: '' })));
  return only(await liveWords(completes, io, words));
}

function only(suggestions: Suggestion[]): Suggestions {
  return { suggestions, also: 'none' };
}
