import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { allMutants, timesFound } from './all.ts';

const root = join(import.meta.dirname, '../..');

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
