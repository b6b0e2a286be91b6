import type { AppSpec, ProcessSpec } from '../model/app-spec.ts';
import type { Capacity } from '../model/records.ts';

const mebibyte = 1024 * 1024;
const forProcess: Capacity = { memoryBytes: 128 * mebibyte, cpu: 0.1 };
const forFiles: Capacity = { memoryBytes: 16 * mebibyte, cpu: 0.01 };

/**
 * What one instance sets aside on its node: its limits, else a default. Static files are served by the agent, so
 * limits do not concern them. Without `process`, that of an app's largest instance.
 */
export function reservation(spec: AppSpec, process?: ProcessSpec): Capacity {
  const kinds = process ? [process.kind] : spec.processes.map(({ kind }) => kind);
  if (kinds.length > 0 && kinds.every(kind => kind === 'static')) return forFiles;
  return {
    memoryBytes: spec.limits.memoryBytes ?? forProcess.memoryBytes,
    cpu: spec.limits.cpu ?? forProcess.cpu,
  };
}
