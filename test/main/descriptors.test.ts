import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';

test('without a descriptor left no program can be started, which is told, and later they are', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-exhausted-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const script = fileURLToPath(new URL('lone-exhausted.ts', import.meta.url));
  const limited = [
    '-c',
    'ulimit -n 200; exec "$@"',
    'sh',
    process.execPath,
    '--import=tsx',
    script,
    directory,
  ];
  const { stdout } = await promisify(execFile)('/bin/sh', limited);
  const { without, with: later } = JSON.parse(stdout) as Record<string, Record<string, string>>;
  t.deepEqual(without, {
    unit: "can't start blog-web-0-a: the program that starts processes could not be started",
    tool: 'true: spawn true EMFILE',
    build: '`true` cannot be started: spawn /bin/sh EMFILE',
    journal: 'spawn journalctl EMFILE',
  });
  t.like(later, { unit: 'started', tool: 'started', build: 'started' });
});
