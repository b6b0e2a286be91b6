import type { Limits } from '../model/app-spec.ts';
import type { Enforceable } from './cgroups.ts';
import { limitProperties } from './systemd-sandbox.ts';
import { runOutside } from './systemd-tools.ts';

const TRIED: Limits = { memoryBytes: 256 * 1024 * 1024, cpu: 0.5, processes: 64 };
/** Prints the groups that it is in, then the limits that a group of version 2 has. */
const LOOK =
  'cat /proc/self/cgroup; group=$(sed -n s/^0:://p /proc/self/cgroup); ' +
  'for file in memory.max cpu.max pids.max; do [ ! -e "/sys/fs/cgroup$group/$file" ] || echo "limit:$file"; done';

/** Found out by limiting something, since systemd drops limits that the kernel can't hold without a word. @throws ToolError */
export async function triedLimits(): Promise<Enforceable> {
  return enforceableIn(await runOutside(['/bin/sh', '-c', LOOK], limitProperties(TRIED)));
}

export function enforceableIn(text: string): Enforceable {
  const lines = text.split('\n');
  const able = (controller: string, file: string): boolean =>
    lines.includes(`limit:${file}`) ||
    lines.some(line => {
      const [, controllers, path] = line.split(':');
      return controllers?.split(',').includes(controller) === true && path?.endsWith('.service') === true;
    });
  return {
    memory: able('memory', 'memory.max'),
    cpu: able('cpu', 'cpu.max'),
    processes: able('pids', 'pids.max'),
  };
}
