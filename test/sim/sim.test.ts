import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runSeed, type SeedResult } from './run-seed.ts';

/** The short form of `npm run test:sim`, which goes on for as long as one likes. */
const SEEDS = 60;
const AT_ONCE = 5;

const known = JSON.parse(readFileSync(join(import.meta.dirname, 'known-seeds.json'), 'utf8')) as {
  seed: number;
  was: string;
}[];
const results: SeedResult[] = [];

for (const { seed, was } of known) {
  test.serial(`seed ${seed} holds, which once did not: ${was}`, async t => {
    t.is((await runSeed(seed)).failure, null);
  });
}

for (let first = 1; first <= SEEDS; first += AT_ONCE) {
  const last = first + AT_ONCE - 1;
  test.serial(
    `every rule of ownership holds and all comes right again, seeds ${first} to ${last}`,
    async t => {
      for (let seed = first; seed <= last; seed++) {
        const result = await runSeed(seed);
        results.push(result);
        t.is(result.failure, null, `replay: npm run test:sim -- --seed ${seed} --trace`);
      }
    },
  );
}

test.serial('the attacks were attacks: subjects were taken over, and stale writes tried', t => {
  const sum = (of: (result: SeedResult) => number): number => results.reduce((all, one) => all + of(one), 0);
  t.true(sum(one => one.takeovers) > SEEDS);
  t.true(sum(one => one.exclusiveStarts) > SEEDS);
  t.true(sum(one => one.staleAttempts) > SEEDS);
  t.true(sum(one => one.nameGrants) > SEEDS);
  t.true(sum(one => one.statesWritten) > SEEDS);
  t.true(sum(one => one.statesRead) > SEEDS);
  t.is(
    sum(one => one.staleAccepted),
    0,
  );
});

for (const seed of [5, 7, 8, 9]) {
  test.serial(`the same seed is the same life, event by event (${seed})`, async t => {
    const [one, two] = [await runSeed(seed), await runSeed(seed)];
    t.is(one.hash, two.hash);
    t.is(one.steps, two.steps);
  });
}
