import { stepProcesses } from '../../src/drivers/step-processes.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { FakeLog } from '../support/fake-log.ts';

/** An agent with one command, to be killed: STATE-DIR NAMESPACES COMMAND. */
const [stateDir = '', namespaces, command = ''] = process.argv.slice(2);
const clock = systemClock();
const processes = stepProcesses({
  directory: stateDir,
  namespaces: namespaces === 'true',
  clock,
  log: new FakeLog(),
});
await processes.run(
  {
    name: 'lone',
    command,
    directory: stateDir,
    env: { PATH: '/usr/bin:/bin' },
    stdin: null,
    user: null,
    limits: { memoryBytes: null, cpu: null, processes: null },
  },
  { untilMs: clock.now() + 600_000, signal: new AbortController().signal },
);
