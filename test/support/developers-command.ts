import { Command, InvalidArgumentError } from 'commander';

/**
 * One of the commands for developers, to be given its options. Misused, it says in a line what is wrong and what would be right,
 * shows how it is used and ends the process with 2; asked for `--help` it tells of each option.
 */
export function developersCommand(script: string, about: string): Command {
  return new Command(`npm run ${script} --`)
    .description(about)
    .helpOption('--help', 'show this')
    .configureHelp({ helpWidth: 110 })
    .showHelpAfterError()
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : 2));
}

/** Reads a whole number from `least` on, as the value of an option. */
export function wholeNumber(least: number): (text: string) => number {
  return text => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`It takes a whole number from ${least} on.`);
  };
}

/** Reads a number above zero, as the value of an option. */
export function positiveNumber(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (value > 0) return value;
  throw new InvalidArgumentError('It takes a number above 0.');
}
