import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

// The data directory outlives releases, and belongs to one node: each node has a guestbook of its own.
const directory = process.env.DATA_DIR ?? '.';
const file = join(directory, 'entries.jsonl');

export async function addEntry(entry) {
  await mkdir(directory, { recursive: true });
  await appendFile(file, `${JSON.stringify(entry)}\n`);
}

export async function readEntries() {
  const text = await readFile(file, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  return text
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line));
}
