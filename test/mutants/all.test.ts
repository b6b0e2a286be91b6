import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { allMutants, timesFound } from './all.ts';

const root = join(import.meta.dirname, '../..');

/** The rules of ownership as the page for operators has them, each with the tests that are said to show it. */
const shownBy = new Map(
  readFileSync(join(root, 'deploy/ownership.md'), 'utf8')
    .split('\n')
    .flatMap(line => {
      const [, rule, tests = ''] = /^\| (\d+) .*\|([^|]*)\|$/.exec(line) ?? [];
      return rule === undefined ? [] : [[Number(rule), tests.match(/test\/[^`]+/g) ?? []] as const];
    }),
);
const RULES = Array.from({ length: 14 }, (_, index) => index + 1);

test('the page for operators has all rules of ownership, and tests that are there', t => {
  t.deepEqual([...shownBy.keys()], RULES);
  for (const [rule, tests] of shownBy) {
    t.true(tests.length > 0, `rule ${rule}`);
    for (const file of tests) t.true(existsSync(join(root, file)), `rule ${rule}: ${file}`);
  }
});

for (const rule of RULES) {
  test(`rule ${rule} is taken out by a mutant, and a test that is said to show it has to notice`, t => {
    const ofRule = allMutants.filter(({ name }) => new RegExp(`\\brule ${rule}:`).test(name));
    const noticing = ofRule.flatMap(({ test: by }) => (typeof by === 'string' ? [by] : []));
    const shown: string[] = shownBy.get(rule) ?? [];
    t.true(
      noticing.some(file => shown.includes(file)),
      `the mutants of rule ${rule} are noticed by ${[...new Set(noticing)].join(', ')}`,
    );
  });
}

test('every mutant finds its text once, so that a rule whose words have changed is still taken out', t => {
  const lost = allMutants.filter(
    mutant => timesFound(mutant, readFileSync(join(root, mutant.file), 'utf8')) !== 1,
  );
  t.deepEqual(
    lost.map(({ name, file }) => `${file}: ${name}`),
    [],
    'let its `search` follow the code',
  );
});

test('every mutant has tests that can notice, and changes something', t => {
  const lost = allMutants.filter(({ test: by }) => typeof by === 'string' && !existsSync(join(root, by)));
  t.deepEqual(
    lost.map(({ name }) => name),
    [],
  );
  t.true(allMutants.every(({ search, replace }) => search !== '' && search !== replace));
});

test('no two mutants have one name', t => {
  const names = allMutants.map(({ name, test: by }) => `${name} ${JSON.stringify(by)}`);
  t.is(new Set(names).size, names.length);
});
