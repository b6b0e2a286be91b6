import test from 'ava';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { serviceManager } from '../../src/platform/service-manager.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { FakeLog } from '../support/fake-log.ts';
import { until } from '../support/until.ts';

const PID = 4711;
const systemd = { NOTIFY_SOCKET: '/run/there', WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(PID) };

/** With a systemd-notify that writes down what it was told. */
async function told(env: NodeJS.ProcessEnv, exitCode = 0) {
  const directory = await mkdtemp(join(tmpdir(), 'hop3-notify-'));
  const [program, file] = [join(directory, 'notify'), join(directory, 'told')];
  await writeFile(file, '');
  await writeFile(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >> ${file}\nexit ${exitCode}\n`);
  await chmod(program, 0o755);
  const [clock, log] = [new FakeClock(), new FakeLog()];
  const own = { PATH: process.env['PATH'], ...env };
  const manager = serviceManager({ env: own, pid: PID, clock, log, program });
  const messages = async (): Promise<string[]> =>
    (await readFile(file, 'utf8')).split('\n').filter(line => line !== '');
  return { manager, clock, log, env: own, messages, end: () => rm(directory, { recursive: true }) };
}

test('systemd hears that the agent is up, that it goes on, and that it ends', async t => {
  const { manager, clock, messages, end } = await told(systemd);
  await manager.ready(() => null);
  t.deepEqual(await messages(), ['/run/there READY=1']);
  for (let pings = 1; pings <= 3; pings++) {
    await clock.advance(10_000);
    await until('the ping is there', async () => (await messages()).length === 1 + pings);
  }
  await manager.stopping();
  await manager.close();
  t.deepEqual((await messages()).slice(1), [
    ...Array.from({ length: 3 }, () => '/run/there WATCHDOG=1'),
    '/run/there STOPPING=1',
  ]);
  t.is(clock.pending, 0);
  await end();
});

test('a stuck agent does not ping, says once what is stuck, and pings again when it goes on', async t => {
  const { manager, clock, log, messages, end } = await told(systemd);
  let loop: string | null = 'claims';
  await manager.ready(() => loop);
  await clock.advance(40_000);
  t.deepEqual(await messages(), ['/run/there READY=1']);
  t.is(log.lines.filter(({ level }) => level === 'error').length, 1);
  loop = null;
  await clock.advance(10_000);
  await until('the ping is there', async () => (await messages()).includes('/run/there WATCHDOG=1'));
  await manager.close();
  await end();
});

const quiet: Record<string, NodeJS.ProcessEnv> = {
  'no systemd': {},
  'no watchdog': { NOTIFY_SOCKET: '/run/there' },
  'a watchdog for another process': { ...systemd, WATCHDOG_PID: '1' },
};
for (const [name, env] of Object.entries(quiet)) {
  test(`there are no pings with ${name}`, async t => {
    const { manager, clock, end } = await told(env);
    await manager.ready(() => null);
    t.is(clock.pending, 0);
    await manager.close();
    await end();
  });
}

test('no child learns how to speak to systemd', async t => {
  const { env, end } = await told({ ...systemd, KEPT: 'yes' });
  t.deepEqual(Object.keys(env).sort(), ['KEPT', 'PATH']);
  await end();
});

test('a message that can’t be sent is told, and is no error', async t => {
  const { manager, log, end } = await told(systemd, 1);
  await manager.ready(() => null);
  t.is(log.lines.filter(({ level }) => level === 'warn').length, 1);
  await manager.close();
  await end();
});
