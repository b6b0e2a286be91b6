import type { DaemonCommands, DevOptions, RunOptions } from '../../src/cli/daemon.ts';
import type { CliIo } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/program.ts';

export interface Ran {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface Circumstances {
  env?: Record<string, string>;
  cwd?: string;
  stdin?: string;
  isTty?: boolean;
  canAsk?: boolean;
  signal?: AbortSignal;
  /** Given the way to interrupt whoever listens to interruptions. */
  onListening?: (interrupt: (times: number) => void) => void;
  /** Called whenever it waits. */
  onSleep?: () => void;
  /** Called with all of stdout after each write: to abort at a certain word. */
  onStdout?: (soFar: string) => void;
  onStderr?: (soFar: string) => void;
  daemon?: Partial<DaemonCommands>;
}

/** Runs one command line as `main.ts` would, and keeps what it wrote. Waiting takes next to no time (a long one longer than a short one), and moves the clock. */
export async function ran(argv: string[], circumstances: Circumstances = {}): Promise<Ran> {
  const written = { stdout: '', stderr: '' };
  let passedMs = 0;
  const io: CliIo = {
    version: '0.0.0-test',
    stdout: {
      write: text => {
        written.stdout += textOf(text);
        circumstances.onStdout?.(written.stdout);
      },
    },
    stderr: {
      write: text => {
        written.stderr += textOf(text);
        circumstances.onStderr?.(written.stderr);
      },
    },
    stdin: stdinOf(circumstances.stdin ?? ''),
    isTty: circumstances.isTty ?? false,
    canAsk: circumstances.canAsk ?? false,
    askSecret: async () => (circumstances.stdin ?? '').trim(),
    env: circumstances.env ?? {},
    cwd: circumstances.cwd ?? '/nowhere',
    signal: circumstances.signal ?? new AbortController().signal,
    onInterrupt: listener => {
      circumstances.onListening?.(listener);
      return () => undefined;
    },
    now: () => Date.parse('2026-01-01T00:00:00Z') + passedMs,
    sleep: (durationMs, signal) => {
      circumstances.onSleep?.();
      signal.throwIfAborted();
      passedMs += durationMs;
      return new Promise(resolve => setTimeout(resolve, Math.min(durationMs, 5 + durationMs / 1000)));
    },
    daemon: {
      run: circumstances.daemon?.run ?? (() => Promise.reject(new Error('no daemon here'))),
      dev: circumstances.daemon?.dev ?? (() => Promise.reject(new Error('no daemon here'))),
      clusterInit: circumstances.daemon?.clusterInit ?? (() => Promise.reject(new Error('no daemon here'))),
      clusterJoin: circumstances.daemon?.clusterJoin ?? (() => Promise.reject(new Error('no daemon here'))),
      etcdDefects: circumstances.daemon?.etcdDefects ?? (() => Promise.resolve([])),
    },
  };
  const exitCode = await runCli(argv, io);
  return { exitCode, ...written };
}

/** What a command with `--json` answered. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- a cast, named
export function answerOf<T>({ stdout }: Ran): T {
  return JSON.parse(stdout) as T;
}

/** What a stream with `--json` told, line by line. */
export function itemsOf<T>({ stdout }: Ran): T[] {
  return stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as T);
}

/** A daemon that only remembers what it was told. */
export function recordingDaemon(): { asked: (RunOptions | DevOptions)[]; daemon: DaemonCommands } {
  const asked: (RunOptions | DevOptions)[] = [];
  const remember = (options: RunOptions | DevOptions) => {
    asked.push(options);
    return Promise.resolve(0);
  };
  const nothing = () => Promise.reject(new Error('no daemon here'));
  const daemon = {
    run: remember,
    dev: remember,
    clusterInit: nothing,
    clusterJoin: nothing,
    etcdDefects: () => Promise.resolve([]),
  };
  return { asked, daemon };
}

function textOf(written: string | Uint8Array): string {
  return typeof written === 'string' ? written : Buffer.from(written).toString('utf8');
}

async function* stdinOf(text: string): AsyncGenerator<string> {
  yield text;
}
