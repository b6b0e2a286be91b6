import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

import { groupMembers } from './cgroups.ts';

/** Where systemd's own control groups are mounted: version 1, version 2 beside it, or version 2 alone. */
const MOUNTS = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'];

/** Everything that lives in a unit's control group, as systemd names it, and in those within. */
export function membersOfGroup(group: string): number[] {
  const top = MOUNTS.map(mount => join(mount, group)).find(directory => existsSync(directory));
  return top === undefined ? [] : groupMembers(withThoseWithin(top));
}

/** A file that tells who watches it when the group's last process has ended; null where there is none. */
export function eventsFileOf(group: string): string | null {
  return MOUNTS.map(mount => join(mount, group, 'cgroup.events')).find(file => existsSync(file)) ?? null;
}

function withThoseWithin(directory: string): string[] {
  let within: string[] = [];
  try {
    within = readdirSync(directory, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(({ name }) => join(directory, name));
  } catch (error) {
    // It went while it was looked at.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return [directory, ...within.flatMap(withThoseWithin)];
}
