import { spawn } from 'node:child_process';

export interface CommandOptions {
  /** What messages call it; the command with all its arguments when absent. */
  label?: string;
  env: Record<string, string>;
  cwd?: string;
  timeoutMs: number;
  signal?: AbortSignal | undefined;
}

/** A command that failed; its message has the last lines of what it said. */
class CommandError extends Error {
  readonly output: string;
  constructor(message: string, output: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'CommandError';
    this.output = output;
  }
}

/** Resolves with standard output. @throws CommandError when it can't be run, fails, or takes longer than allowed */
export function runCommand(command: string, args: string[], options: CommandOptions): Promise<string> {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: options.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
      killSignal: 'SIGTERM',
    });
    let stdout = '';
    let both = '';
    const fail = (why: string, cause?: unknown) => {
      const said = both.trim().split('\n').slice(-5).join(' | ');
      const label = options.label ?? [command, ...args].join(' ');
      reject(new CommandError(`${label}: ${why}${said === '' ? '' : `: ${said}`}`, both, cause));
    };
    child.once('error', error => {
      if (timeout.aborted) fail(`not done after ${options.timeoutMs / 1000} s`, error);
      else fail(error.message, error);
    });
    // Where no descriptor is left there are no pipes either.
    if (child.pid === undefined) return;
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      both += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => (both += text));
    child.once('close', (code, killedBy) => {
      if (code === 0) resolve(stdout);
      else fail(killedBy === null ? `status ${String(code)}` : `ended by ${killedBy}`);
    });
  });
}
