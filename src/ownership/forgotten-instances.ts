import { instanceOfSubject, parseInstanceId, type AppName } from '../model/ids.ts';
import type { OwnerRecord } from '../model/records.ts';

/**
 * Owner keys of instances of apps that are gone, which outlived them because something might still have run under them: by now
 * they are released, and nothing does. One that was never released stays: whoever takes it next has to wait for what it names.
 */
export function forgottenInstances<O extends { name: string; value: OwnerRecord }>(
  owners: readonly O[],
  isThere: (app: AppName) => boolean,
): O[] {
  return owners.filter(({ name, value: { released, mayStillRun } }) => {
    const instance = instanceOfSubject(name);
    return (
      instance !== null &&
      released !== null &&
      mayStillRun.length === 0 &&
      !isThere(parseInstanceId(instance).app)
    );
  });
}
