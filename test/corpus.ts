import { mismatches, readRows } from './support/corpus.ts';

/** `npm run test:corpus -- DIR`: holds the readers against a folder of files and its expected.tsv. */
const [directory] = process.argv.slice(2);
if (directory === undefined) {
  console.error('usage: npm run test:corpus -- DIR   (a folder with an expected.tsv)');
  process.exit(2);
}

let failed = 0;
const rows = readRows(directory);
for (const row of rows) {
  const found = mismatches(directory, row);
  if (found.length > 0) failed++;
  for (const mismatch of found) console.log(`${row.file}: ${mismatch}`);
}
console.log(`${rows.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
