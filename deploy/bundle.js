/** How src/ becomes JavaScript: split, so that a command loads only what it needs. */
import { build } from 'esbuild';
import { chmod, copyFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
/** Packages that are not ESM find in a bundle what Node would have given them. */
const forCommonJs = [
  "import { createRequire as hop3CreateRequire } from 'node:module';",
  'const require = hop3CreateRequire(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
].join('\n');

/** `packages` are left where they are, or become part of the bundle, which then needs no node_modules. */
export async function bundle({ outdir, packages }) {
  await build({
    entryPoints: [join(root, 'src/main.ts')],
    outdir,
    bundle: true,
    splitting: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    sourcemap: packages === 'external',
    logLevel: 'warning',
    ...(packages === 'external' ? { packages } : { banner: { js: forCommonJs } }),
  });
  await chmod(join(outdir, 'main.js'), 0o755);
  // They are read where the code is, and wanted by whoever writes a client.
  for (const name of await readdir(join(root, 'src/rpc'))) {
    if (name.endsWith('.proto')) await copyFile(join(root, 'src/rpc', name), join(outdir, name));
  }
}
