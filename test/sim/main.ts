/**
 * Attacks the agents in a simulated world, one seed after the other: `npm run test:sim -- [--seeds N] [--seed S] [--from S]
 * [--minutes M] [--mode MODE] [--processes P] [--trace]`. The seeds in known-seeds.json come first. Ends with a line of totals.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { runSeeds } from './pool.ts';
import { MODES, modeOf, runSeed, type SeedResult } from './run-seed.ts';

const { values } = parseArgs({
  options: {
    /** How many, after the known ones. */
    seeds: { type: 'string', default: '500' },
    /** Only this one, and what happened in it. */
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    /** Only seeds that are about this: all, names, store or beyond. */
    mode: { type: 'string' },
    /** As many as fit into so long. */
    minutes: { type: 'string' },
    trace: { type: 'boolean', default: false },
    processes: { type: 'string', default: String(availableParallelism()) },
    /** Ends at the first that fails. */
    bail: { type: 'boolean', default: false },
  },
});

if (values.mode !== undefined && !(MODES as readonly string[]).includes(values.mode)) {
  process.stderr.write(`error: --mode ${values.mode}: one of ${MODES.join(', ')}\n`);
  process.exit(2);
}

const failed: SeedResult[] = [];
const sums = {
  seeds: 0,
  steps: 0,
  simulatedMs: 0,
  takeovers: 0,
  exclusiveStarts: 0,
  overlaps: 0,
  writesAccepted: 0,
  staleAttempts: 0,
  staleAccepted: 0,
  nameGrants: 0,
  nameStaleAttempts: 0,
  statesWritten: 0,
  statesRead: 0,
};
const beganMs = performance.now();

if (values.seed === undefined) await attack();
else await replay(Number(values.seed));

async function attack(): Promise<void> {
  const known = JSON.parse(readFileSync(join(import.meta.dirname, 'known-seeds.json'), 'utf8')) as {
    seed: number;
  }[];
  const untilMs = values.minutes === undefined ? Infinity : beganMs + Number(values.minutes) * 60_000;
  const most = values.minutes === undefined ? Number(values.seeds) : Infinity;
  const first = Number(values.from);
  const isWanted = (seed: number): boolean => values.mode === undefined || modeOf(seed) === values.mode;
  process.stdout.write(`the known seeds, then from ${first} on\n`);
  const queue = known.map(({ seed }) => seed).filter(isWanted);
  let seed = first;
  let begun = 0;
  const next = (): number | null => {
    if (values.bail && failed.length > 0) return null;
    const again = queue.shift();
    if (again !== undefined) return again;
    if (begun >= most || performance.now() >= untilMs) return null;
    begun++;
    while (!isWanted(seed)) seed++;
    return seed++;
  };
  await runSeeds(next, Number(values.processes), count);
  if (sums.staleAttempts === 0) process.stdout.write('no stale write was ever tried: nothing was proved\n');
  for (const { seed } of failed) process.stdout.write(`replay: npm run test:sim -- --seed ${seed} --trace\n`);
  const seconds = (performance.now() - beganMs) / 1000;
  process.stdout.write(
    `${sums.seeds} seeds, ${sums.steps} steps, ${Math.round(sums.simulatedMs / 60_000)} simulated minutes in ` +
      `${seconds.toFixed(1)} s; ${sums.takeovers} takeovers, ${sums.exclusiveStarts} exclusive starts ` +
      `(${sums.overlaps} overlaps, where clocks and pauses were beyond the margin)\n` +
      `${sums.writesAccepted} fenced writes, ${sums.staleAttempts} stale attempts, ${sums.staleAccepted} of them accepted\n` +
      `names given ${sums.nameGrants} times, ${sums.statesWritten} states written under them and ${sums.statesRead} read, ${sums.nameStaleAttempts} stale attempts\n` +
      `${sums.seeds - failed.length} passed, ${failed.length} failed\n`,
  );
  process.exitCode = failed.length === 0 && sums.staleAttempts > 0 && sums.staleAccepted === 0 ? 0 : 1;
}

function count(result: SeedResult): void {
  sums.seeds++;
  for (const what of Object.keys(sums) as (keyof typeof sums)[]) {
    if (what !== 'seeds') sums[what] += result[what];
  }
  if (result.failure === null) return;
  failed.push(result);
  process.stdout.write(`not ok - seed ${result.seed} (${result.mode}): ${result.failure}\n`);
}

async function replay(seed: number): Promise<void> {
  const result = await runSeed(seed, { keepTrace: values.trace });
  const again = await runSeed(seed);
  for (const line of result.trace) process.stdout.write(line);
  process.stdout.write(`seed ${seed} (${result.mode}), ${result.steps} steps: ${result.failure ?? 'ok'}\n`);
  if (again.hash !== result.hash) process.stdout.write(`not the same again: ${again.hash}, ${result.hash}\n`);
  process.exitCode = result.failure === null && again.hash === result.hash ? 0 : 1;
}
