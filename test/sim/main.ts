/**
 * `npm run test:sim`: attacks the agents in a simulated world, one seed after the other. The seeds in known-seeds.json come first.
 * Ends with a line of totals.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { availableParallelism } from 'node:os';
import { Option } from 'commander';
import { developersCommand, positiveNumber, wholeNumber } from '../support/developers-command.ts';
import { runSeeds } from './pool.ts';
import { MODES, modeOf, runSeed, type SeedResult } from './run-seed.ts';

const asked = developersCommand(
  'test:sim',
  'Attacks the agents in a simulated world, one seed after the other.',
)
  .option('--seeds <number>', 'tries so many, after the known ones', wholeNumber(0), 500)
  .option('--from <seed>', 'the first of them', wholeNumber(0), 1)
  .option('--minutes <minutes>', 'tries as many as fit into so long', positiveNumber)
  .addOption(new Option('--mode <mode>', 'only seeds that are about this').choices(MODES))
  .option('--processes <number>', 'tries so many at once', wholeNumber(1), availableParallelism())
  .option('--bail', 'ends at the first that fails')
  .option('--seed <seed>', 'tries only this one, and tells what became of it', wholeNumber(0))
  .option('--trace', 'tells what happened in it')
  .parse()
  .opts<SimArguments>();

interface SimArguments {
  seeds: number;
  from: number;
  minutes?: number;
  mode?: (typeof MODES)[number];
  processes: number;
  bail?: true;
  seed?: number;
  trace?: true;
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

if (asked.seed === undefined) await attack();
else await replay(asked.seed);

async function attack(): Promise<void> {
  const known = JSON.parse(readFileSync(join(import.meta.dirname, 'known-seeds.json'), 'utf8')) as {
    seed: number;
  }[];
  const untilMs = asked.minutes === undefined ? Infinity : beganMs + asked.minutes * 60_000;
  const most = asked.minutes === undefined ? asked.seeds : Infinity;
  const isWanted = (seed: number): boolean => asked.mode === undefined || modeOf(seed) === asked.mode;
  process.stdout.write(`the known seeds, then from ${asked.from} on\n`);
  const queue = known.map(({ seed }) => seed).filter(isWanted);
  let seed = asked.from;
  let begun = 0;
  const next = (): number | null => {
    if (asked.bail && failed.length > 0) return null;
    const again = queue.shift();
    if (again !== undefined) return again;
    if (begun >= most || performance.now() >= untilMs) return null;
    begun++;
    while (!isWanted(seed)) seed++;
    return seed++;
  };
  await runSeeds(next, asked.processes, count);
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
  const result = await runSeed(seed, { keepTrace: asked.trace === true });
  const again = await runSeed(seed);
  for (const line of result.trace) process.stdout.write(line);
  process.stdout.write(`seed ${seed} (${result.mode}), ${result.steps} steps: ${result.failure ?? 'ok'}\n`);
  if (again.hash !== result.hash) process.stdout.write(`not the same again: ${again.hash}, ${result.hash}\n`);
  process.exitCode = result.failure === null && again.hash === result.hash ? 0 : 1;
}
