import type { ApiError } from '../api/client.ts';
import { CliFailure, EXIT } from './failure.ts';
import type { ExitCode } from './failure.ts';
import { PIPE_CLOSED } from './io.ts';
import type { Output } from './output.ts';
import { problemsText } from './problem-frame.ts';

/** Tells on stderr what went wrong, in the form that was asked for, and resolves to the exit code. */
export async function reportFailure(error: unknown, out: Output): Promise<number> {
  const { io, paint } = out;
  if (io.signal.aborted) return io.signal.reason === PIPE_CLOSED ? EXIT.ok : EXIT.interrupted;
  const failure = await asFailure(error);
  const { message, hint, exitCode, problems, output } = failure;
  if (out.json) {
    io.stderr.write(JSON.stringify({ error: { message, hint, exitCode, problems, output } }) + '\n');
    return exitCode;
  }
  if (problems.length > 0) io.stderr.write(problemsText(problems, failure.sources, paint));
  io.stderr.write(`${paint.red('error')}: ${message}\n`);
  for (const line of output) io.stderr.write(`  ${paint.dim('|')} ${line}\n`);
  if (hint !== null) io.stderr.write(`${paint.cyan('hint')}: ${hint}\n`);
  if (io.env['HOP3_AGENT_DEBUG'] === '1') io.stderr.write(`${stackOf(error)}\n`);
  return exitCode;
}

async function asFailure(error: unknown): Promise<CliFailure> {
  if (error instanceof CliFailure) return error;
  // Loaded only now: whoever asks for --help needs no client.
  const { ApiError, ApiUnreachable } = await import('../api/client.ts');
  if (error instanceof ApiError && !error.isForeign) return ofApiError(error);
  if (error instanceof ApiError || error instanceof ApiUnreachable) {
    return new CliFailure(EXIT.unreachable, error.message, {
      hint: 'is an agent running there? hop3-agent dev starts a cluster; --api URL asks another agent',
      cause: error,
    });
  }
  if (!(error instanceof Error)) return new CliFailure(EXIT.failed, String(error));
  const trouble = fileTroubleOf(error);
  if (trouble !== null) {
    const exitCode = trouble.isMissing ? EXIT.notFound : EXIT.failed;
    return new CliFailure(exitCode, trouble.message, { cause: error });
  }
  return new CliFailure(EXIT.failed, error.message, {
    hint: knownKinds.has(error.name) ? null : 'HOP3_AGENT_DEBUG=1 shows where this came from',
    cause: error,
  });
}

/** Errors whose message was written for people. */
const knownKinds = new Set([
  'StoreError',
  'PackError',
  'CliFailure',
  'ToolError',
  'ManagedEtcdError',
  'ProxyError',
]);

const exitOfStatus: Record<number, ExitCode> = {
  401: EXIT.notAuthenticated,
  403: EXIT.notAllowed,
  404: EXIT.notFound,
  409: EXIT.conflict,
  412: EXIT.conflict,
  503: EXIT.unreachable,
  504: EXIT.unreachable,
};

const hintOfStatus: Record<number, string> = {
  401: 'HOP3_AGENT_TOKEN or --token gives the token that the agent wants',
  404: 'hop3-agent status lists the apps, hop3-agent nodes the nodes, hop3-agent batch list the plans',
  503: 'hop3-agent doctor says what the agent is missing',
};

function ofApiError(error: ApiError): CliFailure {
  const own = error.problem['hint'];
  return new CliFailure(exitOfStatus[error.status] ?? EXIT.failed, error.message, {
    hint: typeof own === 'string' ? own : (hintOfStatus[error.status] ?? null),
    problems: error.problem.problems ?? [],
    cause: error,
  });
}

const fileTrouble: Record<string, string> = {
  ENOENT: 'there is no such file or directory',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
  ENOTDIR: 'it is not a directory',
  EEXIST: 'it exists already',
  ENOSPC: 'no space is left on the device',
};

/** In words, when the error is that of a file; else null. */
export function fileTroubleOf(error: unknown): { message: string; isMissing: boolean } | null {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return null;
  const { code = '', path } = error as NodeJS.ErrnoException;
  const trouble = fileTrouble[code];
  const message = trouble === undefined || path === undefined ? error.message : `${path}: ${trouble}`;
  return { message, isMissing: code === 'ENOENT' };
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? '' : `\ncaused by ${stackOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
