import { fileURLToPath } from 'node:url';
import test from 'ava';
import { mismatches, readRows, type CorpusRow } from '../support/corpus.ts';

const fixtures = fileURLToPath(new URL('../fixtures/hop3', import.meta.url));

for (const row of readRows(fixtures)) {
  test(`${row.file} is ${row.verdict}ed, for the reasons given`, t => {
    t.deepEqual(mismatches(fixtures, row), []);
  });
}

const wrongRows: [string, CorpusRow][] = [
  ['a wrong verdict of acceptance', { file: 'waf-bad--hop3.toml', verdict: 'accept', why: 'id wiki' }],
  [
    'a wrong verdict of rejection',
    { file: 'waf--hop3.toml', verdict: 'reject', why: 'unknown section [waf]' },
  ],
  ['a wrong reason', { file: 'limits-bad--hop3.toml', verdict: 'reject', why: 'unknown key [limits].cpu' }],
  ['a wrong place', { file: 'syntax--hop3.toml', verdict: 'reject', why: '2:1 : not valid TOML' }],
  ['a wrong fact', { file: 'limits--hop3.toml', verdict: 'accept', why: 'memory 512' }],
  ['a fact nobody knows', { file: 'limits--hop3.toml', verdict: 'accept', why: 'colour blue' }],
];
for (const [name, row] of wrongRows) {
  test(`the checker reports ${name}`, t => t.not(mismatches(fixtures, row).length, 0));
}
