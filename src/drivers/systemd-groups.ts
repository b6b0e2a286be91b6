import { existsSync, readdirSync, watch, type FSWatcher } from 'node:fs';
import { join } from 'node:path';

import { groupMembers } from './cgroups.ts';

/** Where systemd's own control groups are mounted: version 1, version 2 beside it, or version 2 alone. */
const MOUNTS = ['/sys/fs/cgroup/systemd', '/sys/fs/cgroup/unified', '/sys/fs/cgroup'];

/** Everything that lives in a unit's control group, as systemd names it, and in those within. */
export function membersOfGroup(group: string): number[] {
  const top = MOUNTS.map(mount => join(mount, group)).find(directory => existsSync(directory));
  return top === undefined ? [] : groupMembers(withThoseWithin(top));
}

/**
 * Tells when something of the group has ended, until the signal aborts. Says nothing where the kernel does not tell, nor of a
 * group that has gone already, as that of a process may that ends as soon as it has begun: it has to be looked at besides.
 */
export function watchGroup(
  group: string,
  onChange: () => void,
  signal: AbortSignal,
  mounts: readonly string[] = MOUNTS,
): void {
  for (const mount of mounts) {
    const watcher = watching(join(mount, group, 'cgroup.events'), onChange);
    if (watcher === null) continue;
    watcher.on('error', () => watcher.close());
    signal.addEventListener('abort', () => watcher.close(), { once: true });
    return;
  }
}

/** null when it can't be watched: there is no such file any more, or the kernel has no watch left to give. */
function watching(file: string, onChange: () => void): FSWatcher | null {
  try {
    return watch(file, { persistent: false }, onChange);
  } catch {
    return null;
  }
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
