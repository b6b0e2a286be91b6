import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { processDriver } from '../../src/drivers/process-driver.ts';
import { rememberingExits } from '../../src/drivers/remembered-exits.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { Driver } from '../../src/ports/driver.ts';
import { FakeLog } from '../support/fake-log.ts';
import { processSpec } from '../support/nouns.ts';
import { until } from '../support/until.ts';

/** A place for units, and a way to replace the driver that looks after them. */
async function place(t: ExecutionContext) {
  const stateDir = await mkdtemp(join(tmpdir(), 'hop3-exits-'));
  const drivers: Driver[] = [];
  const exits = join(stateDir, "it's here");
  t.teardown(async () => {
    for (const driver of drivers) await driver.close();
    await rm(stateDir, { recursive: true, force: true });
  });
  return {
    stateDir,
    exits,
    open: () => {
      const driver = rememberingExits(
        processDriver({ stateDir, clock: systemClock(), log: new FakeLog() }),
        exits,
      );
      drivers.push(driver);
      return driver;
    },
    start: (driver: Driver, command: string) =>
      driver.start({
        unit: 'a.b.c',
        instance: 'a/own/0',
        release: 0,
        version: '0',
        process: processSpec({ command, routed: false }),
        directory: stateDir,
        env: { PATH: process.env['PATH'] ?? '' },
        endpoint: null,
        limits: { memoryBytes: null, cpu: null, processes: null },
      }),
  };
}

const ends: [what: string, command: string, code: number | null, signal: string | null][] = [
  ['well', 'exit 0', 0, null],
  ['badly', 'exec sh -c "exit 42"', 42, null],
  ['by a signal', `exec sh -c 'kill -TERM $$'`, null, 'SIGTERM'],
];
for (const [what, command, code, signal] of ends) {
  for (const whose of ['the driver that started it', 'the one after it']) {
    test(`a command that ended ${what} is known to ${whose}`, async t => {
      const { open, start, stateDir } = await place(t);
      const first = open();
      await start(first, `while [ ! -e ${stateDir}/go ]; do sleep 0.02; done; ${command}`);
      let driver = first;
      if (whose === 'the one after it') {
        await first.close();
        driver = open();
      }
      await writeFile(join(stateDir, 'go'), '');
      const exit = await until('it has ended', async () => (await driver.observe())[0]?.exit);
      t.like(exit, { code, signal });
    });
  }
}

test('a command that is stopped while nobody looks ends by the signal it was sent, and what is forgotten leaves no file', async t => {
  const { open, start, exits, stateDir } = await place(t);
  const first = open();
  // A signal before the shell has read its first line ends it unseen.
  await start(first, `touch ${stateDir}/started; exec sleep 60`);
  await until('it runs', () => existsSync(join(stateDir, 'started')));
  await first.close();
  const second = open();
  await second.stop('a.b.c', 5);
  t.like((await second.observe())[0]!.exit, { code: null, signal: 'SIGTERM', requested: true });
  await second.forget('a.b.c');
  await second.observe();
  t.deepEqual(await readdir(exits), []);
});

test('what is forgotten may be cleared away by two who look at once', async t => {
  const { open, exits } = await place(t);
  const driver = open();
  await writeFile(join(exits, 'a.b.c'), '0\n');
  t.deepEqual(await Promise.all([driver.observe(), driver.observe()]), [[], []]);
  t.deepEqual(await readdir(exits), []);
});
