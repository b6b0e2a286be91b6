import type { Problem } from '../model/problem.ts';

/** Hop3's exit codes (design 13). */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  notAuthenticated: 4,
  notAllowed: 5,
  conflict: 6,
  unreachable: 7,
  deployFailed: 8,
  interrupted: 130,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A `no` that a person should read: what is wrong, what would be right, and the exit code that says so to a script. */
export class CliFailure extends Error {
  readonly exitCode: ExitCode;
  readonly hint: string | null;
  readonly problems: Problem[];
  /** Texts of the files that the problems are in, by the name the problems use, to show the lines. */
  readonly sources: ReadonlyMap<string, string>;
  /** The last lines of what failed. */
  readonly output: string[];

  constructor(
    exitCode: ExitCode,
    message: string,
    options: {
      hint?: string | null;
      problems?: Problem[];
      sources?: ReadonlyMap<string, string>;
      output?: string[];
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'CliFailure';
    this.exitCode = exitCode;
    this.hint = options.hint ?? null;
    this.problems = options.problems ?? [];
    this.sources = options.sources ?? new Map();
    this.output = options.output ?? [];
  }
}

export function usageFailure(message: string, hint: string | null = null): CliFailure {
  return new CliFailure(EXIT.usage, message, { hint });
}
