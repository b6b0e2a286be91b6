import { readlinkSync } from 'node:fs';
import test from 'ava';
import { writesTo } from '../../src/drivers/proc.ts';

test('of a process that may not be looked at it is not known where it writes', t => {
  // As nobody, who may not look at root's process 1.
  const root = process.geteuid?.() === 0;
  if (root) process.seteuid?.(65534);
  try {
    t.throws(() => readlinkSync('/proc/1/fd/1'), { code: 'EACCES' });
    t.false(writesTo(1, ['/dev/null']));
  } finally {
    if (root) process.seteuid?.(0);
  }
});

test('of a process that has gone it is known that it writes nowhere', t => {
  t.false(writesTo(2 ** 30, ['/dev/null']));
});
