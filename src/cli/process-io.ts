import { constants } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { addAbortSignal, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { DaemonCommands } from './daemon.ts';
import { INTERRUPTED, PIPE_CLOSED } from './io.ts';
import type { CliIo } from './io.ts';
import { EXIT } from './failure.ts';

/** As shells say it. */
const TERMINATED = 128 + constants.signals.SIGTERM;

/**
 * This process as a `CliIo`. The first SIGINT or SIGTERM aborts its signal; a second one ends the process at once, unless
 * somebody listens to them.
 * A closed pipe aborts it too, instead of being an error.
 */
export function processIo(version: string, daemon: DaemonCommands): CliIo {
  const ending = new AbortController();
  const listeners = new Set<(times: number) => void>();
  let interrupts = 0;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      interrupts++;
      for (const listener of listeners) listener(interrupts);
      if (listeners.size > 0) return;
      if (ending.signal.aborted) process.exit(name === 'SIGTERM' ? TERMINATED : EXIT.interrupted);
      ending.abort(INTERRUPTED);
    });
  }
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      ending.abort(PIPE_CLOSED);
    });
  }
  return {
    version,
    stdout: process.stdout,
    stderr: process.stderr,
    // Opened only when it is read; an abort ends the reading, which would otherwise keep the process.
    get stdin() {
      return addAbortSignal(ending.signal, process.stdin);
    },
    isTty: process.stdout.isTTY,
    canAsk: process.stdin.isTTY && process.stderr.isTTY,
    askSecret: question => askSecret(question, ending.signal),
    env: process.env,
    cwd: process.cwd(),
    signal: ending.signal,
    onInterrupt(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    now: () => Date.now(),
    sleep: async (durationMs, signal) => {
      await delay(durationMs, undefined, { signal }).catch((error: unknown) => {
        signal.throwIfAborted();
        throw error;
      });
    },
    daemon,
  };
}

/** The terminal shows only what is written to it, so what is typed goes nowhere. */
async function askSecret(question: string, signal: AbortSignal): Promise<string> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  // In raw mode Ctrl-C is a key, and no signal.
  lines.on('SIGINT', () => process.kill(process.pid, 'SIGINT'));
  try {
    return await lines.question('', { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    lines.close();
    process.stderr.write('\n');
  }
}
