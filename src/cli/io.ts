import type { DaemonCommands } from './daemon.ts';

/** Everything of the outside that a command may touch, apart from files and the admin API. */
export interface CliIo {
  /** Of the program. */
  version: string;
  stdout: Sink;
  stderr: Sink;
  stdin: AsyncIterable<Uint8Array | string>;
  /** Whether a person sees stdout. */
  isTty: boolean;
  /** Whether a person can answer on stdin. */
  canAsk: boolean;
  /** Asks the person for what must not be seen: nothing of the answer is shown. Only when `canAsk`. */
  askSecret(question: string): Promise<string>;
  env: Readonly<Record<string, string | undefined>>;
  /** Absolute. */
  cwd: string;
  /** Aborts when the user interrupts; its reason is `INTERRUPTED` or `PIPE_CLOSED`. */
  signal: AbortSignal;
  /**
   * Tells of each interruption, and how many there were, instead of aborting `signal`: for who can't just end. Returns how to stop.
   */
  onInterrupt(listener: (times: number) => void): () => void;
  /** Wall clock in milliseconds: only to say how long ago something was, and when waiting has lasted too long. */
  now(): number;
  /** Rejects with the signal's reason when it aborts first. */
  sleep(durationMs: number, signal: AbortSignal): Promise<void>;
  daemon: DaemonCommands;
}

interface Sink {
  write(text: string | Uint8Array): void;
  /** Columns of the terminal; absent when it is none. */
  columns?: number | undefined;
  /** Rows of the terminal; absent when it is none. */
  rows?: number | undefined;
}

/** Ctrl-C, or a request to end. */
export const INTERRUPTED = Symbol('interrupted');
/** Whoever read our output (`| head`) has seen enough. */
export const PIPE_CLOSED = Symbol('pipe closed');
