/**
 * Bundles src/ into dist/ with npm packages left where they are, split so that a command loads only what it needs.
 * Does nothing when dist/ is newer than everything it is made of.
 */
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle } from './bundle.js';

const root = join(import.meta.dirname, '..');
const sources = (await readdir(join(root, 'src'), { recursive: true })).map(name => join(root, 'src', name));
const inputs = [...sources, join(root, 'package.json'), import.meta.filename, join(root, 'deploy/bundle.js')];
const times = await Promise.all(inputs.map(async path => (await stat(path)).mtimeMs));
const built = await stat(join(root, 'dist/main.js')).catch(() => null);

if (built === null || process.argv.includes('--force') || Math.max(...times) > built.mtimeMs) {
  await rm(join(root, 'dist'), { recursive: true, force: true });
  await bundle({ outdir: join(root, 'dist'), packages: 'external' });
}
