import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

import { gatedCommand, spawnGated } from '../../src/drivers/gated-spawn.ts';
import { outputFilesFor } from '../../src/drivers/output-files.ts';
import { readStat } from '../../src/drivers/proc.ts';
import { DriverError } from '../../src/ports/driver.ts';
import { until } from '../support/until.ts';
import { clock, launch, processDriverIn, temporaryDirectory } from './helpers.ts';

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

test('a command that can not be put on file never runs', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = processDriverIn(t, stateDir);
  const units = join(stateDir, 'units', 'process');
  rmSync(units, { recursive: true });
  writeFileSync(units, '');
  const wanted = launch({ command: ': > ran; sleep 300', directory: stateDir });
  const error = await t.throwsAsync(driver.start(wanted), { instanceOf: DriverError });
  t.true(error.retryable);
  t.deepEqual(await driver.observe(), []);
  rmSync(units);
  mkdirSync(units);
  // The same unit can be tried again, so nothing of the failed start is left.
  await driver.start({ ...wanted, process: { ...wanted.process, command: 'sleep 300' } });
  t.false(existsSync(join(stateDir, 'ran')));
});
