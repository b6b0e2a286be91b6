import { spawn } from 'node:child_process';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';

/** In a state directory; whoever removes it while it is held lets a second agent in. */
export const LOCK_FILE = 'agent.lock';

/** Held by the kernel for this process: it ends with the process, however that ends. */
export interface StateLock {
  release(): Promise<void>;
}

/** Another agent has the lock; the message names it. */
export class StateInUse extends Error {
  override readonly name = 'StateInUse';
}

/**
 * One agent a state directory. Node has no flock(2), so util-linux's `flock` takes the lock on our own open file,
 * which it inherits; the lock belongs to that open file and stays with us when the helper has exited. No app inherits it.
 * @throws StateInUse naming the holder's pid; Error naming what is missing
 */
export async function lockStateDir(stateDir: string): Promise<StateLock> {
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const path = join(stateDir, LOCK_FILE);
  const file = await open(path, 'a+', 0o600);
  try {
    const result = await flock(file.fd);
    if (result.code === 1) {
      const holder = (await file.readFile('utf8')).trim();
      throw new StateInUse(
        `state directory ${stateDir} is in use by another agent (pid ${holder === '' ? 'unknown' : holder}): ` +
          'stop that one, or choose another --state-dir',
      );
    }
    if (result.code !== 0) throw new Error(`can't lock ${path}: ${result.complaint}`);
    await file.truncate(0);
    await file.writeFile(`${process.pid}\n`);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { release: () => file.close() };
}

function flock(descriptor: number): Promise<{ code: number | null; complaint: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['--nonblock', '3'], { stdio: ['ignore', 'ignore', 'pipe', descriptor] });
    child.once('error', error =>
      reject(new Error(`can't run flock (install util-linux): ${error.message}`, { cause: error })),
    );
    // Where no descriptor is left there are no pipes either.
    if (child.pid === undefined) return;
    let complaint = '';
    (child.stderr as Readable).setEncoding('utf8').on('data', (text: string) => (complaint += text));
    child.once('close', code => resolve({ code, complaint: complaint.trim() }));
  });
}
