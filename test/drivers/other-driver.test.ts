import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

import { leftByOther } from '../../src/drivers/other-driver.ts';
import { bootId } from '../../src/drivers/proc.ts';
import { launch, processDriverIn, temporaryDirectory } from './helpers.ts';

test('what a process driver left is known to another driver, until it has been stopped', async t => {
  const stateDir = temporaryDirectory(t);
  t.deepEqual(leftByOther(stateDir, 'systemd'), { driver: 'process', units: [] });
  const driver = processDriverIn(t, stateDir);
  const { unit } = await driver.start(launch());
  t.deepEqual(leftByOther(stateDir, 'systemd'), { driver: 'process', units: [unit] });
  t.deepEqual(leftByOther(stateDir, 'process').units, []);
  await driver.stop(unit, 0);
  t.deepEqual(leftByOther(stateDir, 'systemd').units, []);
});

const records: Record<string, { parts: object; left: boolean }> = {
  'being started': { parts: { main: null, group: null, exit: null }, left: true },
  'that ended': { parts: { main: { pid: 1, startTime: 0 }, group: null, exit: {} }, left: false },
  'of an earlier boot': { parts: { main: null, group: null, exit: null, bootId: 'earlier' }, left: false },
  'whose control group is empty': {
    parts: { main: { pid: 1, startTime: 0 }, group: '/nobody/there.service', exit: null },
    left: false,
  },
};

for (const [name, { parts, left }] of Object.entries(records)) {
  test(`a unit of systemd's ${name} is ${left ? '' : 'not '}among what may live`, t => {
    const stateDir = temporaryDirectory(t);
    mkdirSync(join(stateDir, 'units/systemd'), { recursive: true });
    const record = { v: 1, unit: 'u', bootId: bootId(), ...parts };
    writeFileSync(join(stateDir, 'units/systemd/u.json'), JSON.stringify(record));
    writeFileSync(join(stateDir, 'units/systemd/torn.json'), '{');
    t.deepEqual(leftByOther(stateDir, 'process').units, left ? ['u'] : []);
  });
}

test("a process driver leaves alone what a systemd driver keeps of tokens, and the other's is not in its way", async t => {
  const stateDir = temporaryDirectory(t);
  const theirs = join(stateDir, 'tokens/systemd/blog-web-0-a');
  mkdirSync(theirs, { recursive: true });
  writeFileSync(join(theirs, 'fencing-token'), '41\n');
  const driver = processDriverIn(t, stateDir);
  await driver.start(launch({ token: '42' }));
  t.is(readFileSync(join(theirs, 'fencing-token'), 'utf8'), '41\n');
});
