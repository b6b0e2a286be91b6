/**
 * Bundles src/ into dist/ with npm packages left where they are, split so that a command loads only what it needs.
 * Does nothing when dist/ is newer than everything it is made of.
 */
import { build } from 'esbuild';
import { chmod, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const sources = (await readdir(join(root, 'src'), { recursive: true })).map(name => join(root, 'src', name));
const inputs = [...sources, join(root, 'package.json'), import.meta.filename];
const times = await Promise.all(inputs.map(async path => (await stat(path)).mtimeMs));
const built = await stat(join(root, 'dist/main.js')).catch(() => null);

if (built === null || process.argv.includes('--force') || Math.max(...times) > built.mtimeMs) {
  await rm(join(root, 'dist'), { recursive: true, force: true });
  await build({
    entryPoints: [join(root, 'src/main.ts')],
    outdir: join(root, 'dist'),
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: true,
    logLevel: 'warning',
  });
  await chmod(join(root, 'dist/main.js'), 0o755);
}
