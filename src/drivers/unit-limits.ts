import { createHash } from 'node:crypto';

import type { Limits } from '../model/app-spec.ts';
import { DriverError, type Launch } from '../ports/driver.ts';
import { groupMembers, removeGroups, type Cgroups } from './cgroups.ts';

const REMEDY =
  'run the agent as root, or under systemd with Delegate=yes and DelegateSubgroup=agent, or take the limit out of the manifest';

/** Units of several agents on one machine must not meet in one group. */
export function groupPrefix(stateDir: string): string {
  return `hop3-${createHash('sha256').update(stateDir).digest('hex').slice(0, 8)}-`;
}

/**
 * A declared limit is a guarantee: one that can't be enforced is refused.
 * @throws DriverError naming the limit and what would be needed
 */
export function limitGroups(groups: Cgroups, prefix: string, launch: Launch): string[] {
  const { enforceable } = groups;
  const { memoryBytes, cpu, processes } = launch.limits;
  refuseUnless(enforceable.memory, launch, 'memory', memoryBytes);
  refuseUnless(enforceable.cpu, launch, 'cpu', cpu);
  refuseUnless(enforceable.processes, launch, 'processes', processes);
  try {
    return groups.prepare(prefix + encodeURIComponent(launch.unit), launch.limits);
  } catch (error) {
    throw new DriverError(
      `can't start ${launch.unit}: its limits can't be set: ${(error as Error).message}`,
      {
        retryable: false,
        cause: error,
      },
    );
  }
}

/** Groups of units that a driver before this one did not get round to removing. */
export function removeLeftGroups(groups: Cgroups, prefix: string): void {
  removeGroups(groups.left(prefix).filter(directory => groupMembers([directory]).length === 0));
}

export function memoryLimitText(limits: Limits): string {
  return limits.memoryBytes === null ? 'none' : `${Math.round(limits.memoryBytes / 2 ** 20)} MiB`;
}

function refuseUnless(able: boolean, launch: Launch, name: string, limit: number | null): void {
  if (able || limit === null) return;
  throw new DriverError(
    `can't start ${launch.unit}: its ${name} limit (${limit}) can't be enforced on this node, which has no writable ` +
      `${name} control group: ${REMEDY}`,
    { retryable: false },
  );
}
