import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';

import { gatedCommand, spawnGated } from '../../src/drivers/gated-spawn.ts';
import { outputFilesFor } from '../../src/drivers/output-files.ts';
import { readStat } from '../../src/drivers/proc.ts';
import { DriverError } from '../../src/ports/driver.ts';
import { until } from '../support/until.ts';
import { clock, launch, processDriverIn, processesWith, temporaryDirectory } from './helpers.ts';

/** The shell has got as far as it can: it waits for the gate to open. */
function waitsAtGate(pid: number): boolean {
  return readStat(pid)?.state === 'S' && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('read -r go');
}

test('a command does not run before its gate is opened, and then it does', async t => {
  const directory = temporaryDirectory(t);
  const files = outputFilesFor(directory, 'unit', clock.timestamp());
  const command = gatedCommand(': > ran; exit 7');
  const gated = await spawnGated(launch({ directory }), command, files, undefined);
  const ended = new Promise(resolve => gated.onExit(resolve));
  await until('it waits', () => waitsAtGate(gated.pid));
  t.false(existsSync(join(directory, 'ran')));
  gated.open();
  t.is(await ended, 7);
  t.true(existsSync(join(directory, 'ran')));
});

for (const way of ['open', 'shut'] as const)
  test(`a command whose gate is ${way} can be sent signals from then on`, async t => {
    const directory = temporaryDirectory(t);
    const files = outputFilesFor(directory, 'unit', clock.timestamp());
    const gated = await spawnGated(launch({ directory }), gatedCommand('exec sleep 300'), files, undefined);
    t.teardown(() => readStat(gated.pid) && process.kill(gated.pid, 'SIGKILL'));
    let begun = false;
    void gated.begun.then(() => (begun = true));
    await until('it waits', () => waitsAtGate(gated.pid));
    t.false(begun);
    gated[way]();
    await until('it has begun, or left', () => begun);
  });

test('a command whose gate is shut never runs, whoever waits at the gate', async t => {
  const directory = temporaryDirectory(t);
  const files = outputFilesFor(directory, 'unit', clock.timestamp());
  // As a guard is made: what waits is a child of what was spawned, and need not die with it.
  const waits = "/bin/sh -c 'read -r go <&3 || exit 125; : > ran; exit 7' & : > waits; wait $!; exit $?";
  const gated = await spawnGated(launch({ directory }), ['/bin/sh', '-c', waits], files, undefined);
  const ended = new Promise(resolve => gated.onExit(resolve));
  await until('it waits', () => existsSync(join(directory, 'waits')));
  gated.shut();
  t.is(await ended, 125);
  t.false(existsSync(join(directory, 'ran')));
});

test('a command whose agent dies before it opened the gate never runs', async t => {
  const directory = temporaryDirectory(t);
  const script = fileURLToPath(new URL('lone-gate.ts', import.meta.url));
  const agent = spawn(process.execPath, ['--import=tsx', script, directory, ': > ran'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => agent.kill('SIGKILL'));
  const [said] = (await once(agent.stdout, 'data')) as [Buffer];
  const pid = Number(said.toString());
  await until('it waits', () => waitsAtGate(pid));
  agent.kill('SIGKILL');
  await until('it has left', () => ['Z', undefined].includes(readStat(pid)?.state));
  t.false(existsSync(join(directory, 'ran')));
});

for (const guarded of [false, true]) {
  const what = guarded ? 'guarded command' : 'command';
  test(`a ${what} that can not be put on file never runs`, t => neverRuns(t, guarded));
}

async function neverRuns(t: ExecutionContext, guarded: boolean): Promise<void> {
  const stateDir = temporaryDirectory(t);
  const driver = processDriverIn(t, stateDir);
  if (guarded) await driver.guard.arm(clock.now() + 60_000);
  const units = join(stateDir, 'units', 'process');
  rmSync(units, { recursive: true });
  writeFileSync(units, '');
  const command = `: > ${stateDir}/ran; sleep 300`;
  t.teardown(() => processesWith(command).forEach(pid => process.kill(pid, 'SIGKILL')));
  const wanted = launch({ command, directory: stateDir, guarded });
  const error = await t.throwsAsync(driver.start(wanted), { instanceOf: DriverError });
  t.true(error.retryable);
  t.deepEqual(await driver.observe(), []);
  rmSync(units);
  mkdirSync(units);
  // The same unit can be tried again, so nothing of the failed start is left.
  await driver.start({ ...wanted, process: { ...wanted.process, command: 'sleep 300' } });
  await until('what waited has left', () => processesWith(command).length === 0);
  t.false(existsSync(join(stateDir, 'ran')));
}

test('a command whose token there is no room for may be tried again, or elsewhere', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = processDriverIn(t, stateDir);
  symlinkSync('/dev/full', join(stateDir, 'tokens', 'process', 'blog-web-0-a.tmp'));
  const error = await t.throwsAsync(driver.start(launch({ token: '7' })), { instanceOf: DriverError });
  t.true(error.retryable);
  t.regex(error.message, /can't start blog-web-0-a: ENOSPC/);
});
