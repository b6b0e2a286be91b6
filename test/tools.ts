/** Prints, as JSON, the environment in which the tests find etcd, HAProxy and wrk. */
import { dirname, join } from 'node:path';
import { winstonLog } from '../src/platform/log.ts';
import { findTool } from '../src/platform/tools.ts';

const stateDir = join(import.meta.dirname, '../.cache');
const log = winstonLog({ level: 'info', format: 'text' });
const directories: string[] = [];
for (const name of ['etcd', 'haproxy'] as const) {
  const { path } = await findTool({ name, stateDir, log, env: process.env });
  directories.push(dirname(path));
}
const path = [...new Set([...directories, ...(process.env['PATH'] ?? '').split(':')])].join(':');
process.stdout.write(JSON.stringify({ PATH: path }));
