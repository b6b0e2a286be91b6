import { statSync } from 'node:fs';
import type { Clock } from '../ports/clock.ts';
import { DriverError, type Launch } from '../ports/driver.ts';
import type { Guard } from '../ports/guard.ts';

/** Of what is exclusive nothing is started that nobody would kill (ownership rule 6). @throws DriverError */
export function requireStartable(launch: Launch, guard: Pick<Guard, 'armedUntilMs'>, clock: Clock): void {
  if (statSync(launch.directory, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new DriverError(`can't start ${launch.unit}: ${launch.directory} is not a directory`, {
      retryable: false,
    });
  }
  if (launch.guarded !== true) return;
  const untilMs = guard.armedUntilMs();
  if (untilMs === null || untilMs <= clock.now()) {
    throw new DriverError(`can't start ${launch.unit}: it is exclusive, and its guard is not armed`, {
      retryable: true,
    });
  }
}
