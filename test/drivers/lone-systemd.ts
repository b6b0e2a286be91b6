/**
 * A process of its own whose unit is killed while no descriptor is left to look at it by: `lone-systemd DIRECTORY` says as JSON how the
 * unit had ended as far as was known then, and how when there were descriptors again.
 */
import { closeSync, openSync } from 'node:fs';
import { systemdDriver } from '../../src/drivers/systemd-driver.ts';
import { FakeLog } from '../support/fake-log.ts';
import { until } from '../support/until.ts';
import { clock, exitOf, launch, unitOf } from './helpers.ts';

const [stateDir = ''] = process.argv.slice(2);
const log = new FakeLog();
const driver = systemdDriver({ stateDir, clock, log });
const { unit, pid } = await driver.start(launch());
const without = await withoutDescriptors(async () => {
  process.kill(pid!, 'SIGKILL');
  await until('it has been tried more than once', () => log.matching('could not be looked at').length > 2);
  return (await unitOf(driver, unit))?.exit;
});
const later = (await exitOf(driver, unit)).signal;
await driver.stop(unit, 0);
await driver.forget(unit);
await driver.close();
process.stdout.write(JSON.stringify({ without, later }));

async function withoutDescriptors<T>(work: () => Promise<T>): Promise<T> {
  const held: number[] = [];
  try {
    for (;;) held.push(openSync('/dev/null', 'r'));
  } catch {
    return await work();
  } finally {
    held.forEach(closeSync);
  }
}
