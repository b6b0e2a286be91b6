import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

import { outputFilesFor, type OutputFiles } from '../../src/drivers/output-files.ts';
import { readStat } from '../../src/drivers/proc.ts';
import { canSpawn, spawner } from '../../src/drivers/spawner.ts';
import { DriverError } from '../../src/ports/driver.ts';
import { until } from '../support/until.ts';
import { clock, exitOf, launch, processDriverIn, temporaryDirectory, unitOf } from './helpers.ts';

const aboutIn = (directory: string): OutputFiles => outputFilesFor(directory, 'unit', clock.timestamp());

/** The program that started it. */
const starterOf = (pid: number): number =>
  Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

test('this machine has what it takes', t => {
  t.true(canSpawn());
});

test('a command does not run before its gate is opened, and then it does', async t => {
  const directory = temporaryDirectory(t);
  const spawns = spawner();
  const wanted = launch({ directory, process: { ...launch().process, command: ': > ran; exit 7' } });
  const gated = await spawns.spawn(wanted, aboutIn(directory), undefined);
  const ended = new Promise(resolve => gated.onExit(resolve));
  await until(
    'it waits',
    () => readStat(gated.pid)?.session === gated.pid && readStat(gated.pid)?.state === 'S',
  );
  t.false(existsSync(join(directory, 'ran')));
  gated.open();
  t.is(await ended, 7);
  t.true(existsSync(join(directory, 'ran')));
  spawns.close();
});

test('a command whose gate is shut never runs, and its end is told', async t => {
  const directory = temporaryDirectory(t);
  const spawns = spawner();
  const wanted = launch({ directory, process: { ...launch().process, command: ': > ran; exit 7' } });
  const gated = await spawns.spawn(wanted, aboutIn(directory), undefined);
  const ended = new Promise(resolve => gated.onExit(resolve));
  gated.shut();
  t.is(await ended, 125);
  t.false(existsSync(join(directory, 'ran')));
  spawns.close();
});

test('commands whose agent dies before it opened their gates never run', async t => {
  const directory = temporaryDirectory(t);
  const script = fileURLToPath(new URL('lone-spawner.ts', import.meta.url));
  const agent = spawn(process.execPath, ['--import=tsx', script, directory, ': > ran'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => agent.kill('SIGKILL'));
  const [said] = (await once(agent.stdout, 'data')) as [Buffer];
  const pids = said.toString().trim().split(' ').map(Number);
  t.is(pids.length, 2);
  agent.kill('SIGKILL');
  await until('they have left', () => pids.every(pid => ['Z', undefined].includes(readStat(pid)?.state)));
  t.false(existsSync(join(directory, 'ran')));
});

test('what a command writes is there before it runs, in directories made for it, for nobody else to read', async t => {
  const directory = temporaryDirectory(t);
  const spawns = spawner();
  const files = aboutIn(join(directory, 'logs of', 'web.0'));
  const gated = await spawns.spawn(launch({ directory }), files, undefined);
  const modes = [join(directory, 'logs of'), join(directory, 'logs of', 'web.0'), files.out, files.err];
  t.deepEqual(
    modes.map(file => statSync(file).mode & 0o777),
    [0o700, 0o700, 0o600, 0o600],
  );
  gated.shut();
  spawns.close();
});

test('what can not be started is told with its reason', async t => {
  const directory = temporaryDirectory(t);
  const spawns = spawner();
  const files = aboutIn(directory);
  mkdirSync(files.out, { recursive: true });
  const error = await t.throwsAsync(spawns.spawn(launch({ directory }), files, undefined), {
    instanceOf: DriverError,
  });
  t.is(
    error.message,
    `can't start blog-web-0-a: EISDIR: illegal operation on a directory, open '${files.out}'`,
  );
  spawns.close();
});

test('when the program that starts processes dies they run on, their end is noticed, and the next ones start', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const first = await driver.start(launch({ unit: 'first' }));
  await until('it is past its gate', () =>
    readFileSync(`/proc/${first.pid}/cmdline`, 'utf8').includes('sleep'),
  );
  const starter = starterOf(first.pid!);
  process.kill(starter, 'SIGKILL');
  await until('it has another parent', () => starterOf(first.pid!) !== starter);
  const second = await until('another can be started', () =>
    driver.start(launch({ unit: 'second' })).catch(() => null),
  );
  t.like(await unitOf(driver, 'first'), { pid: first.pid, exit: null });
  process.kill(first.pid!, 'SIGKILL');
  // Nobody is left who could tell by what.
  t.like(await exitOf(driver, 'first'), { code: null, signal: null, requested: false });
  process.kill(second.pid!, 'SIGKILL');
  t.like(await exitOf(driver, 'second'), { code: null, signal: 'SIGKILL', requested: false });
});
