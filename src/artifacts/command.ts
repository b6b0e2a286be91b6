import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { ArtifactError } from '../ports/artifacts.ts';
import type { Clock } from '../ports/clock.ts';

const TAIL_LINES = 20;
const MAX_LINE_CHARACTERS = 4096;
const TERM_GRACE_MS = 2_000;
const PIPE_GRACE_MS = 500;

export interface Command {
  /** As the messages name it. */
  text: string;
  file: string;
  arguments: string[];
  directory: string;
  /** The whole environment. */
  env: Record<string, string>;
  timeoutSeconds: number;
  /** Its descriptor 3 is a leash. */
  leashed?: true;
}

/**
 * Descriptor 3 is a leash: when its other end goes, because the agent has, however it has, all of the group is killed. Another node
 * may do the same by then.
 */
const LEASH = `
( trap '' TERM INT HUP; read -r gone <&3; kill -KILL -$$ ) <&3 >/dev/null 2>&1 &
exec 3<&-
exec "$@"
`;

/** A line for `/bin/sh -c`, which does not outlive its agent. */
export function shellCommand(
  text: string,
  place: { directory: string; env: Record<string, string>; timeoutSeconds: number },
): Command {
  const leashed = ['-c', LEASH, 'hop3', '/bin/sh', '-c', text];
  return { ...place, text, file: '/bin/sh', arguments: leashed, leashed: true };
}

/**
 * Runs a command in a process group of its own, which is gone when this resolves or rejects: a build leaves nothing
 * running. @throws ArtifactError with the last 20 lines when it fails or takes too long; the signal's reason when aborted
 */
export async function runCommand(
  command: Command,
  clock: Clock,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const tail: string[] = [];
  const child = spawn(command.file, command.arguments, {
    cwd: command.directory,
    env: command.env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', ...(command.leashed ? (['pipe'] as const) : [])],
  });
  // Where no descriptor is left there are no pipes either.
  if (child.pid === undefined) {
    const { message } = await new Promise<Error>(resolve => child.once('error', resolve));
    throw failed(command, `cannot be started: ${message}`, tail);
  }
  child.stdio[3]?.on('error', () => undefined);
  const onOutput = (text: string) => {
    const line = withoutCredentials(text.slice(0, MAX_LINE_CHARACTERS));
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    onLine(line);
  };
  const closed = linesRead(child, onOutput);
  const limits = new AbortController();
  const stopLimit = clock.after(command.timeoutSeconds * 1000, () => limits.abort());
  const end = await ended(child, clock, AbortSignal.any([signal, limits.signal]));
  stopLimit();
  signalGroup(child, 'SIGKILL');
  await Promise.race([closed, clock.sleep(PIPE_GRACE_MS)]);
  for (const stream of child.stdio) stream?.destroy();
  signal.throwIfAborted();
  const problem = limits.signal.aborted ? `took longer than ${command.timeoutSeconds} s` : problemOf(end);
  if (problem !== null) throw failed(command, problem, tail);
}

function failed({ text }: Command, problem: string, output: string[]): ArtifactError {
  return new ArtifactError(`\`${withoutCredentials(text)}\` ${problem}`, { retryable: false, output });
}

interface End {
  code: number | null;
  signal: string | null;
}

function problemOf(end: End): string | null {
  if (end.signal !== null) return `was ended by ${end.signal}`;
  return end.code === 0 ? null : `failed with exit code ${end.code ?? 'unknown'}`;
}

async function ended(child: ChildProcess, clock: Clock, stop: AbortSignal): Promise<End> {
  let cancelKill: () => void = () => undefined;
  const onStop = () => {
    signalGroup(child, 'SIGTERM');
    cancelKill = clock.after(TERM_GRACE_MS, () => signalGroup(child, 'SIGKILL'));
  };
  stop.addEventListener('abort', onStop);
  if (stop.aborted) onStop();
  const end = await new Promise<End>(resolve => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  stop.removeEventListener('abort', onStop);
  cancelKill();
  return end;
}

async function linesRead(child: ChildProcess, onLine: (line: string) => void): Promise<void> {
  await Promise.all(
    [child.stdout, child.stderr].map(async stream => {
      if (stream === null) return;
      const lines = createInterface({ input: stream, crlfDelay: Infinity });
      lines.on('line', onLine);
      await new Promise<void>(resolve => lines.once('close', resolve));
    }),
  );
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** `https://user:secret@host/` must not reach a log or a person's screen. */
export function withoutCredentials(text: string): string {
  return text.replace(/(\b[a-z][a-z0-9+.-]*:\/\/)[^/\s@]+@/gi, '$1');
}
