import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

import { DriverError } from '../../src/ports/driver.ts';
import { until } from '../support/until.ts';
import {
  clock,
  exitOf,
  launch,
  linesOf,
  processDriverIn,
  processesWith,
  temporaryDirectory,
  textsOf,
  unitOf,
} from './helpers.ts';

test.serial('what is guarded keeps nothing open in the agent that started it', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const pipes = (): number => process.getActiveResourcesInfo().filter(name => name === 'PipeWrap').length;
  const before = pipes();
  await driver.guard.arm(clock.now() + 60_000);
  const { unit, instance } = await driver.start(launch({ command: 'echo up; sleep 300', guarded: true }));
  await until('it runs', async () => textsOf(await linesOf(driver, instance)).includes('up'));
  await until('its gate is closed', () => pipes() === before);
  t.is((await unitOf(driver, unit))?.exit, null);
});

test('what a guarded command leaves behind dies with it, whatever session it fled to', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  await driver.guard.arm(clock.now() + 60_000);
  const mark = `fled-${process.pid}-${Date.now()}`;
  const env = { PATH: process.env['PATH']!, MARK: mark };
  const { unit } = await driver.start(
    launch({ command: 'setsid sleep 300 & sleep 0.3; exit 4', env, guarded: true }),
  );
  t.is((await exitOf(driver, unit)).code, 4);
  t.deepEqual(processesWith(mark), []);
});

test('a guard that had no processor when its command ended tells how it did all the same', async t => {
  const directory = temporaryDirectory(t);
  const driver = processDriverIn(t, directory);
  await driver.guard.arm(clock.now() + 600_000);
  const mark = `kept-${process.pid}-${Date.now()}`;
  const go = join(directory, 'go');
  const env = { PATH: process.env['PATH']!, MARK: mark };
  const command = `echo up; while [ ! -e ${go} ]; do sleep 0.02; done; exit 4`;
  const { unit, instance, pid } = await driver.start(launch({ command, env, guarded: true }));
  await until('it runs', async () => textsOf(await linesOf(driver, instance)).includes('up'));
  const guard = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
  process.kill(guard, 'SIGSTOP');
  const stoppedMs = clock.now();
  writeFileSync(go, '');
  await until('the command has ended', () => processesWith(mark).length === 2);
  // So long it reads at most before it looks at the deadline again.
  await clock.sleep(stoppedMs + 1000 - clock.now());
  process.kill(guard, 'SIGCONT');
  t.is((await exitOf(driver, unit)).code, 4);
});

test('a guarded command that does not react to SIGTERM is killed when its grace is over', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  await driver.guard.arm(clock.now() + 60_000);
  const command = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
  const { unit, instance } = await driver.start(launch({ command, guarded: true }));
  await until('it is deaf', async () => textsOf(await linesOf(driver, instance)).includes('deaf'));
  await driver.stop(unit, 0.2);
  t.is((await exitOf(driver, unit)).signal, 'SIGKILL');
});

test('a guarded command ends in its own time when it is asked to', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  await driver.guard.arm(clock.now() + 60_000);
  // The shell around it does not wait for it when it is asked to end.
  const command = `node -e "process.on('SIGTERM', () => setTimeout(() => { console.log('bye'); process.exit(0); }, 300));
    setInterval(() => {}, 1000); console.log('up')"`;
  const { unit, instance } = await driver.start(launch({ command, guarded: true }));
  await until('it is up', async () => textsOf(await linesOf(driver, instance)).includes('up'));
  await driver.stop(unit, 10);
  t.deepEqual(textsOf(await linesOf(driver, instance)), ['up', 'bye']);
});

test('whoever kills the guard kills what it guards', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  await driver.guard.arm(clock.now() + 60_000);
  const mark = `guarded-${process.pid}-${Date.now()}`;
  const env = { PATH: process.env['PATH']!, MARK: mark };
  const { unit, pid } = await driver.start(launch({ command: 'sleep 300', env, guarded: true }));
  await until('it runs', () => processesWith(mark).length > 0);
  process.kill(pid!, 'SIGKILL');
  t.is((await exitOf(driver, unit)).signal, 'SIGKILL');
  // The kernel kills them; on a busy machine they take a moment to die of it.
  await until('all are dead', () => processesWith(mark).length === 0);
});

test('a guard that finds its time over when it is let go starts nothing', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = processDriverIn(t, stateDir);
  await driver.guard.arm(clock.now() + 60_000);
  const file = join(stateDir, 'guard', 'deadline');
  // The driver still believes in its time; what counts is what the guard reads.
  writeFileSync(file, readFileSync(file, 'utf8').replace(/\d+\n$/, '1\n'));
  const { unit, instance } = await driver.start(launch({ command: 'echo ran', guarded: true }));
  t.is((await exitOf(driver, unit)).code, 125);
  t.deepEqual(textsOf(await linesOf(driver, instance)), ['hop3: not started: the guard is not armed']);
});

test('the driver starts nothing exclusive whose guard is not armed', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const error = await t.throwsAsync(driver.start(launch({ guarded: true })), { instanceOf: DriverError });
  t.true(error.retryable);
  t.deepEqual(await driver.observe(), []);
});

test('the guard of an earlier boot is not armed', async t => {
  const stateDir = temporaryDirectory(t);
  const driver = processDriverIn(t, stateDir);
  await driver.guard.arm(clock.now() + 60_000);
  const file = join(stateDir, 'guard', 'deadline');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^\S+/, 'another-boot'));
  t.is(processDriverIn(t, stateDir).guard.armedUntilMs(), null);
});

test('a copy finds its token in a file, which follows what it is told; an exclusive one in its environment, too', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  await driver.guard.arm(clock.now() + 60_000);
  const command =
    'echo "env ${HOP3_FENCING_TOKEN-none} file $(cat "$HOP3_FENCING_TOKEN_FILE")"; read -r line; ';
  const again =
    'while [ "$(cat "$HOP3_FENCING_TOKEN_FILE")" = 41 ]; do sleep 0.02; done; cat "$HOP3_FENCING_TOKEN_FILE"; sleep 300';
  const plain = await driver.start(
    launch({ unit: 'plain', instance: 'blog/web/1', command: command + again, token: '41' }),
  );
  const guarded = await driver.start(launch({ unit: 'guarded', command, token: '41', guarded: true }));
  await until('both have spoken', async () => {
    const texts = [...(await linesOf(driver, plain.instance)), ...(await linesOf(driver, guarded.instance))];
    return texts.length === 2;
  });
  t.deepEqual(textsOf(await linesOf(driver, guarded.instance)), ['env 41 file 41']);
  await driver.fence(plain.unit, '77');
  await until('it reads the new one', async () => (await linesOf(driver, plain.instance)).length === 2);
  t.deepEqual(textsOf(await linesOf(driver, plain.instance)), ['env none file 41', '77']);
  t.is((await unitOf(driver, plain.unit))?.exit, null);
});
