import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';

import { readStat } from '../../src/drivers/proc.ts';
import { DriverError } from '../../src/ports/driver.ts';
import {
  exitOf,
  launch,
  linesOf,
  processDriverIn,
  processesWith,
  stopADozen,
  temporaryDirectory,
  textsOf,
  unitOf,
  warningsIn,
} from './helpers.ts';
import { until } from '../support/until.ts';

test('the environment is what the launch says, and what the shell itself adds', async t => {
  const directory = temporaryDirectory(t);
  const driver = processDriverIn(t, directory);
  const env = { A: '1', QUOTED: `it's "$A" \\ and\na line`, EMPTY: '' };
  const command = 'exec /bin/cat /proc/self/environ';
  const { unit, instance } = await driver.start(launch({ command, env, directory }));
  await exitOf(driver, unit);
  const got = textsOf(await linesOf(driver, instance))
    .join('\n')
    .split('\0')
    .toSorted();
  const bare = execFileSync('/bin/sh', ['-c', command], { env, cwd: directory, encoding: 'utf8' });
  t.deepEqual(got, bare.split('\0').toSorted());
  t.true(got.includes(`QUOTED=${env.QUOTED}`));
});

test('the command runs in its directory, by a shell, in a session of its own, with nothing on its input', async t => {
  const directory = temporaryDirectory(t);
  const driver = processDriverIn(t, directory);
  const started = await driver.start(
    launch({ command: 'pwd; echo $((6 * 7)); cat; ls /proc/$$/fd; sleep 300', directory }),
  );
  await until('it has said all', async () => (await linesOf(driver, started.instance)).length >= 5);
  const descriptors = execFileSync('/bin/sh', ['-c', 'ls /proc/$$/fd'], { encoding: 'utf8' })
    .trim()
    .split('\n');
  // No descriptor of the agent's is open in it, but what any child of this process gets.
  t.deepEqual(textsOf(await linesOf(driver, started.instance)), [
    realpathSync(directory),
    '42',
    ...descriptors,
  ]);
  const stat = readStat(started.pid!);
  t.like(stat, { pid: started.pid, group: started.pid, session: started.pid });
});

test('the pid is the command, not a shell around it', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const { pid } = await driver.start(launch({ command: 'exec sleep 301' }));
  await until(
    'it is the command',
    () => readFileSync(`/proc/${pid}/cmdline`, 'utf8') === ['sleep', '301', ''].join('\0'),
  );
  t.pass();
});

test('a missing directory is refused for good, and nothing is started', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const directory = join(tmpdir(), 'not', 'there');
  const error = await t.throwsAsync(driver.start(launch({ directory })), { instanceOf: DriverError });
  t.false(error.retryable);
  t.regex(error.message, /not\/there is not a directory/);
  t.deepEqual(await driver.observe(), []);
});

test('a command that does not exist is an exit with what the shell said', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const { unit } = await driver.start(launch({ command: 'no-such-program --at-all' }));
  const exit = await exitOf(driver, unit);
  t.is(exit.code, 127);
  t.regex(exit.lastOutput.join('\n'), /no-such-program.*not found/);
});

test('a signal from outside is named', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const { unit, pid } = await driver.start(launch());
  process.kill(pid!, 'SIGKILL');
  t.like(await exitOf(driver, unit), { code: null, signal: 'SIGKILL', requested: false });
});

const families = [
  {
    name: 'a child in the group',
    command: 'sleep 300 & echo ready; wait',
  },
  {
    name: 'a grandchild that founded a group of its own',
    command: `bash -c 'set -m; (sleep 300 & wait) & echo ready; wait'`,
  },
  {
    name: 'a child that ignores SIGTERM while its parent obeys',
    command: `(trap '' TERM; echo ready; while :; do sleep 0.05; done) & wait`,
  },
];

for (const { name, command } of families) {
  test(`stop ends ${name} too`, async t => {
    const driver = processDriverIn(t, temporaryDirectory(t));
    const marker = `hop3-test-${process.pid}-${Math.random()}`;
    const { unit, instance } = await driver.start(
      launch({ command, env: { MARK: marker, PATH: process.env['PATH']! } }),
    );
    await until('it is ready', async () => (await linesOf(driver, instance)).length > 0);
    t.true(processesWith(marker).length >= 2);
    await driver.stop(unit, 0.3);
    t.deepEqual(processesWith(marker), []);
  });

  test(`a crash of the main process is told at once, and ends ${name} too`, async t => {
    const driver = processDriverIn(t, temporaryDirectory(t));
    const marker = `hop3-test-${process.pid}-${Math.random()}`;
    const { unit, instance, pid } = await driver.start(
      launch({ command, env: { MARK: marker, PATH: process.env['PATH']! } }),
    );
    await until('it is ready', async () => (await linesOf(driver, instance)).length > 0);
    process.kill(pid!, 'SIGKILL');
    t.like(await exitOf(driver, unit), { signal: 'SIGKILL', requested: false });
    await until('nothing is left', () => processesWith(marker).length === 0);
    t.pass();
  });
}

test('a child that needs time to end gets the whole grace, though its parent has ended', async t => {
  const directory = temporaryDirectory(t);
  const driver = processDriverIn(t, directory);
  const command = `(trap 'sleep 0.3; echo saved > saved; exit' TERM; echo ready; while :; do sleep 0.05; done) & wait`;
  const { unit, instance } = await driver.start(launch({ command, directory }));
  await until('it is ready', async () => (await linesOf(driver, instance)).length > 0);
  await driver.stop(unit, 30);
  t.is(readFileSync(join(directory, 'saved'), 'utf8'), 'saved\n');
});

test('each process gets one SIGTERM, however often it is asked to stop', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const command = `trap 'echo term' TERM; echo ready; while :; do sleep 0.05; done`;
  const { unit, instance } = await driver.start(launch({ command }));
  await until('it is ready', async () => (await linesOf(driver, instance)).length > 0);
  await Promise.all([driver.stop(unit, 0.5), driver.stop(unit, 0.5), driver.stop(unit, 0.6)]);
  const terms = textsOf(await linesOf(driver, instance)).filter(text => text === 'term');
  t.deepEqual(terms, ['term']);
});

test('of two stops the more hurried one counts', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  const { unit, instance } = await driver.start(
    launch({ command: `trap '' TERM; echo ready; while :; do sleep 0.05; done` }),
  );
  await until('it is ready', async () => (await linesOf(driver, instance)).length > 0);
  const patient = driver.stop(unit, 3600);
  await driver.stop(unit, 0.1);
  await t.notThrowsAsync(patient);
  t.is((await exitOf(driver, unit)).signal, 'SIGKILL');
});

test('many may be on their way out at once, without a warning', async t => {
  const warnings = warningsIn(t);
  await stopADozen(processDriverIn(t, temporaryDirectory(t)));
  t.deepEqual(warnings, []);
});

test('closing in the middle of a stop ends the waiting, not the process', async t => {
  const stateDir = temporaryDirectory(t);
  const before = processDriverIn(t, stateDir);
  const started = await before.start(
    launch({ command: `trap '' TERM; echo ready; while :; do sleep 0.05; done` }),
  );
  await until('it is ready', async () => (await linesOf(before, started.instance)).length > 0);
  const stopping = t.throwsAsync(before.stop(started.unit, 3600), { instanceOf: DriverError });
  await before.close();
  t.true((await stopping).retryable);
  const driver = processDriverIn(t, stateDir);
  t.is((await unitOf(driver, started.unit))?.exit, null);
  process.kill(started.pid!, 'SIGKILL');
  // It had been asked to end, if by the driver before.
  t.true((await exitOf(driver, started.unit)).requested);
});

test('the next copy can be started from within the news of an exit', async t => {
  const driver = processDriverIn(t, temporaryDirectory(t));
  driver.onExit(() => void driver.start(launch({ unit: 'second' })));
  const { pid } = await driver.start(launch({ unit: 'first' }));
  process.kill(pid!, 'SIGKILL');
  await until('the second runs', async () => (await unitOf(driver, 'second'))?.exit === null);
  t.is((await exitOf(driver, 'first')).signal, 'SIGKILL');
});

test('a record that can not be read is dropped and told', async t => {
  const stateDir = temporaryDirectory(t);
  mkdirSync(join(stateDir, 'units', 'process'), { recursive: true });
  writeFileSync(join(stateDir, 'units', 'process', 'torn.json'), '{"v":1,"un');
  const driver = processDriverIn(t, stateDir);
  t.deepEqual(await driver.observe(), []);
  t.is(driver.log.matching('torn.json').length, 1);
});

test('the processes run as the chosen user, or not at all', async t => {
  const nobody = { uid: 65534, gid: 65534 };
  const driver = processDriverIn(t, temporaryDirectory(t), { user: nobody });
  const wanted = launch({ command: 'echo $(id -u):$(id -g) >>/dev/stderr', directory: '/' });
  if (process.getuid?.() === 0) {
    const { unit } = await driver.start(wanted);
    t.deepEqual((await exitOf(driver, unit)).lastOutput, ['65534:65534']);
  } else {
    const error = await t.throwsAsync(driver.start(wanted), { instanceOf: DriverError });
    t.regex(error.message, /EPERM/);
  }
});
