import { fork } from 'node:child_process';
import { join } from 'node:path';
import type { SeedResult } from './run-seed.ts';

/** Runs seeds in so many processes at once, until `next` has no more. */
export async function runSeeds(
  next: () => number | null,
  processes: number,
  onResult: (result: SeedResult) => void,
): Promise<void> {
  await Promise.all(Array.from({ length: processes }, () => runSome(next, onResult)));
}

/** @throws Error when the process ends in the middle of a seed */
function runSome(next: () => number | null, onResult: (result: SeedResult) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let seed = next();
    if (seed === null) {
      resolve();
      return;
    }
    const child = fork(join(import.meta.dirname, 'worker.ts'));
    child.on('message', result => {
      onResult(result as SeedResult);
      seed = next();
      if (seed === null) child.disconnect();
      else child.send(seed);
    });
    child.on('exit', code => {
      if (seed === null) resolve();
      else reject(new Error(`the process that ran seed ${seed} ended with ${code ?? 'a signal'}`));
    });
    child.send(seed);
  });
}
