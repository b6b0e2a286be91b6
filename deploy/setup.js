/**
 * Makes node_modules what package-lock.json says, if it is not that yet. Needs nothing but Node and npm, so that
 * `npm run demo` and `npm test` work in a fresh clone.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const digest = createHash('sha256')
  .update(readFileSync(join(root, 'package-lock.json')))
  .digest('hex');
const mark = join(root, 'node_modules/.cache/installed-lock');

if (!existsSync(mark) || readFileSync(mark, 'utf8') !== digest) {
  process.stderr.write('setting up: installing the npm packages of package-lock.json\n');
  const { status } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) {
    process.stderr.write('error: npm ci failed; what it said is above\n');
    process.exit(1);
  }
  mkdirSync(join(root, 'node_modules/.cache'), { recursive: true });
  writeFileSync(mark, digest);
}
