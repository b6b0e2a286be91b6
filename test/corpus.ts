import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { mismatches, readRows } from './support/corpus.ts';
import { developersCommand } from './support/developers-command.ts';

/** `npm run test:corpus -- DIR`: holds the readers against a folder of files and its expected.tsv. */
const command = developersCommand('test:corpus', 'Holds the readers against a folder of files.')
  .argument('<directory>', 'a folder with an expected.tsv, which says what must be accepted')
  .parse();
const [directory = ''] = command.args;
if (!existsSync(join(directory, 'expected.tsv')))
  command.error(`error: there is no ${join(directory, 'expected.tsv')}`);

let failed = 0;
const rows = readRows(directory);
for (const row of rows) {
  const found = mismatches(directory, row);
  if (found.length > 0) failed++;
  for (const mismatch of found) console.log(`${row.file}: ${mismatch}`);
}
console.log(`${rows.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
