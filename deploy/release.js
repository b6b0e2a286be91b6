/**
 * `npm run release` makes a directory that has all an installation needs beside Node: the agent with its npm packages,
 * the units, the installer. It can be copied to any server. Another place for it may be given as argument.
 */
import { copyFile, cp, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { bundle } from './bundle.js';

const root = join(import.meta.dirname, '..');
const target = resolve(process.argv[2] ?? join(root, '.cache/release/hop3-agent'));

await rm(target, { recursive: true, force: true });
await bundle({ outdir: join(target, 'dist'), packages: 'bundled' });
// Its client reads them beside the directory it is in.
await cp(join(root, 'node_modules/etcd3/proto'), join(target, 'proto'), { recursive: true });
const files = {
  'package.json': 'package.json',
  'deploy/install.js': 'install.js',
  'deploy/hop3-agent.service': 'hop3-agent.service',
  'deploy/hop3-etcd.service': 'hop3-etcd.service',
  'deploy/README.md': 'README.md',
  LICENSE: 'LICENSE',
};
for (const [from, to] of Object.entries(files)) await copyFile(join(root, from), join(target, to));
process.stdout.write(`${target}\n`);
