import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';

import type { Gated } from '../../src/drivers/gated-spawn.ts';
import { terminate } from '../../src/drivers/process-group.ts';
import { processUnits, type ProcessRecord } from '../../src/drivers/process-units.ts';
import { bootId, readStat } from '../../src/drivers/proc.ts';
import { unitRecords } from '../../src/drivers/unit-records.ts';
import { FakeLog } from '../support/fake-log.ts';
import { clock, exitOf, launch, processDriverIn, temporaryDirectory } from './helpers.ts';

const nowhere = { out: '/dev/null', err: '/dev/null' };

test('what does not run yet is asked to end when it does, for a signal may be lost before', async t => {
  const child = shell(
    t,
    "trap : TERM; echo deaf; read -r go; trap 'exit 7' TERM; echo heeds; read -r never",
    true,
  );
  await said(child, 'deaf');
  const log = new FakeLog();
  const closing = new AbortController();
  const directory = temporaryDirectory(t);
  const units = processUnits({
    records: unitRecords<ProcessRecord>(join(directory, 'units'), log),
    bootId: bootId(),
    closing: closing.signal,
    clock,
    log,
  });
  let begin: () => void = () => undefined;
  const gated = {
    pid: child.pid!,
    onExit: (listener: Parameters<Gated['onExit']>[0]) => child.once('exit', listener),
    onOrphaned: () => undefined,
    begun: new Promise<void>(resolve => (begin = resolve)),
    open: () => undefined,
    shut: () => undefined,
  };
  const unit = units.add(launch(), gated, { output: nowhere, cgroups: [] });
  const stopped = units.stop(unit, clock.now() + 20_000);
  child.stdin.write('go\n');
  await said(child, 'heeds');
  begin();
  t.true(await stopped);
  t.like(unit.record.exit, { code: 7, signal: null, requested: true });
});

test('what has not founded its session yet is asked to end all the same', async t => {
  const child = shell(t, 'read -r never', false);
  const ended = once(child, 'exit');
  terminate({ pid: child.pid!, startTime: readStat(child.pid!)!.startTime, output: nowhere }, []);
  t.deepEqual(await ended, [null, 'SIGTERM']);
});

for (const guarded of [false, true]) {
  test(`what is stopped as soon as it is started ends on SIGTERM${guarded ? ', guarded as well' : ''}`, async t => {
    const driver = processDriverIn(t, temporaryDirectory(t));
    await driver.guard.arm(clock.now() + 60_000);
    for (let count = 0; count < 20; count++) {
      const { unit } = await driver.start(launch({ unit: `blog-web-0-${count}`, guarded }));
      await driver.stop(unit, 20);
      t.is((await exitOf(driver, unit)).signal, 'SIGTERM');
    }
  });
}

function shell(t: ExecutionContext, script: string, detached: boolean) {
  const child = spawn('/bin/sh', ['-c', script], { detached, stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

async function said(child: ReturnType<typeof shell>, word: string): Promise<void> {
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  if (line.toString() !== `${word}\n`) throw new Error(`it said ${line.toString()}`);
}
