/**
 * A process of its own with a driver, to be killed by a test: `lone-agent STATE_DIR COUNT COMMAND`. Starts COUNT units
 * (`unit-0` …) one after the other, says `UNIT PID` of each, and stays. `@` in COMMAND stands for the unit.
 */
import { processDriver } from '../../src/drivers/process-driver.ts';
import { clock, launch } from './helpers.ts';
import { FakeLog } from '../support/fake-log.ts';

const [stateDir = '', count = '0', command = ''] = process.argv.slice(2);
const driver = processDriver({ stateDir, clock, log: new FakeLog() });
for (let number = 0; number < Number(count); number++) {
  const unit = `unit-${number}`;
  const started = await driver.start(launch({ unit, command: command.replaceAll('@', unit) }));
  process.stdout.write(`${unit} ${started.pid}\n`);
}
setInterval(() => undefined, 1000);
