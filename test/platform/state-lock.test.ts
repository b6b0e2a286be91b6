import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';

import { lockStateDir } from '../../src/platform/state-lock.ts';

function directory(t: ExecutionContext): string {
  const stateDir = mkdtempSync(join(tmpdir(), 'hop3-lock-'));
  t.teardown(() => rmSync(stateDir, { recursive: true, force: true }));
  return stateDir;
}

test('a state directory is locked once, also within one process, until it is released', async t => {
  const stateDir = join(directory(t), 'made', 'anew');
  const lock = await lockStateDir(stateDir);
  t.is(readFileSync(join(stateDir, 'agent.lock'), 'utf8'), `${process.pid}\n`);
  await t.throwsAsync(lockStateDir(stateDir), {
    message: new RegExp(`^state directory ${stateDir} is in use by another agent \\(pid ${process.pid}\\): `),
  });
  await lock.release();
  await (await lockStateDir(stateDir)).release();
});

test('of many who try at once, one gets it', async t => {
  const stateDir = directory(t);
  const tries = await Promise.allSettled(Array.from({ length: 8 }, () => lockStateDir(stateDir)));
  const got = tries.filter(result => result.status === 'fulfilled');
  t.is(got.length, 1);
  await got[0]!.value.release();
});

test('two directories are two locks', async t => {
  const locks = await Promise.all([lockStateDir(directory(t)), lockStateDir(directory(t))]);
  await Promise.all(locks.map(lock => lock.release()));
  t.is(locks.length, 2);
});

test('a holder that is killed holds no more, though its children live on', async t => {
  const stateDir = directory(t);
  const script = fileURLToPath(new URL('lock-holder.ts', import.meta.url));
  const holder = spawn(process.execPath, ['--import=tsx', script, stateDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => holder.kill('SIGKILL'));
  const [said] = (await once(holder.stdout, 'data')) as [Buffer];
  const child = Number(/^locked (\d+)$/m.exec(said.toString())?.[1]);
  t.teardown(() => process.kill(child, 'SIGKILL'));
  await t.throwsAsync(lockStateDir(stateDir), { message: new RegExp(`\\(pid ${holder.pid}\\)`) });

  holder.kill('SIGKILL');
  await once(holder, 'exit');
  const lock = await lockStateDir(stateDir);
  t.true(existsSync(`/proc/${child}`));
  await lock.release();
});
