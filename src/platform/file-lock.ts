import { spawn } from 'node:child_process';
import { open } from 'node:fs/promises';

/**
 * Runs `work` while this process holds the kernel's lock on a file; others wait their turn. The lock ends with the
 * process, so nothing stale is left. @throws the signal's reason when it aborts while waiting
 */
export async function withFileLock<T>(
  path: string,
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  const file = await open(path, 'a', 0o600);
  try {
    await flock(file.fd, signal);
    return await work();
  } finally {
    await file.close();
  }
}

/** Node has no flock(2): util-linux's `flock` locks our own open file, which it inherits. */
function flock(descriptor: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['3'], {
      stdio: ['ignore', 'ignore', 'ignore', descriptor],
      ...(signal === undefined ? {} : { signal }),
    });
    child.once('error', error => reject(signal?.aborted === true ? (signal.reason as Error) : error));
    child.once('close', code => {
      if (code === 0) resolve();
      else reject(new Error(`flock ended with status ${String(code)}`));
    });
  });
}
