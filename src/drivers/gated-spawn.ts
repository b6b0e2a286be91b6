import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';

import { DriverError, type Launch } from '../ports/driver.ts';
import { openOutput, type OutputFiles } from './output-files.ts';

/** A process that exists but has not run the command yet. */
export interface Gated {
  pid: number;
  /** Called once, with what ended it. */
  onExit(listener: (code: number | null, signal: string | null) => void): void;
  /** Called once instead, when it is not known any more what will end it. */
  onOrphaned(listener: () => void): void;
  /** Resolves when the command runs, or never will: a signal that is sent before may be lost. */
  begun: Promise<void>;
  /** Lets the command run. */
  open(): void;
  /** Instead: it leaves without having run the command. */
  shut(): void;
}

/**
 * The shell that becomes the command waits for one line on descriptor 3, which it gets once its pid is on file. If the
 * agent dies first it reads the end instead and leaves, so a command never runs that nobody knows of.
 */
const GATE = 'read -r go <&3 || exit 125; exec 3<&-; exec /bin/sh -c "$1"';

/** A command behind its gate. */
export function gatedCommand(command: string): [file: string, ...args: string[]] {
  return ['/bin/sh', '-c', GATE, 'hop3', command];
}

/** Failures for want of something that may be there later. */
const PASSING = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE', 'ENOSPC', 'EDQUOT', 'EIO']);

/**
 * Spawns a command that has a gate, in a session of its own and in one turn of the event loop; the promise is only for
 * failures that take longer. @throws DriverError
 */
export function spawnGated(
  launch: Launch,
  [file, ...args]: [file: string, ...args: string[]],
  files: OutputFiles,
  user: { uid: number; gid: number } | undefined,
): Gated | Promise<never> {
  let output;
  try {
    output = openOutput(files, user);
    const child = spawn(file, args, {
      cwd: launch.directory,
      env: launch.env,
      detached: true,
      stdio: ['ignore', output.out, output.err, 'pipe'],
      ...user,
    });
    if (child.pid === undefined) {
      return new Promise((_, reject) => child.once('error', error => reject(cannotStart(launch, error))));
    }
    child.unref();
    const gate = child.stdio[3] as Socket;
    // Killed before it read: its exit says so.
    gate.on('error', () => undefined);
    const begun = new Promise<void>(resolve => gate.once('close', resolve));
    // What holds the other end may live as long as the unit, and would keep this process from ending.
    gate.unref();
    gate.once('data', () => gate.destroy());
    return {
      pid: child.pid,
      onExit: listener => child.once('exit', listener),
      onOrphaned: () => undefined,
      begun,
      open: () => void gate.end('go\n'),
      shut: () => void gate.destroy(),
    };
  } catch (error) {
    throw cannotStart(launch, error as NodeJS.ErrnoException);
  } finally {
    output?.close();
  }
}

export function cannotStart(launch: Launch, error: NodeJS.ErrnoException): DriverError {
  return new DriverError(`can't start ${launch.unit}: ${error.message}`, {
    retryable: isPassing(error),
    cause: error,
  });
}

/** Whether what failed may be there later, or is there on another node. */
export function isPassing(error: NodeJS.ErrnoException): boolean {
  return PASSING.has(error.code ?? '');
}
