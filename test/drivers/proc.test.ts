import { spawn, spawnSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';
import test from 'ava';
import { isAlive, isRunning, readStat, writesTo } from '../../src/drivers/proc.ts';
import { isAlive as lives, processAt } from '../../src/platform/processes.ts';
import { until } from '../support/until.ts';

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

test('a zombie is dead, but for one whose other threads go on', t => {
  t.false(isRunning({ state: 'Z', threads: 1 }));
  t.true(isRunning({ state: 'Z', threads: 2 }));
  t.false(isRunning({ state: 'X', threads: 2 }));
  t.true(isRunning({ state: 'S', threads: 1 }));
});

// Perl-base alone has no threads.
if (spawnSync('perl', ['-Mthreads', '-e', '1']).status === 0) {
  test('a process whose first thread has ended lives as long as another does', async t => {
    const exit = process.arch === 'x64' ? 60 : 93;
    const child = spawn('perl', [
      '-Mthreads',
      '-e',
      `threads->create(sub { sleep 300 }); syscall(${exit}, 0)`,
    ]);
    t.teardown(() => child.kill('SIGKILL'));
    const pid = child.pid!;
    const { startTime } = readStat(pid)!;
    const id = processAt(pid);
    await until('its first thread has ended', () => readStat(pid)?.state === 'Z');
    t.true(isAlive({ pid, startTime }));
    t.true(await lives(id));
    process.kill(pid, 'SIGKILL');
    await until('it is dead', () => !isAlive({ pid, startTime }));
    t.false(await lives(id));
  });
} else
  process.stderr.write('# left out: a process whose first thread has ended, without perl and its threads\n');
