import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { givingCommand } from '../../src/drivers/systemd-users.ts';
import { temporaryDirectory } from './helpers.ts';

const GONE = "chown: cannot access 'data/wal': No such file or directory";
const REFUSED = "chown: changing ownership of 'data/wal': Operation not permitted";
const BROKEN_OFF = 'chown: fts_read failed: No such file or directory';
const rows: { what: string; says: string[]; fails: boolean; missing?: true }[] = [
  { what: 'all of it', says: [], fails: false },
  { what: 'what is still there, while the app removes files', says: [GONE, GONE], fails: false },
  { what: 'some of it, and was refused the rest', says: [REFUSED, GONE], fails: true },
  { what: 'some of it, and looked no further', says: [GONE, BROKEN_OFF], fails: true },
  { what: 'nothing, as there is no such directory', says: [GONE], fails: true, missing: true },
];

for (const { what, says, fails, missing } of rows) {
  test(`who was given ${what} ${fails ? 'was not' : 'was'} given the directory`, t => {
    const directory = temporaryDirectory(t);
    // In place of the real one.
    const chown = join(directory, 'chown');
    const words = says.map(line => `echo "${line}" >&2`).join('\n');
    writeFileSync(chown, `#!/bin/sh\n${words}\nexit ${says.length === 0 ? 0 : 1}\n`);
    chmodSync(chown, 0o755);
    const [file = '', ...args] = givingCommand('app', missing ? join(directory, 'none') : directory);
    const env = { PATH: `${directory}:${process.env['PATH'] ?? ''}` };
    const { status, stderr } = spawnSync(file, args, { env, encoding: 'utf8' });
    t.is(status, fails ? 1 : 0);
    t.is(stderr.trim().split('\n').at(-1), fails ? says.findLast(line => missing || line !== GONE) : '');
  });
}
