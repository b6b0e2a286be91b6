import { setTimeout as sleep } from 'node:timers/promises';

const EACH_MS = 20;

/** Begins one 50 times a second, whether those before have ended or not. Gives what each took, in milliseconds. */
export async function fiftyASecond(seconds: number, work: () => Promise<unknown>): Promise<number[]> {
  const tookMs: number[] = [];
  const all: Promise<void>[] = [];
  for (let turn = 0; turn < (seconds * 1000) / EACH_MS; turn++) {
    const beganMs = performance.now();
    all.push(work().then(() => void tookMs.push(performance.now() - beganMs)));
    await sleep(EACH_MS);
  }
  await Promise.all(all);
  return tookMs;
}

/** What each run gives, after one that only warms up. */
export async function onceWarm(runs: number, run: () => Promise<number>): Promise<number[]> {
  await run();
  const given: number[] = [];
  while (given.length < runs) given.push(await run());
  return given;
}

export function percentile(samples: readonly number[], share: number): number {
  return samples.toSorted((a, b) => a - b)[Math.floor((samples.length * share) / 100)] ?? NaN;
}
